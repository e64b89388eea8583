"""The counts of the changes of late: one reading for all who look, and again after ten seconds."""

import asyncio
from datetime import datetime, timedelta

import pytest

from cacheapp.recent_counts import KEPT_SECONDS, RECENT, Counts, RecentCounts
from cacheapp.shown_changes import RecentOfIndex
from esassistant.clock import now_utc
from esassistant.errors import StoreUnavailable
from tests.support.fakes import FakeClock, settle, spawn


class Readings:
    """What is read of the history: by each reading another total; `gate` holds them up."""

    def __init__(self) -> None:
        self.since: list[datetime] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_away = False

    async def __call__(self, since: datetime) -> Counts:
        self.since.append(since)
        total = len(self.since)
        await self.gate.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        return {"orders": RecentOfIndex(total, now_utc())}


async def total_of(counts: RecentCounts) -> int:
    return (await counts.get())["orders"].total


async def test_one_reading_for_all_who_wait() -> None:
    """Whoever comes during a reading shares it; one who leaves disturbs nobody."""
    readings = Readings()
    counts = RecentCounts(readings, spawn, clock=FakeClock())
    readings.gate.clear()
    callers = [asyncio.create_task(total_of(counts)) for _ in range(5)]
    await settle()
    callers[0].cancel()
    await settle()
    readings.gate.set()
    assert await asyncio.gather(*callers[1:]) == [1] * 4
    assert len(readings.since) == 1
    assert timedelta(0) <= now_utc() - RECENT - readings.since[0] < timedelta(minutes=1)


async def test_kept_for_ten_seconds() -> None:
    """Nothing is read until then, and anew afterwards."""
    clock, readings = FakeClock(), Readings()
    counts = RecentCounts(readings, spawn, clock=clock)
    assert await total_of(counts) == 1
    clock.advance(KEPT_SECONDS - 0.1)
    assert await total_of(counts) == 1
    clock.advance(0.1)
    assert await total_of(counts) == 2


async def test_a_failure_is_told() -> None:
    """Old counts don't stand for what can't be read, and are read again a second later."""
    clock, readings = FakeClock(), Readings()
    counts = RecentCounts(readings, spawn, clock=clock)
    assert await total_of(counts) == 1
    clock.advance(KEPT_SECONDS)
    readings.is_away = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await counts.get()
    assert len(readings.since) == 2
    readings.is_away = False
    clock.advance(1.0)
    assert await total_of(counts) == 3
