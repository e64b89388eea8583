"""Make snapshots for tests."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from cacheapp.state.snapshot import IndexEntry, Snapshot


def changed(
    snapshot: Snapshot,
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
    closed: frozenset[str] | None = None,
    hidden: frozenset[str] | None = None,
) -> Snapshot:
    """Return the snapshot with entries added or replaced and others removed, whatever their moments are. Bodies that
    nothing refers to any more are dropped.
    """
    merged = {**snapshot.indices, **indices}
    for name in removed:
        merged.pop(name, None)
    merged_aliases = {**snapshot.aliases, **(aliases or {})}
    merged_at = {**snapshot.aliases_at, **dict.fromkeys(aliases or {}, aliases_at)}
    for name in removed_aliases:
        merged_aliases.pop(name, None)
        merged_at.pop(name, None)
    used = {entry.mapping_hash for entry in merged.values()}
    known = {**snapshot.bodies, **bodies}
    return Snapshot(
        MappingProxyType(merged),
        MappingProxyType(merged_aliases),
        MappingProxyType({mapping_hash: known[mapping_hash] for mapping_hash in used if mapping_hash in known}),
        MappingProxyType(merged_at),
        snapshot.data_streams if data_streams is None else data_streams,
        cluster_uuid or snapshot.cluster_uuid,
        snapshot.confirmed_at,
        snapshot.listed_at if listed_at is None else listed_at,
        snapshot.listed if listed is None else listed,
        closed=snapshot.closed if closed is None else closed,
        hidden=snapshot.hidden if hidden is None else hidden,
    )
