"""The database store by itself; what all stores have in common is held by tests/stores."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import django.db
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, models

from cacheapp.models import Alias, Attempt, IndexMapping, LeaseRow, MappingBody, Published
from cacheapp.state.published import Loaded, StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores import database, database_thread
from cacheapp.stores.database import DatabaseStore, open_database_store
from cacheapp.stores.protocol import Lease, Store
from esassistant.errors import StoreUnavailable
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING

pytestmark = pytest.mark.django_db(transaction=True)

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))
LONG = 60.0
JITTER = 5.0
"""Ages are wall time here: an age is what was published, and at most so many seconds of a slow machine more."""


async def take(store: Store, holder: str = "one", ttl_seconds: float = LONG, name: str = "refresh") -> Lease:
    lease = await store.lease(name, holder, ttl_seconds)
    assert isinstance(lease, Lease)
    return lease


async def load(store: Store, *known: str) -> Loaded:
    loaded = await store.load(known)
    assert loaded is not None
    return loaded


def state(
    indices: dict[str, StoredIndex], *bodies: bytes, age: float = 0.0, aliases: dict[str, tuple[str, ...]] | None = None
) -> StoredState:
    return StoredState(age, indices, aliases or {}, {mapping_hash(body): body for body in bodies})


FIRST = state({"a": StoredIndex("u-a", A), "b": StoredIndex(None, B)}, A_MAPPING, B_MAPPING, aliases={"x": ("b", "a")})


@pytest.fixture
def lost_table(transactional_db: None) -> Iterator[None]:
    """A database in which `migrate` was not run."""
    table = connection.ops.quote_name(MappingBody._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


async def test_missing_table(lost_table: None) -> None:
    """A database error becomes `StoreUnavailable` that names the remedy, and nothing of a failed publication stays."""
    async with open_database_store() as store:
        with pytest.raises(StoreUnavailable, match="migrate"):
            await store.publish(FIRST, await take(store))
        assert await store.generation() == 0
        assert await store.load(()) is None


async def test_a_publication_by_version_1_0(transactional_db: None) -> None:
    """It leaves the column of the unread names as it is: of another generation than the state's, they say nothing."""
    async with open_database_store() as store:
        generation = await store.publish(replace(FIRST, unread=frozenset({"c"})), await take(store))
        assert (await load(store)).state.unread == {"c"}
        await sync_to_async(Published.objects.update)(generation=generation + 1)
        assert (await load(store)).state.unread == frozenset()


@pytest.mark.parametrize("error", [django.db.OperationalError, django.db.IntegrityError, django.db.InterfaceError])
async def test_database_errors(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Whatever Django raises for a database that fails is `StoreUnavailable`, without the error's own text."""

    def fail() -> int:
        raise error("sensitive text")

    monkeypatch.setattr(database, "_generation", fail)
    async with open_database_store() as store:
        with pytest.raises(StoreUnavailable) as caught:
            await store.generation()
        assert "sensitive" not in caught.value.detail
        assert caught.value.retry_after_seconds is not None


async def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs costs the deadline, not the caller's loop; the store works on when it is back."""
    release = threading.Event()

    def hang() -> int:
        release.wait(5)
        return 1

    async with open_database_store(deadline_seconds=0.05) as store:
        with monkeypatch.context() as patch:
            patch.setattr(database, "_generation", hang)
            with pytest.raises(StoreUnavailable, match="within 50 ms"):
                await store.generation()
        release.set()
        assert await store.generation() == 0


async def test_waiting_counts_as_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a publication waits for the database counts as age: a mapping never looks younger than it is."""
    hold = threading.Event()

    def busy() -> int:
        hold.wait(5)
        return 0

    async with open_database_store() as store:
        lease = await take(store)
        with monkeypatch.context() as patch:
            patch.setattr(database, "_generation", busy)
            earlier = asyncio.create_task(store.generation())
            await asyncio.sleep(0)
        publication = asyncio.create_task(store.publish(FIRST, lease))
        await asyncio.sleep(0.1)
        hold.set()
        await asyncio.gather(earlier, publication)
        assert (await load(store)).state.age_seconds >= 0.09


async def test_one_thread_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """All work is done in one thread apart from the loop's, which ends with the store."""
    threads: list[threading.Thread] = []

    def note(*_: Any) -> int:
        threads.append(threading.current_thread())
        return 0

    monkeypatch.setattr(database, "_generation", note)
    async with open_database_store() as store:
        await asyncio.gather(*(store.generation() for _ in range(5)))
    threads[0].join(5)
    assert len(set(threads)) == 1
    assert threads[0] is not threading.main_thread()
    assert not threads[0].is_alive()


async def test_opening_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store opens and closes without touching the database."""
    monkeypatch.setattr(database_thread, "close_old_connections", lambda: pytest.fail("touched"))
    async with open_database_store() as store:
        assert isinstance(store, DatabaseStore)


def test_clock_set_back() -> None:
    """A database whose wall clock was set back gives ages of at least nothing."""
    assert database._seconds(timedelta(seconds=-5)) == 0.0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (MappingBody(mapping_hash=A), A),
        (IndexMapping(name="a"), "a"),
        (Alias(name="x"), "x"),
        (Published(generation=7, confirmed_at=datetime.now(UTC)), "7"),
        (LeaseRow(name="refresh"), "refresh"),
        (Attempt(name="refresh"), "refresh"),
    ],
)
def test_rows_name_themselves(row: models.Model, text: str) -> None:
    """Rows show in the admin by what they are about."""
    assert str(row) == text
