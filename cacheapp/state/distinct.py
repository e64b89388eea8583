"""The distinct mappings of indices: what is derived from mappings is derived from these, once each."""

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
    """The distinct mappings of indices that are whole in the snapshot, ordered by the first index that has each."""
    names: dict[str, list[str]] = {}
    for index in sorted(indices):
        names.setdefault(snapshot.indices[index].mapping_hash, []).append(index)
    return tuple(Distinct(hashed, snapshot.bodies[hashed], tuple(having)) for hashed, having in names.items())


def grouped(distinct: Sequence[Distinct]) -> bytes:
    """Each distinct mapping once, with the indices that have it, as JSON: `{"groups": [{"mapping_hash": …, "indices":
    […], "mappings": {…}}, …]}`.
    """
    groups = (
        b'{"mapping_hash":"%b","indices":%b,"mappings":%b}' % (one.mapping_hash.encode(), _names(one), one.body)
        for one in distinct
    )
    return b'{"groups":[%b]}' % b",".join(groups)


def _names(one: Distinct) -> bytes:
    return msgspec.json.encode(one.indices)
