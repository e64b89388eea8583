"""What an error of the database means: its cause and the remedy, never its text, which may quote anything. Pure."""

from dataclasses import dataclass

from django.db import Error, InterfaceError, OperationalError


@dataclass(frozen=True, slots=True)
class DatabaseFailure:
    """`why` goes on after "The database". `is_answer`: the database answers, and refuses what was asked of it."""

    why: str
    is_answer: bool


_READ_ONLY_FILE = (
    "takes no writes: its file is read-only. Give this process the right to write the file and its folder."
)
_READ_ONLY_SERVER = "takes no writes: it is read-only, as a standby is. Name the primary in DATABASE_URL."
_FULL = "takes no writes: its disk is full. Free space there."
_LOCKED = "takes no writes: another process keeps it locked. End what holds the lock, for instance a backup."
_NOT_MIGRATED = "lacks a table or a column. Run `manage.py migrate`."
_NO_RIGHT = "doesn't permit this to the user of DATABASE_URL. Grant it SELECT, INSERT, UPDATE and DELETE on its tables."
_DAMAGED = "is damaged, or its file is none of SQLite. Restore it, or name another in DATABASE_URL."
_DISK = "takes no writes: its disk fails, or a quota is used up. Its system's log says more."
_NO_FILE = (
    "could not be opened: its folder is missing or not permitted to this process. Correct DATABASE_URL or rights."
)
_AWAY = "could not be reached. Start it, or correct DATABASE_URL."

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
_SQLITE_ERROR = 1
"""SQLite's code for what it has no code of its own for."""
_BY_SQLSTATE = {
    "25006": _READ_ONLY_SERVER,
    "42501": _NO_RIGHT,
    "42703": _NOT_MIGRATED,
    "42P01": _NOT_MIGRATED,
    "53100": _FULL,
    "55P03": _LOCKED,
}
_AWAY_CLASSES = ("08", "57P")
"""Of SQL states: connections that fail, servers that start or end."""


def database_failure(error: Error) -> DatabaseFailure:
    """Tell the cause by the codes of the driver, which Django keeps as the error's own cause."""
    driver = error.__cause__
    code = getattr(driver, "sqlite_errorcode", None)
    if code is not None:
        return _sqlite_failure(code & 0xFF, str(driver), error)
    if driver is not None and hasattr(driver, "sqlstate"):
        state = driver.sqlstate
        if state is None or state.startswith(_AWAY_CLASSES):
            return DatabaseFailure(_AWAY, is_answer=False)
        if state in _BY_SQLSTATE:
            return DatabaseFailure(_BY_SQLSTATE[state], is_answer=True)
    return _other(error)


def _sqlite_failure(code: int, text: str, error: Error) -> DatabaseFailure:
    if code in _BY_SQLITE_CODE:
        return DatabaseFailure(_BY_SQLITE_CODE[code], is_answer=True)
    if code == _SQLITE_ERROR and text.startswith(("no such table", "no such column", "table ")):
        return DatabaseFailure(_NOT_MIGRATED, is_answer=True)
    if code == 14:  # SQLITE_CANTOPEN
        return DatabaseFailure(_NO_FILE, is_answer=False)
    return _other(error)


def _other(error: Error) -> DatabaseFailure:
    why = f"failed ({type(error).__name__}); is it up, and has `manage.py migrate` been run?"
    return DatabaseFailure(why, is_answer=not isinstance(error, OperationalError | InterfaceError))
