"""How often each index changed of late, for the pages that list names: read once for all who look within ten seconds,
as a reading takes the history's one thread for tenths of a second.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

from cacheapp.history import HISTORY
from cacheapp.shown_changes import RecentOfIndex
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.registry import Registry
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn

RECENT = timedelta(days=7)
"""So far back changes are counted."""
KEPT_SECONDS = 10.0

Counts = Mapping[str, RecentOfIndex]
CountSince = Callable[[datetime], Awaitable[Counts]]


class RecentCounts:
    """The counts of all indices, whoever asks: callers show those of what they may see. Belongs to its loop."""

    def __init__(self, count_since: CountSince, spawn: Spawn, *, clock: Clock = monotonic) -> None:
        self._count_since = count_since
        self._clock = clock
        self._flights: SingleFlight[None, Counts] = SingleFlight(spawn, clock=clock)
        self._known: tuple[float, Counts] | None = None

    async def get(self) -> Counts:
        """How often each index changed within `RECENT`, and when last; at most `KEPT_SECONDS` old, and the time of a
        reading. Raises `StoreUnavailable`.
        """
        if self._known is not None and self._clock() - self._known[0] < KEPT_SECONDS:
            return self._known[1]
        return await self._flights.do(None, self._read)

    async def _read(self) -> Counts:
        counts = await self._count_since(now_utc() - RECENT)
        # Kept from the end of the reading on: one that took longer than that would be of no use to anybody else.
        self._known = (self._clock(), counts)
        return counts


@asynccontextmanager
async def open_recent_counts(registry: Registry) -> AsyncIterator[RecentCounts]:
    """Open `RECENT_COUNTS`."""
    history = registry.get(HISTORY)
    spawn = partial(registry.flight, name="count-changes", owner=RECENT_COUNTS.name)
    yield RecentCounts(lambda since: history.counts_since(since), spawn)


RECENT_COUNTS: Handle[RecentCounts] = Handle("recent_counts")
