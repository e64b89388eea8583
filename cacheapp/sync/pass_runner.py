"""Run one pass: list the cluster, find what changed, read the mappings in batches, and bring the cache up to date."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cluster.batches import MAX_FIELDS, Batches, BatchSize
from cacheapp.cluster.metadata_version import FIRST, Era, MetadataClock, MetadataVersion
from cacheapp.cluster.reader import ClusterReader
from cacheapp.errors import MappingNotFound, WatchRefused
from cacheapp.reports import PassOutcome
from cacheapp.state.merge import PassChanges
from cacheapp.state.names import Selection
from cacheapp.state.readings import Listing, Mappings, Reading
from cacheapp.state.snapshot import Snapshot
from cacheapp.sync.pass_record import Pass, PassScope
from esassistant.clock import Clock, monotonic
from esassistant.config.model import MappingCacheConfig
from esassistant.elasticsearch.node_pool import Pin, at_one_node
from esassistant.errors import ClusterUnavailable
from esassistant.long_work import in_thread_if_large
from esassistant.units import as_seconds

if TYPE_CHECKING:
    from cacheapp.history import History  # imports models, which Django can't load yet when this module is imported

logger = logging.getLogger(__name__)

BATCHES_IN_FLIGHT = 4
UNKNOWN_AGAIN_SECONDS = 30.0
"""An index whose number of fields the cluster doesn't tell is read again only after this time. A whole cluster that
recovers is full of such indices, and each of its steps wakes the watch.
"""
FAILURES_IN_A_ROW = 2 * BATCHES_IN_FLIGHT
"""After this many failed batches one after the other, the pass gives up: each may have taken the whole timeout."""
BAD_NAMES_IN_A_ROW = 64
"""After this many failed single names one after the other, the pass gives up. There may be more of them than of
failed batches, because neighbouring names (rolled-over indices) often have the same bad mapping.
"""
APPLIED_SECONDS = 5.0
"""This long after a version of the metadata was first seen, all nodes of the cluster have surely applied it. On 9.x,
each node answers from the version that it has applied itself.
"""
TRIES_ALONE = 3
"""How often at most a pass asks for a single name that fails."""

MANY_INDICES = 100
"""If there are fewer indices than this, none is read before the others, because all of them are read in a moment."""

Choose = Callable[[Listing, float], Collection[str]]
"""Returns the names of the indices to read, from a listing and the moment at which it was made."""
First = Callable[[Listing], Awaitable[Sequence[str]]]
"""Returns, from a listing, the names of indices that are read before all others when nothing is known yet, in their
order.
"""


async def _none_first(_: Listing) -> Sequence[str]:
    return ()


class PassRunner:
    """Runs passes. One per process; belongs to its loop. Its caller runs one full pass at a time.

    Between passes it keeps a good size for batches, and the version of the metadata that the last full pass read.
    """

    def __init__(
        self,
        cache: MappingCache,
        reader: ClusterReader,
        config: MappingCacheConfig,
        metadata: MetadataClock | None,
        history: "History | None" = None,
        *,
        first: First = _none_first,
        clock: Clock = monotonic,
    ) -> None:
        """Make a runner.

        Args:
            cache: The cache that is brought up to date.
            reader: Reads the cluster.
            config: The settings.
            metadata: Tells whether the cluster's metadata has changed. None: every full pass reads everything.
            history: Where changes are recorded; None: nowhere.
            first: Names the indices that are read first when nothing is known yet.
            clock: The monotonic clock.
        """
        self._first = first
        self._cache = cache
        self._reader = reader
        self._config = config
        self._metadata = metadata
        self._history = history
        self._clock = clock
        self._first_size = config.batch_size
        # The version of the cluster's metadata before the last full pass; None if that pass wasn't complete, or
        # anything failed since.
        self._version: MetadataVersion | None = None
        # The latest version that full passes read, and when they read it first.
        self._first_seen: tuple[tuple[Era, int], float] | None = None
        # `names_changed_total` of the cache when the last full pass began; None if a pass of this process has changed
        # names since.
        self._names_changed: int | None = None

    @property
    def illegal_names_total(self) -> int:
        """How many names of the cluster were left out so far because they aren't legal."""
        return self._reader.illegal_names_total

    async def run(self, current: Pass, scope: PassScope) -> float | None:
        """Run a pass, and note in `current` what it finds, what fails, and how it ends.

        Returns:
            The moment, by the clock, for which a full pass confirmed all that the cache has; None after any other pass.

        Raises:
            ClusterUnavailable: The cluster can't be listed, or none of the mappings could be read.
            MappingNotFound: Nothing matches the patterns of `scope`.
        """
        with at_one_node() as pin:  # one node answers all of it, because what is compared must be equally old
            return await self._run(current, scope, pin)

    async def _run(self, current: Pass, scope: PassScope, pin: Pin) -> float | None:
        if scope.patterns:
            await self._read_matching(current, scope.patterns)
        elif scope.changes_only:
            await self._read_changes(current, scope.named)
        else:
            return await self._read_everything(current, pin)
        return None

    async def _read_everything(self, current: Pass, pin: Pin) -> float:
        """Read all mappings, unless the cluster's metadata is the same as at the last full pass.

        The metadata version is remembered for the next pass only if the mappings surely belong to it: they were read
        from the node that told the version, and every other node has applied it by now. (A load balancer may stand
        behind one URL.)
        """
        began_at = self._clock()
        with self._counting_metadata(current):
            if (unchanged_at := await self._unchanged_at()) is not None:
                self._cache.confirm_all(unchanged_at)
                current.indices_total = len(self._cache.snapshot.indices)
                current.outcome = PassOutcome.UNCHANGED
                return unchanged_at
            version = await self._version_now()
        names_changed = self._cache.names_changed_total
        cluster_uuid = None if version is None else version.era.cluster_uuid
        reading = await self._read(current, cluster_uuid, lambda listing, _: listing.uuids)
        _check_something_was_read(current, reading)
        is_whole = await self._apply(current, reading)
        is_everywhere = self._is_everywhere(version, began_at, reading.listing.nodes_total)
        self._version = version if is_whole and is_everywhere and not pin.moved else None
        self._names_changed = names_changed
        return reading.listed_at

    async def _read_changes(self, current: Pass, named: frozenset[str]) -> None:
        """Read the indices that are new, were created again, have another number of fields, or are `named`. Drop those
        that no longer exist.
        """
        known = self._cache.snapshot

        def choose(listing: Listing, listed_at: float) -> Collection[str]:
            changed = changed_names(known, listing)
            if current.may_postpone:
                postponed = uncounted_since(known, listing, changed - named, listed_at - UNKNOWN_AGAIN_SECONDS)
                changed -= postponed.keys()
                current.postponed_until = min(postponed.values(), default=None)
            return changed | (named & listing.uuids.keys())

        await self._apply(current, await self._read(current, current.cluster_uuid, choose))
        if not (current.errors or current.read_total or current.removed_total):
            current.outcome = PassOutcome.UNCHANGED

    async def _read_matching(self, current: Pass, patterns: tuple[str, ...]) -> None:
        """Read the indices that match one of `patterns`, or belong to an alias or data stream that does. Raise
        `MappingNotFound` if there are none.
        """
        reading = await self._read(current, current.cluster_uuid, lambda listing, _: matching_names(listing, patterns))
        _check_something_was_read(current, reading)
        await self._apply(current, reading)
        if not (current.read_total or current.errors or current.removed_total):
            raise nothing_matches(patterns)

    def check_some_match(self, patterns: tuple[str, ...]) -> None:
        """Raise `MappingNotFound` if none of the known names matches one of `patterns`."""
        known, selected = self._cache.snapshot, Selection(patterns)
        if not any(map(selected.covers, (*known.indices, *known.aliases))):
            raise nothing_matches(patterns)

    async def _apply(self, current: Pass, reading: Reading) -> bool:
        """Apply what was read to the cache. Return whether all that was listed could be read, and is known now; if not,
        the next full pass reads everything.
        """
        changes = await self._cache.apply(reading, current.errors)
        if self._history is not None:
            self._history.note_snapshot(self._cache.snapshot)
        current.changed_total += changes.changed_total
        current.removed_total = changes.removed_total
        current.names_total = changes.names_total
        if changes != PassChanges(0, 0):
            self._names_changed = None
        current.outcome = PassOutcome.PARTIAL if current.errors else PassOutcome.COMPLETED
        is_whole = not current.errors and not self._is_contested(reading)
        if not is_whole:
            self._version = None
        return is_whole

    def _is_contested(self, reading: Reading) -> bool:
        """Return whether the cache lacks anything that this pass found.

        That happens if a newer single read, answered by a node that lags behind, found it absent. Only another listing
        can tell which of the two is right, whatever the metadata version says.
        """
        known = self._cache.snapshot
        return any(name not in known.indices for name in reading.mappings.hashes) or any(
            alias not in known.aliases for alias in reading.listing.aliases
        )

    def _is_everywhere(self, version: MetadataVersion | None, began_at: float, nodes_total: int | None) -> bool:
        """Return whether all nodes surely had applied this version when the pass began, judged by the time since it was
        first seen.
        """
        if version is None:
            return False
        seen = (version.era, version.number)
        if self._first_seen is None or self._first_seen[0] != seen:
            self._first_seen = (seen, began_at)
        return nodes_total == 1 or began_at - self._first_seen[1] >= APPLIED_SECONDS

    @contextmanager
    def _counting_metadata(self, current: Pass) -> Iterator[None]:
        """Count the requests of the metadata clock during the block as requests of `current`. Only full passes send
        such requests, and only one of these runs at a time.
        """
        before = 0 if self._metadata is None else self._metadata.requests_total
        try:
            yield
        finally:
            if self._metadata is not None:
                current.requests_total += self._metadata.requests_total - before

    async def _unchanged_at(self) -> float | None:
        """Return the moment at which the metadata was the same as at the last full pass.

        Return None if the metadata has changed, if the cluster doesn't tell its version, or if names were added or
        dropped since, because the metadata version doesn't prove these.
        """
        if self._metadata is None or self._version is None or not self._has_the_names():
            return None
        asked_at = self._clock()
        try:
            return asked_at if await self._metadata.is_still(self._version) else None
        except WatchRefused:
            return None

    async def _version_now(self) -> MetadataVersion | None:
        """Return the metadata version before anything is read; None if the cluster doesn't tell it."""
        if self._metadata is None:
            return None
        try:
            if self._version is None:
                return await self._metadata.now(FIRST)
            # If the names are the same, the metadata has a later version than ours; otherwise `_unchanged_at` would
            # have returned.
            return await self._metadata.now(self._version.number + self._has_the_names())
        except WatchRefused:
            return None

    def _has_the_names(self) -> bool:
        """Return whether the names are those that the last full pass found, as far as this process can tell."""
        return self._names_changed == self._cache.names_changed_total

    async def _read(self, current: Pass, cluster_uuid: str | None, choose: Choose) -> Reading:
        """List the cluster, and read the mappings of the indices that `choose` returns.

        If the cluster is another one than before, all indices are read, because nothing that is known is about this
        cluster. `cluster_uuid`: its uuid, if that is known.
        """
        listed_at = self._clock()
        listing = await self._list(current, cluster_uuid)
        known_uuid = self._cache.snapshot.cluster_uuid
        if is_another := known_uuid is not None and listing.cluster_uuid not in ("", known_uuid):
            logger.warning(
                "The cluster is another one (its uuid: %s, before: %s): all of it is read.",
                *(listing.cluster_uuid, known_uuid),
            )
        wanted = frozenset(listing.uuids if is_another else choose(listing, listed_at))
        current.indices_total = len(listing.uuids)
        mappings = Mappings()
        if not self._cache.snapshot.indices and len(wanted) > MANY_INDICES:
            await self._read_first(current, listing, listed_at, mappings)
        rest = sorted(wanted - mappings.hashes.keys() - current.errors.keys())
        await self._read_in_batches(current, rest, listing.field_counts, mappings)
        await self._confirm_absent(current, [name for name in wanted if name not in mappings.hashes])
        return Reading(listing, mappings, listed_at, frozenset(listing.uuids) - wanted)

    async def _read_first(self, current: Pass, listing: Listing, listed_at: float, mappings: Mappings) -> None:
        """Read the indices that will be asked for first into `mappings`, and let the cache answer for them while the
        rest is read.
        """
        first = await self._first(listing)
        await self._read_in_batches(current, first, listing.field_counts, mappings)
        if mappings.hashes:
            rest = frozenset(listing.uuids) - mappings.hashes.keys()
            copied = Mappings(dict(mappings.hashes), dict(mappings.bodies))
            changes = await self._cache.apply_early(Reading(listing, copied, listed_at, rest))
            current.changed_total += changes.changed_total

    async def _read_in_batches(
        self, current: Pass, names: Sequence[str], field_counts: Mapping[str, int], mappings: Mappings
    ) -> None:
        waiting = Batches.from_names(names, field_counts)
        size = BatchSize(self._first_size, adaptive=self._config.adaptive)
        failures_in_a_row = 0
        again: list[str] = []

        async def read_one_after_another() -> None:
            nonlocal failures_in_a_row
            while failures_in_a_row < FAILURES_IN_A_ROW and (batch := waiting.take(size.size)):
                asked_at = self._clock()
                # The batch has few indices because they are large. Its slowness says nothing about batches of small
                # indices.
                is_large = sum(field_counts.get(name, 0) for name in batch) > MAX_FIELDS // 2
                asked_size = max(size.size, len(batch)) if is_large else len(batch)
                error = await self._read_batch(current, batch, mappings)
                if error is None:
                    failures_in_a_row = 0
                    size.answered(len(batch), self._clock() - asked_at, mappings.bytes_of(batch), asked_size)
                else:
                    failures_in_a_row += 1
                    size.failed(asked_size)
                    current.errors.update(dict.fromkeys(batch, error))
                    again.extend(batch)
                current.read_total = len(mappings.hashes)

        async with asyncio.TaskGroup() as group:
            for _ in range(BATCHES_IN_FLIGHT):
                group.create_task(read_one_after_another())
        if len(names) > BATCHES_IN_FLIGHT * self._first_size:  # fewer names say nothing about the size
            self._first_size = max(self._config.batch_size, size.size // 2)
        for name in waiting.take(len(names), max_bytes=sys.maxsize, max_fields=sys.maxsize):
            current.errors[name] = "not asked for: too many failures in a row before it"
        if failures_in_a_row < FAILURES_IN_A_ROW:
            await self._read_again(current, again, mappings, field_counts)
        # The caller works on all of the mappings at once. It does so in another turn of the event loop than the one in
        # which the last answer was parsed.
        await asyncio.sleep(0)

    async def _read_again(
        self, current: Pass, names: list[str], mappings: Mappings, field_counts: Mapping[str, int]
    ) -> None:
        """Ask once more for what failed, in halves, down to single names: one bad mapping must not make others fail.

        A single name is asked for up to `TRIES_ALONE` times, because what fails by chance must not stay old. The later
        tries come after all other names: the client's retry budget is often spent by then.
        """
        waiting = [names] if names else []
        tries_alone = Counter[str]()
        failures_in_a_row = 0
        ends_at = self._clock() + FAILURES_IN_A_ROW * self._config.fetch_timeout
        while waiting and failures_in_a_row < BAD_NAMES_IN_A_ROW and self._clock() < ends_at:
            batch = waiting.pop()
            taken = Batches.from_names(batch, field_counts).take(len(batch))
            if len(taken) < len(batch):
                waiting.append(batch[len(taken) :])
            error = await self._read_batch(current, taken, mappings)
            if error is None:
                failures_in_a_row = 0
                for name in taken:
                    current.errors.pop(name, None)
                current.read_total = len(mappings.hashes)
            elif len(taken) > 1:
                middle = len(taken) // 2
                waiting += [taken[:middle], taken[middle:]]
            else:
                failures_in_a_row += 1
                current.errors[taken[0]] = error
                tries_alone.update(taken)
                if tries_alone[taken[0]] < TRIES_ALONE:
                    waiting.insert(0, taken)

    async def _read_batch(self, current: Pass, batch: list[str], mappings: Mappings) -> str | None:
        """Read one batch into `mappings`. Return what went wrong; None if nothing did."""
        try:
            async with asyncio.timeout(self._config.fetch_timeout):
                read = await self._reader.mappings(batch, current.count_request)
                mappings.add(await in_thread_if_large(sum(map(len, read.values())), Mappings.from_bodies, read))
        except TimeoutError:
            return f"no answer within {as_seconds(self._config.fetch_timeout)}"
        except ClusterUnavailable as error:
            return error.detail
        return None

    async def _confirm_absent(self, current: Pass, names: Iterable[str]) -> None:
        """Check the indices that are missing from the answers. One that isn't listed any more is gone; of one that is
        still listed, note as an error that its mapping was withheld or lost.
        """
        absent = [name for name in names if name not in current.errors]
        if absent:
            listed = (await self._list(current, None)).uuids
            current.errors.update(
                (name, "listed, but no mapping that can be read was given") for name in absent if name in listed
            )

    async def _list(self, current: Pass, cluster_uuid: str | None) -> Listing:
        try:
            async with asyncio.timeout(self._config.indices_timeout):
                return await self._reader.listing(cluster_uuid, current.count_request)
        except TimeoutError:
            raise ClusterUnavailable(
                f"Elasticsearch did not list its indices within {as_seconds(self._config.indices_timeout)}.",
                retry_after_seconds=5,
            ) from None


def changed_names(known: Snapshot, listing: Listing) -> set[str]:
    """Return the listed indices whose mapping may differ from what is known.

    An index with an unknown number of fields (closed, recovering) always counts as changed. But if the cluster tells no
    numbers at all, they are ignored: otherwise each look would read every mapping.
    """
    changed = set()
    for name, uuid in listing.uuids.items():
        entry, field_count = known.indices.get(name), listing.field_counts.get(name)
        is_other_count = listing.is_counted and (
            field_count is None or entry is None or entry.field_count != field_count
        )
        if entry is None or entry.uuid != uuid or is_other_count:
            changed.add(name)
    return changed


def uncounted_since(known: Snapshot, listing: Listing, names: Iterable[str], since: float) -> dict[str, float]:
    """Return those of `names` that may wait, and when each is due. These are the indices that were last read after the
    moment `since`, and whose number of fields was unknown then and is unknown now.
    """
    return {
        name: entry.confirmed_at + UNKNOWN_AGAIN_SECONDS
        for name in names
        if listing.field_counts.get(name) is None
        and (entry := known.indices.get(name)) is not None
        and entry.uuid == listing.uuids[name]
        and entry.field_count is None
        and entry.confirmed_at > since
    }


def matching_names(listing: Listing, patterns: tuple[str, ...]) -> set[str]:
    """Return the listed indices that match one of `patterns`, by their own name or that of an alias or data stream."""
    selected = Selection(patterns)
    names = {name for name in listing.uuids if selected.covers(name)}
    for alias, members in listing.aliases.items():
        if selected.covers(alias):
            names.update(name for name in members if name in listing.uuids)
    return names


def nothing_matches(patterns: tuple[str, ...]) -> MappingNotFound:
    """Return the error for patterns that no name of the cluster matches."""
    return MappingNotFound(f"No index, alias or data stream matches {', '.join(patterns)}.")


def _check_something_was_read(current: Pass, reading: Reading) -> None:
    """Raise `ClusterUnavailable` if nothing could be read. A change pass doesn't call this: one bad mapping may be all
    that it had to read.
    """
    if current.errors and not reading.mappings.hashes:
        raise ClusterUnavailable("No mapping could be read.", retry_after_seconds=5)
