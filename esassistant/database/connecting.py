"""Connecting to the database, unless that has just failed.

Everything that uses Django's database in this process connects here: sessions, pages, the admin, the store. A database
that says nothing costs each of them its whole connect timeout; so one of them pays it, and the others are told at once
what that one found.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import Error, OperationalError

from esassistant.database.failures import DatabaseFailure, database_failure
from esassistant.database.outage import Outage
from esassistant.database.sqlite3.files import MISSING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Wrapper
else:
    Wrapper = object

_outages: dict[tuple[str, ...], Outage] = {}
"""By the address of the database: each has its own."""


class RememberedOutage(OperationalError):
    """Not tried: it has just failed."""

    def __init__(self, failure: DatabaseFailure) -> None:
        super().__init__(f"the database {failure.why}")
        self.failure = failure


class RemembersOutages(Wrapper):
    """Makes one of Django's connections remember when connecting fails."""

    def connect(self) -> None:
        outage = outage_of(self.settings_dict)
        if (failure := outage.enter()) is not None:
            raise RememberedOutage(failure)
        try:
            with self.wrap_database_errors:
                super().connect()
        except Error as error:
            outage.note_failure(database_failure(error))
            raise
        outage.note_success()


def outage_of(database: Mapping[str, Any]) -> Outage:
    """What is remembered of connecting to a database; `database` are Django's settings of it."""
    key = tuple(str(database.get(name) or "") for name in ("HOST", "PORT", "NAME"))
    if (outage := _outages.get(key)) is None:
        place = place_of(database)
        outage = _outages.setdefault(key, Outage(f"The database{place}", f"The database{place} answers again"))
    return outage


def place_of(database: Mapping[str, Any]) -> str:
    """Where a database is, for operators: ` at host:port`, or nothing where it is a file."""
    return f" at {database['HOST']}:{database.get('PORT') or 5432}" if database.get("HOST") else ""


def told(database: Mapping[str, Any], failure: DatabaseFailure) -> str:
    """What is wrong with a database, for operators: with its place, or the file that is missing."""
    place = f" {database['NAME']}" if failure is MISSING else place_of(database)
    return f"The database{place} {failure.why}"


def forget_outages() -> None:
    """Connect anew at the next opportunity, whatever failed before."""
    _outages.clear()
