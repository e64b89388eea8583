"""The home of an installation: the folder with `.env`, the SQLite file and the operator's own profiles."""

import grp
import os
import pwd
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from django.core.exceptions import ImproperlyConfigured

ROOT: Final = Path(__file__).resolve().parent.parent.parent
"""The folder of the packages: a checkout, or the folder that the wheel was installed into."""
FIRST_ENV: Final = """\
# Written by `esassistant serve`, as there was none. docs/settings.md lists every setting.
SECRET_KEY={secret_key}
# The names that callers use; add that of this machine when it serves others.
ALLOWED_HOSTS=localhost,127.0.0.1,[::1]
# Send it as `Authorization: Bearer …`. Without it only totals are answered.
ESASSISTANT_API_TOKENS={token}
"""


def home_of(environment: Mapping[str, str], root: Path = ROOT) -> Path:
    """Return the folder that `ESASSISTANT_HOME` names. Without it, return the folder of manage.py in a checkout, else
    the current folder.

    Raises `ImproperlyConfigured` if `ESASSISTANT_HOME` names no folder.
    """
    named = environment.get("ESASSISTANT_HOME", "").strip()
    if not named:
        return root if (root / "manage.py").is_file() else Path.cwd()
    home = Path(named).expanduser().absolute()
    if not home.is_dir():
        raise ImproperlyConfigured(f"ESASSISTANT_HOME: {home} is no folder. Make it, or name another.")
    return home


def write_first_env(environment: Mapping[str, str], home: Path) -> Path | None:
    """Write a `.env`, which nobody else can read, with a new secret key and a new token. Return its path.

    Return None if there is a `.env` already, if the environment has `SECRET_KEY` or names another file, or if the file
    can't be written. In the last case, reading the settings fails later and says so.
    """
    path = home / (environment.get("ESASSISTANT_ENV_FILE") or ".env")
    if environment.get("SECRET_KEY") or "ESASSISTANT_ENV_FILE" in environment or path.exists():
        return None
    text = FIRST_ENV.format(secret_key=secrets.token_urlsafe(50), token=secrets.token_hex(32))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    with os.fdopen(file, "w", encoding="utf-8") as opened:
        opened.write(text)
    return path


class NotBelieved(Exception):
    """A file of settings can't be trusted, as others than root and the user of this process could change it. Says why,
    and what to do.
    """


def believed_text(path: Path) -> str:
    """Read a file of settings if it can be trusted: a regular file that belongs to root or to our user, and that nobody
    else can write.

    For a symbolic link, the file that it leads to is checked. The file is opened only once, so the file that is checked
    is the one that is read. Opening it never blocks, not even for a FIFO without a writer. `/dev/null` counts as an
    empty file, whoever owns it.

    Raises:
        NotBelieved: The file can't be trusted.
        OSError, UnicodeDecodeError: The file can't be read.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if _is_null(found):
            return ""
        if (distrust := _distrust_of(found, path)) is not None:
            raise NotBelieved(distrust)
        with os.fdopen(opened, encoding="utf-8", closefd=False) as file:
            return file.read()
    finally:
        os.close(opened)


def _is_null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116  (no file of ours)


def _distrust_of(found: os.stat_result, path: Path) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file: write the settings into one, or name another"
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to another user: chown {_user()} {path}"
    if found.st_mode & stat.S_IWOTH:
        return f"can be written by everybody: chmod 600 {path}"
    if found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid):
        return f"can be written by its group: chmod 600 {path}"
    return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _is_private(group: int, user: int) -> bool:
    """Return True if a group is the private group of one user, which many systems create for each user. Nobody else is
    in it.
    """
    try:
        name, members = pwd.getpwuid(user).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return members.gr_name == name and set(members.gr_mem) <= {name}
