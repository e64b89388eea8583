"""Changes of the history as the API and the pages show them: which changes a caller may see, and what of each."""

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

    `id`: its number in the one order of changes; None: version 1.0 wrote it a moment ago. `index` is None for a gap,
    which is about no index. `compared`: two mappings were compared, and the lists say in what they differ: the index's
    own mapping before and after, or, for a new index, the mapping of the member of its family before it
    (`compared_with`) and its own. If it is false, nothing is known of its fields.
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
    """A page of changes, oldest first; `since=next` gives those after them. `oldest_id`, `last_id`: the first and last
    id of all changes that are kept; None and 0 if none is. `history`: the name of the database's history; ids are valid
    only in it.
    """

    changes: list[ShownChange]
    next: int
    oldest_id: int | None
    last_id: int
    history: str


@dataclass(frozen=True, slots=True)
class ChangeSums:
    """How many changes there were of each kind, of how many indices, and of how many fields. Fields are counted for
    each index, even if several indices changed alike.
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
    """A page of changes, newest first; `before=next_before` gives those before them; None: there are none. `totals`:
    counts of all changes that were asked for, on this page or not. `oldest_at`: when the oldest change that is kept was
    seen; None if none is kept, or if the caller doesn't see all names.
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
    """Count changes, by kind and by field."""
    sums = [sum(column) for column in zip(*(outline.totals for outline in outlines), strict=True)] or [0, 0, 0, 0]
    kinds = Counter(outline.kind for outline in outlines)
    indices = {outline.index for outline in outlines if outline.kind != ChangeKind.GAP.value}
    return ChangeSums(kinds, len(indices), *sums)


def counts_of(outlines: Iterable[DatedOutline]) -> dict[str, RecentOfIndex]:
    """Count the changes of each index. `outlines`: changes, newest first."""
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
    """A page of changes as the API gives it. `shared`: whether all instances have this history; false: they use several
    databases, each with rows and ids of its own; None: not known.
    """

    changes: list[ShownChange]
    next: int
    oldest_id: int | None
    last_id: int
    history: str
    shared: bool | None


def as_answer(page: ChangesPage, others: Iterable[Mapping[str, object]] | None) -> Feed:
    """Return a page for the API. `others`: the reports of the other instances on their histories; they decide
    `shared`.
    """
    shared = is_shared(page.history, others)
    return Feed(page.changes, page.next, page.oldest_id, page.last_id, page.history, shared)


def is_shared(history: str, others: Iterable[Mapping[str, object]] | None) -> bool | None:
    """Return whether the other instances have the history of this name, by their reports on theirs; None if that isn't
    known.
    """
    names = None if others is None else {told.get("name") for told in others} - {None}
    return None if names is None else names <= {history}


def is_chosen(outline: Outline, visible: Visible, chosen_by: NameChoice) -> bool:
    """Return whether a caller wants a change and may see it. Gaps are for all.

    The change is matched by the name of its index and by the names of its aliases, but only by those that the caller
    sees: otherwise a pattern that finds something would give away the others.
    """
    if outline.kind == ChangeKind.GAP.value:
        return True
    seen = [name for name in (outline.index, *outline.names) if visible.covers(name)]
    return bool(seen) and chosen_by.covers((outline.index, *seen))


def shown_change(row: MappingChange, visible: Visible) -> ShownChange | None:
    """Return a row as a caller may see it; None if the row was edited and is no valid change."""
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
    """Consecutive changes of a history, each with its outline: all after the number `after`, up to `last_id`. `head`:
    where the history ended when it was read.
    """

    head: Head
    after: int
    last_id: int
    changes: tuple[tuple[Outline, ShownChange], ...]


def newest_stretch(after: int | None, most: int) -> Stretch:
    """Return the changes after a number, as somebody who sees all names sees them. Reads the database.

    If there are more than `most`, or if `after` is None, return only the newest `most`.
    """
    head, first, rows = newest(after, most)
    changes = tuple((outline_of(row), change) for row in rows if (change := shown_change(row, ALL_VISIBLE)) is not None)
    return Stretch(head, first, max([head.last_id, *(outline.id for outline, _ in changes)]), changes)


def as_seen(change: ShownChange, names: Sequence[str], visible: Visible) -> ShownChange:
    """Return a change as a caller may see it: what it would be if the names that the caller may not see didn't exist.

    1. The family is the first alias or data stream of the index (`names`) that the caller sees. Without one it follows
       from the index's name alone. It can't be the largest one, as usual: its size depends on indices that the caller
       doesn't see.
    2. The index that a new index was compared with is shown only if the caller sees every name that could come between
       the two. Otherwise the caller's own view might have another index there.
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
    """Return whether `before` comes right before `index` in the caller's view too.

    The names between them begin as both do, up to a number in which they differ (numbers with leading zeros aside,
    which nobody mixes with others). If the two names have different stems, they were compared because of a common
    alias, which the caller may not see: then return False.
    """
    common = commonprefix([before, index]).rstrip("0123456789")  # noqa: RUF071  (of names, by characters)
    return stem_of(before) == stem_of(index) and visible.covers(before) and visible.covers_all_from(common)


def recent_changes(most: int) -> list[ShownChange]:
    """Return the latest changes of all indices, newest first. Reads the database."""
    rows = MappingChange.objects.order_by("-pk")[:most]
    return [change for change in (shown_change(row, ALL_VISIBLE) for row in rows) if change is not None]
