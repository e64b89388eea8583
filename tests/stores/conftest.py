"""The stores under test, each on a real server or database of its own that is ended afterwards."""

import importlib.util
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from cacheapp.stores.database import open_database_store
from cacheapp.stores.protocol import Store
from cacheapp.stores.redis.store import open_redis_store
from dev.servers.redis import RedisServer
from tests.support.stores import PATIENT, Backend

if TYPE_CHECKING:
    from dev.servers.postgresql import Postgresql


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """A redis-server that is up and empty."""
    redis_session.empty()
    return redis_session


@pytest.fixture
def redis(redis_server: RedisServer) -> Backend:
    return Backend(
        "redis", lambda: open_redis_store(redis_server.url, timeouts=PATIENT), redis_server.stop, redis_server.start
    )


@pytest.fixture
def sqlite() -> Backend:
    if connection.vendor != "sqlite":
        pytest.skip("the tests' database is not SQLite")
    return Backend("sqlite", open_database_store)


@pytest.fixture(scope="session")
def postgresql_session(django_db_blocker: DjangoDbBlocker, django_db_setup: None) -> Iterator["Postgresql"]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver psycopg is not installed")
    from dev.servers.postgresql import Postgresql, PostgresqlServer, programs

    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed: neither initdb on the PATH nor /usr/lib/postgresql/*/bin")
    with PostgresqlServer(found) as server:
        postgresql = Postgresql(server)
        with django_db_blocker.unblock(), postgresql.as_default():
            postgresql.run(lambda: call_command("migrate", "cacheapp", verbosity=0))
        yield postgresql


@pytest.fixture
def postgresql(postgresql_session: "Postgresql", django_db_blocker: DjangoDbBlocker) -> Iterator[Backend]:
    server = postgresql_session.server
    with django_db_blocker.unblock(), postgresql_session.as_default():
        postgresql_session.run(empty_tables)
        yield Backend("postgresql", open_database_store, server.stop, server.start)


def empty_tables() -> None:
    for model in apps.get_app_config("cacheapp").get_models():
        model._default_manager.all().delete()


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.django_db(transaction=True)), "redis", "postgresql"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    async with backend.open() as store:
        yield store


@pytest.fixture
async def other_store(backend: Backend) -> AsyncIterator[Store]:
    """As another process sees the same data."""
    async with backend.open() as store:
        yield store
