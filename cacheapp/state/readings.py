"""What was read from the cluster: its listing, and mappings. Moments are on the monotonic clock of this process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cacheapp.state.snapshot import mapping_hash


@dataclass(frozen=True, slots=True)
class Listing:
    """What exists in a cluster.

    Args:
        uuids: The uuid of each index.
        aliases: The indices of each alias and data stream.
        data_streams: Which of the aliases are data streams.
        cluster_uuid: The uuid of the cluster; empty: it doesn't tell.
        field_counts: The number of fields of each index, read before any mapping is. An index that is missing here
            (closed, unassigned, recovering, or on a node that doesn't tell) may have any number.
        is_counted: Whether the cluster told any of these numbers. It may refuse them, or take too long.
        nodes_total: How many nodes it has; None: unknown.
        closed: The closed indices.
        hidden: The indices that are hidden by their settings and don't begin with a dot.
        field_limits: How many fields each index may have.
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
    """Mappings that were read: the hash of each index's mapping, and one copy of each distinct mapping, by its hash."""

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
        """Add the mappings of another batch. Batches are added one by one, because keeping every copy until the end
        would take too much memory.
        """
        self.hashes.update(more.hashes)
        for hashed, body in more.bodies.items():
            self.bodies.setdefault(hashed, body)

    def bytes_of(self, names: Iterable[str]) -> int:
        return sum(len(self.bodies[self.hashes[name]]) for name in names if name in self.hashes)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pass read: the listing, made at the moment `listed_at`, and the mappings of those indices that were to be
    read.

    What could not be read is in the pass's errors. Indices that are neither read nor in the errors were left as they
    are known.
    """

    listing: Listing
    mappings: Mappings
    listed_at: float
    left_alone: frozenset[str] = frozenset()
