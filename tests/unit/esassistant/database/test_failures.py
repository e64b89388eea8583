"""What an error of the database means. Its text is never shown: it may quote anything."""

import sqlite3

import psycopg
import pytest
from django.db import DataError, Error, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from psycopg import errors

from esassistant.database.connecting import RememberedOutage
from esassistant.database.failures import DatabaseFailure, database_failure, database_trouble

SECRET = "password=1234"


def from_sqlite(code: int, text: str = SECRET) -> Error:
    driver = sqlite3.OperationalError(text)
    driver.sqlite_errorcode = code
    return caused(driver)


def caused(driver: Exception, error: type[Error] = OperationalError) -> Error:
    made = error(str(driver))
    made.__cause__ = driver
    return made


@pytest.mark.parametrize(
    ("error", "why", "is_answer"),
    [
        (from_sqlite(sqlite3.SQLITE_READONLY), "takes no writes: its file is read-only", True),
        (from_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), "takes no writes: its file is read-only", True),
        (from_sqlite(sqlite3.SQLITE_PERM), "takes no writes: its file is read-only", True),
        (from_sqlite(sqlite3.SQLITE_FULL), "takes no writes: its disk is full", True),
        (from_sqlite(sqlite3.SQLITE_BUSY), "is kept locked by another process", True),
        (from_sqlite(sqlite3.SQLITE_LOCKED), "is kept locked by another process", True),
        (from_sqlite(sqlite3.SQLITE_IOERR_WRITE), "takes no writes: its disk fails", True),
        (from_sqlite(sqlite3.SQLITE_CORRUPT), "is damaged", True),
        (from_sqlite(sqlite3.SQLITE_NOTADB), "is damaged", True),
        (from_sqlite(sqlite3.SQLITE_CANTOPEN), "could not be opened", False),
        (from_sqlite(sqlite3.SQLITE_ERROR, "no such table: x"), "lacks a table or a column", True),
        (from_sqlite(sqlite3.SQLITE_ERROR, "table x has no column named y"), "lacks a table or a column", True),
        (from_sqlite(sqlite3.SQLITE_ERROR), "failed (OperationalError)", False),
        (from_sqlite(sqlite3.SQLITE_NOMEM), "failed (OperationalError)", False),
        (caused(errors.ReadOnlySqlTransaction(SECRET)), "takes no writes: it is read-only", True),
        (caused(errors.DiskFull(SECRET)), "takes no writes: its disk is full", True),
        (caused(errors.InsufficientPrivilege(SECRET)), "doesn't permit this", True),
        (caused(errors.UndefinedTable(SECRET)), "lacks a table or a column", True),
        (caused(errors.UndefinedColumn(SECRET)), "lacks a table or a column", True),
        (caused(errors.LockNotAvailable(SECRET)), "is kept locked by another process", True),
        (caused(errors.QueryCanceled(SECRET)), "takes too long for one statement", False),
        (caused(errors.TooManyConnections(SECRET)), "has no connection left", False),
        (caused(errors.InvalidPassword(SECRET)), "refused the credentials", False),
        (caused(errors.InvalidCatalogName(SECRET)), "server has no database of that name", False),
        (caused(psycopg.OperationalError("FATAL: sorry, too many clients already")), "has no connection left", False),
        (caused(psycopg.OperationalError("FATAL: password authentication failed")), "refused the credentials", False),
        (RememberedOutage(DatabaseFailure("was away.", is_answer=False)), "was away.", False),
        (caused(errors.AdminShutdown(SECRET)), "could not be reached", False),
        (caused(errors.ConnectionFailure(SECRET)), "could not be reached", False),
        (caused(psycopg.OperationalError(SECRET)), "could not be reached", False),
        (caused(errors.DivisionByZero(SECRET), DataError), "failed (DataError)", True),
        (OperationalError(SECRET), "failed (OperationalError)", False),
        (InterfaceError(SECRET), "failed (InterfaceError)", False),
        (ProgrammingError(SECRET), "failed (ProgrammingError)", True),
    ],
)
def test_causes(error: Error, why: str, is_answer: bool) -> None:
    """Told by the driver's codes; whether the database answered decides what a failed write says of writes."""
    found = database_failure(error)
    assert found.why.startswith(why)
    assert found.is_answer is is_answer
    assert SECRET not in found.why


@pytest.mark.parametrize(
    ("error", "is_trouble"),
    [
        (from_sqlite(sqlite3.SQLITE_FULL), True),
        (OperationalError(SECRET), True),
        (IntegrityError(SECRET), False),
        (caused(errors.DivisionByZero(SECRET), DataError), False),
        (caused(psycopg.DataError("PostgreSQL text fields cannot contain NUL"), DataError), False),
        (from_sqlite(sqlite3.SQLITE_CONSTRAINT), True),
    ],
)
def test_bugs(error: Error, is_trouble: bool) -> None:
    """What a well database refuses, as it was asked for what can't be done, is none of its troubles."""
    assert (database_trouble(error) is not None) is is_trouble
