"""When passes run by themselves, and how processes take over each other's results."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cacheapp.cluster.reader import Sent, uncounted
from cacheapp.state.published import Loaded
from cacheapp.state.readings import Listing
from cacheapp.state.snapshot import Source
from cacheapp.stores.protocol import Lease
from cacheapp.sync.refresher import LEASE_TTL_SECONDS
from cacheapp.sync.schedule import next_pass_in
from tests.support.fakes import (
    A_MAPPING,
    FakeClock,
    FakeReader,
    Instance,
    InstantSleep,
    MemoryStore,
    no_answer,
    settle,
)

RENEWAL_SECONDS = LEASE_TTL_SECONDS / 3


@pytest.fixture
async def cluster() -> FakeReader:
    return FakeReader({"a": A_MAPPING})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sleep(clock: FakeClock) -> InstantSleep:
    return InstantSleep(clock, endless_seconds=RENEWAL_SECONDS)


@pytest.fixture
def store(clock: FakeClock, sleep: InstantSleep) -> MemoryStore:
    return MemoryStore(clock, sleep)


@pytest.fixture
def make(cluster: FakeReader, clock: FakeClock, store: MemoryStore, sleep: InstantSleep) -> Callable[..., Instance]:
    return lambda **config: Instance(cluster, store, clock, config, sleep)


@asynccontextmanager
async def running(sleep: InstantSleep, limit: int, run: Callable[[], Any]) -> AsyncIterator[None]:
    """Runs a background task until it has slept `limit` times, without any time passing."""
    sleep.limit = limit
    task = asyncio.create_task(run())
    ended = asyncio.create_task(sleep.enough.wait())
    await asyncio.wait_for(asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED), 5)
    try:
        yield
    finally:
        finished = task.done()
        task.cancel()
        ended.cancel()
        await asyncio.wait([task, ended])
        if finished:
            task.result()


@pytest.mark.parametrize(
    ("pass_at", "interval", "seconds"),
    [(None, 240.0, 0.0), (None, 0.0, 0.0), (900.0, 0.0, None), (900.0, 240.0, 140.0), (700.0, 240.0, 0.0)],
)
def test_when_the_next_pass_is_due(pass_at: float | None, interval: float, seconds: float | None) -> None:
    """The first pass is due at once, each further one an interval after the newest; without an interval there is
    none.
    """
    assert next_pass_in(pass_at, interval, 1000.0) == seconds


async def test_first_pass_at_once_then_by_interval(make: Callable[..., Instance], sleep: InstantSleep) -> None:
    """A cold start reads at once; each further pass follows one interval after the last one listed the cluster."""
    one = make(refresh_interval=240.0)
    async with running(sleep, 3, one.schedule.keep_fresh):
        assert sleep.delays == [240.0, 240.0, 240.0]
        assert one.refresher.report().passes_total == 3
        assert one.refresher.report().next_refresh_in_seconds == 240.0
        assert [kept.trigger for kept in one.refresher._passes.values()] == ["warm-up", "schedule", "schedule"]


async def test_absent_cluster_is_retried(
    make: Callable[..., Instance], cluster: FakeReader, sleep: InstantSleep
) -> None:
    """While the cluster is away the first pass is tried again with growing, bounded delays."""
    one = make()
    cluster.failure = no_answer()
    async with running(sleep, 6, one.schedule.keep_fresh):
        assert sleep.delays == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
        assert one.refresher.report().passes_total == 6
        assert not one.cache.warm


async def test_retry_delay_starts_over(
    make: Callable[..., Instance], cluster: FakeReader, monkeypatch: pytest.MonkeyPatch, sleep: InstantSleep
) -> None:
    """After a success the next outage is retried quickly again."""
    one = make()
    cluster.failure = no_answer()
    real_listing, calls = cluster.listing, 0

    async def listing(cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        nonlocal calls
        calls += 1
        cluster.failure = None if calls == 3 else no_answer()
        return await real_listing(cluster_uuid, sent)

    monkeypatch.setattr(cluster, "listing", listing)
    async with running(sleep, 4, one.schedule.keep_fresh):
        assert sleep.delays == [0.5, 1.0, 240.0, 0.5]


async def test_another_process_at_work(make: Callable[..., Instance], store: MemoryStore, sleep: InstantSleep) -> None:
    """While another process holds the lease this one waits and asks again, without reading the cluster."""
    one = make()
    await store.lease("refresh", "other", 3600.0)
    async with running(sleep, 3, one.schedule.keep_fresh):
        assert sleep.delays == [0.5, 1.0, 2.0]
        assert one.reader.requests_total == 0


async def test_warm_start_from_store(
    make: Callable[..., Instance], cluster: FakeReader, clock: FakeClock, sleep: InstantSleep
) -> None:
    """A process that finds a published state starts warm, without the cluster, and is due when that state is too
    old.
    """
    await make().run()
    requests = cluster.requests_total
    cluster.failure = no_answer()
    clock.advance(100.0)
    late = make(refresh_interval=240.0)
    async with running(sleep, 1, late.schedule.keep_fresh):
        assert late.cache.warm
        assert late.cache.snapshot.indices["a"].source is Source.STORE
        assert sleep.delays == [140.0]
        assert late.refresher.report().next_refresh_in_seconds == 140.0
    assert cluster.requests_total == requests


async def test_pass_of_another_postpones_own(
    make: Callable[..., Instance], clock: FakeClock, store: MemoryStore, sleep: InstantSleep
) -> None:
    """What another process published while this one slept counts: its own pass waits for the rest of the interval."""
    one, other = make(refresh_interval=240.0), make()
    await one.run()
    clock.advance(200.0)
    await other.run()
    await one.sharing.take_over()
    async with running(sleep, 1, one.schedule.keep_fresh):
        assert sleep.delays == [240.0]
        assert one.refresher.report().passes_total == 1


async def test_schedule_off(make: Callable[..., Instance], sleep: InstantSleep) -> None:
    """With an interval of 0 there is the first pass and no other."""
    one = make(refresh_interval=0.0)
    async with running(sleep, 1, one.schedule.keep_fresh):
        assert sleep.delays == []
    assert one.refresher.report().passes_total == 1
    assert one.refresher.report().next_refresh_in_seconds is None


async def test_followers_take_over(make: Callable[..., Instance], store: MemoryStore, sleep: InstantSleep) -> None:
    """A process takes over what another published within a second, loads each generation once, and only new bodies."""
    one, follower = make(), make()
    await one.run()
    async with running(sleep, 4, follower.schedule.follow_store):
        assert sleep.delays == [1.0] * 4
    assert follower.cache.snapshot.bodies == one.cache.snapshot.bodies
    assert store.loads == [frozenset()]
    one.reader.indices["b"] = A_MAPPING
    await one.run()
    await follower.sharing.take_over()
    assert follower.cache.snapshot.resolve("b") == ("b",)
    assert store.loads[1:] == [frozenset(one.cache.snapshot.bodies)]
    assert follower.refresher.report().store_generation == 2


async def test_own_publication_is_not_loaded(make: Callable[..., Instance], store: MemoryStore) -> None:
    """Who published doesn't load it back."""
    one = make()
    await one.run()
    await one.sharing.take_over()
    assert store.loads == []


