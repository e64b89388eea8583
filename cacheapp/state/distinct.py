"""The distinct mappings of indices. What is derived from mappings is derived once from each of these."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from cacheapp.mapping.tree import Indices, counted
from cacheapp.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Distinct:
    """One distinct mapping, and the indices that have it, sorted by name."""

    mapping_hash: str
    body: bytes
    indices: tuple[str, ...]

    @property
    def counted(self) -> Indices:
        return counted(self.indices)


def distinct_mappings(snapshot: Snapshot, indices: Iterable[str]) -> tuple[Distinct, ...]:
    """Return the distinct mappings of the indices, ordered by the first index that has each. All of the indices have to
    be in the snapshot with their mappings.
    """
    names: dict[str, list[str]] = {}
    for index in sorted(indices):
        names.setdefault(snapshot.indices[index].mapping_hash, []).append(index)
    return tuple(Distinct(hashed, snapshot.bodies[hashed], tuple(having)) for hashed, having in names.items())


def grouped(distinct: Sequence[Distinct]) -> bytes:
    """Return JSON with each distinct mapping once, and the indices that have it: `{"groups": [{"mapping_hash": …,
    "indices": […], "mappings": {…}}, …]}`.
    """
    groups = (
        b'{"mapping_hash":"%b","indices":%b,"mappings":%b}' % (one.mapping_hash.encode(), _names(one), one.body)
        for one in distinct
    )
    return b'{"groups":[%b]}' % b",".join(groups)


def _names(one: Distinct) -> bytes:
    return msgspec.json.encode(one.indices)
