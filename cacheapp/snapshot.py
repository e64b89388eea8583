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

from cacheapp.stores.protocol import StoredIndex, StoredState


class Source(enum.Enum):
    """Where an answer came from."""

    MEMORY = "memory"
    STORE = "store"
    ELASTICSEARCH = "elasticsearch"


def mapping_hash(body: bytes) -> str:
    """The name under which a mapping's bytes are kept: 128 bits of BLAKE2b, in hex."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


class IndexEntry(msgspec.Struct, frozen=True, gc=False):
    """One index: its uuid (None: not known yet), the hash of its mapping, and the moment for which the cluster confirmed
    it. `field_count` is what the cluster counts, None: not known.

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
    # When this process itself listed the cluster last, and which indices that showed: what came of older is gone.
    listed_at: float = -math.inf
    listed: frozenset[str] = frozenset()

    def resolve(self, name: str) -> tuple[str, ...] | None:
        """The indices that `name` stands for: itself, or those of the alias. None where it or one of them isn't known."""
        members = (name,) if name in self.indices else self.aliases.get(name)
        if members is None or not all(map(self.is_whole, members)):
            return None
        return members

    def is_whole(self, index: str) -> bool:
        """Whether an index is known with its mapping."""
        entry = self.indices.get(index)
        return entry is not None and entry.mapping_hash in self.bodies

    def without_bodies(self, evicted: Iterable[str]) -> "Snapshot":
        """The same without some bodies: their indices stay known, but have to be read again when they are asked for."""
        gone = frozenset(evicted)
        return replace(
            self, bodies=MappingProxyType({known: body for known, body in self.bodies.items() if known not in gone})
        )

    def is_gone(self, name: str, confirmed_at: float) -> bool:
        """Whether an index that others confirmed at `confirmed_at` was not there any more when we looked later."""
        return confirmed_at < self.listed_at and name not in self.listed

    def is_confirmed_since(self, name: str, asked_at: float) -> bool:
        """Whether it is known what `name` was after `asked_at`: then an answer to a question of `asked_at` is old."""
        entry = self.indices.get(name)
        return (self.aliases_at.get(name, -math.inf) if entry is None else entry.confirmed_at) > asked_at

    def confirmed_of(self, name: str) -> float:
        """For which moment the cluster confirmed what `name`, which must be known, stands for."""
        entry = self.indices.get(name)
        if entry is not None:
            return max(self.confirmed_at, entry.confirmed_at)
        # An index that was found gone stays a member until the alias itself is read again.
        members = [self.indices[index].confirmed_at for index in self.aliases[name] if index in self.indices]
        return max(self.confirmed_at, min([self.aliases_at[name], *members]))

    @property
    def body_bytes(self) -> int:
        return sum(map(len, self.bodies.values()))

    def changed(
        self,
        indices: Mapping[str, IndexEntry],
        bodies: Mapping[str, bytes],
        *,
        removed: Iterable[str] = (),
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        aliases_at: float = 0.0,
        removed_aliases: Iterable[str] = (),
        data_streams: frozenset[str] | None = None,
        cluster_uuid: str | None = None,
        listed_at: float | None = None,
        listed: frozenset[str] | None = None,
    ) -> "Snapshot":
        """A new snapshot with entries added or replaced and others gone; bodies that nothing refers to any more are
        dropped.
        """
        merged = {**self.indices, **indices}
        for name in removed:
            merged.pop(name, None)
        merged_aliases = {**self.aliases, **(aliases or {})}
        merged_at = {**self.aliases_at, **dict.fromkeys(aliases or {}, aliases_at)}
        for name in removed_aliases:
            merged_aliases.pop(name, None)
            merged_at.pop(name, None)
        used = {entry.mapping_hash for entry in merged.values()}
        known = {**self.bodies, **bodies}
        return Snapshot(
            MappingProxyType(merged),
            MappingProxyType(merged_aliases),
            MappingProxyType({mapping_hash: known[mapping_hash] for mapping_hash in used if mapping_hash in known}),
            MappingProxyType(merged_at),
            self.data_streams if data_streams is None else data_streams,
            cluster_uuid or self.cluster_uuid,
            self.confirmed_at,
            self.listed_at if listed_at is None else listed_at,
            self.listed if listed is None else listed,
        )