async def test_empty_store(make: Callable[..., Instance], store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, or one that is emptied in between, changes nothing."""
    one = make()
    await one.sharing.take_over()
    assert store.loads == []

    async def emptied() -> int:
        return 7

    monkeypatch.setattr(store, "generation", emptied)
    await one.sharing.take_over()
    assert not one.cache.warm
    assert one.refresher.report().store_generation is None


async def test_store_outage_is_noted_and_forgotten(make: Callable[..., Instance], store: MemoryStore) -> None:
    """A store that is down is shown until it answers again."""
    one = make()
    store.down = True
    await one.sharing.take_over()
    assert one.refresher.report().store_error == "The store is down."
    store.down = False
    await one.sharing.take_over()
    assert one.refresher.report().store_error is None


async def test_slow_load_is_not_younger(
    make: Callable[..., Instance], clock: FakeClock, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that loading takes counts as age: a mapping never looks younger than it is."""
    one, follower = make(), make()
    await one.run()
    load = store.load

    async def slow(known_hashes: Collection[str]) -> Loaded | None:
        loaded = await load(known_hashes)
        clock.advance(3.0)
        return loaded

    monkeypatch.setattr(store, "load", slow)
    await follower.sharing.take_over()
    answer = follower.cache.peek("a")
    assert answer is not None
    assert answer.age_seconds == 3.0


async def test_older_publication_does_not_set_back(
    make: Callable[..., Instance], clock: FakeClock, store: MemoryStore
) -> None:
    """Taking over a state older than this process's own pass leaves its schedule as it was."""
    one, other = make(refresh_interval=240.0), make()
    await other.run()
    assert store.published is not None
    clock.advance(100.0)
    store.down = True
    await one.run()
    store.down = False
    await one.sharing.take_over()
    assert one.schedule.next_pass_in() == 240.0
    await settle()
    lease = await store.lease("refresh", "anybody", 1.0)
    assert isinstance(lease, Lease)
