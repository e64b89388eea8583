"""Changes of the history as the API and pages show them: which of them, and what of each, a caller may see."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from os.path import commonprefix

import msgspec

from cacheapp.change_log import DatedOutline, Head, Outline, names_of, newest, outline_of
from cacheapp.mapping.diff import FieldChanges
from cacheapp.models import MappingChange
from cacheapp.rows import ignored_rows
from cacheapp.state.changes import ChangeKind
from cacheapp.state.choice import NameChoice
from cacheapp.state.families import family_by_name, stem_of
from cacheapp.state.visible import ALL_VISIBLE, Visible


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One change of an index, as the API shows it.

    `id`: its number in the one order; None: version 1.0 wrote it a moment ago. `index` None: a gap, which is of none.
    `compared`: two mappings were there to compare, its own before and after, or that of the member of its family before
    it (`compared_with`) and its own; else nothing is known of its fields.
    """

    id: int | None
    index: str | None
    at: datetime
    kind: str
    family: str | None
    compared: bool
    compared_with: str | None
    added: list[str]
    removed: list[str]
    retyped: list[dict[str, str]]
    altered: list[str]
    added_total: int
    removed_total: int
    retyped_total: int
    altered_total: int
    seen_by: str

    @property
    def totals(self) -> tuple[int, int, int, int]:
        return self.added_total, self.removed_total, self.retyped_total, self.altered_total


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """Some changes, oldest first; those after them come with `since=next`. `oldest_id`, `last_id`: of all that are
    kept; None, 0: none is. `history`: the name of the database's history, of which alone these ids are.
    """

    changes: list[ShownChange]
    next: int
    oldest_id: int | None
    last_id: int
    history: str


@dataclass(frozen=True, slots=True)
class ChangeSums:
    """How many changes there were of each kind, of how many indices, and of how many fields: those of each index count,
    whether or not others got the same.
    """

    kinds: Mapping[str, int]
    indices_total: int
    added_total: int
    removed_total: int
    retyped_total: int
    altered_total: int

    @property
    def total(self) -> int:
        return sum(self.kinds.values())


@dataclass(frozen=True, slots=True)
class RecentChanges:
    """Some changes, newest first; those before them come with `before=next_before`, None: these are all. `totals`: of
    all that were asked for. `oldest_at`: when the oldest was seen that is kept; None: none is, or the reader
    doesn't see all names.
    """

    changes: list[ShownChange]
    next_before: int | None
    totals: ChangeSums
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class RecentOfIndex:
    """How often an index changed lately, and when last."""

    total: int
    last_at: datetime


def sums_of(outlines: Collection[DatedOutline]) -> ChangeSums:
    """Count changes."""
    sums = [sum(column) for column in zip(*(outline.totals for outline in outlines), strict=True)] or [0, 0, 0, 0]
    kinds = Counter(outline.kind for outline in outlines)
    indices = {outline.index for outline in outlines if outline.kind != ChangeKind.GAP.value}
    return ChangeSums(kinds, len(indices), *sums)


def counts_of(outlines: Iterable[DatedOutline]) -> dict[str, RecentOfIndex]:
    """Count the changes of each index. `outlines`: the newest first."""
    found: dict[str, RecentOfIndex] = {}
    for outline in outlines:
        if outline.kind != ChangeKind.GAP.value:
            known = found.get(outline.index)
            found[outline.index] = RecentOfIndex(
                1 + (known.total if known else 0), known.last_at if known else outline.at
            )
    return found


@dataclass(frozen=True, slots=True)
class Feed:
    """A page as the API gives it. `shared`: whether all instances have this history; false: they use several databases,
    and each has rows and ids of its own; None: it isn't known which they use.
    """

    changes: list[ShownChange]
    next: int
    oldest_id: int | None
    last_id: int
    history: str
    shared: bool | None


def as_answer(page: ChangesPage, others: Iterable[Mapping[str, object]] | None) -> Feed:
    """A page, with what the reports of the `others` on their history say of whose it is."""
    shared = is_shared(page.history, others)
    return Feed(page.changes, page.next, page.oldest_id, page.last_id, page.history, shared)


