"""How near families are to the number of fields that an index may have. At the limit, Elasticsearch refuses documents
with new fields.
"""

import asyncio
import math
from collections.abc import Callable
from heapq import nlargest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.describe.families import members_of_families
from cacheapp.mapping.fields import limited_count
from cacheapp.reports import FamilyFields, FieldLimitsReport
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import ALL_VISIBLE
from esassistant.clock import Sleep
from esassistant.resource import Handle

SHOWN_FAMILIES = 20
PAUSE_SECONDS = 5.0
"""How long to wait between two counts, because mappings may change many times a second. With ten thousand indices one
count takes 50 ms in a thread if they form fifty families, and 250 ms if each is a family of its own.
"""

Count = Callable[[str, bytes], int]
"""Counts the fields of a mapping, given its hash and its bytes."""


class FieldLimits:
    """Finds the fullest families. One per process, owned by the registry; used only on its event loop."""

    def __init__(self, cache: MappingCache, *, sleep: Sleep = asyncio.sleep) -> None:
        self._cache = cache
        self._sleep = sleep
        self._counts: dict[str, int] = {}
        self._report = FieldLimitsReport(None)
        self._changed = asyncio.Event()
        cache.on_change(self._changed.set)

    async def keep_counting(self) -> None:
        """Background task: count again after each change, with a pause after each count."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._report = await asyncio.to_thread(self._counted, self._cache.snapshot)
            await self._sleep(PAUSE_SECONDS)

    def report(self) -> FieldLimitsReport:
        return self._report

    def _counted(self, snapshot: Snapshot) -> FieldLimitsReport:
        used: dict[str, int] = {}

        def count(mapping_hash: str, body: bytes) -> int:
            if mapping_hash not in used:
                known = self._counts.get(mapping_hash)
                used[mapping_hash] = limited_count(body) if known is None else known
            return used[mapping_hash]

        families = fullest_families(snapshot, count)
        self._counts = used
        return FieldLimitsReport(families)


FIELD_LIMITS: Handle[FieldLimits] = Handle("field_limits")


def fullest_families(snapshot: Snapshot, count: Count) -> dict[str, FamilyFields] | None:
    """Return the fullest member of each of the `SHOWN_FAMILIES` fullest families, the fullest first; None if the limits
    are not known.

    These are left out: families whose names begin with a dot, because nobody maintains them by hand; indices with a
    limit of 0, which are to have no fields; and mappings that are not in memory.

    The cluster's own count of fields is never less than the number that the limit is compared with. So mappings are
    parsed in the order of that count, only until those that follow can't be fuller (the threshold algorithm of Fagin,
    Lotem and Naor, 2001, with one list).
    """
    if not snapshot.field_limits:
        return None
    found: dict[str, FamilyFields] = {}
    for bound, family, index, mapping_hash in _by_bound(snapshot):
        is_bounded = bound < math.inf and len(found) >= SHOWN_FAMILIES
        if is_bounded and bound <= nlargest(SHOWN_FAMILIES, (one.share for one in found.values()))[-1]:
            break
        if (body := snapshot.bodies.get(mapping_hash)) is None:
            continue
        fields, limit = count(mapping_hash, body), snapshot.field_limits[index]
        if family not in found or fields / limit > found[family].share:
            found[family] = FamilyFields(index, fields, limit, fields / limit)
    fullest = nlargest(SHOWN_FAMILIES, found.items(), key=lambda item: item[1].share)
    return dict(fullest)


def _by_bound(snapshot: Snapshot) -> list[tuple[float, str, str, str]]:
    """Return one index for each mapping and limit of a family: its largest possible share of the limit, its family, its
    name, and the hash of its mapping. The largest shares come first.
    """
    bounds: dict[tuple[str, str, int], tuple[float, str]] = {}
    for family, _, members in members_of_families(snapshot, ALL_VISIBLE):
        for index in () if family.startswith(".") else members:
            entry = snapshot.indices[index]
            if limit := snapshot.field_limits.get(index):
                bound = math.inf if entry.field_count is None else entry.field_count / limit
                key = family, entry.mapping_hash, limit
                bounds[key] = max(bounds.get(key, (0.0, "")), (bound, index))
    return sorted(
        ((bound, family, index, hashed) for (family, hashed, _), (bound, index) in bounds.items()), reverse=True
    )
