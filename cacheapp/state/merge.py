"""Which of two statements about the cluster wins: how what was read or published becomes the next snapshot. Pure.

Every statement has moments: those for which the cluster confirmed what it says. Of two statements about one index, or
one alias, the newer wins, in whatever order they arrive.
"""

import math
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from msgspec import structs

from cacheapp.state.published import HistoryMark, StoredIndex, StoredState
from cacheapp.state.readings import Reading
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from esassistant.long_work import TURN, at_once, batched

MAX_ABSENT = 10_000
"""So many absent names are remembered at most: strangers may ask for any."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says of the cluster.

    `indices` are those whose mappings it tells, each with its own moment (`confirmed_at`), and `bodies` these mappings
    by their hashes. Everything else it says is for the moment `at`: the members of each alias, and what there is not.
    `listed` names all indices that there are: others are not there, nor are aliases that it doesn't have. None: it
    speaks of the one name `about` alone, which is an index, an alias or nothing. `data_streams`, `cluster_uuid`,
    `closed`, `hidden` and `field_limits`: empty where it doesn't tell.
    """

    at: float
    indices: Mapping[str, IndexEntry] = field(default_factory=dict)
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    listed: frozenset[str] | None = None
    about: str = ""
    is_published: bool = False
    data_streams: frozenset[str] = frozenset()
    cluster_uuid: str = ""
    closed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    field_limits: Mapping[str, int] = field(default_factory=dict)

    def beats(self, at: float, known_at: float) -> bool:
        """Whether what it says for the moment `at` wins over what is known for the moment `known_at`."""
        return at > known_at or (at == known_at and not self.is_published)  # of a tie, ours beats what others published

    def denies(self, indices: Iterable[str]) -> Collection[str]:
        """Those of the known `indices` that it says are not there."""
        if self.listed is None:
            return (self.about,) if self.about not in self.indices else ()
        return [name for name in indices if name not in self.listed]


def read_statement(name: str, mappings: Mapping[str, bytes], at: float) -> Statement:
    """What reading `name` said: it stands for the indices of `mappings`, or for nothing where there are none.

    An alias answers with other names than its own, an index with its own alone.
    """
    hashes = {index: mapping_hash(body) for index, body in mappings.items()}
    return Statement(
        at,
        {index: IndexEntry(None, hashed, at, Source.ELASTICSEARCH) for index, hashed in hashes.items()},
        {hashed: mappings[index] for index, hashed in hashes.items()},
        {name: tuple(sorted(mappings))} if mappings and name not in mappings else {},
        about=name,
    )


def pass_statement(reading: Reading, failed: Iterable[str]) -> Generator[None, None, Statement]:
    """What a pass said, in steps. `failed` could not be read: they are there, as is what the pass left alone."""
    listing, at = reading.listing, reading.listed_at
    unread = {*failed, *reading.left_alone}
    indices: dict[str, IndexEntry] = {}
    for some in batched(reading.mappings.hashes.items(), TURN):
        for name, hashed in some:
            if name not in unread:
                uuid, field_count = listing.uuids.get(name), listing.field_counts.get(name)
                indices[name] = IndexEntry(uuid, hashed, at, Source.ELASTICSEARCH, field_count)
        yield
    return Statement(
        at,
        indices,
        reading.mappings.bodies,
        listing.aliases,
        frozenset(unread | indices.keys()),
        data_streams=listing.data_streams,
        cluster_uuid=listing.cluster_uuid,
        closed=listing.closed,
        hidden=listing.hidden,
        field_limits=listing.field_limits,
    )


