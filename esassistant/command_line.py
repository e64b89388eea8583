"""The command line: Django's, ended by one line instead of a traceback where no bug but the world is to blame."""

import errno
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from esassistant.config.home import home_of, write_first_env
from esassistant.database.sqlite3.files import make_missing
from esassistant.program import PROGRAM

UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)
"""What a command that only reads, and writes to its output, can get from nothing else."""
SERVERS = ("serve", "runserver")
"""They go on while the database is away, and log it; all other commands say it, and end."""
MAKERS = ("serve", "migrate")
"""They make a SQLite file that isn't there; all other commands say that it is missing."""


def installed() -> None:
    """The command `esassistant`, which a wheel installs."""
    main(sys.argv)


def main(arguments: Sequence[str]) -> None:
    """Run a command, and end the process with its exit code: 1, and one line on stderr, where a setting is bad, the
    database can't be used, or the output can't be written. `--traceback` shows where the database failed.

    Args:
        arguments: as in `sys.argv`: the program, the command, and what comes with it.
    """
    if sys.stdout is None:  # closed, as some have it in cron: nobody wants to read it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for good)
    code: str | int | None = None
    failure: OSError | None = None
    try:
        _run(arguments)
    except SystemExit as ended:
        code = ended.code
    except OSError as error:
        if error.errno not in UNWRITTEN:
            raise
        failure = error
    if (failure := failure or _flush_failure()) is not None:
        # Python would try once more when it ends, and tell of it in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Who reads from a pipe may have enough of it, as `head` does.
        code = 1 if isinstance(failure, BrokenPipeError) else f"The output can't be written: {failure.strerror}."
    sys.exit(code)


def _run(arguments: Sequence[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import Error

    try:
        if PROGRAM == "esassistant" and arguments[1:2] == ["serve"]:
            _begin_home()
        if set(MAKERS) & set(arguments[1:2]):
            make_missing()
        settings.configured or settings.INSTALLED_APPS  # noqa: B018  (reads the settings: every bad one is named at once)
        if not set(SERVERS) & set(arguments[1:2]):
            logging.getLogger("esassistant.database.outage").setLevel(logging.ERROR)
        execute_from_command_line(list(arguments))
    except ImproperlyConfigured as error:
        sys.exit(f"{error}")
    except Error as error:
        if "--traceback" in arguments or (line := _database_line(error)) is None:
            raise
        sys.exit(line)


def _begin_home() -> None:
    """In an empty folder: write what the service can't start without. In a checkout `make run` does so."""
    if (written := write_first_env(os.environ, home_of(os.environ))) is not None:
        sys.stderr.write(f"Wrote {written} with a secret key and an API token of your own.\n")


def _database_line(error: Exception) -> str | None:
    """Say what is wrong with the database, and what to do; None: nothing is, which makes it a bug."""
    from django.conf import settings
    from django.db import Error

    from esassistant.database.connecting import told
    from esassistant.database.failures import database_trouble

    assert isinstance(error, Error)
    failure = database_trouble(error)
    if failure is None:
        return None
    return f"{told(settings.DATABASES['default'], failure)} (--traceback shows where it failed.)"


def _flush_failure() -> OSError | None:
    """Why what was printed can't be written; None: it was."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None
