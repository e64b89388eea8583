"""List names and distinct mappings for the mapping browser. Pure; called in a thread, because many thousands of names
take tens of milliseconds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cacheapp.browse.filters import (
    ALIAS,
    DATA_STREAM,
    INDEX,
    PAGE,
    SHOWN_NAMES,
    Changes,
    Listed,
    NameFilter,
    NameState,
    Sort,
    Times,
    changes_of,
    changes_total,
    kind_of,
    next_cursor,
    state_of,
)
from cacheapp.mapping.fields import FieldCounts
from cacheapp.shown_changes import RecentOfIndex
from cacheapp.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Row:
    """One name.

    An index has a `mapping_hash`, `fields_total` (None: its mapping is not in memory), and `others_total`, the number
    of other indices with the same mapping. An alias or data stream has `indices_total`, the number of its indices.
    `closed_total`: how many of the indices are closed. `changes`: the recent changes; None: there were none.
    """

    name: str
    kind: str
    state: NameState
    age_seconds: float
    fields_total: int | None
    mapping_hash: str | None
    others_total: int
    indices_total: int
    closed_total: int = 0
    changes: RecentOfIndex | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Indices that share one mapping: `names` has the first ones, `total` counts all."""

    mapping_hash: str
    names: tuple[str, ...]
    total: int
    fields_total: int | None


def list_names(
    snapshot: Snapshot, counts: FieldCounts, wanted: NameFilter, times: Times, changes: Changes
) -> Listed[Row]:
    """Return a page of the names that match.

    Raise `IllegalName` or `MappingNotFound` if the filter's `of` is no name, or isn't there.
    """
    found = _matching(snapshot, wanted, times)
    if wanted.sort is not Sort.NAME:
        found.sort(key=_order(snapshot, counts, wanted.sort, times, changes))
    visible = wanted.visible
    sharing = Counter(
        entry.mapping_hash for name, entry in snapshot.indices.items() if visible.everything or visible.covers(name)
    )
    kinds = Counter(kind_of(snapshot, name) for name in found)
    return Listed(
        tuple(
            _row(snapshot, counts, sharing, name, times, changes) for name in found[wanted.start : wanted.start + PAGE]
        ),
        len(found),
        wanted.start + 1,
        next_cursor(wanted.start, len(found)),
        tuple((kind, kinds[kind]) for kind in (INDEX, ALIAS, DATA_STREAM) if kinds[kind]),
        kinds[INDEX],
    )


def list_groups(snapshot: Snapshot, counts: FieldCounts, wanted: NameFilter, times: Times) -> Listed[Group]:
    """Return a page of the distinct mappings of the indices that match. Raise what `list_names` raises."""
    found = [name for name in _matching(snapshot, wanted, times) if name in snapshot.indices]
    groups = group_by_mapping(snapshot, counts, found, wanted.start, wanted.start + PAGE)
    total = len({snapshot.indices[name].mapping_hash for name in found})
    following = next_cursor(wanted.start, total)
    return Listed(groups, total, wanted.start + 1, following, indices_total=len(found))


def group_by_mapping(
    snapshot: Snapshot, counts: FieldCounts, names: Iterable[str], start: int, end: int
) -> tuple[Group, ...]:
    """Group indices of the snapshot, given in order, by their mapping.

    Returns:
        The groups from number `start` up to `end`, those of the most indices first.
    """
    by_hash: dict[str, list[str]] = {}
    for name in names:
        by_hash.setdefault(snapshot.indices[name].mapping_hash, []).append(name)
    ordered = sorted(by_hash.items(), key=lambda item: (-len(item[1]), item[1][0]))
    return tuple(
        Group(mapping_hash, tuple(indices[:SHOWN_NAMES]), len(indices), fields_total(snapshot, counts, mapping_hash))
        for mapping_hash, indices in ordered[start:end]
    )


def fields_total(snapshot: Snapshot, counts: FieldCounts, mapping_hash: str) -> int | None:
    """Return how many fields a mapping has; None if it isn't in memory."""
    body = snapshot.bodies.get(mapping_hash)
    return None if body is None else counts.count(mapping_hash, body)


def _matching(snapshot: Snapshot, wanted: NameFilter, times: Times) -> list[str]:
    """Return the names that match, in alphabetical order."""
    visible = wanted.visible
    of_index = wanted.of or wanted.mapping
    among: Iterable[str] = snapshot.indices if of_index else {*snapshot.indices, *snapshot.aliases}
    is_chosen = wanted.indices(snapshot, times)
    return sorted(
        name
        for name in among
        if wanted.matches_name(name)
        and (visible.everything or visible.covers(name) or (wanted.of and not wanted.mapping))
        and (is_chosen(name) if name in snapshot.indices else _is_in_state(snapshot, name, wanted, times))
    )


def _is_in_state(snapshot: Snapshot, name: str, wanted: NameFilter, times: Times) -> bool:
    return wanted.state is None or state_of(snapshot, name, times)[0] is wanted.state


def _order(snapshot: Snapshot, counts: FieldCounts, sort: Sort, times: Times, changes: Changes) -> Callable[[str], Any]:
    """Return the key to sort names by. They are in alphabetical order already, and those with the same key stay in
    it.
    """
    if sort is Sort.AGE:
        return lambda name: -state_of(snapshot, name, times)[1]
    if sort is Sort.CHANGES:
        return lambda name: -changes_total(_indices(snapshot, name), changes)

    def by_fields(name: str) -> int:
        entry = snapshot.indices.get(name)
        return 1 if entry is None else -(fields_total(snapshot, counts, entry.mapping_hash) or 0)

    return by_fields


def _indices(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    return (name,) if name in snapshot.indices else snapshot.aliases[name]


def _row(
    snapshot: Snapshot,
    counts: FieldCounts,
    sharing: Mapping[str, int],
    name: str,
    times: Times,
    changes: Changes,
) -> Row:
    state, age_seconds = state_of(snapshot, name, times)
    entry = snapshot.indices.get(name)
    mapping_hash = None if entry is None else entry.mapping_hash
    indices = _indices(snapshot, name)
    return Row(
        name,
        kind_of(snapshot, name),
        state,
        age_seconds,
        None if mapping_hash is None else fields_total(snapshot, counts, mapping_hash),
        mapping_hash,
        0 if mapping_hash is None else max(0, sharing[mapping_hash] - 1),
        len(indices),
        sum(index in snapshot.closed for index in indices) if snapshot.closed else 0,
        changes_of(indices, changes),
    )
