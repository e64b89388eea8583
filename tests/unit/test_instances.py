"""Instances tell each other how they do, by way of the store."""

import asyncio
from collections.abc import Callable

import pytest

from cacheapp.errors import RefreshNotFound
from cacheapp.instances import FORGOTTEN_AFTER_SECONDS, REPORT_SECONDS, Instances
from esassistant.errors import StoreUnavailable
from tests.unit.fakes import FakeClock, MemoryStore, settle

Make = Callable[..., Instances]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def make(store: MemoryStore, clock: FakeClock) -> Make:
    return lambda name, report=None: Instances(store, name, lambda: report or {"name": name}, clock=clock)


async def test_each_knows_all(make: Make, clock: FakeClock) -> None:
    """An instance tells of itself as it is now, and of the others as they were when they last reported."""
    one, other = make("one"), make("other")
    await other.report()
    clock.advance(2.0)
    known = await one.look()
    assert {name: (seen.age_seconds, seen.report) for name, seen in known.items()} == {
        "one": (0.0, {"name": "one"}),
        "other": (2.0, {"name": "other"}),
    }
    clock.advance(3.0)
    assert one.all()["other"].age_seconds == 5.0


async def test_who_ended_is_forgotten(make: Make, clock: FakeClock) -> None:
    """An instance that says nothing for three turns is gone, whether the store is asked again or not."""
    one, other = make("one"), make("other")
    await other.report()
    await one.look()
    clock.advance(FORGOTTEN_AFTER_SECONDS + 0.1)
    assert set(one.all()) == set(await one.look()) == {"one"}


async def test_passes_of_others(make: Make, store: MemoryStore) -> None:
    """A pass that another instance runs is found by its id; an unknown one, or an outage of the store, is not found."""
    one, other = make("one"), make("other", {"refreshes": {"abc": {"outcome": "completed"}}})
    await other.report()
    assert await one.refresh("abc") == {"outcome": "completed"}
    with pytest.raises(RefreshNotFound):
        await one.refresh("xyz")
    store.down = True
    assert await one.refresh("abc") == {"outcome": "completed"}  # as it was last heard
    with pytest.raises(RefreshNotFound):
        await make("new").refresh("abc")


async def test_what_cannot_be_read_is_left_out(make: Make, store: MemoryStore) -> None:
    """A report of another version, or a damaged one, is as if the instance had said nothing."""
    await store.report("damaged", b"{", 10.0)
    await store.report("strange", b"[1]", 10.0)
    await store.report("other", b'{"refreshes": 5}', 10.0)
    assert set(await make("one").look()) == {"one", "other"}
    with pytest.raises(RefreshNotFound):
        await make("one").refresh("abc")


async def test_too_large_a_report_is_not_sent(make: Make, store: MemoryStore) -> None:
    """A report that is out of bounds stays here."""
    await make("one", {"x": "y" * 300_000}).report()
    assert await store.reports() == {}


async def test_turns(make: Make, store: MemoryStore) -> None:
    """It reports at once, at once again when something happened, and outlives an outage of the store."""
    one = make("one")
    store.down = True
    task = asyncio.create_task(one.keep_reporting())
    await settle()
    store.down = False
    assert await store.reports() == {}
    one.report_soon()
    async with asyncio.timeout(REPORT_SECONDS - 1):
        while not await store.reports():  # noqa: ASYNC110  (the store has no event)
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_reporting_needs_the_store(make: Make, store: MemoryStore) -> None:
    """Who reports by hand hears of an outage."""
    store.down = True
    with pytest.raises(StoreUnavailable):
        await make("one").report()
