"""Find programs that development needs and pip can't install, or install them with the system's package manager, and
say so.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / ".cache" / "packages.lock"


class MissingPackage(Exception):
    """A package is missing; the text names the command that installs it."""


def require(find: Callable[[], Path | None], package: str, problem: str) -> Path:
    """Return what `find` finds. If it finds nothing, install the Debian package `package` first, which only root can
    do. Raise `MissingPackage` if that isn't possible.
    """
    if found := find():
        return found
    remedy = f"install it, for example: sudo apt-get update && sudo apt-get install -y {package}"
    if (apt_get := which("apt-get")) and os.geteuid() == 0:
        with _alone():
            if found := find():  # another process may have installed it meanwhile
                return found
            say(f"{problem}: installing the package {package} by apt-get")
            failure = f"{problem}, and apt-get could not install {package}"
            _run(failure, apt_get, "update")
            _run(failure, apt_get, "install", "-y", "--no-install-recommends", package)
            if found := find():
                return found
        remedy = f"the package {package} of this system does not provide it; install a newer one"
    raise MissingPackage(f"{problem}; {remedy}")


def which(tool: str) -> Path | None:
    """Return the path of a program, if it is on the PATH."""
    found = shutil.which(tool)
    return Path(found) if found else None


def say(message: str) -> None:
    """Print a message to the user, separate from the output of this program."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Let only one process of this checkout run the block at a time: tests run in several processes, and apt-get
    refuses to run twice.
    """
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(failure: str, *words: str | Path) -> None:
    result = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-15:])
        raise MissingPackage(f"{failure}\napt-get said:\n{tail}")
