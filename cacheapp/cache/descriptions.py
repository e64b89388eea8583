"""Descriptions of names and of the cluster. What is needed to rank fields and families is made in a thread, and kept
within a number of bytes.
"""

import asyncio
from collections.abc import Hashable, Sequence
from contextlib import suppress

from cacheapp.cache.derivations import whole_key
from cacheapp.cache.derived import FIELDS, MappingViews
from cacheapp.cache.kept import KeptByBytes
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.description import Description, check_question, describe
from cacheapp.describe.entries import about_of
from cacheapp.describe.families import (
    ClusterDescription,
    FamilyAbout,
    FamilyIndex,
    Summary,
    describe_families,
    families_about,
    families_of,
    summary_of,
)
from cacheapp.describe.fields import FieldIndex
from cacheapp.mapping.fields import Field
from cacheapp.state.answer import MappingAnswer
from cacheapp.state.distinct import Distinct
from cacheapp.state.expressions import Asked, names_of
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import ALL_VISIBLE, Visible
from cacheapp.values.known import KnownValues
from cacheapp.values.shown import held_values
from cacheapp.values.use_counts import UseCounts
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn

MAX_KEPT_BYTES = 67_108_864
"""The most memory for all kept `FieldIndex` objects together, by their own estimates; that of a mapping with 6,500
fields takes about 10 MB.
"""
MAX_KEPT_INDICES = 1_000
"""How many `FieldIndex` objects are kept at most, also if they have hardly any fields."""
MAX_SUMMARIES_BYTES = 67_108_864
"""The most memory for all summaries together, by their own estimates; that of a mapping with 5,000 fields takes about
0.3 MB.
"""
SUMMARY_SECONDS = 3.0
"""How long a description of the cluster waits until all mappings are summarised. After that the cluster is described
without the missing ones, and they are summarised in the background.
"""
SMALL_ENTRIES = 300
SMALL_BUDGET_TOKENS = 2_000
"""Up to `SMALL_ENTRIES` fields are described within this budget in a millisecond, which needs no thread."""


