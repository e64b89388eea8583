"""Which of two statements about the cluster wins: how what was read or published becomes the next snapshot. Pure."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass

from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.readings import Reading
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from esassistant.long_work import TURN, batched


@dataclass(frozen=True, slots=True)
class PassChanges:
    """What applying a pass changed."""

    changed_total: int
    removed_total: int
    aliases_total: int = 0


def applied(
    before: Snapshot, reading: Reading, failed: Iterable[str]
) -> Generator[None, None, tuple[Snapshot, PassChanges]]:
    """The snapshot after a pass, and what that changed; `failed` could not be read and stay, as does what the pass left
    alone.

    What was confirmed while the pass ran is newer than the pass, and stays too.
    """
    listing, listed_at = reading.listing, reading.listed_at
    kept = {*failed, *reading.left_alone}
    kept.update(name for name, entry in before.indices.items() if entry.confirmed_at > listed_at)
    newer_aliases = {alias for alias, at in before.aliases_at.items() if at > listed_at}
    yield
    entries: dict[str, IndexEntry] = {}
    changed_total = 0
    for some in batched(reading.mappings.hashes.items(), TURN):
        for name, known in some:
            previous = before.indices.get(name)
            if name in kept or (previous is None and before.is_gone(name, listed_at)):
                continue
            entries[name] = IndexEntry(
                listing.uuids.get(name), known, listed_at, Source.ELASTICSEARCH, listing.field_counts.get(name)
            )
            changed_total += previous is None or previous.mapping_hash != known
        yield
    # A change pass that began later may have ended sooner: what there is, it knows better.
    is_latest = listed_at >= before.listed_at
    removed = [name for name in before.indices if name not in entries and name not in kept]
    yield
    after = before.changed(
        entries,
        reading.mappings.bodies,
        removed=removed,
        aliases={
            alias: members for alias, members in listing.aliases.items() if is_latest and alias not in newer_aliases
        },
        aliases_at=listed_at,
        removed_aliases=[
            alias
            for alias in before.aliases
            if is_latest and alias not in listing.aliases and alias not in newer_aliases
        ],
        data_streams=listing.data_streams if is_latest else None,
        cluster_uuid=listing.cluster_uuid,
        listed_at=listed_at if is_latest else None,
        listed=frozenset(listing.uuids) if is_latest else None,
    )
    yield
    aliases_total = sum(
        before.aliases.get(alias) != after.aliases.get(alias) for alias in before.aliases.keys() | after.aliases.keys()
    )
    return after, PassChanges(changed_total, len(removed), aliases_total)


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