def published_statement(state: StoredState, now: float) -> Generator[None, None, Statement]:
    """What another process published, as loaded at `now`; in steps.

    An index whose body is known on neither side stays without it: it is a miss, and will be read from the cluster.
    """
    published_at = now - state.age_seconds
    indices: dict[str, IndexEntry] = {}
    for some in batched(state.indices.items(), TURN):
        for name, stored in some:
            at = published_at if stored.age_seconds is None else now - stored.age_seconds
            indices[name] = IndexEntry(stored.uuid, stored.mapping_hash, at, Source.STORE, stored.field_count)
        yield
    return Statement(
        # A change pass lists too: what it found gone, and where aliases were moved, is newer than the mappings.
        published_at if state.listed_age_seconds is None else now - state.listed_age_seconds,
        indices,
        state.bodies,
        state.aliases,
        # What the publisher could not read is there: whoever has read it keeps it.
        state.unread.union(state.indices),
        is_published=True,
        data_streams=state.data_streams,
        cluster_uuid=state.cluster_uuid,
        closed=state.closed,
        hidden=state.hidden,
    )


def merged(before: Snapshot, said: Statement) -> Generator[None, None, Snapshot]:
    """The snapshot after a statement; in steps, between which others may have a turn.

    1. An index that it tells: taken unless something newer is known of it, its mapping or that it is gone.
    2. An index that it denies: dropped unless something newer is known, its mapping or, by a listing, that it is there.
    3. An alias that it tells, or denies: likewise; a newer listing knows all aliases.
    4. A single name that is neither: remembered, until the next listing.
    5. Which data streams there are, which indices, and which of these are closed or hidden: the newest listing says it.
    6. How many fields an index may have: likewise, but others who publish don't tell. A newer listing of theirs makes
       it unknown; one of the same moment is ours, as they took it over.
    """
    indices = dict(before.indices)
    for some in batched(said.indices.items(), TURN):
        for name, entry in some:
            known = before.indices.get(name)
            if said.beats(entry.confirmed_at, before.gone_at(name) if known is None else known.confirmed_at):
                indices[name] = entry if known is None else _with_uuid(entry, known)
        yield
    for name in said.denies(before.indices):
        known = before.indices.get(name)
        was_listed_since = before.listed_at > said.at and name in before.listed
        if known is not None and said.beats(said.at, known.confirmed_at) and not was_listed_since:
            del indices[name]
    yield
    aliases, aliases_at = _merged_aliases(before, said)
    yield
    bodies = yield from _merged_bodies(before, said, indices)
    is_latest = said.listed is not None and said.at >= before.listed_at
    return Snapshot(
        MappingProxyType(indices),
        MappingProxyType(aliases),
        MappingProxyType(bodies),
        MappingProxyType(aliases_at),
        said.data_streams if is_latest else before.data_streams,
        said.cluster_uuid or before.cluster_uuid,
        before.confirmed_at,
        said.at if is_latest else before.listed_at,
        said.listed if is_latest and said.listed is not None else before.listed,
        MappingProxyType(_merged_absences(before, said)),
        said.closed if is_latest else before.closed,
        said.hidden if is_latest else before.hidden,
        MappingProxyType(dict(said.field_limits))
        if is_latest and said.beats(said.at, before.listed_at)
        else before.field_limits,
    )


def after_read(before: Snapshot, name: str, mappings: Mapping[str, bytes], at: float) -> Snapshot:
    """The snapshot after one name was read at `at`: it stands for the indices of `mappings`, or for nothing."""
    return at_once(merged(before, read_statement(name, mappings, at)))


def _with_uuid(entry: IndexEntry, known: IndexEntry) -> IndexEntry:
    """The entry with the uuid and the number of fields that are known, where it has none and the mapping is the same.

    With another mapping, the index may have been created anew.
    """
    if entry.uuid is None and entry.mapping_hash == known.mapping_hash:
        return structs.replace(entry, uuid=known.uuid, field_count=known.field_count)
    return entry


def _merged_aliases(before: Snapshot, said: Statement) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    aliases, aliases_at = dict(before.aliases), dict(before.aliases_at)
    if said.at < before.listed_at:
        return aliases, aliases_at
    for alias, members in said.aliases.items():
        known_at = before.aliases_at[alias] if alias in before.aliases else before.gone_at(alias)
        if said.beats(said.at, known_at):
            aliases[alias], aliases_at[alias] = members, said.at
    for alias in before.aliases if said.listed is not None else (said.about,):
        if alias in aliases and alias not in said.aliases and said.beats(said.at, before.aliases_at[alias]):
            del aliases[alias], aliases_at[alias]
    return aliases, aliases_at


