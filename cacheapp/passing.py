"""What a pass does in this process: reads the cluster and brings the cache up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cacheapp.errors import MappingNotFound, WatchRefused
from cacheapp.mapping_cache import MappingCache
from cacheapp.metadata import FIRST, MetadataClock, MetadataVersion
from cacheapp.pass_reader import PassReader
from cacheapp.passes import Pass
from cacheapp.state.merge import PassChanges
from cacheapp.state.readings import Reading
from cacheapp.stats import Outcome
from esassistant.clock import Clock, monotonic

if TYPE_CHECKING:
    from cacheapp.history import History  # has models, which Django loads after what imports this


class Passing:
    """One per process; belongs to its loop. Whoever calls it sees to it that one full pass runs at a time."""

    def __init__(
        self,
        cache: MappingCache,
        reader: PassReader,
        metadata: MetadataClock | None,
        history: "History | None" = None,
        *,
        clock: Clock = monotonic,
    ) -> None:
        """`metadata` None: every full pass reads everything."""
        self._cache = cache
        self._reader = reader
        self._metadata = metadata
        self._history = history
        self._clock = clock
        # What the cluster's metadata was before the last full pass, if that was complete and nothing failed since.
        self._version: MetadataVersion | None = None

    async def everything(self, current: Pass) -> float:
        """A full pass, unless the cluster's metadata is as it was at the last one. Returns for which moment what the
        cache has was confirmed. Raises `ClusterUnavailable`.
        """
        with self._counting_metadata(current):
            if (unchanged_at := await self._unchanged_at()) is not None:
                self._cache.confirm_all(unchanged_at)
                current.indices_total = len(self._cache.snapshot.indices)
                current.outcome = Outcome.UNCHANGED
                return unchanged_at
            version = await self._version_now()
        reading = await self._reader.everything(current, None if version is None else version.era.cluster_uuid)
        await self._apply(current, reading)
        self._version = None if current.errors else version
        return reading.listed_at

    async def changes(self, current: Pass) -> PassChanges:
        """A change pass: what is new or has other fields, and what is gone. Raises `ClusterUnavailable`."""
        reading = await self._reader.changes(current, self._cache.snapshot)
        changes = await self._apply(current, reading)
        if not (current.errors or current.read_total or current.removed_total):
            current.outcome = Outcome.UNCHANGED
        return changes

    async def matching(self, current: Pass, patterns: tuple[str, ...]) -> None:
        """Read the indices that match one of `patterns`, or belong to an alias that does. Raises `ClusterUnavailable`,
        or `MappingNotFound` when there is none.
        """
        reading = await self._reader.matching(current, self._cache.snapshot.cluster_uuid, patterns)
        await self._apply(current, reading)
        if not (current.read_total or current.errors or current.removed_total):
            raise MappingNotFound(f"No index, alias or data stream matches {', '.join(patterns)}.")

    @contextmanager
    def _counting_metadata(self, current: Pass) -> Iterator[None]:
        """Add what is asked of the metadata clock meanwhile: full passes alone do, and one of them at a time."""
        before = 0 if self._metadata is None else self._metadata.requests_total
        try:
            yield
        finally:
            if self._metadata is not None:
                current.requests_total += self._metadata.requests_total - before

    async def _apply(self, current: Pass, reading: Reading) -> PassChanges:
        changes = await self._cache.apply(reading, current.errors)
        if self._history is not None:
            self._history.note_snapshot(self._cache.snapshot)
        current.changed_total = changes.changed_total
        current.removed_total = changes.removed_total
        current.outcome = Outcome.PARTIAL if current.errors else Outcome.COMPLETED
        if current.errors:
            self._version = None
        return changes

    async def _unchanged_at(self) -> float | None:
        """The moment at which the metadata was found as it was at the last full pass; None: it is not, or isn't told."""
        if self._metadata is None or self._version is None:
            return None
        asked_at = self._clock()
        try:
            return asked_at if await self._metadata.is_still(self._version) else None
        except WatchRefused:
            return None

    async def _version_now(self) -> MetadataVersion | None:
        """The metadata version before anything is read; None where the cluster doesn't tell."""
        if self._metadata is None:
            return None
        try:
            # It has moved on since, or this would not be asked.
            return await self._metadata.now(FIRST if self._version is None else self._version.number + 1)
        except WatchRefused:
            return None
