"""The last hour of the whole deployment. Each process counts its minutes, and the store adds them up.

While the store can't be reached, a process shows what it last read and its own minutes, and adds these to the store
later.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.errors import StoreUnavailable
from esassistant.resource import Handle, Health, ReportHandle
from esassistant.shared_values import SharedValues
from healthapp.minutes import KEPT_MINUTES, LEVELS, SHARED, Hour, Minute, add_to_shared, kept, together

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 2.0
MINUTE_SECONDS: Final = 60.0
SPREAD_SECONDS: Final = 6.0
"""The minutes of all processes end at the same time. Each process waits for a random time, at most this long, before it
adds its own to the store.
"""
AGAIN_SECONDS: Final = 15.0
KEPT_SECONDS: Final = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class HourReport:
    """The last whole minutes, oldest first, each with the time at which it began; None if no process reported on it."""

    minutes: tuple[tuple[datetime, Minute | None], ...] = ()


class DeploymentHour:
    """Keeps the last hour. One per process, owned by the registry; belongs to its loop. `keep_counting` is its
    background task.
    """

    def __init__(
        self,
        collect: Callable[[int], Minute],
        level: Callable[[], Health | None],
        store: SharedValues,
        *,
        clock: Clock = monotonic,
        wall_clock: Callable[[], datetime] = now_utc,
        sleep: Sleep = asyncio.sleep,
        spread: Callable[[], float] = lambda: random.uniform(0.0, SPREAD_SECONDS),
    ) -> None:
        """
        Args:
            collect: Returns a minute of this process, given its number on the monotonic clock, right after its end.
            level: Returns the present level of the verdict.
        """
        self._collect = collect
        self._level = level
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._spread = spread
        self._minute = self._number(clock())
        self._worst = 0
        self._pending: dict[int, Minute] = {}
        self._shared: Hour = {}
        self._exchange_at = clock()

    async def keep_counting(self) -> None:
        """Background task: count, and exchange minutes with the store."""
        while True:
            self.tick()
            if self._clock() >= self._exchange_at:
                await self._exchange()
            await self._sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Note the present level, and, if a minute has ended, what callers got in it."""
        number = self._number(self._clock())
        if number != self._minute:
            counted = self._collect(self._minute) + Minute(processes=1, level=self._worst)
            self._pending = kept(together((self._pending, {self._since_1970(self._minute): counted})), self._now())
            self._minute, self._worst = number, 0
            self._exchange_at = min(self._exchange_at, self._clock() + self._spread())
        if (level := self._level()) is not None:
            self._worst = max(self._worst, LEVELS.index(level))

    async def _exchange(self) -> None:
        added, self._pending = self._pending, {}
        self._exchange_at = self._clock() + 2 * MINUTE_SECONDS  # the end of a minute may move it to an earlier time
        try:
            change = partial(add_to_shared, added=added)
            self._shared = await self._store.change((SHARED,), change, KEPT_SECONDS)
        except StoreUnavailable as error:
            logger.debug("%s", error.operator_detail)
            self._pending = kept(together((added, self._pending)), self._now())
            self._exchange_at = self._clock() + AGAIN_SECONDS

    def report(self) -> HourReport:
        """Return the last hour, as far as it is known here. Makes no call."""
        now = self._now()
        known = kept(together((self._shared, self._pending)), now)
        numbers = range(now - KEPT_MINUTES, now)
        return HourReport(tuple((datetime.fromtimestamp(60 * each, UTC), known.get(each)) for each in numbers))

    def _now(self) -> int:
        """Return the number of the present minute since 1970."""
        return int(self._wall_clock().timestamp() // MINUTE_SECONDS)

    def _since_1970(self, minute: int) -> int:
        """Return the number since 1970 of the minute of the wall clock that contains most of a minute of the monotonic
        clock.
        """
        ago = self._clock() - (minute + 0.5) * MINUTE_SECONDS
        return int((self._wall_clock().timestamp() - ago) // MINUTE_SECONDS)

    @staticmethod
    def _number(now: float) -> int:
        return int(now // MINUTE_SECONDS)


HOUR: Handle[DeploymentHour] = Handle("hour")
HOUR_REPORT: ReportHandle[HourReport] = ReportHandle("hour")
