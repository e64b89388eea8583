"""Files of SQLite that aren't there.

SQLite makes one for whoever connects. So a command that was started in the wrong folder, or with a misspelled path,
would leave an empty database there and then say that it lacks tables. Here `serve` and `migrate` make it, and whoever
else comes is told.
"""

from pathlib import Path
from typing import Any

from django.db import OperationalError

from esassistant.database.failures import DatabaseFailure
from esassistant.program import PROGRAM

MISSING = DatabaseFailure(f"isn't there. `{PROGRAM} serve` and `{PROGRAM} migrate` make it.", is_answer=False)

_makes_missing = False


class MissingFile(OperationalError):
    """The file isn't there, and this process is not to make it."""

    failure = MISSING

    def __init__(self) -> None:
        super().__init__(f"the database {MISSING.why}")


def make_missing(makes: bool = True) -> None:
    """From now on this process makes files that aren't there."""
    global _makes_missing
    _makes_missing = makes


def check_there(name: Any) -> None:
    """Raises `MissingFile` where the file of that name isn't there and this process is not to make it. A name that is
    an address of SQLite's own (`file:…`, `:memory:`) is its business.
    """
    is_path = not str(name).startswith(("file:", ":memory:"))
    if is_path and not _makes_missing and not Path(name).exists():
        raise MissingFile
