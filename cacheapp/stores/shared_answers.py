"""Instances answer each other's misses: what one has just read from the cluster, the others need not ask for.

A miss looks for an answer that another instance shared. Without one, it claims the right to read the name, so that of
many instances that miss it at once one asks the cluster; the others wait, briefly, for what that one shares. Sharing
may fail at any step: then an instance reads for itself.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

from cacheapp.errors import MappingNotFound
from cacheapp.reports import SharedAnswersReport
from cacheapp.state.snapshot import Source
from esassistant.clock import Clock, monotonic
from esassistant.errors import StoreUnavailable
from esassistant.resource import Handle

CLAIM_SECONDS = 3.0
WAIT_SECONDS = 1.0
"""How long a miss waits for another instance before it asks the cluster itself."""
PAUSES_SECONDS = (0.01, 0.02, *(0.05,) * 19)
"""Between looks for an answer; together not more than `WAIT_SECONDS`."""
LONGEST_SHARED_SECONDS = 3600.0
SHORTEST_SHARED_SECONDS = 1.0
"""With a shorter TTL nothing is shared: it would be too old by the time that anybody finds it."""


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """The mappings of the indices that one name stands for, as the cluster confirmed them `age_seconds` ago."""

    mappings: Mapping[str, bytes]
    age_seconds: float


@dataclass(frozen=True, slots=True)
class NameReading:
    """The mappings that a name stands for, the moment for which the cluster confirmed them, and who said so.

    `confirmed_at` is on the monotonic clock of this process, as `IndexEntry.confirmed_at` is.
    """

    mappings: Mapping[str, bytes]
    confirmed_at: float
    source: Source


ReadName = Callable[[], Awaitable[NameReading]]


class SharedAnswers(Protocol):
    """Where instances keep what they read for each other. Everything there ends by itself.

    Every method raises `StoreUnavailable` when the store can't be reached in time.
    """

    @property
    def poisoned_total(self) -> int:
        """How many values were none of ours, and were ignored."""
        ...

    async def fetch(self, name: str) -> SharedAnswer | None:
        """What was shared last of `name`; None: nothing that is whole, or it is too old."""
        ...

    async def share(self, name: str, mappings: Mapping[str, bytes], age_seconds: float, ttl_seconds: float) -> None:
        """Give others what the cluster confirmed `age_seconds` ago, until it is `ttl_seconds` old. What is older than
        what is there, or too large, is not kept.
        """
        ...

    async def forget(self, name: str) -> None:
        """The cluster says that there is no such name: what was shared of it is over."""
        ...

    async def claim(self, name: str, holder: str, ttl_seconds: float) -> bool:
        """Take the right to read `name`, for `ttl_seconds`; whether nobody else has it."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Give that right back early. Harmless when `holder` doesn't have it."""
        ...


class SharedReader:
    """Reads names for the mapping cache, by way of other instances where that saves a call. One per process, owned by
    the registry; belongs to its loop.
    """

    def __init__(self, answers: SharedAnswers | None, ttl_seconds: float, *, clock: Clock = monotonic) -> None:
        """`answers` None: nothing is shared, each instance reads for itself. `ttl_seconds`: as long is an answer fresh."""
        self._answers = answers if ttl_seconds >= SHORTEST_SHARED_SECONDS else None
        self._ttl_seconds = min(ttl_seconds, LONGEST_SHARED_SECONDS)
        self._clock = clock
        self._hits_total = 0
        self._waits_total = 0

    def stats(self) -> SharedAnswersReport | None:
        """None: nothing is shared."""
        if self._answers is None:
            return None
        return SharedAnswersReport(self._hits_total, self._waits_total, self._answers.poisoned_total)

    async def read(self, name: str, read: ReadName) -> NameReading:
        """What the cluster says now, which others may then use. Raises what `read` raises."""
        if self._answers is None:
            return await read()
        try:
            reading = await read()
        except MappingNotFound:
            with suppress(StoreUnavailable):
                await self._answers.forget(name)
            raise
        age = self._clock() - reading.confirmed_at
        with suppress(StoreUnavailable):
            await self._answers.share(name, reading.mappings, age, self._ttl_seconds)
        return reading

    async def miss(self, name: str, read: ReadName, since: float) -> NameReading:
        """What another instance read after `since`, else what the cluster says. Raises what `read` raises.

        Waits at most `WAIT_SECONDS` for another instance that reads the name; not at all while the store is down.
        """
        if self._answers is None:
            return await read()
        async with AsyncExitStack() as claimed:
            found = None
            with suppress(StoreUnavailable):
                found = await self._found_or_claimed(self._answers, name, since, claimed)
            return await self.read(name, read) if found is None else found

    async def _found_or_claimed(
        self, answers: SharedAnswers, name: str, since: float, claimed: AsyncExitStack
    ) -> NameReading | None:
        """None: this instance has to read it. `claimed` gives a claim back."""
        until = self._clock() + WAIT_SECONDS
        holder = secrets.token_hex(8)
        for number, pause in enumerate(PAUSES_SECONDS):
            if (found := await self._fetch(answers, name, since)) is not None:
                return found
            # Before it is asked for: who is cancelled meanwhile may have got it.
            claimed.push_async_callback(_release, answers, name, holder)
            if await answers.claim(name, holder, CLAIM_SECONDS):
                # Another may have shared and released between our two questions.
                return await self._fetch(answers, name, since)
            claimed.pop_all()
            if self._clock() >= until:
                break
            self._waits_total += number == 0
            await asyncio.sleep(pause)
        return await self._fetch(answers, name, since)

    async def _fetch(self, answers: SharedAnswers, name: str, since: float) -> NameReading | None:
        asked_at = self._clock()
        answer = await answers.fetch(name)
        if answer is None or answer.age_seconds > self._ttl_seconds:
            return None
        confirmed_at = asked_at - answer.age_seconds
        if confirmed_at < since:
            return None
        self._hits_total += 1
        return NameReading(answer.mappings, confirmed_at, Source.STORE)


SHARED_ANSWERS: Handle[SharedReader] = Handle("shared_answers")


async def _release(answers: SharedAnswers, name: str, holder: str) -> None:
    with suppress(StoreUnavailable):
        await answers.release(name, holder)
