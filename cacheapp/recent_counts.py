"""How often each index changed lately, for the pages that list names. One reading serves all requests of ten seconds,
because it keeps the history's only thread busy for tenths of a second.
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
"""How far back changes are counted."""
KEPT_SECONDS = 10.0

Counts = Mapping[str, RecentOfIndex]
CountSince = Callable[[datetime], Awaitable[Counts]]


class RecentCounts:
    """The counts of all indices, for every caller: the views show only those of visible names. Used only on its event
    loop.
    """

    def __init__(self, count_since: CountSince, spawn: Spawn, *, clock: Clock = monotonic) -> None:
        self._count_since = count_since
        self._clock = clock
        self._flights: SingleFlight[None, Counts] = SingleFlight(spawn, clock=clock)
        self._known: tuple[float, Counts] | None = None

    async def get(self) -> Counts:
        """Return how often each index changed within `RECENT`, and when last. The counts were read at most
        `KEPT_SECONDS` ago.

        Raise `StoreUnavailable` if the database can't be read.
        """
        if self._known is not None and self._clock() - self._known[0] < KEPT_SECONDS:
            return self._known[1]
        return await self._flights.do(None, self._read)

    async def _read(self) -> Counts:
        counts = await self._count_since(now_utc() - RECENT)
        # The age counts from the end of the reading: otherwise a slow one would be too old before anybody used it.
        self._known = (self._clock(), counts)
        return counts


@asynccontextmanager
async def open_recent_counts(registry: Registry) -> AsyncIterator[RecentCounts]:
    """Open the resource `RECENT_COUNTS`."""
    history = registry.get(HISTORY)
    spawn = partial(registry.flight, name="count-changes", owner=RECENT_COUNTS.name)
    yield RecentCounts(lambda since: history.counts_since(since), spawn)


RECENT_COUNTS: Handle[RecentCounts] = Handle("recent_counts")