def is_shared(history: str, others: Iterable[Mapping[str, object]] | None) -> bool | None:
    """Whether the other instances have this history, by their reports on theirs; None: it isn't known."""
    names = None if others is None else {told.get("name") for told in others} - {None}
    return None if names is None else names <= {history}


def is_chosen(outline: Outline, visible: Visible, chosen_by: NameChoice) -> bool:
    """Whether a change is to be told: of an index that the caller sees, by its own name or by that of an alias.

    It is chosen by its own name, and by those of its aliases that the caller sees: a pattern that finds something would
    tell the others.
    """
    if outline.kind == ChangeKind.GAP.value:
        return True
    seen = [name for name in (outline.index, *outline.names) if visible.covers(name)]
    return bool(seen) and chosen_by.covers((outline.index, *seen))


def shown_change(row: MappingChange, visible: Visible) -> ShownChange | None:
    """None: somebody edited it to what no change is."""
    columns = {name: getattr(row, name) for name in ShownChange.__dataclass_fields__ if name not in ("id", "seen_by")}
    columns |= {"id": row.number, "seen_by": row.instance}
    columns |= {name: columns[name] or None for name in ("compared_with", "family")}
    if row.kind == ChangeKind.GAP.value:
        columns["index"] = None
    try:
        change = msgspec.convert(columns, ShownChange)
    except (msgspec.ValidationError, TypeError):
        change = None
    if change is None or change.index == "" or not isinstance(row.at, datetime) or min(change.totals) < 0:
        ignored_rows.note(MappingChange)
        return None
    return as_seen(change, names_of(row), visible)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Changes one after the other, each with what it is chosen by: all of a history after the number `after`, up to
    `last_id`. `head`: where the history ended when it was read.
    """

    head: Head
    after: int
    last_id: int
    changes: tuple[tuple[Outline, ShownChange], ...]


def newest_stretch(after: int | None, most: int) -> Stretch:
    """The changes after a number; of more than `most`, and where it is None, the newest; each as who sees
    everything sees it. Reads the database.
    """
    head, first, rows = newest(after, most)
    changes = tuple((outline_of(row), change) for row in rows if (change := shown_change(row, ALL_VISIBLE)) is not None)
    return Stretch(head, first, max([head.last_id, *(outline.id for outline, _ in changes)]), changes)


def as_seen(change: ShownChange, names: Sequence[str], visible: Visible) -> ShownChange:
    """The same as a caller may see it: just what it would be if nothing existed that the caller may not see.

    1. The family is the first of the aliases and data streams of the index (`names`) that the caller sees; without one,
       it follows from the index's name alone. Which one has most indices depends on those that it doesn't see.
    2. With what a new index was compared is told where all that could come between both in their order is visible, and
       so can't be missing for the caller alone.
    """
    index = change.index
    if visible.everything or index is None:
        return change
    if change.compared_with is not None and not _is_next_seen(change.compared_with, index, visible):
        nothing = msgspec.to_builtins(FieldChanges())
        change = replace(change, compared=False, compared_with=None, **nothing)
    if change.family is not None:
        return replace(change, family=min(filter(visible.covers, names), default=family_by_name(index)))
    return change


def _is_next_seen(before: str, index: str, visible: Visible) -> bool:
    """Whether a caller would find that one index comes before another among what it sees, too.

    What is between them begins as both do, up to a number in which they differ. (But for numbers with zeros in front,
    which nobody mixes with others.) Of another stem it is for an alias's sake, which may be one that isn't seen.
    """
    common = commonprefix([before, index]).rstrip("0123456789")  # noqa: RUF071  (of names, by characters)
    return stem_of(before) == stem_of(index) and visible.covers(before) and visible.covers_all_from(common)


def recent_changes(most: int) -> list[ShownChange]:
    """The latest changes of all indices. Reads the database."""
    rows = MappingChange.objects.order_by("-pk")[:most]
    return [change for change in (shown_change(row, ALL_VISIBLE) for row in rows) if change is not None]
