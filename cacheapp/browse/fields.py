"""Fields as the mapping browser shows them: as a tree, or those that a search finds. Pure, and bounded."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cacheapp.mapping.fields import Field, check_query, search
from cacheapp.mapping.tree import OBJECT_TYPES

SHOWN = 500
SHOWN_CONFLICTS = 100
OPEN_UP_TO = 100
"""A tree of so many rows is shown with all its objects open; a larger one with only their names."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a name; `is_hit`: it is what was searched for."""

    text: str
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """One field. `label` is its name, or what the tree above it leaves of that; `marks` say what sort of field it is,
    `notes` what else there is to know.
    """

    field: Field
    label: tuple[Piece, ...]
    marks: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One row of the tree, in the order of reading. `below_total` fields are below it; `opens`: those right below
    follow, else there are none or no room for them. After it as many rows that opened end as `closes` has entries.
    """

    shown: Shown
    below_total: int
    opens: bool
    closes: range


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: words in paths and types, and one type alone."""

    q: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        check_query(self.q)
        check_query(self.type)

    @property
    def narrows(self) -> bool:
        return bool(self.q.split() or self.type)


@dataclass(frozen=True, slots=True)
class FieldsShown:
    """The fields of one name: the tree, or what `search` found. `types` counts the fields of each type."""

    search: Search
    total: int
    found_total: int
    tree: tuple[Branch, ...]
    found: tuple[Shown, ...]
    is_open: bool
    types: tuple[tuple[str, int], ...]
    conflicts: tuple[Field, ...]
    conflicts_total: int

    @property
    def left_out(self) -> int:
        """How many there are beyond those shown."""
        return self.found_total - len(self.tree) - len(self.found)


def fields_shown(fields: Sequence[Field], wanted: Search, indices_total: int) -> FieldsShown:
    """`fields`: all, of as many indices."""
    conflicts = [one for one in fields if one.conflict]
    found = find(fields, wanted) if wanted.narrows else ()
    return FieldsShown(
        search=wanted,
        total=len(fields),
        found_total=len(found) if wanted.narrows else len(fields),
        tree=() if wanted.narrows else tree(fields, indices_total),
        found=tuple(_shown(one, one.name, wanted.q.split(), indices_total) for one in found[:SHOWN]),
        is_open=len(fields) <= OPEN_UP_TO,
        types=tuple(sorted(Counter(kind for one in fields for kind in one.types).items())),
        conflicts=tuple(conflicts[:SHOWN_CONFLICTS]),
        conflicts_total=len(conflicts),
    )


def find(fields: Iterable[Field], wanted: Search) -> tuple[Field, ...]:
    """The fields of the type that have each word in their path, ranked as `search` ranks them; then those with some
    words in their types instead.
    """
    among = [one for one in fields if not wanted.type or wanted.type in one.types]
    by_name = search(among, wanted.q)
    named = {one.name for one in by_name}
    words = wanted.q.casefold().split()
    by_type = (one for one in among if one.name not in named and _has(one, words))
    return (*by_name, *by_type)


def tree(fields: Iterable[Field], indices_total: int, limit: int = SHOWN) -> tuple[Branch, ...]:
    """At most `limit` rows of the tree that dotted names make, each object before what is in it.

    What is near the root comes first: of each object all that is right below it is shown, or nothing.
    """
    ordered = sorted(((one.name.split("."), one) for one in fields), key=lambda pair: pair[0])
    above: list[int] = []
    roots: list[int] = []
    children: list[list[int]] = [[] for _ in ordered]
    below = [0] * len(ordered)
    depths: list[int] = []
    labels: list[str] = []
    for number, (parts, one) in enumerate(ordered):
        while above and ordered[above[-1]][0] != parts[: len(ordered[above[-1]][0])]:
            above.pop()
        for ancestor in above:
            below[ancestor] += 1
        depths.append(len(above))
        labels.append(".".join(parts[len(ordered[above[-1]][0]) :]) if above else one.name)
        (children[above[-1]] if above else roots).append(number)
        above.append(number)
    rows = _with_room(roots, children, limit)
    following = [depths[number] for number in rows[1:]] + [0]
    branches = []
    for number, depth in zip(rows, following, strict=False):  # (of no rows, none)
        deeper = depth - depths[number]
        shown = _shown(ordered[number][1], labels[number], (), indices_total)
        branches.append(Branch(shown, below[number], deeper > 0, range(max(0, -deeper))))
    return tuple(branches)


def _with_room(roots: list[int], children: list[list[int]], limit: int) -> list[int]:
    """The rows that are shown, in order: breadth first, as long as there is room."""
    shown = roots[:limit]
    for number in shown:  # which grows meanwhile
        if len(shown) + len(children[number]) <= limit:
            shown += children[number]
    return sorted(shown)


def pieces(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """`text` in parts, those apart that are one of `words`, whatever the case."""
    if not words:
        return (Piece(text),)
    # The longest first: "id" must not hide "identifier".
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(f"({either})", text, flags=re.IGNORECASE)
    return tuple(Piece(part, bool(number % 2)) for number, part in enumerate(parts) if part)


def _has(one: Field, words: Iterable[str]) -> bool:
    name = one.name.casefold()
    return all(word in name or any(word in kind for kind in one.types) for word in words)


def _shown(one: Field, label: str, words: Sequence[str], indices_total: int) -> Shown:
    return Shown(one, pieces(label, words), tuple(_marks(one)), tuple(_notes(one, indices_total)))


def _marks(one: Field) -> Iterable[str]:
    if one.multi_field_of is not None:
        yield "multi-field"
    if one.runtime:
        yield "runtime"
    if one.alias_of is not None:
        yield "alias"


def _notes(one: Field, indices_total: int) -> Iterable[str]:
    if one.alias_of is not None:
        yield f"stands for {one.alias_of}"
    if one.indices_total < indices_total:
        yield f"in {one.indices_total:,} of {indices_total:,} indices"
    if not OBJECT_TYPES.issuperset(one.types):
        if one.searchable is False:
            yield "not searchable"
        if one.aggregatable is False:
            yield "not aggregatable"
    if one.format is not None:
        yield f"format {one.format}"
    for key, value in one.meta.items():
        yield f"{key}: {value}"
