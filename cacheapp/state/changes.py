"""Find the changes that the history doesn't have yet: compare what it has recorded of each index with a snapshot. Pure.

The history remembers what it recorded last of each index, and the moment for which the cluster had confirmed that. A
change is a difference that a snapshot has from the record, for a later moment. So each change is found once, whoever
compares and however often.
"""

import enum
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cacheapp.mapping.diff import FieldChanges, field_changes
from cacheapp.state.families import INDICES, Series, family_by_name, family_of, names_by_index, stem_of
from cacheapp.state.published import StoredState
from cacheapp.state.snapshot import Snapshot

MAX_NAMES = 100
"""How many aliases and data streams of an index are recorded with a change."""


CLOCK_SECONDS = 0.002
"""Moments that are closer to each other can't be told apart: SQLite's clock has milliseconds."""
GONE_SECONDS = 0.05
"""How much later than the record a listing has to be, in seconds, to show that an index is gone; otherwise the next
listing shows it. Moments of different processes are compared by the database's clock, whose answer reaches a busy
process late.
"""


class ChangeKind(enum.StrEnum):
    """What happened to an index. `GAP` says that changes before it may be missing from the history."""

    CREATED = "created"
    CHANGED = "changed"
    RECREATED = "recreated"
    DELETED = "deleted"
    HIDDEN = "hidden"
    """It is no longer in our view, but still in the cluster: the selection was changed, or a privilege is missing."""
    SHOWN = "shown"
    """The same index as before is in our view again, after it was recorded as hidden or deleted."""
    GAP = "gap"


GONE = frozenset({ChangeKind.DELETED, ChangeKind.HIDDEN})


class Told(Protocol):
    """What is known of an index, in a snapshot, a published state or a record."""

    @property
    def uuid(self) -> str | None: ...
    @property
    def mapping_hash(self) -> str: ...