def with_read(
    snapshot: Snapshot, name: str, mappings: Mapping[str, bytes], confirmed_at: float, source: Source
) -> Snapshot:
    """The snapshot after `name` was read, which stands for the indices of `mappings`.

    What was confirmed later stays, with or without its body, and what was later found gone stays away: the age of all
    that is here may be renewed at once.
    """
    entries: dict[str, IndexEntry] = {}
    bodies: dict[str, bytes] = {}
    for index, body in mappings.items():
        before, known = snapshot.indices.get(index), mapping_hash(body)
        bodies[known] = body  # also where the entry stays, as its body may not have been kept
        if before is None and not snapshot.is_gone(index, confirmed_at):
            entries[index] = IndexEntry(None, known, confirmed_at, source)
        elif before is not None and before.confirmed_at <= confirmed_at:
            # The uuid still holds while the mapping is unchanged; with another, the index may have been created anew.
            uuid = before.uuid if before.mapping_hash == known else None
            entries[index] = IndexEntry(uuid, known, confirmed_at, source)
    is_alias = name not in mappings  # an alias answers with other names than its own; an index with its own alone
    is_over = snapshot.is_confirmed_since(name, confirmed_at) or (
        name not in snapshot.aliases and snapshot.is_gone(name, confirmed_at)
    )
    return snapshot.changed(
        entries,
        bodies,
        aliases={name: tuple(sorted(mappings))} if is_alias and not is_over else {},
        aliases_at=confirmed_at,
        removed_aliases=() if is_alias or is_over else (name,),
        removed=(name,) if is_alias and not is_over else (),
    )


def with_published(snapshot: Snapshot, state: StoredState, now: float) -> Snapshot:
    """The snapshot after taking over what another instance published. An entry that was confirmed later stays.

    An index whose body is known on neither side stays listed without it: it is a miss, and will be read from the
    cluster.
    """
    published_at = now - state.age_seconds
    indices: dict[str, IndexEntry] = {}
    # A change pass lists too: what it found gone, and where aliases were moved, is newer than the mappings.
    listed_at = published_at if state.listed_age_seconds is None else now - state.listed_age_seconds
    newer_aliases = {alias for alias, at in snapshot.aliases_at.items() if at > listed_at}
    for name, stored in state.indices.items():
        confirmed_at = published_at if stored.age_seconds is None else now - stored.age_seconds
        known = snapshot.indices.get(name)
        if known is not None and known.confirmed_at >= confirmed_at:
            continue
        if known is None and snapshot.is_gone(name, confirmed_at):
            continue
        indices[name] = IndexEntry(stored.uuid, stored.mapping_hash, confirmed_at, Source.STORE, stored.field_count)
    is_newer = listed_at >= snapshot.listed_at
    return snapshot.changed(
        indices,
        state.bodies,
        removed=[
            name
            for name, known in snapshot.indices.items()
            if name not in state.indices and known.confirmed_at < listed_at
        ],
        aliases={alias: members for alias, members in state.aliases.items() if is_newer and alias not in newer_aliases},
        aliases_at=listed_at,
        removed_aliases=[
            alias
            for alias in snapshot.aliases
            if is_newer and alias not in state.aliases and alias not in newer_aliases
        ],
        data_streams=state.data_streams if is_newer else None,
        cluster_uuid=state.cluster_uuid,
    )


def is_ahead(snapshot: Snapshot, state: StoredState, now: float) -> bool:
    """Whether a snapshot that has taken over `state` knows what that lacks: other mappings, new indices, deleted ones."""
    for name, stored in state.indices.items():
        known = snapshot.indices.get(name)
        if known is None:
            age = state.age_seconds if stored.age_seconds is None else stored.age_seconds
            if snapshot.is_gone(name, now - age):
                return True
        elif known.mapping_hash != stored.mapping_hash:
            return True
    return any(name not in state.indices for name in snapshot.indices)


def to_publish(snapshot: Snapshot, pass_at: float, now: float, *, cluster_urls: str) -> StoredState:
    """The snapshot as others may take it over, after a full pass that listed the cluster at `pass_at`."""
    return StoredState(
        age_seconds=now - pass_at,
        listed_age_seconds=now - snapshot.listed_at if snapshot.listed_at > pass_at else None,
        indices={
            name: StoredIndex(
                entry.uuid,
                entry.mapping_hash,
                # What was confirmed later says so, or those who know it from the pass itself would not take it over.
                None if max(entry.confirmed_at, snapshot.confirmed_at) == pass_at else now - entry.confirmed_at,
                entry.field_count,
            )
            for name, entry in snapshot.indices.items()
        },
        aliases=snapshot.aliases,
        bodies=snapshot.bodies,
        data_streams=snapshot.data_streams,
        cluster_uuid=snapshot.cluster_uuid or "",
        cluster_urls=cluster_urls,
    )
