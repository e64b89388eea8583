"""The contract of `esassistant.store.Store`, held by each of its implementations, the tests' own stand-in included."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import django.db
import pytest
from django.db import connection, models

from cacheapp import database_thread
from cacheapp.models import Alias, Attempt, IndexMapping, LeaseRow, MappingBody, Published
from cacheapp.snapshot import mapping_hash
from cacheapp.stores import database
from cacheapp.stores.database import DatabaseStore, open_database_store
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.store import Lease, Loaded, Store, StoredIndex, StoredState
from tests.unit.fakes import A_MAPPING, B_MAPPING, C_MAPPING, MemoryStore

pytestmark = pytest.mark.django_db(transaction=True)

A, B, C = map(mapping_hash, (A_MAPPING, B_MAPPING, C_MAPPING))
LONG = 60.0
JITTER = 5.0
"""Ages are wall time here: an age is what was published, and at most so many seconds of a slow machine more."""


@asynccontextmanager
async def memory() -> AsyncIterator[Store]:
    yield MemoryStore(time.monotonic)


OPENERS: dict[str, Callable[[], AbstractAsyncContextManager[Store]]] = {
    "memory": memory,
    "database": open_database_store,
}


@pytest.fixture(params=list(OPENERS))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with OPENERS[request.param]() as store:
        yield store


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


async def test_nothing_published(store: Store) -> None:
    """Before the first publication there is generation 0 and nothing to load."""
    assert await store.generation() == 0
    assert await store.load(()) is None


async def test_round_trip(store: Store) -> None:
    """What is published is loaded: uuids or their absence, hashes, the order of an alias's indices, bodies."""
    generation = await store.publish(FIRST, await take(store))
    loaded = await load(store)
    assert loaded.generation == generation == await store.generation()
    assert loaded.state.indices == FIRST.indices
    assert loaded.state.aliases == FIRST.aliases
    assert loaded.state.bodies == FIRST.bodies


async def test_many_rows(store: Store) -> None:
    """A cluster of more indices than go into one statement is published, loaded and removed whole."""
    names = [f"index-{number:05}" for number in range(1_100)]
    bodies = [b'{"n":%d}' % number for number in range(600)]
    many = state(
        {name: StoredIndex(name, mapping_hash(bodies[number % 600])) for number, name in enumerate(names)}, *bodies
    )
    lease = await take(store)
    await store.publish(many, lease)
    loaded = await load(store)
    assert loaded.state.indices == many.indices
    assert loaded.state.bodies == many.bodies
    await store.publish(state({}), lease)
    emptied = await load(store)
    assert (emptied.state.indices, emptied.state.bodies) == ({}, {})


async def test_known_bodies_are_left_out(store: Store) -> None:
    """Who names the hashes that it has is sent the others only."""
    await store.publish(FIRST, await take(store))
    assert (await load(store, A, "unknown")).state.bodies == {B: B_MAPPING}
    assert (await load(store, A, B)).state.bodies == {}


async def test_generation_grows(store: Store) -> None:
    """Each publication has a larger number, also one that changes nothing, and also under another lease."""
    lease = await take(store)
    numbers = [await store.publish(FIRST, lease), await store.publish(FIRST, lease)]
    await store.release(lease)
    numbers.append(await store.publish(FIRST, await take(store, "two")))
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0
    assert (await load(store)).state.indices == FIRST.indices


async def test_publication_replaces(store: Store) -> None:
    """A publication changes and removes indices, aliases and bodies: nothing of the former state is left."""
    lease = await take(store)
    await store.publish(FIRST, lease)
    second = state(
        {"a": StoredIndex("u-a2", C), "c": StoredIndex("u-c", C)}, C_MAPPING, aliases={"y": ("a",), "x": ("c",)}
    )
    await store.publish(second, lease)
    loaded = (await load(store)).state
    assert loaded.indices == second.indices
    assert loaded.aliases == second.aliases
    assert loaded.bodies == {C: C_MAPPING}
    await store.publish(state({"c": StoredIndex("u-c", C)}), lease)
    loaded = (await load(store)).state
    assert set(loaded.indices) == {"c"}
    assert loaded.aliases == {}
    assert loaded.bodies == {C: C_MAPPING}


async def test_ages_by_the_stores_clock(store: Store) -> None:
    """Ages go on in the store: a state that was 100 s old when it was published is that old or older when loaded."""
    aged = state({"a": StoredIndex("u", A, 250.0), "b": StoredIndex("u", A)}, A_MAPPING, age=100.0)
    await store.publish(aged, await take(store))
    await asyncio.sleep(0.05)
    loaded = (await load(store)).state
    # The store's clock ticks in milliseconds.
    assert 100.048 <= loaded.age_seconds < 100.05 + JITTER
    own = loaded.indices["a"].age_seconds
    assert own is not None
    assert own - loaded.age_seconds == pytest.approx(150.0, abs=0.01)
    assert loaded.indices["b"].age_seconds is None


