"""Prepare fields for the mapping browser: as a tree, or as the list that a search finds. Pure, and bounded."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.mapping.fields import Field, check_query, search
from cacheapp.mapping.tree import OBJECT_TYPES

SHOWN_FIELDS = 300
"""How many rows a page shows at first; what is below and after them comes when it is asked for."""
SHOWN_CONFLICTS = 100
NO_VALUES: Mapping[str, str] = {}
OPEN_UP_TO = 100
"""A tree of at most so many rows is shown with all its objects open, a larger one with all of them closed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a name; `is_hit` where it is what was searched for."""

    text: str
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class ShownField:
    """One field in words.

    `label` is its name, or the rest of it below the object above; `marks` say what sort of field it is, `notes` what
    else there is to know.
    """

    field: Field
    label: tuple[Piece, ...]
    marks: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_in_conflict(self) -> bool:
        return is_in_conflict(self.field)


@dataclass(frozen=True, slots=True)
class Branch:
    """One row of the tree, in the order of reading.

    `below_total` fields are below it. It `opens` where those right below it follow; otherwise there are none, or no
    room for them: then they are asked for. As many opened rows end after it as `closes` has entries.
    """

    shown: ShownField
    below_total: int
    opens: bool
    closes: range

    @property
    def is_lazy(self) -> bool:
        """Whether what is below it has to be asked for."""
        return bool(self.below_total) and not self.opens


@dataclass(frozen=True, slots=True)
class Tree:
    """Some rows of the tree of fields: those below `under` (empty: all), of `total`. `next_after`: the field after
    which the `left_total` others come that are right below it; empty: there are none.
    """

    under: str
    rows: tuple[Branch, ...]
    total: int
    next_after: str
    left_total: int


@dataclass(frozen=True, slots=True)
class Search:
    """What to search for: words in paths and types, and one type alone; fields that are in `conflict` alone. `start`:
    how many were on the pages before. Raises `BadRequest` where they are too long.
    """

    q: str = ""
    type: str = ""
    conflict: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        check_query(self.q)
        check_query(self.type)

    @property
    def filters(self) -> dict[str, str]:
        """The query of an address that searches for the same, from the first page on."""
        named = {"q": self.q, "type": self.type, "conflict": "true" if self.conflict else ""}
        return {name: value for name, value in named.items() if value}

    @property
    def narrows(self) -> bool:
        return bool(self.q.split() or self.type or self.conflict)


@dataclass(frozen=True, slots=True)
class ShownFields:
    """The fields of one name: all as a tree, or those that `search` found. `types` counts the fields of each type."""

    search: Search
    total: int
    found_total: int
    tree: Tree | None
    found: tuple[ShownField, ...]
    is_open: bool
    types: tuple[tuple[str, int], ...]
    conflicts: tuple[Field, ...]
    conflicts_total: int

    @property
    def left_out(self) -> int:
        """How many of the fields that a search found are on the pages after this."""
        return max(0, self.found_total - self.search.start - len(self.found)) if self.tree is None else 0

    @property
    def first(self) -> int:
        """The number of the first field on this page, from 1."""
        return self.search.start + 1

    @property
    def next_start(self) -> int:
        """How many fields are on the pages up to this."""
        return self.search.start + len(self.found)


def show_fields(
    fields: Sequence[Field],
    wanted: Search,
    indices_total: int,
    values: Mapping[str, str] = NO_VALUES,
    under: str = "",
    after: str = "",
) -> ShownFields:
    """Show all `fields` of a name that stands for `indices_total` indices, or those that `wanted` finds; `values`: what
    is said of those of fields, by their names. `under`, `after`: which part of the tree.
    """
    conflicts = [field for field in fields if is_in_conflict(field)]
    found = find(fields, wanted) if wanted.narrows else ()
    page = found[wanted.start : wanted.start + SHOWN_FIELDS]
    return ShownFields(
        search=wanted,
        total=len(fields),
        found_total=len(found) if wanted.narrows else len(fields),
        tree=None if wanted.narrows else draw_tree(fields, indices_total, values=values, under=under, after=after),
        found=tuple(_shown(field, field.name, wanted.q.split(), indices_total, values) for field in page),
        is_open=len(fields) <= OPEN_UP_TO,
        types=tuple(sorted(Counter(kind for field in fields for kind in field.types).items())),
        conflicts=tuple(conflicts[:SHOWN_CONFLICTS]),
        conflicts_total=len(conflicts),
    )


def is_in_conflict(field: Field) -> bool:
    """Whether indices disagree on its type, its format, its `meta`, or the nested object that it is in."""
    return bool(field.conflict or field.format_conflict or field.meta_conflict or field.nested_path_conflict)


def find(fields: Iterable[Field], wanted: Search) -> tuple[Field, ...]:
    """Find the fields of the type that have each word in their path or in one of their types.

    Returns:
        Those with all words in their path, as `search` ranks them, then the others.
    """
    among = [
        field
        for field in fields
        if (not wanted.type or wanted.type in field.types) and (not wanted.conflict or is_in_conflict(field))
    ]
    by_name = search(among, wanted.q)
    named = {field.name for field in by_name}
    words = wanted.q.casefold().split()
    by_type = (field for field in among if field.name not in named and _has_words(field, words))
    return (*by_name, *by_type)


def draw_tree(
    fields: Sequence[Field],
    indices_total: int,
    limit: int = SHOWN_FIELDS,
    values: Mapping[str, str] = NO_VALUES,
    under: str = "",
    after: str = "",
) -> Tree:
    """Draw the tree that dotted names make in at most `limit` rows, each object before what is in it.

    Where there is no room for all, what is near the root is shown; of each object all that is right below it, or none.

    Args:
        fields: Sorted by name.
        indices_total: How many indices there are.
        limit: How many rows.
        values: What is said of those of fields.
        under: Only what is below that field.
        after: Only what comes after that field and all that is below it.
    """
    ordered = sorted(((field.name.split("."), field) for field in _below(fields, under)), key=lambda pair: pair[0])
    above: list[int] = []
    roots: list[int] = []
    children: list[list[int]] = [[] for _ in ordered]
    below = [0] * len(ordered)
    depths: list[int] = []
    labels: list[str] = []
    for number, (parts, field) in enumerate(ordered):
        while above and ordered[above[-1]][0] != parts[: len(ordered[above[-1]][0])]:
            above.pop()
        for ancestor in above:
            below[ancestor] += 1
        depths.append(len(above))
        beginning = ordered[above[-1]][1].name if above else under
        labels.append(field.name.removeprefix(f"{beginning}.") if beginning else field.name)
        (children[above[-1]] if above else roots).append(number)
        above.append(number)
    if after:
        place = after.split(".")
        roots = [number for number in roots if ordered[number][0] > place]
    rows = _with_room(roots, children, limit)
    following = [depths[number] for number in rows[1:]] + [0]
    branches = []
    for number, depth in zip(rows, following, strict=False):  # (of no rows, none)
        deeper = depth - depths[number]
        shown = _shown(ordered[number][1], labels[number], (), indices_total, values)
        branches.append(Branch(shown, below[number], deeper > 0, range(max(0, -deeper))))
    last = roots[limit - 1] if len(roots) > limit else None
    return Tree(
        under,
        tuple(branches),
        len(ordered),
        "" if last is None else ordered[last][1].name,
        max(0, len(roots) - limit),
    )


def _below(fields: Sequence[Field], under: str) -> Sequence[Field]:
    """The fields below that one. They stand together, as `fields` are sorted by name."""
    if not under:
        return fields
    first = bisect_left(fields, f"{under}.", key=lambda field: field.name)
    last = bisect_left(fields, f"{under}/", key=lambda field: field.name)  # the sign after the dot
    return fields[first:last]


def _with_room(roots: list[int], children: list[list[int]], limit: int) -> list[int]:
    """Choose the rows to show, breadth first as long as there is room, and return them in order."""
    shown = roots[:limit]
    for number in shown:  # which grows meanwhile
        if len(shown) + len(children[number]) <= limit:
            shown += children[number]
    return sorted(shown)


def split_at_words(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """Split `text` so that each occurrence of one of `words`, whatever the case, is a piece of its own."""
    if not words:
        return (Piece(text),)
    # The longest first: "id" must not hide "identifier".
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(f"({either})", text, flags=re.IGNORECASE)
    return tuple(Piece(part, bool(number % 2)) for number, part in enumerate(parts) if part)


def _has_words(field: Field, words: Iterable[str]) -> bool:
    name = field.name.casefold()
    return all(word in name or any(word in kind for kind in field.types) for word in words)


def _shown(field: Field, label: str, words: Sequence[str], indices_total: int, values: Mapping[str, str]) -> ShownField:
    notes = tuple(_notes(field, indices_total))
    if field.name in values:
        notes += (values[field.name],)
    return ShownField(field, split_at_words(label, words), tuple(_marks(field)), notes)


def _marks(field: Field) -> Iterable[str]:
    if field.multi_field_of is not None:
        yield "multi-field"
    if field.runtime:
        yield "runtime"
    if field.alias_of is not None:
        yield "alias"


def _notes(field: Field, indices_total: int) -> Iterable[str]:
    if field.alias_of is not None:
        yield f"stands for {field.alias_of}"
    if field.indices_total < indices_total:
        yield f"in {field.indices_total:,} of {indices_total:,} indices"
    if not OBJECT_TYPES.issuperset(field.types):
        if field.searchable is False:
            yield "not searchable"
        if field.aggregatable is False:
            yield "not aggregatable"
    if field.too_deep:
        yield "what is below it is too deep to be listed"
    yield from _meta_notes(field)


def _meta_notes(field: Field) -> Iterable[str]:
    """What is said of what doesn't change how a field is indexed, and where indices disagree on it."""
    if field.format_conflict:
        yield f"formats differ: {_either(field.format_conflict, 'the default')}"
    elif field.format is not None:
        yield f"format {field.format}"
    if field.nested_path_conflict:
        yield f"in different nested objects: {_either(field.nested_path_conflict, 'none')}"
    for key, value in field.meta.items():
        if key not in field.meta_conflict:
            yield f"{key}: {value}"
    for key, several in field.meta_conflict.items():
        yield f"{key} differs: {_either(several, '')}"


def _either(values: Iterable[str | None], nothing: str) -> str:
    return " or ".join(nothing if value is None else value for value in values)
