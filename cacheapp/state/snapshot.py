"""The state of the mapping cache: an immutable snapshot, replaced as a whole. Moments are on the monotonic clock of
this process.

A snapshot has one copy of each distinct mapping. Rolled-over indices share theirs byte by byte, because Elasticsearch
renders equal mappings identically, with sorted keys. So a thousand indices with nine distinct mappings hold nine
bodies.
"""

import enum
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec


class Source(enum.Enum):
    """Where an answer came from."""

    MEMORY = "memory"
    STORE = "store"
    ELASTICSEARCH = "elasticsearch"


def mapping_hash(body: bytes) -> str:
    """Return the hash under which a mapping's bytes are kept: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


class IndexEntry(msgspec.Struct, frozen=True, gc=False):
    """One index: its uuid (None: not known yet), the hash of its mapping, and the moment for which the cluster
    confirmed it. `field_count` is the number of fields that the cluster counts; None: not known.

    `confirmed_at` is on the monotonic clock of this process, taken before the confirming request was sent, so that ages
    are never understated.
    """

    uuid: str | None
    mapping_hash: str
    confirmed_at: float
    source: Source
    field_count: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of the cluster's mappings at one moment. `aliases` includes data streams. A snapshot is never
    changed, only replaced.
    """

    indices: Mapping[str, IndexEntry] = field(default_factory=lambda: MappingProxyType({}))
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    bodies: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    # The moment for which the cluster confirmed each alias, as `IndexEntry.confirmed_at` is for an index.
    aliases_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # Which of the aliases are data streams, as the last full pass told.
    data_streams: frozenset[str] = frozenset()
    # The uuid of the cluster that the last full pass listed; None: not known yet.
    cluster_uuid: str | None = None
    # The last moment for which the cluster confirmed everything here at once: its metadata had not changed since the
    # last full pass.
    confirmed_at: float = -math.inf
    # When the cluster was last listed, by this process or another, and which indices that listing had.
    listed_at: float = -math.inf
    listed: frozenset[str] = frozenset()
    # Names that a read after the last listing found absent, with the moments of these reads.
    absent_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # Which of the listed indices are closed, and which are hidden by their settings, as the last listing told.
    closed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    # How many fields each index may have (`index.mapping.total_fields.limit`), if the last listing was made by this
    # process; otherwise empty, because other processes don't publish it.
    field_limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def unread(self) -> frozenset[str]:
        """The indices that are listed, but whose mappings aren't known because they could not be read."""
        return frozenset(name for name in self.listed if name not in self.indices and name not in self.absent_at)

    def resolve(self, name: str) -> tuple[str, ...] | None:
        """Return the indices that `name` stands for: itself, or those of the alias. None if it isn't known, or the
        mapping of one of its indices isn't.
        """
        members = (name,) if name in self.indices else self.aliases.get(name)
        if members is None or not all(map(self.is_whole, members)):
            return None
        return members

    def knows(self, name: str) -> bool:
        """Return whether an index, alias or data stream of that name existed when it was last read or listed."""
        return name in self.indices or name in self.aliases

    def has_same_names(self, other: "Snapshot") -> bool:
        """Return whether two snapshots have the same names with the same mappings; then they share the objects that
        hold these.
        """
        return (
            self.indices is other.indices
            and self.aliases is other.aliases
            and self.data_streams == other.data_streams
            and self.closed == other.closed
            and self.hidden == other.hidden
        )

    def is_whole(self, index: str) -> bool:
        """Return whether an index is known together with its mapping."""
        entry = self.indices.get(index)
        return entry is not None and entry.mapping_hash in self.bodies

    def without_bodies(self, evicted: Iterable[str]) -> "Snapshot":
        """Return the snapshot without some bodies. Their indices stay known, but are read again when they are asked
        for.
        """
        gone = frozenset(evicted)
        return replace(
            self, bodies=MappingProxyType({hashed: body for hashed, body in self.bodies.items() if hashed not in gone})
        )

    def gone_at(self, name: str) -> float:
        """Return the last moment for which it is known that `name`, which is unknown, is neither an index nor an
        alias.
        """
        absent_at = self.absent_at.get(name, -math.inf)
        return absent_at if name in self.listed else max(absent_at, self.listed_at)

    def confirmed_of(self, name: str) -> float:
        """Return the moment for which the cluster confirmed what `name` stands for. The name must be known."""
        entry = self.indices.get(name)
        if entry is not None:
            return max(self.confirmed_at, entry.confirmed_at)
        # An index that no longer exists stays a member until the alias itself is read again.
        members = [self.indices[index].confirmed_at for index in self.aliases[name] if index in self.indices]
        return max(self.confirmed_at, min([self.aliases_at[name], *members]))

    def confirmed_of_all(self, names: Iterable[str], *, by_listing: bool) -> float:
        """Return the moment for which the cluster confirmed what all of `names` stand for. `by_listing`: the names come
        from a pattern, so the moment of the listing counts too.
        """
        moments: list[float] = []
        for name in names:  # mostly names of indices, of which there may be thousands
            if (entry := self.indices.get(name)) is not None:
                moments.append(entry.confirmed_at)
            elif name in self.aliases:
                moments.append(self.confirmed_of(name))
        if by_listing:
            moments.append(self.listed_at)
        return max(self.confirmed_at, min(moments, default=self.listed_at))

    @property
    def body_bytes(self) -> int:
        return sum(map(len, self.bodies.values()))


def inherited_uses(before: Snapshot, after: Snapshot, used_at: Mapping[str, float]) -> dict[str, float]:
    """Return when each body that is new in `after` was last used: the last use of the bodies that it replaces, or
    never.
    """
    uses = {hashed: -math.inf for hashed in after.bodies if hashed not in used_at}
    if uses:
        for name, entry in after.indices.items():
            if entry.mapping_hash in uses and (replaced := before.indices.get(name)) is not None:
                replaced_at = used_at.get(replaced.mapping_hash, -math.inf)
                uses[entry.mapping_hash] = max(uses[entry.mapping_hash], replaced_at)
    return uses


def least_used(bodies: Mapping[str, bytes], used_at: Mapping[str, float], excess: int) -> list[str]:
    """Return the hashes of the bodies that were not used for the longest time, enough of them to free `excess`
    bytes.
    """
    evicted: list[str] = []
    for hashed in sorted(bodies, key=used_at.__getitem__):
        if excess <= 0:
            break
        excess -= len(bodies[hashed])
        evicted.append(hashed)
    return evicted