class Descriptions:
    """Makes descriptions. One per process, owned by the registry; used only on its event loop."""

    def __init__(
        self,
        cache: MappingCache,
        views: MappingViews,
        spawn: Spawn,
        *,
        values: KnownValues | None = None,
        uses: UseCounts | None = None,
        max_kept_bytes: int = MAX_KEPT_BYTES,
        max_summaries_bytes: int = MAX_SUMMARIES_BYTES,
        summary_seconds: float = SUMMARY_SECONDS,
    ) -> None:
        """Make it. `values`: knows what values fields have; `uses`: knows how much fields are used in searches."""
        self._cache = cache
        self._views = views
        self._values = values
        self._uses = uses
        self._max_summaries_bytes = max_summaries_bytes
        self._summary_seconds = summary_seconds
        self._flights: SingleFlight[Hashable, FieldIndex] = SingleFlight(spawn)
        self._summing: SingleFlight[str, None] = SingleFlight(spawn)
        self._kept: KeptByBytes[Hashable, FieldIndex] = KeptByBytes(max_kept_bytes, max_values=MAX_KEPT_INDICES)
        self._summaries: dict[str, Summary] = {}
        self._summaries_total = 0
        self._families: tuple[Snapshot, int, FamilyIndex] | None = None
        # One `FieldIndex` or `Summary` is made at a time: several threads would hold up the event loop.
        self._making = asyncio.Lock()

    async def describe(
        self, wanted: Asked, budget_tokens: int, question: str, visible: Visible
    ) -> tuple[MappingAnswer, Description]:
        """Describe an index, alias or data stream, or all that an expression stands for. Return its outline, and the
        description. `visible`: the names that exist for the caller.

        Raises:
            BadRequest: The question is too long.
            EsassistantError: What `MappingCache.get` raises.
        """
        check_question(question)
        answer, name = await self._cache.outline(wanted), str(wanted)
        self._views.note(FIELDS, wanted)
        index = await self._index(answer.distinct)
        snapshot, names = self._cache.snapshot, names_of(wanted, answer.resolved)
        uses = {} if self._uses is None else self._uses.of(names, snapshot, visible)
        known = None if self._values is None else self._values.of(names, snapshot, visible)
        values = None if known is None else held_values(known)
        if len(index.entries) <= SMALL_ENTRIES and budget_tokens <= SMALL_BUDGET_TOKENS:
            return answer, describe(name, index, budget_tokens, question, uses, values)
        return answer, await asyncio.to_thread(describe, name, index, budget_tokens, question, uses, values)

    async def fields_about(self, wanted: Asked, question: str) -> list[str]:
        """Return the paths of the fields that a question is about, the nearest first; empty if none is near.

        Raise what `describe` raises.
        """
        check_question(question)
        answer = await self._cache.outline(wanted)
        self._views.note(FIELDS, wanted)
        index = await self._index(answer.distinct)
        if len(index.entries) <= SMALL_ENTRIES:
            return index.about_question(question)
        return await asyncio.to_thread(index.about_question, question)

    async def describe_cluster(
        self, budget_tokens: int, question: str, visible: Visible
    ) -> tuple[Snapshot, ClusterDescription]:
        """Describe all visible families of the cluster, from memory alone. Return the snapshot, and the description.

        Raises:
            BadRequest: The question is too long.
            ClusterUnavailable: No pass has ended yet.
        """
        check_question(question)
        snapshot, index = await self._summed_up(visible)
        return snapshot, await asyncio.to_thread(describe_families, index, budget_tokens, question)

    async def families_about(self, question: str, limit: int, visible: Visible) -> tuple[FamilyAbout, ...]:
        """Return the visible families that a question is about, the nearest first, at most `limit`. Raise what
        `describe_cluster` raises.
        """
        check_question(question)
        _, index = await self._summed_up(visible)
        return await asyncio.to_thread(families_about, index, question, limit)

    async def _summed_up(self, visible: Visible) -> tuple[Snapshot, FamilyIndex]:
        """Return the present snapshot, and the index that ranks its families. Summaries that take too long to make are
        missing in it. Raise `ClusterUnavailable` if no pass has ended yet.
        """
        if not self._cache.warm:
            raise ClusterUnavailable("No mappings yet: the first pass has not ended.", retry_after_seconds=1)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._summary_seconds):
                await self._summing.do("summaries", self._sum_up)
        snapshot = self._cache.snapshot
        return snapshot, await self._family_index(snapshot, visible)

    async def _family_index(self, snapshot: Snapshot, visible: Visible) -> FamilyIndex:
        """Return the index that ranks the families of a snapshot. The one of all families is kept until a name, a
        mapping or the number of summaries changes.
        """
        if not visible.everything:
            return await asyncio.to_thread(_family_index, snapshot, dict(self._summaries), visible)
        total = self._summaries_total
        if self._families is not None:
            before, total_before, kept = self._families
            if total == total_before and _has_same_names(before, snapshot):
                return kept
        index = await asyncio.to_thread(_family_index, snapshot, dict(self._summaries), visible)
        self._families = snapshot, total, index
        return index

    async def _index(self, distinct: Sequence[Distinct]) -> FieldIndex:
        """Return the index that ranks the fields of distinct mappings, whatever the name that stands for them. It
        doesn't depend on the names of indices if they have one mapping, so rolled-over indices share it.
        """
        key = whole_key(FIELDS, distinct)
        if (kept := self._kept.find(key)) is not None:
            return kept
        return await self._flights.do(key, lambda: self._make(key, distinct))

    async def _make(self, key: Hashable, distinct: Sequence[Distinct]) -> FieldIndex:
        fields = await self._views.of(FIELDS, distinct)
        indices_total = sum(len(one.indices) for one in distinct)
        async with self._making:
            index = await asyncio.to_thread(_field_index, fields, indices_total, [one.body for one in distinct])
        self._kept.keep(key, index, index.size_bytes)
        return index

    async def _sum_up(self) -> None:
        """Summarise the mappings by which families are ranked, except those that are summarised already, as long as
        there is room.
        """
        snapshot = self._cache.snapshot
        families = await asyncio.to_thread(families_of, snapshot, ALL_VISIBLE)
        wanted = dict.fromkeys(mapping_hash for family in families for mapping_hash in family.hashes)
        self._summaries = {hashed: known for hashed, known in self._summaries.items() if hashed in wanted}
        kept_bytes = sum(known.size_bytes for known in self._summaries.values())
        for mapping_hash in wanted:
            body = snapshot.bodies.get(mapping_hash)
            if body is None or mapping_hash in self._summaries or kept_bytes > self._max_summaries_bytes:
                continue
            async with self._making:
                summary = self._summaries[mapping_hash] = await asyncio.to_thread(summary_of, body)
            kept_bytes += summary.size_bytes
            self._summaries_total += 1


DESCRIPTIONS: Handle[Descriptions] = Handle("descriptions")


def _field_index(fields: tuple[Field, ...], indices_total: int, bodies: list[bytes]) -> FieldIndex:
    return FieldIndex(fields, indices_total, about_of(bodies))


def _family_index(snapshot: Snapshot, summaries: dict[str, Summary], visible: Visible) -> FamilyIndex:
    return FamilyIndex(families_of(snapshot, visible), summaries)


def _has_same_names(before: Snapshot, after: Snapshot) -> bool:
    """Return whether two snapshots have the same names with the same mappings. Then they share these tables."""
    return (
        before.indices is after.indices
        and before.aliases is after.aliases
        and before.data_streams == after.data_streams
    )