def _merged_absences(before: Snapshot, said: Statement) -> dict[str, float]:
    if said.listed is not None:
        return {name: at for name, at in before.absent_at.items() if at > said.at}
    absences = dict(before.absent_at)
    if said.about in said.indices or said.about in said.aliases:
        if said.at >= absences.get(said.about, math.inf):
            del absences[said.about]
    elif said.at >= before.listed_at:
        while len(absences) >= MAX_ABSENT:
            del absences[next(iter(absences))]
        absences[said.about] = max(said.at, absences.pop(said.about, said.at))
    return absences


def _merged_bodies(
    before: Snapshot, said: Statement, indices: Mapping[str, IndexEntry]
) -> Generator[None, None, dict[str, bytes]]:
    """The bodies that the indices refer to, as far as they are known: of what it told also where an entry stays, as its
    body may not have been kept.
    """
    known = {**before.bodies, **said.bodies}
    told = {indices[name].mapping_hash for name in said.indices if name in indices}
    yield
    # Most reads find what is known already: then the bodies needn't be gone through.
    touched = before.indices if said.listed is not None else {said.about, *said.indices}
    if all(name not in before.indices or _has_the_same(before.indices[name], indices.get(name)) for name in touched):
        return {**before.bodies, **{hashed: known[hashed] for hashed in told if hashed in known}}
    bodies: dict[str, bytes] = {}
    for some in batched(indices.values(), TURN):
        for entry in some:
            if entry.mapping_hash in known:
                bodies[entry.mapping_hash] = known[entry.mapping_hash]
        yield
    return bodies


def _has_the_same(entry: IndexEntry, now: IndexEntry | None) -> bool:
    return now is not None and now.mapping_hash == entry.mapping_hash


@dataclass(frozen=True, slots=True)
class PassChanges:
    """How many indices a pass changed, and how many it removed. `names_total`: of aliases that stand for others than
    before, and of indices that were opened, closed, hidden or shown.
    """

    changed_total: int
    removed_total: int
    names_total: int = 0


def pass_changes(before: Snapshot, after: Snapshot) -> Generator[None, None, PassChanges]:
    """What a pass changed, of the snapshots before and after it; in steps."""
    changed_total = 0
    for some in batched(after.indices.items(), TURN):
        for name, entry in some:
            known = before.indices.get(name)
            changed_total += known is None or known.mapping_hash != entry.mapping_hash
        yield
    removed_total = sum(name not in after.indices for name in before.indices)
    aliases = before.aliases.keys() | after.aliases.keys()
    names_total = sum(before.aliases.get(alias) != after.aliases.get(alias) for alias in aliases)
    names_total += len(before.closed ^ after.closed) + len(before.hidden ^ after.hidden)
    return PassChanges(changed_total, removed_total, names_total)


def is_ahead(snapshot: Snapshot, state: StoredState, now: float) -> bool:
    """Whether a snapshot that has taken over `state` knows what that lacks: other mappings, new indices, deleted
    ones.
    """
    for name, stored in state.indices.items():
        known = snapshot.indices.get(name)
        if known is None:
            age = state.age_seconds if stored.age_seconds is None else stored.age_seconds
            if now - age < snapshot.gone_at(name):
                return True
        elif known.mapping_hash != stored.mapping_hash:
            return True
    return any(name not in state.indices for name in snapshot.indices)


def to_publish(
    snapshot: Snapshot, pass_at: float, now: float, *, cluster_urls: str, history: HistoryMark | None = None
) -> StoredState:
    """The snapshot as others may take it over, after a full pass that listed the cluster at `pass_at`; `history`: how
    far its changes are recorded.
    """
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
        unread=snapshot.listed.difference(snapshot.indices),
        closed=snapshot.closed,
        hidden=snapshot.hidden,
        history=history,
    )
