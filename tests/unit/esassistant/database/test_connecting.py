"""Connecting to a database that can't be connected to: tried once, then told at once; both classes of connections."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresqlWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper

from esassistant.database.connecting import RememberedOutage, forget_outages, outage_of, place_of, told
from esassistant.database.failures import DatabaseFailure, database_failure
from esassistant.database.outage import probing
from esassistant.database.postgresql.base import DatabaseWrapper as OwnPostgresqlWrapper
from esassistant.database.sqlite3.base import DatabaseWrapper as OwnSqliteWrapper
from esassistant.database.sqlite3.files import MISSING

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def wrapper(kind: Any, **settings: Any) -> Any:
    whole = connections.configure_settings({"default": {"ENGINE": "x", **settings}})["default"]
    return kind(whole, "other")


def connected_to(made: Any) -> None:
    made.connect()
    made.close()


def test_they_are_django_s() -> None:
    """What Django's own classes are, ours are."""
    assert issubclass(OwnPostgresqlWrapper, PostgresqlWrapper)
    assert issubclass(OwnSqliteWrapper, SqliteWrapper)


def test_an_outage_is_remembered(closed_port: int) -> None:
    """The second one isn't tried, and tells the cause of the first; who probes tries; another database is another
    matter.
    """
    made = wrapper(OwnPostgresqlWrapper, NAME="x", HOST="127.0.0.1", PORT=closed_port, OPTIONS={"connect_timeout": 2})
    with pytest.raises(OperationalError) as first:
        connected_to(made)
    assert not isinstance(first.value, RememberedOutage)
    with pytest.raises(RememberedOutage) as second:
        connected_to(made)
    assert database_failure(second.value) == database_failure(first.value) == outage_of(made.settings_dict).failure()
    with probing(), pytest.raises(OperationalError) as third:
        connected_to(made)
    assert not isinstance(third.value, RememberedOutage)
    connected_to(wrapper(OwnSqliteWrapper, NAME=":memory:"))
    forget_outages()
    with pytest.raises(OperationalError) as fourth:
        connected_to(made)
    assert not isinstance(fourth.value, RememberedOutage)


def test_success_ends_it() -> None:
    """Who connects says so."""
    made = wrapper(OwnSqliteWrapper, NAME="/nowhere/at/all")
    with pytest.raises(OperationalError):
        connected_to(made)
    outage = outage_of(made.settings_dict)
    assert outage.failure() is not None
    made.settings_dict["NAME"] = ":memory:"
    connected_to(made)
    assert outage_of(made.settings_dict).failure() is None


def test_what_operators_are_told() -> None:
    """A server is named, and so is a file that is missing."""
    away = DatabaseFailure("is away.", is_answer=False)
    assert told({"HOST": "h", "PORT": 5433}, away) == "The database at h:5433 is away."
    assert told({"NAME": "/x/y.sqlite3"}, away) == "The database is away."
    assert told({"NAME": "/x/y.sqlite3"}, MISSING).startswith("The database /x/y.sqlite3 isn't there.")


@pytest.mark.parametrize(
    ("database", "place"),
    [
        ({"HOST": "h", "PORT": 5433}, " at h:5433"),
        ({"HOST": "h", "PORT": ""}, " at h:5432"),
        ({"HOST": "", "NAME": "file"}, ""),
        ({}, ""),
    ],
)
def test_places(database: dict[str, Any], place: str) -> None:
    """Host and port, of servers alone."""
    assert place_of(database) == place
