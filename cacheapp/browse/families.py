"""List families of indices for the mapping browser: fifty equal members are one row, and members that differ are named.

Pure; a cluster of sixty thousand indices takes some tenths of a second in a thread.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.browse.filters import (
    INDEX,
    PAGE,
    Changes,
    Listed,
    NameFilter,
    NameState,
    Sort,
    Times,
    changes_of,
    changes_total,
    next_cursor,
    state_of,
)
from cacheapp.browse.names import fields_total
from cacheapp.describe.families import members_of_families
from cacheapp.mapping.fields import FieldCounts
from cacheapp.shown_changes import RecentOfIndex
from cacheapp.state.families import INDICES, natural_key
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible

SHOWN_ODD = 3
"""How many of the members with another mapping than most are named."""
MAX_LISTED_BYTES = 2_000
"""How long a list of a family's members in an address may be. For longer ones the address has the family's pattern."""
NAMES_AFTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Family:
    """Indices that belong together: the family's name, its kind, and its members."""

    name: str
    kind: str
    members: tuple[str, ...]

    @property
    def shown_kind(self) -> str:
        """Return the kind as people see it: a family with one member is shown as an index."""
        return INDEX if self.kind == INDICES and len(self.members) == 1 else self.kind


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """A family, or those of its members that match a filter: `chosen_total` of `indices_total`. What is said below of
    members is about the chosen ones.

    Args:
        name: The name of the data stream or alias; of the index, if there is only one; otherwise the beginning of the
            names with a star.
        asked_by: The name, list or pattern that stands for the members.
        kind: `data stream`, `alias`, `indices`, `index`.
        mappings_total: How many distinct mappings the members have.
        usual: The hash of the mapping that most members have.
        odd: Members that have another mapping, the last ones by name first; `odd_total` counts all.
        fields_total: The highest number of fields that a member has; None: not known.
        state, age_seconds: Of the member that was confirmed the longest ago.
        closed_total: How many members are closed.
        changes: The members' recent changes; None: there were none.
    """

    name: str
    asked_by: str
    kind: str
    indices_total: int
    chosen_total: int
    mappings_total: int
    usual: str
    odd: tuple[str, ...]
    odd_total: int
    fields_total: int | None
    state: NameState
    age_seconds: float
    closed_total: int
    changes: RecentOfIndex | None


def families(snapshot: Snapshot, visible: Visible) -> list[Family]:
    """Return the visible families in alphabetical order; those whose names begin with a dot come last."""
    found = [Family(name, kind, tuple(members)) for name, kind, members in members_of_families(snapshot, visible)]
    return sorted(found, key=lambda family: (family.name.startswith("."), family.name))


def list_families(
    snapshot: Snapshot, counts: FieldCounts, wanted: NameFilter, times: Times, changes: Changes
) -> Listed[FamilyRow]:
    """Return a page of families with the members that match. If the family's own name matches, all of its members do.

    Raise `IllegalName` or `MappingNotFound` if the filter names an alias, list or pattern that isn't there.
    """
    is_chosen = wanted.indices(snapshot, times)
    found: list[tuple[Family, list[str]]] = []
    for family in families(snapshot, wanted.visible):
        whole = wanted.matches_name(family.name)
        members = [index for index in family.members if (whole or wanted.matches_name(index)) and is_chosen(index)]
        if members:
            found.append((family, members))
    if wanted.sort is Sort.AGE:
        found.sort(key=lambda one: -_oldest(snapshot, one[1], times)[1])
    elif wanted.sort is Sort.CHANGES:
        found.sort(key=lambda one: -changes_total(one[1], changes))
    elif wanted.sort is Sort.FIELDS:
        found.sort(key=lambda one: -(_most_fields(snapshot, counts, one[1]) or 0))
    asking = Asking(snapshot, wanted.visible)
    rows = tuple(
        _row(snapshot, counts, family, members, times, changes, asking)
        for family, members in found[wanted.start : wanted.start + PAGE]
    )
    following = next_cursor(wanted.start, len(found))
    chosen_total = sum(len(members) for _, members in found)
    return Listed(rows, len(found), wanted.start + 1, following, indices_total=chosen_total)


class Asking:
    """Finds the name, list or pattern that stands for a family's members and, if possible, for nothing else."""

    def __init__(self, snapshot: Snapshot, visible: Visible) -> None:
        """Make it. `visible`: the names that exist for the reader. Only these are used, so that no link gives away
        others.
        """
        self._names = sorted(name for name in {*snapshot.indices, *snapshot.aliases} if visible.covers(name))

    def by(self, family: Family) -> str:
        """Return what stands for a family, the first of these that applies:

        1. The name of a data stream, of an alias, or of a single index.
        2. The beginning of the names with a star, if no other name begins like that.
        3. The list of all names, if it fits into an address.
        4. The beginning with a star, although it matches other names too.
        """
        if family.shown_kind != INDICES:
            return family.name
        beginning = family.name.removesuffix("*")
        first = bisect_left(self._names, beginning)
        if bisect_left(self._names, beginning + NAMES_AFTER) - first == len(family.members):
            return family.name
        listed = ",".join(family.members)
        return listed if len(listed) <= MAX_LISTED_BYTES else family.name


def odd_members(snapshot: Snapshot, members: Iterable[str]) -> tuple[int, str, list[str]]:
    """Return how many distinct mappings some indices have, the hash of the most frequent one, and the indices that have
    another, the last ones by name first.
    """
    hashes = {index: snapshot.indices[index].mapping_hash for index in members}
    totals = Counter(hashes.values())
    # If two are equally frequent, the last member's is the usual one: new members will be like it.
    latest = {hashed: place for place, hashed in enumerate(hashes[index] for index in _in_order(hashes))}
    usual = max(totals, key=lambda hashed: (totals[hashed], latest[hashed]))
    odd = [index for index in reversed(_in_order(hashes)) if hashes[index] != usual] if len(totals) > 1 else []
    return len(totals), usual, odd


def _in_order(hashes: Mapping[str, str]) -> list[str]:
    return sorted(hashes, key=natural_key)


def _row(
    snapshot: Snapshot,
    counts: FieldCounts,
    family: Family,
    members: Sequence[str],
    times: Times,
    changes: Changes,
    asking: Asking,
) -> FamilyRow:
    mappings_total, usual, odd = odd_members(snapshot, members)
    state, age_seconds = _oldest(snapshot, members, times)
    return FamilyRow(
        name=family.name,
        asked_by=asking.by(family),
        kind=family.shown_kind,
        indices_total=len(family.members),
        chosen_total=len(members),
        mappings_total=mappings_total,
        usual=usual,
        odd=tuple(odd[:SHOWN_ODD]),
        odd_total=len(odd),
        fields_total=_most_fields(snapshot, counts, members),
        state=state,
        age_seconds=age_seconds,
        closed_total=sum(index in snapshot.closed for index in members) if snapshot.closed else 0,
        changes=changes_of(members, changes),
    )


def _oldest(snapshot: Snapshot, members: Iterable[str], times: Times) -> tuple[NameState, float]:
    states = (state_of(snapshot, index, times) for index in members)
    return max(states, key=lambda one: (one[0] is NameState.UNREAD, one[1]))


def _most_fields(snapshot: Snapshot, counts: FieldCounts, members: Iterable[str]) -> int | None:
    hashes = {snapshot.indices[index].mapping_hash for index in members}
    known = [total for hashed in hashes if (total := fields_total(snapshot, counts, hashed)) is not None]
    return max(known, default=None)
