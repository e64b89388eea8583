"""The command line: Django's own, except that a failure that is no bug of ours ends it with one line instead of a
traceback.
"""

import errno
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from esassistant.config.home import home_of, write_first_env
from esassistant.database.sqlite3.files import make_missing
from esassistant.program import program_of

UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)
"""Errors that mean that the output can't be written."""
SERVERS = ("serve", "runserver")
"""These commands go on while the database is away, and log it. All other commands say it and end."""
MAKERS = ("serve", "migrate")
"""These commands create a missing SQLite file. All other commands say that it is missing."""


def installed() -> None:
    """Run the command `esassistant`, which the wheel installs."""
    main(sys.argv)


def main(arguments: Sequence[str]) -> None:
    """Run a command, and end the process with its exit code.

    If a setting is bad, the database can't be used or the output can't be written, the exit code is 1, with one line on
    stderr. With `--traceback`, a failure of the database is shown with its traceback.

    Args:
        arguments: As in `sys.argv`: the program, the command and its arguments.
    """
    if sys.stdout is None:  # closed, as in some cron jobs: nobody wants to read it
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
        # Python would flush stdout again when it exits, and print its own error message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The reader of a pipe, such as `head`, may stop reading: no message is needed then.
        code = 1 if isinstance(failure, BrokenPipeError) else f"The output can't be written: {failure.strerror}."
    sys.exit(code)


def _run(arguments: Sequence[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import Error

    try:
        if program_of(arguments) == "esassistant" and arguments[1:2] == ["serve"]:
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
    """Write a first `.env` if there is none: without it the service can't start. In a checkout, `make run` does so."""
    if (written := write_first_env(os.environ, home_of(os.environ))) is not None:
        sys.stderr.write(f"Wrote {written} with a secret key and an API token of your own.\n")


def _database_line(error: Exception) -> str | None:
    """Say in one line what is wrong with the database, and what to do. Return None if nothing is: then the error is a
    bug.
    """
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
    """Flush stdout; return the error if that fails, else None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None