async def test_confirmation_clears_own_age(store: Store) -> None:
    """An index that a later pass confirms has no age of its own any more, and one that it misses gets one."""
    lease = await take(store)
    await store.publish(state({"a": StoredIndex("u", A, 250.0), "b": StoredIndex("u", A)}, A_MAPPING), lease)
    await store.publish(state({"a": StoredIndex("u", A), "b": StoredIndex("u", A, 30.0)}, A_MAPPING), lease)
    indices = (await load(store)).state.indices
    assert indices["a"].age_seconds is None
    assert indices["b"].age_seconds == pytest.approx(30.0, abs=JITTER)


async def test_lease_excludes(store: Store) -> None:
    """While one holds a lease, another is told how long it runs; leases of other names are free."""
    lease = await take(store, "one")
    assert (lease.name, lease.ttl_seconds) == ("refresh", LONG)
    wait = await store.lease("refresh", "two", LONG)
    assert isinstance(wait, float)
    assert LONG - JITTER < wait <= LONG
    assert (await take(store, "two", name="other")).name == "other"


async def test_concurrent_takers(store: Store) -> None:
    """Of many who ask at once, one gets the lease."""
    taken = await asyncio.gather(*(store.lease("refresh", f"holder-{number}", LONG) for number in range(8)))
    assert sum(isinstance(lease, Lease) for lease in taken) == 1


async def test_renewal(store: Store) -> None:
    """The holder asks again and keeps its token; the lease then runs from that moment."""
    first = await take(store, "one", 1.0)
    renewed = await take(store, "one", LONG)
    assert renewed.token == first.token
    wait = await store.lease("refresh", "two", LONG)
    assert isinstance(wait, float)
    assert wait > 1.0


async def test_expiry_and_fencing(store: Store) -> None:
    """A lease that ran out goes to whoever asks, with a larger token; the late write of its former holder is refused."""
    late = await take(store, "one", 0.03)
    await asyncio.sleep(0.06)
    current = await take(store, "two")
    assert current.token > late.token
    await store.publish(FIRST, current)
    with pytest.raises(StaleToken):
        await store.publish(state({}), late)
    assert (await load(store)).state.indices == FIRST.indices


async def test_publishing_without_lease(store: Store) -> None:
    """A lease that was never granted publishes nothing."""
    with pytest.raises(StaleToken):
        await store.publish(FIRST, Lease("refresh", 1, LONG))
    assert await store.load(()) is None


async def test_release(store: Store) -> None:
    """A lease given back is free at once, for its former holder too; the token still grows."""
    first = await take(store, "one")
    await store.release(first)
    second = await take(store, "two")
    assert second.token > first.token
    await store.release(second)
    assert (await take(store, "one")).token > second.token


async def test_late_release(store: Store) -> None:
    """Giving back a lease that another has meanwhile leaves the other's alone."""
    late = await take(store, "one", 0.03)
    await asyncio.sleep(0.06)
    await take(store, "two")
    await store.release(late)
    assert isinstance(await store.lease("refresh", "one", LONG), float)


async def test_attempts_are_limited(store: Store) -> None:
    """An attempt within the interval of the last noted one is told how long to wait, and is not noted itself."""
    assert await store.attempt("refresh", LONG) == 0.0
    first = await store.attempt("refresh", LONG)
    assert LONG - JITTER < first <= LONG
    await asyncio.sleep(0.02)
    assert await store.attempt("refresh", LONG) < first
    assert await store.attempt("other", LONG) == 0.0


async def test_attempt_after_interval(store: Store) -> None:
    """After the interval the next attempt is free; an interval of 0 limits nothing."""
    assert await store.attempt("refresh", 0.03) == 0.0
    await asyncio.sleep(0.06)
    assert await store.attempt("refresh", 0.03) == 0.0
    assert await store.attempt("refresh", 0.0) == 0.0


async def test_concurrent_attempts(store: Store) -> None:
    """Of many attempts at once, one goes ahead."""
    waits = await asyncio.gather(*(store.attempt("refresh", LONG) for _ in range(8)))
    assert sum(wait == 0.0 for wait in waits) == 1


# From here on: what only the database store can do wrong.


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

    async with open_database_store() as store:
        with monkeypatch.context() as patch:
            patch.setattr(database, "_generation", hang)
            patch.setattr(database_thread, "DEADLINE_SECONDS", 0.05)
            with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
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
