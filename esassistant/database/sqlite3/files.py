"""Handles missing SQLite files.

SQLite creates a missing file on connecting. So a command in the wrong folder, or with a misspelled path, would leave an
empty database there, and then complain about missing tables. Here only `serve` and `migrate` create the file; all other
commands say that it is missing.
"""

from pathlib import Path
from typing import Any

from django.db import OperationalError

from esassistant.database.failures import DatabaseFailure
from esassistant.program import PROGRAM

MISSING = DatabaseFailure(f"isn't there. `{PROGRAM} serve` and `{PROGRAM} migrate` make it.", is_answer=False)

_makes_missing = False


class MissingFile(OperationalError):
    """The SQLite file is missing, and this process must not create it."""

    failure = MISSING

    def __init__(self) -> None:
        super().__init__(f"the database {MISSING.why}")


def make_missing(makes: bool = True) -> None:
    """Set whether this process creates missing SQLite files."""
    global _makes_missing
    _makes_missing = makes


def check_there(name: Any) -> None:
    """Raise `MissingFile` if the file is missing and this process must not create it.

    Special names of SQLite (`file:…`, `:memory:`) are not checked.
    """
    is_path = not str(name).startswith(("file:", ":memory:"))
    if is_path and not _makes_missing and not Path(name).exists():
        raise MissingFile
