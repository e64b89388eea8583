"""The last hour of the deployment: minutes of all processes, one axis, honest gaps; kept while the store is away."""

import asyncio
import itertools
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from esassistant.errors import StoreUnavailable
from esassistant.resource import Health
from esassistant.shared_values import MemoryValues, Values
from healthapp.hour import AGAIN_SECONDS, DeploymentHour
from healthapp.minutes import KEPT_MINUTES, Counts, Minute
from tests.support.fakes import FakeClock

T = TypeVar("T")
BEGIN = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)


class Store:
    """Shared values whose clock is that of people, and that may be away."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.is_away, self.changes = clock, False, 0
        self._values = MemoryValues(lambda: BEGIN.timestamp() + clock.now)

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        if self.is_away:
            raise StoreUnavailable("The store is away.", retry_after_seconds=1)
        self.changes += 1
        return await self._values.change(names, function, kept_seconds)


class Process:
    """One process, whose calls and health a test sets."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.calls: dict[int, int] = {}
        self.level: Health | None = Health.HEALTHY
        self.hour = DeploymentHour(
            lambda number: Minute(requests=Counts(self.calls.get(number, 0))),
            lambda: self.level,
            store,
            clock=clock,
            wall_clock=lambda: BEGIN + timedelta(seconds=clock.now),
            sleep=self._ended,
            spread=lambda: 0.0,
        )

    async def _ended(self, _: float) -> None:
        raise asyncio.CancelledError

    async def turn(self) -> None:
        """One turn of the background task."""
        with pytest.raises(asyncio.CancelledError):
            await self.hour.keep_counting()

    def minutes(self) -> list[Minute | None]:
        return [minute for _, minute in self.hour.report().minutes]


@pytest.fixture
def clock() -> FakeClock:
    clock = FakeClock()
    clock.now = 0.0
    return clock


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return Store(clock)


async def test_processes_together(store: Store, clock: FakeClock) -> None:
    """Each process adds its minute; all show the sum, the worst verdict, and how many told of it; minutes before them
    are unknown.
    """
    one, two = Process(store, clock), Process(store, clock)
    one.calls, two.calls = {0: 5}, {0: 7}
    clock.now = 30.0
    two.level = Health.UNHEALTHY
    await two.turn()
    two.level = Health.HEALTHY
    clock.now = 61.0
    for process in (one, two, one):
        await process.turn()
    clock.now = 121.0
    await one.turn()
    report = one.hour.report().minutes
    assert len(report) == KEPT_MINUTES
    assert [at for at, _ in report[-2:]] == [BEGIN, BEGIN + timedelta(minutes=1)]
    assert [minute for _, minute in report] == [
        *[None] * (KEPT_MINUTES - 2),
        Minute(processes=2, level=2, requests=Counts(12)),
        Minute(processes=1),
    ]


async def test_while_the_store_is_away(store: Store, clock: FakeClock) -> None:
    """A process shows its own minutes, asks for the store now and then, and adds them all once it is back."""
    process = Process(store, clock)
    process.calls = {0: 1, 1: 2}
    store.is_away = True
    for clock.now in (61.0, 121.0):
        await process.turn()
    assert [minute.requests.calls for minute in process.minutes() if minute] == [1, 2]
    store.is_away = False
    await process.turn()
    assert store.changes == 0
    clock.now += AGAIN_SECONDS
    await process.turn()
    later = Process(store, clock)
    await later.turn()
    assert [minute.requests.calls for minute in later.minutes() if minute] == [1, 2]


async def test_a_verdict_that_is_not_known_yet(store: Store, clock: FakeClock) -> None:
    """It makes no minute worse; a minute in which nothing was called is told all the same."""
    process = Process(store, clock)
    process.level = None
    await process.turn()
    clock.now = 60.0
    await process.turn()
    assert process.minutes()[-1] == Minute(processes=1)


async def test_clocks_that_tick_apart(store: Store, clock: FakeClock) -> None:
    """A minute that is counted from half past to half past belongs to one minute of people's clock, and the next to the
    next.
    """
    clock.now = 1_000_000_025.0
    process = Process(store, clock)
    first = int(clock.now // 60)
    process.calls = {first + number: number + 1 for number in range(5)}
    for _ in range(5):
        clock.now += 60.0
        await process.turn()
    known = [(at, minute.requests.calls) for at, minute in process.hour.report().minutes if minute]
    assert [calls for _, calls in known] == [1, 2, 3, 4, 5]
    assert {after - before for (before, _), (after, _) in itertools.pairwise(known)} == {timedelta(minutes=1)}
