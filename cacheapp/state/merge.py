"""Merge statements about the cluster into the next snapshot: what was read, and what others published. Pure.

Every statement has moments for which the cluster confirmed what it says. If two statements disagree about an index or
an alias, the newer one wins, in whatever order they arrive. Moments are on the monotonic clock of this process.
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
"""How many absent names are remembered at most: callers may ask for any name."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a read, a pass or another process says of the cluster.

    `listed` decides what it is about. If it is a set, the statement is about the whole cluster: indices and aliases
    that it doesn't have don't exist. If it is None, the statement is about the one name `about`, which is an index, an
    alias or nothing. The last five members are empty where it doesn't tell.

    Args:
        at: The moment for which it holds, except where an index has a moment of its own.
        indices: The indices whose mappings it tells, each with its own moment (`confirmed_at`).
        bodies: These mappings, by their hashes.
        aliases: The members of each alias.
        listed: The names of all indices that exist.
        about: The one name that it is about, if `listed` is None.
        is_published: Whether another process published it.
        data_streams: Which of the aliases are data streams.
        cluster_uuid: The uuid of the cluster.
        closed: Which of the listed indices are closed.
        hidden: Which of the listed indices are hidden by their settings.
        field_limits: How many fields each index may have.
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
        """Return whether what it says for the moment `at` wins over what is known for the moment `known_at`."""
        return at > known_at or (at == known_at and not self.is_published)  # at equal moments our own wins

    def denies(self, indices: Iterable[str]) -> Collection[str]:
        """Return those of the known `indices` that don't exist according to the statement."""
        if self.listed is None:
            return (self.about,) if self.about not in self.indices else ()
        return [name for name in indices if name not in self.listed]


def read_statement(name: str, mappings: Mapping[str, bytes], at: float) -> Statement:
    """Return what a read of `name` says: it stands for the indices of `mappings`, or doesn't exist if there are none.

    Elasticsearch answers for an alias with the names of its indices, and for an index with its own name.
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
    """Return what a pass says; a generator that runs in steps. Indices that `failed`, or that the pass left alone,
    exist, but their mappings weren't read.
    """
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
    """Return what another process published, loaded at the moment `now`; a generator that runs in steps.

    An index whose body is known neither here nor there stays without it: asking for it is a miss, and it is read from
    the cluster.
    """
    published_at = now - state.age_seconds
    indices: dict[str, IndexEntry] = {}
    for some in batched(state.indices.items(), TURN):
        for name, stored in some:
            at = published_at if stored.age_seconds is None else now - stored.age_seconds
            indices[name] = IndexEntry(stored.uuid, stored.mapping_hash, at, Source.STORE, stored.field_count)
        yield
    return Statement(
        # A change pass lists the cluster too: what it says of deleted indices and moved aliases is newer than the
        # mappings.
        published_at if state.listed_age_seconds is None else now - state.listed_age_seconds,
        indices,
        state.bodies,
        state.aliases,
        # Indices that the publisher could not read exist: a process that has read them keeps them.
        state.unread.union(state.indices),
        is_published=True,
        data_streams=state.data_streams,
        cluster_uuid=state.cluster_uuid,
        closed=state.closed,
        hidden=state.hidden,
    )


def merged(before: Snapshot, said: Statement) -> Generator[None, None, Snapshot]:
    """Return the snapshot after a statement; a generator that runs in steps, so that other tasks can run in between.

    1. An index that the statement tells is taken, unless something newer is known: another mapping, or that it is gone.
    2. An index that the statement denies is dropped, unless something newer is known: a mapping, or a listing that has
       it.
    3. The same holds for an alias. A newer listing knows all aliases, so an older statement changes none.
    4. A single name that is neither an index nor an alias is remembered as absent, until the next listing.
    5. The newest listing decides which data streams and indices there are, and which indices are closed or hidden.
    6. It also decides how many fields an index may have. Published statements don't tell this: if one has a newer
       listing, the limits become unknown; if it has the same moment, our own limits stay, because the others took over
       our listing.
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
    """Return the snapshot after a read of one name at the moment `at`. The name stands for the indices of `mappings`,
    or doesn't exist if there are none.
    """
    return at_once(merged(before, read_statement(name, mappings, at)))


def _with_uuid(entry: IndexEntry, known: IndexEntry) -> IndexEntry:
    """Return the entry, completed with the known uuid and number of fields if it has no uuid and the mapping is the
    same.

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
    """Return the bodies of the indices, as far as they are known. The statement's bodies are taken even where an entry
    stays the same, because its body may have been evicted.
    """
    known = {**before.bodies, **said.bodies}
    told = {indices[name].mapping_hash for name in said.indices if name in indices}
    yield
    # Most reads find what is known already; then the other bodies needn't be gone through.
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
    """How many indices a pass changed, and how many it removed.

    `names_total` counts the aliases whose members changed, and the indices that were opened, closed, hidden or shown.
    """

    changed_total: int
    removed_total: int
    names_total: int = 0


def pass_changes(before: Snapshot, after: Snapshot) -> Generator[None, None, PassChanges]:
    """Return what a pass changed, from the snapshots before and after it; a generator that runs in steps."""
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
    """Return whether a snapshot that has taken over `state` knows more than that: other mappings, new indices or
    deleted ones.
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
    """Return the snapshot in the form in which it is published, after a full pass that listed the cluster at `pass_at`.
    `history`: how far its changes are recorded.
    """
    return StoredState(
        age_seconds=now - pass_at,
        listed_age_seconds=now - snapshot.listed_at if snapshot.listed_at > pass_at else None,
        indices={
            name: StoredIndex(
                entry.uuid,
                entry.mapping_hash,
                # What was confirmed later has an age of its own. Without it, processes that know the index from the
                # pass would not take it over.
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
