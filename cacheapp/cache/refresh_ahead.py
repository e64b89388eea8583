"""Refresh ahead: after a change, what was asked for lately is made again before it is asked for.

This is a fixed rule, not a model: what was asked for in the last 24 hours is made again, the latest first, with at most
2 % of one processor. What is asked for before its turn is made at once, as always.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cacheapp.state.asked_for import AskedFor
from esassistant.clock import Clock, Sleep, monotonic

SHARE = 0.02
SAVED_SECONDS = 60.0
"""How long the share may be saved up; that much may then be spent at once. So most changes are dealt with in one go."""
AHEAD_MAPPINGS_BYTES, AHEAD_TEXTS_BYTES = 14_680_064, 16_777_216
"""How much is made again after one change, of mappings and of texts. It is less than what is kept of either, so that
nothing made here drives out something else that was made here.
"""
TURN_JOBS = 50
"""After this many names other tasks get a turn: if all are ready already, they take less than a millisecond."""

K = TypeVar("K")


class ProcessorShare:
    """A share of one processor that may be spent, and saved up for a while."""

    def __init__(self, now: float, *, share: float = SHARE, saved_seconds: float = SAVED_SECONDS) -> None:
        self._share = share
        self._most = share * saved_seconds
        self._left = self._most
        self._looked_at = now

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait until something may be spent; 0: it may be spent now."""
        self._left = min(self._most, self._left + (now - self._looked_at) * self._share)
        self._looked_at = now
        return max(0.0, -self._left / self._share)

    def spend(self, seconds: float) -> None:
        self._left -= seconds


class Shelf(enum.Enum):
    """Where something is kept: each shelf has a bound of its own."""

    MAPPINGS = "mappings"
    TEXTS = "texts"


class Room:
    """How many bytes may be made again after one change, of mappings and of texts about them. More would be dropped
    before anybody asks for it.
    """

    def __init__(self, mappings_bytes: int = AHEAD_MAPPINGS_BYTES, texts_bytes: int = AHEAD_TEXTS_BYTES) -> None:
        self._left = {Shelf.MAPPINGS: mappings_bytes, Shelf.TEXTS: texts_bytes}
        self._there: set[Hashable] = set()

    @property
    def is_full(self) -> bool:
        return not any(map(self.has, Shelf))

    def has(self, shelf: Shelf) -> bool:
        """Return whether anything more may be put on a shelf."""
        return self._left[shelf] > 0

    def take(self, shelf: Shelf, key: Hashable, size_bytes: int) -> None:
        """Put something on a shelf. The last thing may be larger than the room that is left. Putting a `key` there
        again takes no more room.
        """
        if key not in self._there:
            self._there.add(key)
            self._left[shelf] -= size_bytes


Rebuild = Callable[[K, str, Room], Awaitable[None]]


class RefreshAhead(Generic[K]):
    """Calls `rebuild` for what was asked for lately, after each change. One per process; `run` is its background
    task.
    """

    def __init__(
        self,
        asked_for: AskedFor[K],
        rebuild: Rebuild[K],
        *,
        new_room: Callable[[], Room] = Room,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        share: float = SHARE,
    ) -> None:
        self._asked_for = asked_for
        self._rebuild = rebuild
        self._new_room = new_room
        self._clock = clock
        self._sleep = sleep
        self._budget = ProcessorShare(clock(), share=share)
        self._changed = asyncio.Event()
        self.rebuilt_seconds_total = 0.0

    def note_change(self) -> None:
        """Note that something has changed."""
        self._changed.set()

    @property
    def has_changed(self) -> bool:
        """Return whether something has changed since the last `catch_up` began."""
        return self._changed.is_set()

    async def run(self) -> None:
        """Background task: wait for a change, and catch up with it."""
        while True:
            await self._changed.wait()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Make again what was asked for lately, until all is made or there is no room. Stop if something changes
        meanwhile, so that the next call begins again with what was asked for last.
        """
        self._changed.clear()
        room = self._new_room()
        for number, (kind, name) in enumerate(self._asked_for.lately()):
            wait_seconds = self._budget.wait_seconds(self._clock())
            if wait_seconds or number % TURN_JOBS == 0:
                await self._sleep(wait_seconds)
            if self.has_changed or room.is_full:
                return
            began_at = self._clock()
            await self._rebuild(kind, name, room)
            # Time spent waiting for others counts too, so this is the most that can have been spent.
            spent_seconds = self._clock() - began_at
            self._budget.spend(spent_seconds)
            self.rebuilt_seconds_total += spent_seconds
