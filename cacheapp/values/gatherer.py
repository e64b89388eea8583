"""Gather field values. One process of a deployment at a time asks, within a budget that all share, and only while this
service has no other calls under way at the cluster.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import msgspec
from elasticsearch import ApiError, TransportError

from cacheapp.mapping.fields import Field
from cacheapp.reports import FieldValuesReport
from cacheapp.state.clusters import ClusterId
from cacheapp.state.distinct import Distinct, distinct_mappings
from cacheapp.state.family_names import NamedFamily
from cacheapp.state.snapshot import Snapshot
from cacheapp.stores.protocol import Lease, Store
from cacheapp.values.calls import ValueCalls
from cacheapp.values.family_values import KEPT_SECONDS, LEFT_OUT, FamilyValues
from cacheapp.values.known import KnownValues
from cacheapp.values.policy import (
    MAX_FAMILIES,
    Hindrance,
    Pause,
    Situation,
    hindrance_in,
    is_wanted,
    seconds_between_calls,
)
from cacheapp.values.question import fields_to_ask, indices_to_ask, read_answer, search_body
from cacheapp.values.shared_values import (
    OVERVIEW,
    PARTS,
    Overview,
    name_of,
    part_of,
    pause,
    put,
    read_overview,
    read_parts,
)
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.config.model import FieldValuesConfig
from esassistant.elasticsearch.answers import AnswerKind, failure_kind, is_index_failure
from esassistant.elasticsearch.client import unavailable
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.errors import StoreUnavailable
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

LEASE = "field-values"
IDLE_SECONDS = 5.0
"""The time until the gatherer looks again for what is asked for, and for what others have gathered."""
HINDERED_SECONDS = 1.0
OUTCOMES = ("answered", "refused", "denied", "failed")
"""The outcomes of calls. `refused`: with 429; `denied`: our credentials lack a privilege."""

UNREADABLE = "Elasticsearch gave an answer that can't be read."

T = TypeVar("T")
FieldsOf = Callable[[Sequence[Distinct]], Awaitable[tuple[Field, ...]]]


class Choose(Protocol):
    """Chooses the families whose values are gathered."""

    def __call__(self, ages: Mapping[str, float], *, room_for_new: bool) -> Iterable[str]:
        """Return the names of families in the order in which they are gathered.

        Args:
            ages: The age in seconds of what is known of families, by name.
            room_for_new: Whether families that aren't in `ages` may be gathered.
        """
        ...


class _Stop(Exception):
    """Ends a turn: no more calls may be sent now."""


class Gatherer:
    """Gathers field values. One per process, owned by the registry; belongs to its loop. `run` is its background
    task.
    """

    def __init__(
        self,
        known: KnownValues,
        calls: ValueCalls,
        store: Store,
        config: FieldValuesConfig,
        *,
        snapshot: Callable[[], Snapshot],
        fields_of: FieldsOf,
        choose: Choose,
        used: Callable[[str], Sequence[str]],
        situation: Callable[[], Situation],
        cluster: Callable[[], ClusterId],
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Make a gatherer; no I/O.

        Args:
            known: The values that this process knows.
            calls: The calls to the cluster.
            store: The store, for the lease, the budget and the shared values.
            config: The settings.
            snapshot: Returns the latest snapshot.
            fields_of: Returns the fields of distinct mappings.
            choose: Chooses the families; those that aren't wanted are skipped.
            used: Returns the fields of a family that searches name most.
            situation: Returns what the connection pools do now.
            cluster: Returns the identity of the cluster.
            clock: The monotonic clock.
            sleep: Waits for some seconds.
        """
        self._known, self._calls, self._store = known, calls, store
        self._config = config
        self._between_calls = seconds_between_calls(config.calls_per_minute)
        self._snapshot, self._fields_of = snapshot, fields_of
        self._choose, self._used, self._situation, self._cluster = choose, used, situation, cluster
        self._clock, self._sleep = clock, sleep
        self._holder = secrets.token_hex(8)
        self._pause = Pause(clock)
        self._versions = Overview().versions
        self._outcomes: Counter[str] = Counter()
        self._hindered: Counter[str] = Counter()
        self._last_error: str | None = None

    async def run(self) -> None:
        """Background task: gather whenever something is due and nothing forbids it."""
        while True:
            try:
                seconds = await self.turn()
            except StoreUnavailable as error:
                logger.debug("%s", error.operator_detail)
                seconds = IDLE_SECONDS
            await self._sleep(seconds)

    async def turn(self) -> float:
        """Gather the values of one family, if any are due, and return the seconds until the next turn.

        1. What others have gathered is taken over first, so that nothing is asked twice.
        2. If nothing is due, or something forbids it, no call is sent.
        3. If another process gathers, this one waits.
        """
        await self._take_over()
        if self._due() is None:
            return IDLE_SECONDS
        if self._is_hindered():
            return HINDERED_SECONDS
        given = await self._store.lease(LEASE, self._holder, 3 * self._between_calls + 30)
        if not isinstance(given, Lease):
            return min(given + 0.1, IDLE_SECONDS)
        try:
            await self._take_over()
            if (family := self._due()) is not None:
                await self._gather(family)
        except _Stop:
            return HINDERED_SECONDS
        finally:
            with suppress(StoreUnavailable):  # the lease ends by itself; a cancellation goes on
                await self._store.release(given)
        return 0.0

    def report(self) -> FieldValuesReport:
        families, fields, left_out = self._known.counts()
        ages = self._known.ages()
        return FieldValuesReport(
            enabled=True,
            families=families,
            fields=fields,
            left_out=left_out,
            kept_bytes=self._known.kept_bytes,
            oldest_age_seconds=round(max(ages.values()), 3) if ages else None,
            calls_total=sum(self._outcomes.values()),
            outcomes={outcome: self._outcomes[outcome] for outcome in OUTCOMES},
            hindered={hindrance.value: self._hindered[hindrance.value] for hindrance in Hindrance},
            paused_seconds=round(self._pause.seconds_left, 3),
            last_error=self._last_error,
        )

    def _due(self) -> NamedFamily | None:
        ages, snapshot = self._known.ages(), self._snapshot()
        for name in self._choose(ages, room_for_new=len(ages) < MAX_FAMILIES):
            family = self._known.families.of_family(name, snapshot)
            if family is not None and is_wanted(family, self._config.families):
                return family
        return None

    def _is_hindered(self) -> bool:
        hindrance = hindrance_in(self._situation(), self._pause.seconds_left)
        if hindrance is None:
            return False
        self._hindered[hindrance.value] += 1
        return True

    async def _take_over(self) -> None:
        """Take over the values that others have gathered since the last time, and their pause."""
        overview, now_ms = await self._store.change((OVERVIEW,), read_overview, KEPT_SECONDS)
        if overview.paused_until_ms > now_ms:
            self._pause.extend((overview.paused_until_ms - now_ms) / 1000)
        changed = [number for number in range(PARTS) if overview.versions[number] != self._versions[number]]
        if changed:
            names = [name_of(number) for number in changed]
            families, now_ms = await self._store.change(names, read_parts, KEPT_SECONDS)
            cluster = self._cluster()
            self._known.keep((one for one in families if one.cluster.is_same_as(cluster)), now_ms)
            self._versions = overview.versions

    async def _gather(self, family: NamedFamily) -> None:
        """Ask for the values of one family, and share the result. Raise `_Stop` if no more calls may be sent now."""
        snapshot = self._snapshot()
        indices = tuple(filter(snapshot.is_whole, family.indices))
        if family.is_alias:
            unfiltered = await self._call(family, partial(self._calls.unfiltered, family.name))
            if unfiltered is None:
                return
            if not unfiltered:
                await self._share(FamilyValues(family.name, 0, left_out="filtered"))
                return
            indices = tuple(filter(unfiltered.__contains__, indices))
        asked = indices_to_ask(indices)
        fields = await self._fields_of(distinct_mappings(snapshot, asked)) if asked else ()
        chosen, left_out = fields_to_ask(fields, self._config.private, self._used(family.name))
        if not chosen:
            await self._share(FamilyValues(family.name, 0, asked, len(family.indices)))
            return
        raw = await self._call(family, partial(self._calls.search, asked, search_body(chosen, len(asked))))
        if raw is None:
            return
        try:
            found = await asyncio.to_thread(read_answer, raw, chosen)
        except ValueError:
            self._last_error = UNREADABLE
            await self._share(FamilyValues(family.name, 0, left_out="failed"))
            return
        await self._share(
            FamilyValues(
                family.name,
                0,
                asked,
                len(family.indices),
                found.sample_documents,
                found.is_whole and len(asked) == len(family.indices),
                found.fields,
                left_out,
            )
        )
        if found.is_slow:
            await self._begin_pause()

    async def _call(self, family: NamedFamily, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Send one call when the budget allows it. Return None if it failed for this family, which is then left out for
        a while. Raises `_Stop` if no more calls may be sent now.

        1. The call is denied, or the family is gone: it is left out.
        2. Its indices have no shards to ask, the search is refused, or its answer is too large: the family is left out.
        3. 429, any other failure, or no answer: the whole deployment pauses.
        """
        await self._wait_for_budget()
        try:
            answer = await ask()
        except (ApiError, TransportError, ValueError) as error:
            kind = failure_kind(error)
            status = error.status_code if isinstance(error, ApiError) else None
            outcome = "refused" if status == 429 else "denied" if kind is AnswerKind.DENIED else "failed"
            self._outcomes[outcome] += 1
            self._last_error = unavailable(error).detail if not isinstance(error, ValueError) else UNREADABLE
            why = _reason_of(error, kind)
            if why is None:
                await self._begin_pause()
                raise _Stop from None
            await self._share(FamilyValues(family.name, 0, left_out=why))
            return None
        self._outcomes["answered"] += 1
        self._pause.note_success()
        return answer

    async def _wait_for_budget(self) -> None:
        """Wait until a call may be sent. Raises `_Stop` as soon as something forbids it."""
        while True:
            if self._is_hindered():
                raise _Stop
            wait = await self._store.attempt(LEASE, self._between_calls)
            if wait == 0:
                if self._is_hindered():  # that may have changed while the store was asked
                    raise _Stop
                return
            await self._sleep(min(wait, HINDERED_SECONDS))

    async def _begin_pause(self) -> None:
        seconds = self._pause.begin()
        await self._store.change((OVERVIEW,), partial(pause, seconds=seconds), KEPT_SECONDS)

    async def _share(self, values: FamilyValues) -> None:
        values = msgspec.structs.replace(values, cluster=self._cluster())
        names = (OVERVIEW, name_of(part_of(values.family)))
        shared, now_ms = await self._store.change(names, partial(put, values=values), KEPT_SECONDS)
        self._known.keep([shared], now_ms)


NOT_GATHERED = FieldValuesReport(
    enabled=False,
    families=0,
    fields=0,
    left_out=dict.fromkeys(LEFT_OUT, 0),
    kept_bytes=0,
    oldest_age_seconds=None,
    calls_total=0,
    outcomes=dict.fromkeys(OUTCOMES, 0),
    hindered={hindrance.value: 0 for hindrance in Hindrance},
    paused_seconds=0.0,
    last_error=None,
)
"""The report where no values are gathered."""

GATHERER: Handle[Gatherer | None] = Handle("field_values")
"""None: no values are gathered."""


def _reason_of(error: Exception, kind: AnswerKind | None) -> str | None:
    """Return why a family is left out after a failed call; None if the failure isn't about the family."""
    if kind is AnswerKind.DENIED:
        return "denied"
    if not isinstance(error, ApiError):
        return "failed" if isinstance(error, AnswerTooLarge | ValueError) else None
    if error.status_code == 404 and kind is AnswerKind.REFUSED:
        return "gone"
    is_its_own = kind in (AnswerKind.REFUSED, AnswerKind.BLOCKED) or is_index_failure(error.status_code, error.body)
    return "failed" if is_its_own else None
