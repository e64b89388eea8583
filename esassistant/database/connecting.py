"""Connects to the database, unless connecting has just failed.

Everything that uses Django's database in this process connects here: sessions, pages, the admin, the store. If the
database doesn't respond, each attempt to connect takes the whole connect timeout. So only one caller waits, and all
others get the failure that it found at once.
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
"""One outage for each database, by its address."""


class RememberedOutage(OperationalError):
    """No connection was tried, as the last attempt has just failed."""

    def __init__(self, failure: DatabaseFailure) -> None:
        super().__init__(f"the database {failure.why}")
        self.failure = failure


class RemembersOutages(Wrapper):
    """Mixin for Django's database wrappers. It remembers that connecting has failed, and for a while raises
    `RememberedOutage` at once instead of connecting.
    """

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
    """Return what is remembered about connecting to a database. `database`: Django's settings for it."""
    key = tuple(str(database.get(name) or "") for name in ("HOST", "PORT", "NAME"))
    if (outage := _outages.get(key)) is None:
        place = place_of(database)
        outage = _outages.setdefault(key, Outage(f"The database{place}", f"The database{place} answers again"))
    return outage


def place_of(database: Mapping[str, Any]) -> str:
    """Return where a database is, for operators: ` at host:port`, or an empty text for a file."""
    return f" at {database['HOST']}:{database.get('PORT') or 5432}" if database.get("HOST") else ""


def told(database: Mapping[str, Any], failure: DatabaseFailure) -> str:
    """Return in words what is wrong with a database, for operators: with its address, or the missing file."""
    place = f" {database['NAME']}" if failure is MISSING else place_of(database)
    return f"The database{place} {failure.why}"


def forget_outages() -> None:
    """Forget all failures, so that the next caller tries to connect."""
    _outages.clear()
