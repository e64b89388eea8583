"""The mapping cache: answers from memory, reads through on a miss, serves stale while it reads again.

fresh   age ≤ ttl                   answered from memory
stale   ttl < age ≤ ttl + max_stale answered from memory; read again once, behind the answer
miss    unknown or older            the caller waits for the one flight that reads it
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from cacheapp.cache.figures import Ages, SlowReads
from cacheapp.cache.read_names import ReadNames
from cacheapp.cache.resolutions import Resolutions
from cacheapp.cluster.loader import TogetherReader
from cacheapp.cluster.reader import ClusterReader
from cacheapp.errors import MappingNotFound, NotCovered, NotWarm, TooMuch, no_such_name, nothing_matches
from cacheapp.reports import CacheCounts, CacheReport
from cacheapp.state.answer import (
    MAX_OUTLINE_BYTES,
    Freshness,
    MappingAnswer,
    Rendered,
    RenderedNames,
    answer_at,
    render,
)
from cacheapp.state.expressions import Asked, Expression, Resolved
from cacheapp.state.listing import FirstPage, NameFilter, NamePages, Page
from cacheapp.state.merge import (
    MAX_ABSENT,
    PassChanges,
    Statement,
    after_read,
    merged,
    pass_changes,
    pass_statement,
    published_statement,
)
from cacheapp.state.names import check_name
from cacheapp.state.published import StoredState
from cacheapp.state.readings import Reading
from cacheapp.state.snapshot import Snapshot, Source, inherited_uses, least_used
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import ClusterUnavailable, EsassistantError
from esassistant.long_work import at_once, in_thread_if_large, in_turns
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn
from esassistant.units import as_seconds

MERGE_TRIES = 3
MAX_LACKING = 10
"""So many names of a list are read from the cluster, for one answer: in one request, and again each alone that is an
alias or isn't there.
"""
LISTING_SECONDS = 2.0
"""Listings that reads ask for are at least so far apart: while a node recovers, it may deny every name there is."""


class MappingCache:
    """One per process, owned by the registry; belongs to its loop. The snapshot is replaced, never changed."""

    def __init__(
        self,
        reader: ClusterReader,
        config: MappingCacheConfig,
        spawn: Spawn,
        *,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        max_absent: int = MAX_ABSENT,
        listing_seconds: float = LISTING_SECONDS,
    ) -> None:
        self.reader = reader
        self._together = TogetherReader(reader, spawn)
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._max_absent = max_absent
        self._listing_seconds = listing_seconds
        self._read_listing: Callable[[], Awaitable[None]] | None = None
        self._listings: SingleFlight[str, None] = SingleFlight(spawn, clock=clock)
        self._listing_read_at = -math.inf
        self._read_names = ReadNames(clock, max_names=max_absent)
        self._flights: SingleFlight[str, MappingAnswer] = SingleFlight(spawn, clock=clock)
        self._rendered = RenderedNames()
        self._outlines = RenderedNames(MAX_OUTLINE_BYTES, outlines=True)
        self._ages = Ages()
        self._slow_reads = SlowReads()
        self._renderings: SingleFlight[tuple[Asked, int, int], Rendered | None] = SingleFlight(spawn, clock=clock)
        self._resolutions = Resolutions(spawn)
        self._pages = NamePages()
        self._snapshot = Snapshot()
        self._on_change: list[Callable[[], None]] = []
        # When each body was last part of an answer; until when each absent name needn't be asked for again, and what
        # is said of it.
        self._used_at: dict[str, float] = {}
        self._absent_until: dict[str, tuple[float, str]] = {}
        self._evictions_total = 0
        self.warm = False
        self._hits_total = 0
        self._misses_total = 0
        self._stale_served_total = 0
        self._failures_total = 0

    def __repr__(self) -> str:
        return f"<MappingCache {len(self.snapshot.indices)} indices, {len(self.snapshot.bodies)} distinct mappings>"

    @property
    def snapshot(self) -> Snapshot:
        """The present state. Never changed, only replaced."""
        return self._snapshot

    @snapshot.setter
    def snapshot(self, snapshot: Snapshot) -> None:
        self._used_at.update(inherited_uses(self._snapshot, snapshot, self._used_at))
        if (excess := snapshot.body_bytes - self._config.max_bytes) > 0:
            evicted = least_used(snapshot.bodies, self._used_at, excess)
            self._evictions_total += len(evicted)
            snapshot = snapshot.without_bodies(evicted)
        self._used_at = {hashed: at for hashed, at in self._used_at.items() if hashed in snapshot.bodies}
        is_changed = snapshot.indices is not self._snapshot.indices or snapshot.aliases is not self._snapshot.aliases
        self._snapshot = snapshot
        if is_changed:
            for on_change in self._on_change:
                on_change()

    def on_change(self, changed: Callable[[], None]) -> None:
        """From now on, call `changed` when anything but all ages at once may have changed."""
        self._on_change.append(changed)

    async def get(self, asked: Asked) -> MappingAnswer:
        """The mappings of an index, alias or data stream, or of all that an expression stands for.

        Raises `IllegalName`, `MappingNotFound`, `TooMuch`, or `ClusterUnavailable` when nothing is known that is young
        enough to answer.
        """
        return await self._get(asked, self._rendered)

    async def outline(self, asked: Asked) -> MappingAnswer:
        """What `get` answers, perhaps with an empty body: for what is derived from mappings. Raises what it raises."""
        return await self._get(asked, self._outlines)

    async def _get(self, asked: Asked, kept: RenderedNames) -> MappingAnswer:
        if isinstance(asked, Expression):
            return await self._get_all(asked, kept)
        name = asked
        self.check_name(name)
        rendered = await self._render(name, kept)
        if (answer := self._hit(name, rendered)) is not None:
            return answer
        # What is known exists, though it may have to be read again.
        if not self.is_known(name) and (absent := self._absent_until.get(name)) and self._clock() < absent[0]:
            self._hits_total += 1  # from memory too, that there is no such name
            raise MappingNotFound(absent[1], name)
        self._misses_total += 1
        return await self._flights.do(name, lambda: self._read(name))

    async def _get_all(self, expression: Expression, kept: RenderedNames) -> MappingAnswer:
        """Answer what an expression stands for, of what is in memory. The cluster is asked for a few names at most:

        1. An exact name that isn't known: it may be new. One that the caller may not see isn't asked for.
        2. A mapping that isn't in memory, as there was no room for it, or that is too old to be answered.
        """
        if (answer := self._hit(expression, await self._render(expression, kept))) is not None:
            return answer
        # It may stand for all names there are, which takes too long for the loop.
        if lacking := await asyncio.to_thread(self._lacking, expression, await self.resolve(expression)):
            self._misses_total += 1
            try:
                async with asyncio.TaskGroup() as group:
                    for name in lacking:
                        group.create_task(self.outline(name))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from errors.exceptions[0].__cause__
        if (answer := self._young(await self._render(expression, kept))) is not None:
            return answer
        raise NotWarm("Not all of these mappings are in memory, or young enough.", retry_after_seconds=5)

    def _lacking(self, expression: Expression, resolved: Resolved) -> list[str]:
        """The names that have to be read before what an expression stands for can be answered. Raises what is to be
        said where one isn't there for the caller, or where there are too many.
        """
        for name in resolved.missing:
            expression.visible.check(name)
        if len(resolved.missing) > MAX_LACKING:
            raise TooMuch(
                f"{len(resolved.missing)} of these names are not known ({resolved.missing[0]!r} is one), and at most "
                f"{MAX_LACKING} are looked up at once: leave out what isn't there, or use patterns."
            )
        snapshot, oldest_at = self.snapshot, self._clock() - self._config.ttl - self._config.max_stale
        lacking = dict.fromkeys([*resolved.missing, *(name for name in resolved.exact if not snapshot.resolve(name))])
        unkept = {
            snapshot.indices[index].mapping_hash: index for index in resolved.indices if not snapshot.is_whole(index)
        }
        old = [name for name in resolved.names if snapshot.knows(name) and snapshot.confirmed_of(name) < oldest_at]
        lacking.update(dict.fromkeys([*unkept.values(), *old]))
        if len(lacking) > MAX_LACKING:
            raise ClusterUnavailable(
                f"{len(lacking)} of these mappings are too old to be answered, or not in memory, and at most "
                f"{MAX_LACKING} are read at once: ask for fewer names, or wait for the next pass.",
                retry_after_seconds=5,
            )
        return list(lacking)

    async def resolve(self, expression: Expression) -> Resolved:
        """What an expression stands for, as far as that is known; `missing` may be there all the same.

        Raises `IllegalName`; `MappingNotFound` where it stands for nothing; `NotWarm` where it has patterns, and what
        there is isn't known yet.
        """
        resolved = await self._resolutions.resolve(self.snapshot, expression)
        if resolved.has_patterns and not self.warm:
            raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
        if not (resolved.names or resolved.missing):
            raise nothing_matches(expression.text, resolved.closed)
        return resolved

    def ready(self, asked: Asked) -> MappingAnswer | None:
        """What `get` answers without waiting, counted as it is there; None where `get` has to wait, or raises."""
        return self._hit(asked, self._rendered.find(self.snapshot, asked))

    def peek(self, asked: Asked) -> MappingAnswer | None:
        """What `outline` answers, if it is in memory and young enough; counts nothing and starts nothing."""
        return self._young(self._outlines.find(self.snapshot, asked))

    def note_hit(self, asked: Asked, answer: MappingAnswer) -> None:
        """Count an answer that `peek` gave, and that was passed on. What is stale is read again: of an expression, if
        it stands for few names; the passes renew the others.
        """
        self._hits_total += 1
        if answer.freshness is Freshness.STALE:
            self._stale_served_total += 1
            names = (str(asked),) if answer.resolved is None else answer.resolved.names
            for name in names if len(names) <= MAX_LACKING else ():
                self._revalidate(name)

    async def render(self, asked: Asked, *, outline: bool) -> Rendered | None:
        """What was asked for, rendered and kept, whatever its age; None where that isn't in memory. Counts nothing and
        asks nobody. Raises `IllegalName` and `TooMuch`.
        """
        return await self._render(asked, self._outlines if outline else self._rendered)

    def page(self, wanted: NameFilter, *, limit: int, cursor: str | None) -> Page:
        """A page of the names that are known. Raises `BadRequest`, or `ClusterUnavailable` before the first pass."""
        self._require_warm()
        return self._pages.page(self.snapshot, self._clock(), wanted, limit=limit, cursor=cursor, ttl=self._config.ttl)

    def first_page(self) -> FirstPage:
        """The first page of all names, as it was made a moment ago. Raises `ClusterUnavailable` as `page` does."""
        self._require_warm()
        return self._pages.first(self.snapshot, self._clock())

    def _require_warm(self) -> None:
        if not self.warm:
            raise ClusterUnavailable("No mappings yet: the first pass has not ended.", retry_after_seconds=1)

    async def reread(self, name: str) -> MappingAnswer:
        """Read one name from the cluster now, whatever its age; joins a read of it that is under way."""
        self.check_name(name)
        self._flights.forget_failure(name, MappingNotFound)
        return await self._flights.do(name, lambda: self._read(name))

    async def apply_published(self, state: StoredState, asked_at: float) -> None:
        """Take over what another process published; the store was asked at `asked_at`."""
        before, said = self.snapshot, await in_turns(published_statement(state, asked_at))
        await self._merge(said)
        listed = said.listed or frozenset()
        self._read_names.note_listing(lambda name: name in listed or name in state.aliases, said.at)
        self._read_names.note_published(before, self.snapshot)
        self.warm = True

    async def apply(self, reading: Reading, failed: Iterable[str]) -> PassChanges:
        """Take over what a pass read; `failed` could not be read and stay, as does what the pass left alone."""
        changes = await self._merge(await in_turns(pass_statement(reading, failed)))
        listing = reading.listing
        self._read_names.note_listing(lambda name: name in listing.uuids or name in listing.aliases, reading.listed_at)
        self.warm = True
        return changes

    async def apply_early(self, reading: Reading) -> PassChanges:
        """Take over the first that a pass has read. What it says of the rest is told when it has ended; until then this
        cache isn't warm.
        """
        return await self._merge(await in_turns(pass_statement(reading, ())))

    async def _merge(self, said: Statement) -> PassChanges:
        """Merge a statement into the snapshot, and return what that changed.

        Of many indices it takes some turns of the loop; readers see the state before, then the state after. Nothing is
        awaited once the snapshot is replaced: what the caller does next belongs to that snapshot.
        """
        for _ in range(MERGE_TRIES):
            before = self.snapshot
            after, changes = await in_turns(_merged(before, said))
            if self.snapshot is before:
                break
        else:  # something was read meanwhile, each time
            after, changes = at_once(_merged(self.snapshot, said))
        self.snapshot = after
        return changes

    def confirm_all(self, at: float) -> None:
        """Everything that is known was still so at `at`: renews all ages at once."""
        self.snapshot = replace(self.snapshot, confirmed_at=at)

    def note_cluster(self, uuid: str) -> None:
        """Note which cluster it is (empty: it doesn't tell), unless a pass has told meanwhile."""
        if self.snapshot.cluster_uuid is None:
            self.snapshot = replace(self.snapshot, cluster_uuid=uuid or None)

    @property
    def names_changed_total(self) -> int:
        """How often a read, or what another process published, changed which names there are: a pass may take the
        cluster for unchanged only while this is what it was.
        """
        return self._read_names.changes_total

    def read_listing_by(self, read_listing: Callable[[], Awaitable[None]]) -> None:
        """From now on, have the cluster listed by that when a read denies a name that is known."""
        self._read_listing = read_listing

    def report(self) -> CacheReport:
        now = self._clock()
        flights = self._flights.report()
        answered = self._hits_total + self._misses_total
        return CacheReport(
            warm=self.warm,
            indices=len(self.snapshot.indices),
            aliases=len(self.snapshot.aliases),
            distinct_mappings=len(self.snapshot.bodies),
            body_bytes=self.snapshot.body_bytes,
            rendered_bytes=self._rendered.kept_bytes,
            oldest_age_seconds=self._ages.oldest_seconds(self.snapshot, now),
            stale_indices=self._ages.older_than(self.snapshot, self._config.ttl, now),
            stalest=self._ages.stalest(self.snapshot, now),
            slowest_reads=self._slow_reads.slowest(),
            answers=CacheCounts(
                hits_total=self._hits_total,
                misses_total=self._misses_total,
                stale_served_total=self._stale_served_total,
                failures_total=self._failures_total,
                hit_ratio=self._hits_total / answered if answered else None,
            ),
            flights_total=flights.flights_total,
            shared_flights_total=flights.shared_total,
            remembered_failures_total=flights.remembered_failures_total,
            in_flight=flights.in_flight,
            evictions_total=self._evictions_total,
        )

    def check_name(self, name: str) -> None:
        """Raises `IllegalName` for what can't be the name of an index, alias or data stream."""
        # An alias may have upper case, which no index has: such a name is legal once the cluster has said so.
        if name not in self.snapshot.aliases:
            check_name(name)

    def is_known(self, name: str) -> bool:
        """Whether an index, alias or data stream of that name was there when it was last read or listed."""
        return self.snapshot.knows(name)

    def _hit(self, asked: Asked, rendered: Rendered | None) -> MappingAnswer | None:
        if (answer := self._young(rendered)) is not None:
            self.note_hit(asked, answer)
        return answer

    def _young(self, rendered: Rendered | None) -> MappingAnswer | None:
        if rendered is None:
            return None
        answer = self._answer(rendered, rendered.source)
        return answer if answer.age_seconds <= self._config.ttl + self._config.max_stale else None

    def _answer(self, rendered: Rendered, source: Source) -> MappingAnswer:
        now = self._clock()
        for one in rendered.distinct:
            self._used_at[one.mapping_hash] = now
        return answer_at(rendered, now, self._config.ttl, source)

    async def _render(self, asked: Asked, kept: RenderedNames) -> Rendered | None:
        """Find what is kept; have what is large rendered in a thread, once for all who wait, and kept."""
        snapshot = self.snapshot
        rendered = kept.find(snapshot, asked)
        if rendered is None and kept.is_large(snapshot, asked):
            key = (asked, id(kept), id(snapshot))
            rendered = await self._renderings.do(key, lambda: asyncio.to_thread(kept.render, snapshot, asked))
            if rendered is not None:
                kept.keep(snapshot, asked, rendered)
        return rendered

    def _revalidate(self, name: str) -> None:
        if self._flights.is_in_flight(name):
            return
        # Raised at once: it failed a moment ago. Nobody waits for the flight itself; the stale answer goes on either
        # way.
        with suppress(EsassistantError):
            self._flights.start(name, lambda: self._read(name))

    async def _read(self, name: str) -> MappingAnswer:
        """Read what `name` stands for, put it into the snapshot, and answer."""
        asked_at, denial = self._clock(), None
        mappings: Mapping[str, bytes] = {}
        try:
            mappings = await self._ask(name)
        except MappingNotFound as error:
            denial = error
            if (answer := await self._answer_of_denied(name, denial, asked_at)) is not None:
                return answer
        after = after_read(self.snapshot, name, mappings, asked_at)
        used = [after.indices[index].mapping_hash for index in mappings if index in after.indices]
        self._used_at.update(dict.fromkeys(used, self._clock()))  # or they would be the first to be evicted
        self._read_names.note_read(self.snapshot, after, {name, *mappings}, asked_at)
        self.snapshot = after
        if denial is not None:
            self._note_absent(name, denial)
            raise denial
        rendered = await self._render(name, self._rendered)
        if rendered is None:
            # It is gone since, or known newer but not kept, or larger than all that may be kept: what was read is as
            # old as the answer says.
            alone, size_bytes = after_read(Snapshot(), name, mappings, asked_at), sum(map(len, mappings.values()))
            rendered = await in_thread_if_large(size_bytes, render, alone, name)
        if rendered is None:
            raise no_such_name(name)
        return self._answer(rendered, Source.ELASTICSEARCH)

    async def _ask(self, name: str) -> Mapping[str, bytes]:
        """Return the mappings that the cluster says `name` stands for, by index."""
        asked_at = self._clock()
        try:
            async with asyncio.timeout(self._config.fetch_timeout):
                mappings = await self._together.mapping(name)
        except (TimeoutError, ClusterUnavailable) as error:
            self._failures_total += 1
            self._slow_reads.note(name, self._clock() - asked_at)
            if isinstance(error, ClusterUnavailable):
                raise
            raise ClusterUnavailable(
                f"Elasticsearch did not answer within {as_seconds(self._config.fetch_timeout)}.", retry_after_seconds=5
            ) from None
        if not mappings:  # an alias without any index that we may show
            raise no_such_name(name)
        self._slow_reads.note(name, self._clock() - asked_at)
        return mappings

    async def _listed_since(self, asked_at: float) -> None:
        """Have the cluster listed, unless it was since `asked_at`: by that alone a known name goes, as a node whose
        state isn't recovered may deny in a single read what is there.

        Raises `ClusterUnavailable` when that takes too long, or fails.
        """
        if self._read_listing is None:
            return
        try:
            async with asyncio.timeout(self._config.fetch_timeout):
                for _ in range(2):  # the listing that is joined may have begun before
                    if self.snapshot.listed_at < asked_at:
                        await self._listings.do("listing", self._list_in_turn)
        except TimeoutError:
            raise ClusterUnavailable(
                f"Elasticsearch did not list its indices within {as_seconds(self._config.fetch_timeout)}.",
                retry_after_seconds=5,
            ) from None

    async def _list_in_turn(self) -> None:
        assert self._read_listing is not None
        if (wait := self._listing_read_at + self._listing_seconds - self._clock()) > 0:
            await self._sleep(wait)
        self._listing_read_at = self._clock()
        await self._read_listing()

    async def _answer_of_denied(self, name: str, error: MappingNotFound, asked_at: float) -> MappingAnswer | None:
        """Return, or raise, what is to be said of a name that a read denied; None: that it isn't there.

        1. Nothing was listed yet, and our role may cover nothing at all: that can't be told from a name that isn't
           there.
        2. The cluster lists it: what is known of it, if that is young enough.
        3. Neither: it isn't there, and needn't be asked for again for a while.
        """
        if isinstance(error, NotCovered) and not self.warm:
            raise error.denial from error
        if self.is_known(name):
            await self._listed_since(asked_at)
        if not self.is_known(name):
            return None
        if (answer := self._young(await self._render(name, self._rendered))) is not None:
            return answer
        self._failures_total += 1
        if isinstance(error, NotCovered):
            raise error.denial from error
        raise ClusterUnavailable(
            f"Elasticsearch lists {name!r}, but says that it isn't there when it is asked for.", retry_after_seconds=5
        )

    def _note_absent(self, name: str, error: MappingNotFound) -> None:
        while len(self._absent_until) >= self._max_absent:
            del self._absent_until[next(iter(self._absent_until))]
        self._absent_until[name] = (self._clock() + self._config.negative_ttl, error.detail)


MAPPING_CACHE: Handle[MappingCache] = Handle("mapping_cache")


def _merged(before: Snapshot, said: Statement) -> Generator[None, None, tuple[Snapshot, PassChanges]]:
    after = yield from merged(before, said)
    return after, (yield from pass_changes(before, after))
