"""Replay a day of requests and changes in seconds: which requests have to wait after a change, with and without refresh
ahead?

The day has a clock of its own, which also moves on by the time that rebuilding really takes. Requests come at random,
more by day than by night, and most of them are for few names. Each family gets a new field every two hours, and is
rolled over once.
"""

import asyncio
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from bench.subjects.cluster import FAMILIES, Family, rendered
from bench.subjects.names_in_memory import Names, families
from cacheapp.cache.derived import FIELD_LIST, SCHEMA_TEXT, Kind
from cacheapp.cache.refresh_ahead import RefreshAhead, Room

DAY_SECONDS = 86_400.0
CHANGES = 12
"""The number of changes of each family."""
KINDS: tuple[Kind, ...] = (None, None, FIELD_LIST, FIELD_LIST, FIELD_LIST, SCHEMA_TEXT)
"""What requests ask for, each as often as it is listed here; None: the mappings."""
SHARE_OF_ALIASES = 0.6
NEAR_BY = 3.0
"""The larger this is, the more requests are for the first names."""

Asked = tuple[Kind, str]


@dataclass
class Waits:
    """The result of a day.

    Args:
        requests: The number of requests.
        first: Those for something that nobody had asked for before.
        after_changes: Those that had to wait after a change.
        changes: The number of changes.
        derived: How often something was derived.
        rebuilt_seconds: How long rebuilding took.
    """

    requests: int = 0
    first: int = 0
    after_changes: int = 0
    changes: int = 0
    derived: int = 0
    rebuilt_seconds: float = 0.0


class Day:
    """One replay. With `ahead` False, for comparison, nothing is made anew before it is asked for."""

    def __init__(self, requests: int, seed: int, *, ahead: bool = True, among: Sequence[Family] = FAMILIES) -> None:
        self.now = 0.0
        self.waits = Waits()
        self._requests = requests
        self._families = among
        self._random = random.Random(seed)
        self._names: Names = families(lambda: self.now, among)
        self._ahead = RefreshAhead(
            self._names.views.asked_for, self._rebuild, clock=lambda: self.now, sleep=self._sleep
        )
        self._rebuilds = ahead
        self._sleeping: tuple[float, asyncio.Future[None]] | None = None
        self._sleeps = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asked: set[Asked] = set()
        self._made_at: dict[Asked, float] = {}
        self._fields = 0

    async def replay(self) -> Waits:
        """Replay the whole day."""
        await self._names.read()
        for at, is_change in sorted([*self._changes(), *self._arrivals()]):
            await self._work_until(at)
            self.now = max(self.now, at)
            if is_change:
                await self._change(round(at / DAY_SECONDS * CHANGES * len(self._families)))
            else:
                await self._ask(at)
        await self._work_until(DAY_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.waits.derived = self._names.views.report().derived_total
        self.waits.rebuilt_seconds = self._ahead.rebuilt_seconds_total
        return self.waits

    def _arrivals(self) -> Iterator[tuple[float, bool]]:
        """Yield the times of requests, in seconds since the start of the day, each with False: more by day than by
        night.
        """
        while self._requests:
            at = self._random.random() * DAY_SECONDS
            if self._random.random() < 0.55 - 0.45 * math.cos(2 * math.pi * at / DAY_SECONDS):
                self._requests -= 1
                yield at, False

    def _changes(self) -> Iterator[tuple[float, bool]]:
        """Yield the times of changes, each with True: every two hours for each family, one family after the other."""
        count = len(self._families) * CHANGES
        return ((number * DAY_SECONDS / count, True) for number in range(1, count))

    async def _change(self, number: int) -> None:
        """Add a new field to the last index of a family; once a day, add a new index with the mapping of the last
        one.
        """
        family = self._families[number % len(self._families)]
        alias = f"all-{family.name}"
        members = self._names.aliases[alias]
        self.waits.changes += 1
        if number // len(self._families) == CHANGES // 2:
            name = f"{family.name}-next"
            self._names.aliases[alias] = (*members, name)
            await self._names.read({name: self._names.bodies[members[-1]]})
        else:
            await self._names.read({members[-1]: rendered(family, f"field_{number}")})
        if self._rebuilds:
            self._ahead.note_change()
            if self._task is None or self._task.done():
                self._begin()
                await self._settled()

    async def _ask(self, at: float) -> None:
        kind, name = self._random.choice(KINDS), self._name()
        asked, views = (kind, name), self._names.views
        ready = views.ready_mapping(name) if kind is None else views.ready(kind, name)  # type: ignore[arg-type]
        self.waits.requests += 1
        if asked not in self._asked:
            self._asked.add(asked)
            self.waits.first += 1
        elif ready is None or at < self._made_at.get(asked, 0.0):
            self.waits.after_changes += 1
        if ready is None:
            await (views.mapping(name) if kind is None else views.text(kind, name))  # type: ignore[arg-type]

    def _name(self) -> str:
        near = self._random.random() ** NEAR_BY
        among = list(self._names.aliases) if self._random.random() < SHARE_OF_ALIASES else self._indices
        return among[int(near * len(among))]

    @property
    def _indices(self) -> list[str]:
        """Return the indices with the newest of each family first, as people ask for them."""
        newest = [members[-1] for members in self._names.aliases.values()]
        return [*newest, *list(self._names.bodies)[::7]]

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._ahead.catch_up())

    async def _rebuild(self, kind: Kind, name: str, room: Room) -> None:
        began = perf_counter()
        await self._names.views.rebuild(kind, name, room)
        self.now += perf_counter() - began
        self._made_at[kind, name] = self.now

    async def _sleep(self, seconds: float) -> None:
        wakes = asyncio.get_running_loop().create_future()
        self._sleeping = self.now + seconds, wakes
        self._sleeps.set()
        await wakes

    async def _work_until(self, at: float) -> None:
        """Let rebuilding go on up to that moment; a change begins it anew."""
        while self._task is not None:
            if self._task.done():
                if not self._ahead.has_changed:
                    return
                self._begin()
                await self._settled()
            if self._sleeping is None or self._sleeping[0] > at:
                return
            (wakes_at, wakes), self._sleeping = self._sleeping, None
            self.now = max(self.now, wakes_at)
            self._sleeps.clear()
            wakes.set_result(None)
            await self._settled()

    async def _settled(self) -> None:
        """Wait until rebuilding sleeps or ends."""
        assert self._task is not None
        sleeps = asyncio.ensure_future(self._sleeps.wait())
        await asyncio.wait((self._task, sleeps), return_when=asyncio.FIRST_COMPLETED)
        sleeps.cancel()
