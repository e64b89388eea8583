"""What an error of the database means: its cause and the remedy. The error's own text is never used, as it may quote
anything. Pure.
"""

from dataclasses import dataclass
from typing import Any

from django.db import Error, InterfaceError, OperationalError

from esassistant.program import PROGRAM


@dataclass(frozen=True, slots=True)
class DatabaseFailure:
    """Why the database can't do what was asked.

    `why` continues a sentence that begins with "The database". `is_answer`: the database answered, with a refusal.
    """

    why: str
    is_answer: bool


_READ_ONLY_FILE = (
    "takes no writes: its file is read-only. Give this process the right to write the file and its folder."
)
_READ_ONLY_SERVER = "takes no writes: it is read-only, as a standby is. Name the primary in DATABASE_URL."
_FULL = "takes no writes: its disk is full. Free space there."
_LOCKED = "is kept locked by another process. End what holds the lock, for instance a backup or a migration."
_NOT_MIGRATED = f"lacks a table or a column. Run `{PROGRAM} migrate`."
_NO_RIGHT = "doesn't permit this to the user of DATABASE_URL. Grant it SELECT, INSERT, UPDATE and DELETE on its tables."
_DAMAGED = "is damaged, or its file is none of SQLite. Restore it, or name another in DATABASE_URL."
_DISK = "takes no writes: its disk fails, or a quota is used up. Its system's log says more."
_NO_FILE = (
    "could not be opened: its folder is missing or not permitted to this process. Correct DATABASE_URL or rights."
)
_AWAY = "could not be reached. Start it, or correct DATABASE_URL."
_SLOW = "takes too long for one statement (statement_timeout). Find out what keeps it busy, or what holds its locks."
_NO_PLACE = "has no connection left for this process. Raise its max_connections, or end what else holds them."
_CREDENTIALS = "refused the credentials of DATABASE_URL. Correct its user and password."
_NO_DATABASE = "server has no database of that name. Create it, or correct DATABASE_URL."

_BY_SQLITE_CODE = {
    3: _READ_ONLY_FILE,  # SQLITE_PERM
    5: _LOCKED,  # SQLITE_BUSY
    6: _LOCKED,
    8: _READ_ONLY_FILE,
    10: _DISK,  # SQLITE_IOERR
    11: _DAMAGED,
    13: _FULL,
    26: _DAMAGED,
}
_SQLITE_CANTOPEN = 14
_SQLITE_ERROR = 1
"""SQLite's general code, for errors without a code of their own."""
_BY_SQLSTATE = {
    "25006": _READ_ONLY_SERVER,
    "42501": _NO_RIGHT,
    "42703": _NOT_MIGRATED,
    "42P01": _NOT_MIGRATED,
    "53100": _FULL,
    "55P03": _LOCKED,
}
_UNABLE_BY_SQLSTATE = {
    "28000": _CREDENTIALS,
    "28P01": _CREDENTIALS,
    "3D000": _NO_DATABASE,
    "53300": _NO_PLACE,
    "57014": _SLOW,
}
"""With these states PostgreSQL can't do anything for us, whatever the statement."""
_UNABLE_BY_TEXT = {
    "too many clients": _NO_PLACE,
    "remaining connection slots": _NO_PLACE,
    "too many connections": _NO_PLACE,
    "password authentication failed": _CREDENTIALS,
    "no password supplied": _CREDENTIALS,
    "no pg_hba.conf entry": _CREDENTIALS,
}
"""While connecting, the driver gives no code, so its text is searched. If the server speaks another language, the
failure counts as "could not be reached".
"""
_AWAY_CLASSES = ("08", "57P")
"""The beginnings of SQL states for connections that fail, and for servers that start or stop."""


def database_failure(error: Error) -> DatabaseFailure:
    """Return what an error of the database means. If no cause is known, it says only that the database failed."""
    return database_trouble(error) or DatabaseFailure(_failed(error), is_answer=True)


def database_trouble(error: Error) -> DatabaseFailure | None:
    """Return the cause of an error by the driver's codes. Django keeps the driver's error as the `__cause__` of its
    own.

    Return None if the database is well, but was asked for something impossible: then the error is a bug.
    """
    if (remembered := getattr(error, "failure", None)) is not None:
        found: DatabaseFailure = remembered
        return found
    is_unable = isinstance(error, OperationalError | InterfaceError)
    driver = error.__cause__
    code = getattr(driver, "sqlite_errorcode", None)
    if code is not None and (failure := _sqlite_failure(code & 0xFF, str(driver))) is not None:
        return failure
    if hasattr(driver, "sqlstate") and (failure := _server_failure(driver, is_unable=is_unable)) is not None:
        return failure
    if is_unable:
        return DatabaseFailure(_failed(error), is_answer=False)
    return None


def _server_failure(driver: Any, *, is_unable: bool) -> DatabaseFailure | None:
    state: str | None = driver.sqlstate
    if state in _BY_SQLSTATE:
        return DatabaseFailure(_BY_SQLSTATE[state], is_answer=True)
    if state in _UNABLE_BY_SQLSTATE:
        return DatabaseFailure(_UNABLE_BY_SQLSTATE[state], is_answer=False)
    if state is None:  # the driver's own error: about a connection, or a value that it can't send
        if not is_unable:
            return None
        text = str(driver)
        why = next((why for part, why in _UNABLE_BY_TEXT.items() if part in text), _AWAY)
        return DatabaseFailure(why, is_answer=False)
    return DatabaseFailure(_AWAY, is_answer=False) if state.startswith(_AWAY_CLASSES) else None


def _sqlite_failure(code: int, text: str) -> DatabaseFailure | None:
    if code in _BY_SQLITE_CODE:
        return DatabaseFailure(_BY_SQLITE_CODE[code], is_answer=True)
    if code == _SQLITE_ERROR and text.startswith(("no such table", "no such column", "table ")):
        return DatabaseFailure(_NOT_MIGRATED, is_answer=True)
    return DatabaseFailure(_NO_FILE, is_answer=False) if code == _SQLITE_CANTOPEN else None


def _failed(error: Error) -> str:
    return f"failed ({type(error).__name__}); is it up, and has `{PROGRAM} migrate` been run?"
