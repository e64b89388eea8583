"""Prepare fields for the mapping browser: as a tree, or as a list of those that a search finds. Pure, and bounded."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cacheapp.mapping.fields import Field, check_query, search
from cacheapp.mapping.tree import OBJECT_TYPES

SHOWN_FIELDS = 300
"""How many rows a page shows at first; the others are loaded when the reader asks for them."""
SHOWN_CONFLICTS = 100
NO_VALUES: Mapping[str, str] = {}
OPEN_UP_TO = 100
"""A tree of at most this many rows is shown with all its objects open, a larger one with all of them closed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a name; `is_hit`: it is one of the words that were searched for."""

    text: str
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class ShownField:
    """One field as text.

    `label` is its name, or the part of it after the object above. `marks` say what sort of field it is, `notes` what
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

    `below_total`: how many fields are below it, `conflicts_below_total` of them in conflict. `opens`: the rows of the
    fields right below it follow. If it doesn't open, it has no fields below it, or there was no room for them, and they
    are loaded when asked for. `closes` has one entry for each open row that ends after this row.
    """

    shown: ShownField
    below_total: int
    conflicts_below_total: int
    opens: bool
    closes: range

    @property
    def is_lazy(self) -> bool:
        """Return whether the fields below it have to be loaded."""
        return bool(self.below_total) and not self.opens


@dataclass(frozen=True, slots=True)
class Tree:
    """Some rows of the tree of fields below the field `under` (empty: of the whole tree), which has `total` fields.

    `next_after` is empty if there was room for all fields right below `under`. Otherwise it is the last of them that is
    shown, and `left_total` fields come after it.
    """

    under: str
    rows: tuple[Branch, ...]
    total: int
    next_after: str
    left_total: int


@dataclass(frozen=True, slots=True)
class Search:
    """A search for fields: words in paths and types, one `type`, or only fields in `conflict`. `start`: how many fields
    were on earlier pages. Raise `BadRequest` if the words or the type are too long.
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
        """Return the query of the address that makes the same search, from the first page on."""
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
        """Return how many of the found fields are on later pages."""
        return max(0, self.found_total - self.search.start - len(self.found)) if self.tree is None else 0

    @property
    def first(self) -> int:
        """Return the number of the first field on this page, from 1."""
        return self.search.start + 1

    @property
    def next_start(self) -> int:
        """Return how many fields are on the pages up to this one."""
        return self.search.start + len(self.found)


def show_fields(
    fields: Sequence[Field],
    wanted: Search,
    indices_total: int,
    values: Mapping[str, str] = NO_VALUES,
    under: str = "",
    after: str = "",
) -> ShownFields:
    """Show all fields of a name as a tree, or those that a search finds.

    Args:
        fields: All fields of the name, sorted by name.
        wanted: The search; if it asks for nothing, the tree is shown.
        indices_total: How many indices the name stands for.
        values: Text about the values of fields, by name of field.
        under, after: Which part of the tree, as for `draw_tree`.
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
    """Return whether indices disagree on the field's type, format, `meta`, or the nested object that it is in."""
    return bool(field.conflict or field.format_conflict or field.meta_conflict or field.nested_path_conflict)


def find(fields: Iterable[Field], wanted: Search) -> tuple[Field, ...]:
    """Return the fields of the wanted type that have each word in their path or in one of their types.

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
    """Draw the tree that dotted names form, each object before the fields in it, in at most `limit` rows. If there is
    no room for all, the rows nearest to the root are shown. The fields right below an object are shown either all or
    not at all.

    Args:
        fields: Sorted by name.
        indices_total: How many indices there are.
        limit: How many rows.
        values: Text about the values of fields, by name of field.
        under: Only what is below that field.
        after: Only what comes after that field and all that is below it.
    """
    ordered = sorted(((field.name.split("."), field) for field in _below(fields, under)), key=lambda pair: pair[0])
    above: list[int] = []
    roots: list[int] = []
    children: list[list[int]] = [[] for _ in ordered]
    below = [0] * len(ordered)
    conflicts_below = [0] * len(ordered)
    depths: list[int] = []
    labels: list[str] = []
    for number, (parts, field) in enumerate(ordered):
        while above and ordered[above[-1]][0] != parts[: len(ordered[above[-1]][0])]:
            above.pop()
        is_conflict = is_in_conflict(field)
        for ancestor in above:
            below[ancestor] += 1
            conflicts_below[ancestor] += is_conflict
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
    for number, depth in zip(rows, following, strict=False):  # (without rows, none)
        deeper = depth - depths[number]
        shown = _shown(ordered[number][1], labels[number], (), indices_total, values)
        branches.append(Branch(shown, below[number], conflicts_below[number], deeper > 0, range(max(0, -deeper))))
    last = roots[limit - 1] if len(roots) > limit else None
    return Tree(
        under,
        tuple(branches),
        len(ordered),
        "" if last is None else ordered[last][1].name,
        max(0, len(roots) - limit),
    )


def _below(fields: Sequence[Field], under: str) -> Sequence[Field]:
    """Return the fields below that one. They are next to each other, because `fields` are sorted by name."""
    if not under:
        return fields
    first = bisect_left(fields, f"{under}.", key=lambda field: field.name)
    last = bisect_left(fields, f"{under}/", key=lambda field: field.name)  # `/` is the character after the dot
    return fields[first:last]


def _with_room(roots: list[int], children: list[list[int]], limit: int) -> list[int]:
    """Return the numbers of the rows to show, in order. They are chosen breadth first, as long as there is room."""
    shown = roots[:limit]
    for number in shown:  # the list grows meanwhile
        if len(shown) + len(children[number]) <= limit:
            shown += children[number]
    return sorted(shown)


def split_at_words(text: str, words: Sequence[str]) -> tuple[Piece, ...]:
    """Split `text` so that each occurrence of one of `words`, in upper or lower case, is a piece of its own."""
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
    """Return notes on what doesn't change how a field is indexed, and on where indices disagree on that."""
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
