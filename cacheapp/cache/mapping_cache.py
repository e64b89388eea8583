"""The mapping cache. It answers from memory, reads a mapping from the cluster on a miss, and answers stale mappings
while it reads them again.

fresh   age ≤ ttl                   answered from memory
stale   ttl < age ≤ ttl + max_stale answered from memory, and read again once in the background
miss    unknown or older            the caller waits for the one flight that reads it
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

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
from cacheapp.state.listing import FirstPage, NameFilter, NamePages, Page, name_page
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
from cacheapp.state.visible import Visible
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import ClusterUnavailable, EsassistantError
from esassistant.long_work import at_once, in_thread_if_large, in_turns
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn
from esassistant.units import as_seconds

MERGE_TRIES = 3
MAX_LACKING = 10
"""How many names of a list are read from the cluster for one answer. They are read in one request; a name that is an
alias, or isn't there, is then read again in a request of its own.
"""
MANY_NAMES = 1_000
"""Up to this many names are filtered in a millisecond or two; more are filtered in a thread."""
LISTING_SECONDS = 2.0
"""The least time between listings that reads ask for: a node that is recovering may deny every name that exists."""


class MappingCache:
    """The mapping cache. One per process, owned by the registry; used only on its event loop.

    Its snapshot is replaced, never changed.
    """

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
        # `_used_at`: when each body was last part of an answer. `_absent_until`: until when each absent name isn't
        # asked for again, and the text of its error.
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
        """From now on, call `changed` when names or mappings may have changed. A renewal of all ages at once doesn't
        count.
        """
        self._on_change.append(changed)

    async def get(self, asked: Asked) -> MappingAnswer:
        """Return the mappings of an index, alias or data stream, or of all that an expression stands for.

        Raises:
            IllegalName: What was asked for can't be a name, or isn't a legal expression.
            MappingNotFound: No such name exists, or the expression stands for nothing.
            TooMuch: The expression stands for more than is answered at once.
            ClusterUnavailable: Nothing in memory is young enough to answer, and nothing can be read.
        """
        return await self._get(asked, self._rendered)

    async def outline(self, asked: Asked) -> MappingAnswer:
        """Return what `get` returns, perhaps with an empty body, for what is derived from mappings. Raise what `get`
        raises.
        """
        return await self._get(asked, self._outlines)

    async def _get(self, asked: Asked, kept: RenderedNames) -> MappingAnswer:
        if isinstance(asked, Expression):
            return await self._get_all(asked, kept)
        name = asked
        self.check_name(name)
        rendered = await self._render(name, kept)
        if (answer := self._hit(name, rendered)) is not None:
            return answer
        # A known name exists, even if it has to be read again.
        if not self.is_known(name) and (absent := self._absent_until.get(name)) and self._clock() < absent[0]:
            self._hits_total += 1  # "no such name" is an answer from memory too
            raise MappingNotFound(absent[1], name)
        self._misses_total += 1
        return await self._flights.do(name, lambda: self._read(name))

    async def _get_all(self, expression: Expression, kept: RenderedNames) -> MappingAnswer:
        """Return what an expression stands for, from memory. At most a few names are read from the cluster:

        1. Exact names that aren't known, because they may be new. Names that the caller may not see are not read.
        2. Mappings that aren't in memory, because there was no room for them, or that are too old.
        """
        if (answer := self._hit(expression, await self._render(expression, kept))) is not None:
            return answer
        # In a thread, because the expression may stand for all names, which takes too long for the event loop.
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
        """Return the names that have to be read before an expression can be answered. Raise the error for a name that
        doesn't exist for the caller, or if there are too many to read.
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
        """Return what an expression stands for, as far as that is known. Names in `missing` may exist all the same.

        Raise `IllegalName` if it isn't legal; what `absent` returns if it stands for nothing; `NotWarm` if it has
        patterns and no pass has ended yet.
        """
        resolved = await self._resolutions.resolve(self.snapshot, expression)
        if resolved.has_patterns and not self.warm:
            raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
        if not (resolved.names or resolved.missing):
            raise self.absent(nothing_matches(expression.text, resolved.closed), expression.visible)
        return resolved

    def absent(self, error: MappingNotFound, visible: Visible) -> EsassistantError:
        """Return what to answer about a name or a pattern that isn't in memory, if the cluster isn't asked for it. The
        answer about a name that isn't `visible` is the same whether or not it exists.

        1. The name was listed, but its mapping could not be read: it may not be called absent.
        2. What is in memory is too old to say that anything is absent.
        3. `error`, which says that nothing is there, with the age of the names in memory.
        """
        snapshot, name = self.snapshot, error.name or ""
        gone_at = snapshot.listed_at
        if visible.covers(name):
            if name in snapshot.unread:
                return NotWarm(f"The mapping of {name!r} could not be read yet; GET it once.", retry_after_seconds=1)
            gone_at = snapshot.gone_at(name)
        age = self._clock() - max(snapshot.confirmed_at, gone_at)
        if age > self._config.ttl + self._config.max_stale:
            return ClusterUnavailable(
                f"Whether {name[:100]!r} exists is not known: the names in memory are too old.",
                retry_after_seconds=5,
            )
        return error.known_for(age)

    def ready(self, asked: Asked) -> MappingAnswer | None:
        """Return what `get` would return, if it needn't wait, and count it as an answer. None if `get` has to wait, or
        would raise.
        """
        return self._hit(asked, self._rendered.find(self.snapshot, asked))

    def peek(self, asked: Asked) -> MappingAnswer | None:
        """Return what `outline` would return, if that is in memory and young enough. Counts nothing and starts no
        read.
        """
        return self._young(self._outlines.find(self.snapshot, asked))

    def note_hit(self, asked: Asked, answer: MappingAnswer) -> None:
        """Count an answer that `peek` gave and that was passed on. If it is stale, read it again in the background; for
        an expression only if it stands for few names, because passes renew the others.
        """
        self._hits_total += 1
        if answer.freshness is Freshness.STALE:
            self._stale_served_total += 1
            names = (str(asked),) if answer.resolved is None else answer.resolved.names
            for name in names if len(names) <= MAX_LACKING else ():
                self._revalidate(name)

    async def render(self, asked: Asked, *, outline: bool) -> Rendered | None:
        """Return what was asked for, rendered and kept, whatever its age; None if it isn't in memory. Counts nothing,
        and doesn't ask the cluster. Raise `IllegalName` if it isn't legal, and `TooMuch` if it stands for more than is
        answered at once.
        """
        return await self._render(asked, self._outlines if outline else self._rendered)

    async def page(self, wanted: NameFilter, *, limit: int, cursor: str | None) -> Page:
        """Return a page of the names that are known, made in a thread if there are many. Raise `BadRequest` if `wanted`
        or the cursor isn't valid, `ClusterUnavailable` if no pass has ended yet, or what `absent` returns if only the
        members of an unknown name are wanted.
        """
        self._require_warm()
        snapshot, ttl = self.snapshot, self._config.ttl
        names = self._pages.sorted_names(snapshot)
        make = partial(name_page, names, snapshot, self._clock(), wanted, limit=limit, cursor=cursor, ttl=ttl)
        try:
            return await asyncio.to_thread(make) if len(names) > MANY_NAMES else make()
        except MappingNotFound as error:
            raise self.absent(error, wanted.visible) from None

    def first_page(self) -> FirstPage:
        """Return the first page of all names, which may be a moment old. Raise `ClusterUnavailable` as `page` does."""
        self._require_warm()
        return self._pages.first(self.snapshot, self._clock())

    def _require_warm(self) -> None:
        if not self.warm:
            raise ClusterUnavailable("No mappings yet: the first pass has not ended.", retry_after_seconds=1)

    async def reread(self, name: str) -> MappingAnswer:
        """Read one name from the cluster now, whatever its age; join a read of it that is under way. Raises the errors
        that `get` raises.
        """
        self.check_name(name)
        self._flights.forget_failure(name, MappingNotFound)
        return await self._flights.do(name, lambda: self._read(name))

    async def apply_published(self, state: StoredState, asked_at: float) -> None:
        """Take over what another process published. `asked_at`: when the store was asked for it."""
        before, said = self.snapshot, await in_turns(published_statement(state, asked_at))
        await self._merge(said)
        listed = said.listed or frozenset()
        self._read_names.note_listing(lambda name: name in listed or name in state.aliases, said.at)
        self._read_names.note_published(before, self.snapshot)
        self.warm = True

    async def apply(self, reading: Reading, failed: Iterable[str]) -> PassChanges:
        """Take over what a pass read. The indices in `failed`, which could not be read, and those that the pass didn't
        read stay as they are.
        """
        changes = await self._merge(await in_turns(pass_statement(reading, failed)))
        listing = reading.listing
        self._read_names.note_listing(lambda name: name in listing.uuids or name in listing.aliases, reading.listed_at)
        self.warm = True
        return changes

    async def apply_early(self, reading: Reading) -> PassChanges:
        """Take over the first part of what a pass reads. The rest follows when the pass has ended; until then this
        cache isn't warm.
        """
        return await self._merge(await in_turns(pass_statement(reading, ())))

    async def _merge(self, said: Statement) -> PassChanges:
        """Merge a statement into the snapshot, and return what that changed.

        With many indices this takes several turns of the event loop. Readers see the state before, then the state
        after. Nothing is awaited after the snapshot is replaced, so what the caller does next is about that same
        snapshot.
        """
        for _ in range(MERGE_TRIES):
            before = self.snapshot
            after, changes = await in_turns(_merged(before, said))
            if self.snapshot is before:
                break
        else:  # each time something else was read meanwhile
            after, changes = at_once(_merged(self.snapshot, said))
        self.snapshot = after
        return changes

    def confirm_all(self, at: float) -> None:
        """Note that everything known was still true at `at`: this renews all ages at once."""
        self.snapshot = replace(self.snapshot, confirmed_at=at)

    def note_cluster(self, uuid: str) -> None:
        """Note which cluster this is (empty: it doesn't say), unless a pass has found it out meanwhile."""
        if self.snapshot.cluster_uuid is None:
            self.snapshot = replace(self.snapshot, cluster_uuid=uuid or None)

    @property
    def names_changed_total(self) -> int:
        """Return how often a read, or what another process published, changed which names there are. A pass may
        conclude that the cluster hasn't changed only if this is the same as before.
        """
        return self._read_names.changes_total

    def read_listing_by(self, read_listing: Callable[[], Awaitable[None]]) -> None:
        """From now on, call `read_listing` to have the cluster listed when a read denies a name that is known."""
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
        """Raise `IllegalName` if this can't be the name of an index, alias or data stream."""
        # An alias may have capitals, an index may not: such a name is legal if the cluster has listed it as an alias.
        if name not in self.snapshot.aliases:
            check_name(name)

    def is_known(self, name: str) -> bool:
        """Return whether an index, alias or data stream of that name existed when it was last read or listed."""
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
        """Return what is kept. If it isn't kept and is large, render it in a thread, once for all who wait, and keep
        it.
        """
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
        # `start` raises at once if the read failed a moment ago. Nobody waits for the flight: the stale answer is given
        # either way.
        with suppress(EsassistantError):
            self._flights.start(name, lambda: self._read(name))

    async def _read(self, name: str) -> MappingAnswer:
        """Read what `name` stands for, put it into the snapshot, and return it. Raise the errors that `get` raises."""
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
        self._used_at.update(dict.fromkeys(used, self._clock()))  # otherwise they would be the first to be evicted
        self._read_names.note_read(self.snapshot, after, {name, *mappings}, asked_at)
        self.snapshot = after
        if denial is not None:
            self._note_absent(name, denial)
            raise denial
        rendered = await self._render(name, self._rendered)
        if rendered is None:
            # It was deleted meanwhile, or a newer one is known but not kept, or it is larger than all that may be kept.
            # So answer with what was read, and with its age.
            alone, size_bytes = after_read(Snapshot(), name, mappings, asked_at), sum(map(len, mappings.values()))
            rendered = await in_thread_if_large(size_bytes, render, alone, name)
        if rendered is None:
            raise no_such_name(name)
        return self._answer(rendered, Source.ELASTICSEARCH)

    async def _ask(self, name: str) -> Mapping[str, bytes]:
        """Return the mappings that `name` stands for according to the cluster, by index. Raise `MappingNotFound` or
        `NotCovered` as `ClusterReader.mapping` does, and `ClusterUnavailable` if no answer comes in time.
        """
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
        if not mappings:  # an alias without any index that is selected
            raise no_such_name(name)
        self._slow_reads.note(name, self._clock() - asked_at)
        return mappings

    async def _listed_since(self, asked_at: float) -> None:
        """Have the cluster listed, unless it has been since `asked_at`. Only a listing removes a known name, because a
        node that hasn't recovered its state yet may deny an existing name in a single read.

        Raise `ClusterUnavailable` if that takes too long, or fails.
        """
        if self._read_listing is None:
            return
        try:
            async with asyncio.timeout(self._config.fetch_timeout):
                for _ in range(2):  # the first listing may be one that began before `asked_at`
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
        """Return or raise the answer for a name that a read denied; None if the name isn't there.

        1. Nothing has been listed yet, and our role may cover nothing at all. This can't be told from a missing name,
           so the denial is raised.
        2. The cluster lists the name: what is known of it is returned, if that is young enough; otherwise an error is
           raised.
        3. The name isn't known and isn't listed: None. The caller then remembers for a while that it is absent.
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
