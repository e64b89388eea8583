"""The mapping cache's state: an immutable snapshot, replaced as a whole.

One copy per distinct mapping: rolled-over indices share theirs, byte by byte (Elasticsearch renders equal mappings
identically, keys sorted), so a thousand indices with nine mappings hold nine bodies.
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
    """The name under which a mapping's bytes are kept: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


class IndexEntry(msgspec.Struct, frozen=True, gc=False):
    """One index: its uuid (None: not known yet), the hash of its mapping, and the moment for which the cluster
    confirmed it. `field_count` is what the cluster counts, None: not known.

    `confirmed_at` is on the monotonic clock of this process, taken before the confirming request was sent: ages are
    never understated.
    """

    uuid: str | None
    mapping_hash: str
    confirmed_at: float
    source: Source
    field_count: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of the cluster's mappings at one moment. `aliases` holds data streams too. Never changed, only
    replaced.
    """

    indices: Mapping[str, IndexEntry] = field(default_factory=lambda: MappingProxyType({}))
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    bodies: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    # For which moment the cluster confirmed each alias, as `IndexEntry.confirmed_at` is for an index.
    aliases_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # Which of the aliases are data streams, as far as the last full pass told.
    data_streams: frozenset[str] = frozenset()
    # Of the cluster that the last full pass listed; None: not known yet.
    cluster_uuid: str | None = None
    # When the cluster last confirmed everything here at once: its metadata had not changed since the last full pass.
    confirmed_at: float = -math.inf
    # When the cluster was listed last, by this process or another, and which indices that showed.
    listed_at: float = -math.inf
    listed: frozenset[str] = frozenset()
    # When names that are not there were found absent by a read, as far as that was after the last listing.
    absent_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # Which of the listed indices are closed, and which are hidden by their settings, as far as the last listing told.
    closed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    # How many fields each index may have (`index.mapping.total_fields.limit`), as the last listing told if that was of
    # this process; else empty: others don't tell.
    field_limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def unread(self) -> frozenset[str]:
        """The indices that are listed, but whose mappings aren't known, as they could not be read."""
        return frozenset(name for name in self.listed if name not in self.indices and name not in self.absent_at)

    def resolve(self, name: str) -> tuple[str, ...] | None:
        """The indices that `name` stands for: itself, or those of the alias. None where it or one of them isn't
        known.
        """
        members = (name,) if name in self.indices else self.aliases.get(name)
        if members is None or not all(map(self.is_whole, members)):
            return None
        return members

    def knows(self, name: str) -> bool:
        """Whether an index, alias or data stream of that name was there when it was last read or listed."""
        return name in self.indices or name in self.aliases

    def has_same_names(self, other: "Snapshot") -> bool:
        """Whether two snapshots have the same names with the same mappings: then they share what says so."""
        return (
            self.indices is other.indices
            and self.aliases is other.aliases
            and self.data_streams == other.data_streams
            and self.closed == other.closed
            and self.hidden == other.hidden
        )

    def is_whole(self, index: str) -> bool:
        """Whether an index is known with its mapping."""
        entry = self.indices.get(index)
        return entry is not None and entry.mapping_hash in self.bodies

    def without_bodies(self, evicted: Iterable[str]) -> "Snapshot":
        """The same without some bodies: their indices stay known, but have to be read again when they are asked for."""
        gone = frozenset(evicted)
        return replace(
            self, bodies=MappingProxyType({hashed: body for hashed, body in self.bodies.items() if hashed not in gone})
        )

    def gone_at(self, name: str) -> float:
        """The last moment for which it is known that an unknown `name` is neither an index nor an alias."""
        absent_at = self.absent_at.get(name, -math.inf)
        return absent_at if name in self.listed else max(absent_at, self.listed_at)

    def confirmed_of(self, name: str) -> float:
        """For which moment the cluster confirmed what `name`, which must be known, stands for."""
        entry = self.indices.get(name)
        if entry is not None:
            return max(self.confirmed_at, entry.confirmed_at)
        # An index that was found gone stays a member until the alias itself is read again.
        members = [self.indices[index].confirmed_at for index in self.aliases[name] if index in self.indices]
        return max(self.confirmed_at, min([self.aliases_at[name], *members]))

    def confirmed_of_all(self, names: Iterable[str], *, by_listing: bool) -> float:
        """For which moment the cluster confirmed what `names` stand for; `by_listing`: and that these are all."""
        moments: list[float] = []
        for name in names:  # mostly indices, and there may be thousands
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
    """When each body that is new in `after` was last asked for: when those were that it replaces; or never."""
    uses = {hashed: -math.inf for hashed in after.bodies if hashed not in used_at}
    if uses:
        for name, entry in after.indices.items():
            if entry.mapping_hash in uses and (replaced := before.indices.get(name)) is not None:
                replaced_at = used_at.get(replaced.mapping_hash, -math.inf)
                uses[entry.mapping_hash] = max(uses[entry.mapping_hash], replaced_at)
    return uses


def least_used(bodies: Mapping[str, bytes], used_at: Mapping[str, float], excess: int) -> list[str]:
    """The hashes of those bodies that were not asked for the longest, enough of them to save `excess` bytes."""
    evicted: list[str] = []
    for hashed in sorted(bodies, key=used_at.__getitem__):
        if excess <= 0:
            break
        excess -= len(bodies[hashed])
        evicted.append(hashed)
    return evicted