class Known(Protocol):
    """What the history has recorded, as far as a process knows. A snapshot and a published state have this shape
    too.
    """

    @property
    def indices(self) -> Mapping[str, Told]: ...
    @property
    def aliases(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def bodies(self) -> Mapping[str, bytes]: ...
    @property
    def data_streams(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the history recorded last of an index.

    Args:
        uuid: The index's uuid; None: not known.
        mapping_hash: The hash of its mapping.
        at: The moment for which this was true, on this process's clock.
        gone: What removed it from our view (`deleted` or `hidden`); None: it is there.
        family: The name of the family that it had at that moment.
        names: The aliases and data streams that it belonged to at that moment.
    """

    uuid: str | None
    mapping_hash: str
    at: float = -math.inf
    gone: ChangeKind | None = None
    family: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexChange:
    """What happened to one index.

    Args:
        index: Its name.
        kind: What happened; None: nothing, but more is known of the index than is recorded.
        recorded: What is to be recorded of it.
        pair: The hashes of the two mappings to compare: that before and that now. For a new member of a family, the
            first is that of the member before it.
        compared_with: The name of that member.
        fields: The differences between the two mappings; None where they weren't compared.
    """

    index: str
    kind: ChangeKind | None
    recorded: Recorded
    pair: tuple[str, str] | None = None
    compared_with: str | None = None
    fields: FieldChanges | None = None


@dataclass(frozen=True, slots=True)
class RecordedState:
    """What is recorded, where that isn't exactly a snapshot or a published state."""

    indices: Mapping[str, Told]
    aliases: Mapping[str, tuple[str, ...]]
    bodies: Mapping[str, bytes]
    data_streams: frozenset[str]


def known_of(state: StoredState, bodies: Mapping[str, bytes], before: Known | None) -> Known:
    """Return what is recorded once all of a published state is, with the mappings that are in memory.

    For indices that the publisher could not read, that is what was recorded `before`.
    """
    unread = {} if before is None else {name: before.indices[name] for name in state.unread if name in before.indices}
    return RecordedState({**unread, **state.indices}, state.aliases, {**bodies, **state.bodies}, state.data_streams)


def known_after(
    snapshot: Snapshot, recorded: Mapping[str, Recorded], names: Iterable[str], changes: Iterable[IndexChange]
) -> Known:
    """Return what is recorded once the `changes` of the indices `names` are.

    That is what the snapshot says, with one exception: for those of `names` that have no change, it is what was
    recorded before. Where that differs from the snapshot, the index is compared again with the next snapshot.
    """
    told = {change.index for change in changes}
    others: dict[str, Recorded | None] = {}
    for name in names:
        if name not in told:
            was, entry = recorded.get(name), snapshot.indices.get(name)
            was = None if was is None or was.gone is not None else was
            is_same = was is not None and entry is not None and was.mapping_hash == entry.mapping_hash
            if not is_same and (was is not None or entry is not None):
                others[name] = was
    if not others:
        return snapshot
    indices: dict[str, Told] = {name: entry for name, entry in snapshot.indices.items() if name not in others}
    indices |= {name: was for name, was in others.items() if was is not None}
    return RecordedState(indices, snapshot.aliases, snapshot.bodies, snapshot.data_streams)


def differing(known: Known | None, snapshot: Snapshot) -> list[str]:
    """Return the sorted names of the indices for which `snapshot` differs from `known`; of all indices if `known` is
    None.
    """
    if known is None:
        return sorted(snapshot.indices)
    before, after = known.indices, snapshot.indices
    if before is after:
        return []
    names = [name for name in before if name not in after]
    for name, entry in after.items():
        was = before.get(name)
        if was is None or was.mapping_hash != entry.mapping_hash or (entry.uuid and was.uuid != entry.uuid):
            names.append(name)
    return sorted(names)


def index_changes(
    recorded: Mapping[str, Recorded], known: Known | None, snapshot: Snapshot, names: Iterable[str]
) -> Iterator[IndexChange]:
    """Compare what is recorded of some indices with a snapshot, and yield what happened. For each, the first rule that
    applies decides:

    1. Neither the snapshot nor the record has it: nothing happened.
    2. The snapshot lacks it, and so does a listing later than the record: deleted. (Only the cluster can tell whether
       it is hidden instead.)
    3. The record is of a later moment than the snapshot's entry: nothing happened.
    4. It isn't recorded: created, but only once a listing had it. An index that only a single read found may never be
       listed.
    5. It is recorded as gone: shown if it is the same index, otherwise created.
    6. It has another uuid: recreated.
    7. It has another mapping: changed.
    8. Its uuid wasn't known before: that alone is no change (`kind` None).
    """
    members = _Members(known, snapshot)
    for name in names:
        was, entry = recorded.get(name), snapshot.indices.get(name)
        if entry is None:
            was_listed_since = was is not None and snapshot.listed_at > was.at + GONE_SECONDS
            if was is not None and was.gone is None and was_listed_since and name not in snapshot.listed:
                gone = replace(members.described(name, was), at=snapshot.listed_at, gone=ChangeKind.DELETED)
                yield IndexChange(name, ChangeKind.DELETED, gone)
            continue
        at = max(entry.confirmed_at, snapshot.confirmed_at)
        if was is not None and at < was.at - CLOCK_SECONDS:
            continue
        now = members.described(name, Recorded(entry.uuid or (was and was.uuid) or None, entry.mapping_hash, at))
        is_other = bool(was and was.uuid and entry.uuid and was.uuid != entry.uuid)
        if was is None or (was.gone is not None and (is_other or not (was.uuid and entry.uuid))):
            if name in snapshot.listed:
                yield members.created(name, now)
        elif was.gone is not None:
            yield IndexChange(name, ChangeKind.SHOWN, now, (was.mapping_hash, now.mapping_hash))
        elif is_other or was.mapping_hash != entry.mapping_hash:
            kind = ChangeKind.RECREATED if is_other else ChangeKind.CHANGED
            yield IndexChange(name, kind, now, (was.mapping_hash, now.mapping_hash))
        elif was.uuid != now.uuid:
            yield IndexChange(name, None, now)


class _Members:
    """The families of a snapshot, computed when one is asked for."""

    def __init__(self, known: Known | None, snapshot: Snapshot) -> None:
        self._known = known
        self._snapshot = snapshot
        self._names: dict[str, list[str]] | None = None
        self._names_before: dict[str, list[str]] | None = None
        self._by_stem: dict[str, list[str]] | None = None
        self._series: dict[tuple[str, str], Series] = {}

    def described(self, index: str, recorded: Recorded) -> Recorded:
        """Return the record with the family and the names of the index. For an index that is gone, they are those that
        it had.
        """
        of: Known = self._snapshot
        if index not in of.indices:
            if self._known is None or index not in self._known.indices:
                return recorded
            of = self._known
            if self._names_before is None:
                self._names_before = names_by_index(of.aliases)
            names: Sequence[str] = self._names_before.get(index, ())
        else:
            names = self._names_now(index)
        kind, family = family_of(index, names, of.aliases, of.data_streams)
        if kind == INDICES:
            family = family_by_name(index)
        return replace(recorded, family=family, names=tuple(sorted(names)[:MAX_NAMES]))

    def created(self, index: str, recorded: Recorded) -> IndexChange:
        """Return the change for a new index, compared with the member before it.

        That is the index before it whose name differs only by a trailing date or number. If there is none, it is the
        member of its family before it.
        """
        # In this order: so an alias that a caller may not see doesn't decide which index is compared.
        before = self._series_of(INDICES, stem_of(index)).before(index)
        if before is None:
            kind, family = family_of(index, self._names_now(index), self._snapshot.aliases, self._snapshot.data_streams)
            before = self._series_of(kind, family).before(index)
        if before is None:
            return IndexChange(index, ChangeKind.CREATED, recorded)
        pair = (self._snapshot.indices[before].mapping_hash, recorded.mapping_hash)
        return IndexChange(index, ChangeKind.CREATED, recorded, pair, before)

    def _series_of(self, kind: str, family: str) -> Series:
        """Return the members of a family in their order. They are sorted once, as thousands of indices may be new at
        once.
        """
        if (series := self._series.get((kind, family))) is None:
            members: Collection[str] = self._alike(family) if kind == INDICES else self._snapshot.aliases[family]
            series = self._series[kind, family] = Series(name for name in members if name in self._snapshot.indices)
        return series

    def _names_now(self, index: str) -> Sequence[str]:
        if self._names is None:
            self._names = names_by_index(self._snapshot.aliases)
        return self._names.get(index, ())

    def _alike(self, stem: str) -> Sequence[str]:
        if self._by_stem is None:
            self._by_stem = {}
            for name in self._snapshot.indices:
                self._by_stem.setdefault(stem_of(name), []).append(name)
        return self._by_stem.get(stem, ())


def compare(
    pairs: Iterable[tuple[str, str]], known: Known | None, snapshot: Snapshot
) -> dict[tuple[str, str], FieldChanges]:
    """Compare pairs of mappings, given by their hashes, as far as both are in memory. Each comparison takes
    milliseconds.
    """
    found: dict[tuple[str, str], FieldChanges] = {}
    for pair in pairs:
        before = _body(pair[0], known, snapshot)
        after = _body(pair[1], known, snapshot)
        if pair[0] == pair[1]:
            found[pair] = FieldChanges()
        elif before is not None and after is not None:
            found[pair] = field_changes(before, after)
    return found


def _body(mapping_hash: str, known: Known | None, snapshot: Snapshot) -> bytes | None:
    body = snapshot.bodies.get(mapping_hash)
    return body if body is not None or known is None else known.bodies.get(mapping_hash)
