"""What was read of the cluster: its listing, and mappings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cacheapp.state.snapshot import mapping_hash


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is in a cluster (`cluster_uuid` empty: it doesn't tell): the uuid of each index, and the indices of
    each alias; `data_streams`: which of those are. `field_counts`: the number of fields of each index, read before any
    mapping is; an index that is absent there (closed, unassigned, recovering, on a node that doesn't tell) may have
    any. `is_counted`: whether the cluster told any of these numbers; it may not let us, or take too long.
    `nodes_total`: how many nodes it has; None: unknown. `closed` indices, and those that are `hidden` by their settings
    and don't begin with a dot. `field_limits`: how many fields each index may have.
    """

    cluster_uuid: str
    uuids: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    data_streams: frozenset[str]
    field_counts: Mapping[str, int] = field(default_factory=dict)
    is_counted: bool = True
    nodes_total: int | None = None
    closed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    field_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mappings:
    """Mappings that were read: the hash of each index's, and one copy per distinct mapping, by its hash."""

    hashes: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def from_bodies(cls, bodies: Mapping[str, bytes]) -> "Mappings":
        mappings = cls()
        for name, body in bodies.items():
            mappings.hashes[name] = hashed = mapping_hash(body)
            mappings.bodies.setdefault(hashed, body)
        return mappings

    def add(self, more: "Mappings") -> None:
        """Batch by batch: keeping every copy until the end would take the memory."""
        self.hashes.update(more.hashes)
        for hashed, body in more.bodies.items():
            self.bodies.setdefault(hashed, body)

    def bytes_of(self, names: Iterable[str]) -> int:
        return sum(len(self.bodies[self.hashes[name]]) for name in names if name in self.hashes)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pass read: the listing of `listed_at`, and the mappings of those indices that were to be read.

    What could not be read is in the pass's errors. Indices that are in neither were left as they are known.
    """

    listing: Listing
    mappings: Mappings
    listed_at: float
    left_alone: frozenset[str] = frozenset()
