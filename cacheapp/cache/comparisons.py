"""Compare the mappings of two names, or two mappings by their hashes."""

import asyncio
import re
from dataclasses import dataclass

import msgspec
from msgspec import structs

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import MappingNotFound
from cacheapp.mapping.comparison import Differences, compare
from cacheapp.state.answer import Freshness, MappingAnswer
from cacheapp.state.expressions import asked
from cacheapp.state.snapshot import Snapshot, Source
from cacheapp.state.visible import Visible
from esassistant.http.answer import etag_of
from esassistant.long_work import in_thread_if_large

_HASH = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: what was asked for, how many indices it stands for, and their distinct mappings."""

    name: str
    indices_total: int
    mapping_hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and how the fields of `b` differ from those of `a`."""

    a: Side
    b: Side
    differences: Differences


async def compare_sides(
    cache: MappingCache, a: str, b: str, visible: Visible
) -> tuple[Comparison, tuple[MappingAnswer, MappingAnswer]]:
    """Compare two sides. Return the comparison, and the mappings of each side.

    Args:
        a: An index, alias or data stream, a list or a pattern; or the hash of a mapping of an index that the caller may
            see.
        b: Likewise.

    Raises:
        IllegalName, MappingNotFound, ClusterUnavailable: As `MappingCache.outline` does, for either side.
    """
    (side_a, found_a), (side_b, found_b) = await _side(cache, a, visible), await _side(cache, b, visible)
    bodies_a, bodies_b = ([one.body for one in found.distinct] for found in (found_a, found_b))
    differences = await in_thread_if_large(sum(map(len, (*bodies_a, *bodies_b))), compare, bodies_a, bodies_b)
    return Comparison(side_a, side_b, differences), (found_a, found_b)


async def compared(cache: MappingCache, a: str, b: str, visible: Visible) -> MappingAnswer:
    """Return a `Comparison` as JSON, with the age of the older side. Take and raise what `compare_sides` does."""
    comparison, both = await compare_sides(cache, a, b, visible)
    body = msgspec.json.encode(comparison)  # at most some thousand names, which takes a millisecond or two
    older = min(both, key=lambda found: found.confirmed_at)
    return structs.replace(
        older,
        body=body,
        etag=etag_of(body),
        freshness=Freshness.STALE if any(one.freshness is Freshness.STALE for one in both) else Freshness.FRESH,
        source=Source.STORE if any(one.source is Source.STORE for one in both) else older.source,
    )


async def _side(cache: MappingCache, name: str, visible: Visible) -> tuple[Side, MappingAnswer]:
    if not _HASH.fullmatch(name) or (visible.covers(name) and cache.is_known(name)):
        found = await cache.outline(asked(name, visible))
        return Side(name, len(found.indices), tuple(one.mapping_hash for one in found.distinct)), found
    having = await asyncio.to_thread(_having, cache.snapshot, name, visible)  # it goes through all names
    if having:
        found = await cache.outline(having[0])
        if [one.mapping_hash for one in found.distinct] == [name]:
            return Side(name, len(having), (name,)), found
    detail = f"No index, alias or data stream is named {name!r}, and no index has a mapping of this hash."
    raise cache.absent(MappingNotFound(detail, name), visible)


def _having(snapshot: Snapshot, mapping_hash: str, visible: Visible) -> list[str]:
    """Return the indices with a mapping that are visible by their own names or by those of aliases, sorted."""
    by_alias = {
        index
        for alias, members in snapshot.aliases.items()
        if not visible.everything and visible.covers(alias)
        for index in members
    }
    return sorted(
        index
        for index, entry in snapshot.indices.items()
        if entry.mapping_hash == mapping_hash and (index in by_alias or visible.covers(index))
    )
