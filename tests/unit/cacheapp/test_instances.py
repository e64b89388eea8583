"""Instances tell each other how they do, by way of the store."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cacheapp.errors import RefreshNotFound
from cacheapp.instances import FORGOTTEN_AFTER_SECONDS, REPORT_SECONDS, STORE_SECONDS, Instances
from cacheapp.reports import InstanceReport
from cacheapp.stores.protocol import StoredReport
from esassistant.errors import StoreUnavailable
from tests.support.fakes import FakeClock, MemoryStore, settle

Make = Callable[..., Instances]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def make(store: MemoryStore, clock: FakeClock) -> Make:
    """`make(name, report)`: an instance over the store; `report` is what it tells, or a function that gives it."""

    def made(name: str, report: Any = None) -> Instances:
        collect = report if callable(report) else lambda: report or {"name": name}
        return Instances(store, name, collect, clock=clock, store_seconds=0.05)

    return made


async def test_each_knows_all(make: Make, clock: FakeClock) -> None:
    """An instance tells of itself as it is now, and of the others as they were when they last reported."""
    one, other = make("one"), make("other")
    await other.publish()
    clock.advance(2.0)
    known = await one.look()
    assert {name: (seen.age_seconds, seen.report) for name, seen in known.items()} == {
        "one": (0.0, {"name": "one"}),
        "other": (2.0, {"name": "other"}),
    }
    clock.advance(3.0)
    assert one.report()["other"].age_seconds == 5.0


async def test_who_ended_is_forgotten(make: Make, clock: FakeClock) -> None:
    """An instance that says nothing for three turns is gone, whether the store is asked again or not."""
    one, other = make("one"), make("other")
    await other.publish()
    await one.look()
    clock.advance(FORGOTTEN_AFTER_SECONDS + 0.1)
    assert set(one.report()) == set(await one.look()) == {"one"}


async def test_passes_of_others(make: Make, store: MemoryStore) -> None:
    """A pass that another instance runs is found by its id; an unknown one, or an outage of the store, is not found."""
    one, other = make("one"), make("other", {"refreshes": {"abc": {"outcome": "completed"}}})
    await other.publish()
    assert await one.refresh_report("abc") == {"outcome": "completed"}
    with pytest.raises(RefreshNotFound):
        await one.refresh_report("xyz")
    store.down = True
    assert await one.refresh_report("abc") == {"outcome": "completed"}  # as it was last heard
    with pytest.raises(RefreshNotFound):
        await make("new").refresh_report("abc")


async def test_what_cannot_be_read_is_left_out(make: Make, store: MemoryStore) -> None:
    """A report of another version, or a damaged one, is as if the instance had said nothing."""
    await store.report("damaged", b"{", 10.0)
    await store.report("strange", b"[1]", 10.0)
    await store.report("other", b'{"refreshes": 5}', 10.0)
    assert set(await make("one").look()) == {"one", "other"}
    with pytest.raises(RefreshNotFound):
        await make("one").refresh_report("abc")


async def test_too_large_a_report_is_not_sent(make: Make, store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    """A report that is out of bounds stays here, which is told once, until one is within them again."""
    sizes = iter([300_000, 300_000, 5, 300_000])
    one = make("one", lambda: {"x": "y" * next(sizes)})
    for told, warnings in ((0, 1), (0, 1), (1, 1), (1, 2)):
        await one.publish()
        assert (len(await store.reports()), len(caplog.records)) == (told, warnings)
    assert "300008 bytes" in caplog.text


async def test_turns(make: Make, store: MemoryStore) -> None:
    """It reports at once, at once again when something happened, and outlives an outage of the store."""
    one = make("one")
    store.down = True
    task = asyncio.create_task(one.keep_publishing())
    await settle()
    store.down = False
    assert await store.reports() == {}
    one.publish_soon()
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
        await make("one").publish()


def hits(known: dict[str, InstanceReport]) -> dict[str, tuple[float, object]]:
    return {name: (seen.age_seconds, seen.report["hits"]) for name, seen in known.items()}


class Hits:
    """Instances whose report is a number that only grows."""

    def __init__(self, make: Make) -> None:
        self.counts = {"one": 0, "other": 0}
        self.one, self.other = (make(name, self.counted(name)) for name in self.counts)

    def counted(self, name: str) -> Callable[[], dict[str, object]]:
        return lambda: {"hits": self.counts[name]}

    def all_hit(self) -> None:
        for name in self.counts:
            self.counts[name] += 1


async def test_told_is_the_same_for_all(make: Make, clock: FakeClock) -> None:
    """Whoever is asked what all have told, no number is smaller than what anybody was told before."""
    both = Hits(make)
    await both.other.publish()
    both.all_hit()
    clock.advance(2.0)
    assert hits(await both.one.reports()) == {"one": (0.0, 1), "other": (2.0, 0)}
    both.all_hit()
    assert hits(await both.other.reports()) == {"one": (0.0, 1), "other": (0.0, 2)}


async def test_told_while_the_store_is_away(make: Make, store: MemoryStore, clock: FakeClock) -> None:
    """An instance then shows only itself, and nothing newer than what others show of it once the store is back; after
    so long that these have forgotten it, itself as it is.
    """
    both = Hits(make)
    await both.one.reports()
    store.down = True
    both.all_hit()
    clock.advance(5.0)
    assert hits(await both.one.reports()) == {"one": (5.0, 0)}
    store.down = False
    assert hits(await both.other.reports()) == {"one": (5.0, 0), "other": (0.0, 1)}
    store.down = True
    clock.advance(FORGOTTEN_AFTER_SECONDS + STORE_SECONDS)
    assert hits(await both.one.reports()) == {"one": (0.0, 1)}


async def test_told_before_anything_was(make: Make, store: MemoryStore) -> None:
    """An instance that has never reached the store tells of itself as it is."""
    store.down = True
    assert hits(await Hits(make).one.reports()) == {"one": (0.0, 0)}


async def test_told_does_not_wait_for_a_store_that_hangs(
    make: Make, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that doesn't answer is away: who asks what all told has an answer after a while."""

    async def never() -> dict[str, StoredReport]:
        await asyncio.Event().wait()
        raise AssertionError

    both = Hits(make)
    monkeypatch.setattr(store, "reports", never)
    async with asyncio.timeout(2):
        assert hits(await both.one.reports()) == {"one": (0.0, 0)}


async def test_a_store_that_hangs_holds_nobody_up(
    make: Make, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor who tells at once that a pass began, nor who asks for a pass of another instance."""

    async def never(*_: object) -> Any:
        await asyncio.Event().wait()

    one = make("one")
    monkeypatch.setattr(store, "reports", never)
    monkeypatch.setattr(store, "report", never)
    async with asyncio.timeout(2):
        await one.try_publish()
        with pytest.raises(RefreshNotFound):
            await one.refresh_report("unknown")


async def test_told_of_too_large_a_report(make: Make, clock: FakeClock) -> None:
    """What is too large for the store is told where it is asked, beside what the others told."""
    large, other = make("large", lambda: {"hits": 1, "x": "y" * 300_000}), make("other", lambda: {"hits": 2})
    await other.publish()
    assert hits(await large.reports()) == {"large": (0.0, 1), "other": (0.0, 2)}
    assert set(await other.reports()) == {"other"}


async def test_reports_arrive_in_order(make: Make, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two reports at the same time the later one stays, however long the store takes for the earlier."""
    arrive, gate = store.report, asyncio.Event()
    slow = iter([gate.wait, settle])

    async def report(name: str, told: bytes, ttl_seconds: float) -> None:
        await next(slow)()
        await arrive(name, told, ttl_seconds)

    monkeypatch.setattr(store, "report", report)
    both = Hits(make)
    first = asyncio.create_task(both.one.publish())
    await settle()
    both.all_hit()
    second = asyncio.create_task(both.one.publish())
    await settle()
    gate.set()
    await asyncio.gather(first, second)
    assert hits(await both.other.look())["one"] == (0.0, 1)
