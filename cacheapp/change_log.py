"""The tables of the history's changes. Called in the history's thread.

All changes are numbered in one order; the numbers are given under a lock. A second table has, for each index, the state
that was recorded last.
"""

import math
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db.models import Max
from django.db.models.functions import Coalesce, Now

from cacheapp.mapping.diff import FieldChanges
from cacheapp.models import HistoryHead, MappingChange, RecordedIndex
from cacheapp.rows import ignored_rows
from cacheapp.state.changes import CLOCK_SECONDS, ChangeKind, IndexChange, Recorded
from cacheapp.stores.database_rows import MAX_EXACT, is_count, is_hash, is_head, is_moment, is_name
from esassistant.clock import monotonic

ROWS_AT_ONCE = 500
KEPT_GONE = 10_000
"""How many indices that are gone stay recorded, the latest ones: if a hidden one comes back, that is recorded as
`shown`.
"""
HEAD_ROW = 1
CLOCK_TRIES = 3
GAP_INDEX = "*"


class Head(NamedTuple):
    """The end of a history: its name, the number of its last change (0: none), and the cluster it is about.

    `cluster_uuid`: empty if the cluster doesn't say; None if no index is recorded yet, which is what `is_new` says.
    """

    name: str
    last_id: int
    cluster_uuid: str | None

    @property
    def is_new(self) -> bool:
        return self.cluster_uuid is None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written to the history in one step.

    `at`, `instance`: when the changes were seen, and by which process. `cluster_uuid`: the cluster that they are about;
    empty if it doesn't say. `names`: the indices it is about; None: all that are recorded. `compare` is given what is
    recorded of them, and returns what differs now. `gap`: something before this was lost, so a gap is written first.
    `silently`: update what is recorded of the indices, but write a gap in place of their changes, if there are any,
    because another process (version 1.0) writes these.
    """

    at: datetime
    instance: str
    cluster_uuid: str
    names: Collection[str] | None
    compare: Callable[[Mapping[str, Recorded]], Sequence[IndexChange]]
    gap: bool = False
    silently: bool = False


class Written(NamedTuple):
    """The result of a write: where the history ends now, how many changes were written, and how many gaps."""

    head: Head
    changes: int
    gaps: int


def head() -> Head:
    """Return where the history ends. Create its row if there is none, and repair one that somebody edited."""
    row = HistoryHead.objects.filter(pk=HEAD_ROW).first()
    if row is None:
        made = HistoryHead(pk=HEAD_ROW, name=secrets.token_hex(8), last_id=0)
        HistoryHead.objects.bulk_create([made], ignore_conflicts=True)
        row = HistoryHead.objects.get(pk=HEAD_ROW)
    if not is_head(row):
        ignored_rows.note(HistoryHead)
        mended = {
            "name": secrets.token_hex(8),
            "last_id": _numbers().order_by("-number").first() or 0,
            "cluster_uuid": "",
        }
        HistoryHead.objects.filter(pk=HEAD_ROW).update(**mended)
        row = HistoryHead(**mended)
    return Head(row.name, row.last_id, row.cluster_uuid)


def recorded(names: Collection[str] | None) -> dict[str, Recorded]:
    """Return what is recorded of some indices, by name; `names` None: of all."""
    now, asked = _clocks()
    found: dict[str, Recorded] = {}
    for some in [None] if names is None else _portions(list(names)):
        rows = RecordedIndex.objects.all() if some is None else RecordedIndex.objects.filter(pk__in=some)
        for row in rows:
            if not _is_recorded(row, now):
                ignored_rows.note(RecordedIndex)
                continue
            found[row.name] = Recorded(
                row.uuid,
                row.mapping_hash,
                # Ahead of now: the clock of the database was set back, so this time can't say which of two is newer.
                -math.inf if row.at > now else asked - (now - row.at).total_seconds(),
                ChangeKind(row.gone) if row.gone else None,
                row.family,
                _split(row.names),
            )
    return found


def write(entry: Entry, kept: int) -> Written:
    """Number and write the changes of an entry, and update what is recorded, in one transaction. Keep the newest `kept`
    changes.
    """
    before = _lock()
    changes = entry.compare(recorded(entry.names))  # under the lock: nobody else writes the same meanwhile
    told = [change for change in changes if change.kind is not None]
    is_another = bool(before.cluster_uuid and entry.cluster_uuid and before.cluster_uuid != entry.cluster_uuid)
    gap = entry.gap
    # The changes are not written if one of these applies:
    #   1. Nothing is recorded yet, so that every index would count as new.
    #   2. It is another cluster than before, so that all its indices would differ.
    #   3. Another process writes them.
    if before.is_new or is_another or entry.silently:
        gap, told = gap or (bool(told) and not before.is_new), []
    number, gaps = _take_in_unnumbered(before.last_id, entry)
    rows: list[MappingChange] = []
    if gap and not _ends_with_gap(number):
        rows.append(_gap(number + 1, entry))
    gaps += len(rows)
    first = number + 1 + len(rows)
    rows.extend(_row(change, first + place, entry) for place, change in enumerate(told))
    MappingChange.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)
    _record(changes)
    number += len(rows)
    cluster_uuid = entry.cluster_uuid or before.cluster_uuid or ""
    HistoryHead.objects.filter(pk=HEAD_ROW).update(last_id=number, cluster_uuid=cluster_uuid)
    if number > before.last_id:
        MappingChange.objects.filter(number__lte=number - kept).delete()
    return Written(Head(before.name, number, cluster_uuid), len(told), gaps)


def _lock() -> Head:
    """Keep all others from writing changes until the transaction ends, and return where the history ends."""
    head()
    HistoryHead.objects.select_for_update().get(pk=HEAD_ROW)
    return head()


def has_unnumbered() -> bool:
    """Return whether there are rows that version 1.0 wrote and that have no number yet."""
    return MappingChange.objects.filter(number=None).exists()


def _take_in_unnumbered(last_id: int, entry: Entry) -> tuple[int, int]:
    """Number the rows that version 1.0 wrote, with a gap before them: that version writes changes after it has
    published, and may lose some.

    Return the last number, and how many gaps (0 or 1) were written.
    """
    keys = list(MappingChange.objects.filter(number=None).order_by("pk").values_list("pk", flat=True))
    if not keys:
        return last_id, 0
    gaps = 0
    if not _ends_with_gap(last_id):
        gaps, last_id = 1, last_id + 1
        _gap(last_id, entry).save()
    for some in _portions(keys):
        MappingChange.objects.bulk_update(
            [MappingChange(pk=key, number=last_id + 1 + place) for place, key in enumerate(some)], ["number"]
        )
        last_id += len(some)
    return last_id, gaps


def _ends_with_gap(last_id: int) -> bool:
    return MappingChange.objects.filter(number=last_id, kind=ChangeKind.GAP.value).exists()


def _gap(number: int, entry: Entry) -> MappingChange:
    fields = msgspec.to_builtins(FieldChanges())
    return MappingChange(
        number=number, index=GAP_INDEX, at=entry.at, kind=ChangeKind.GAP.value, instance=entry.instance, **fields
    )


def _row(change: IndexChange, number: int, entry: Entry) -> MappingChange:
    assert change.kind is not None
    return MappingChange(
        number=number,
        index=change.index,
        at=entry.at,
        kind=change.kind.value,
        instance=entry.instance,
        compared=change.fields is not None,
        compared_with=(change.compared_with or "") if change.fields is not None else "",
        family=change.recorded.family,
        names=_joined(change.recorded.names),
        **_storable(msgspec.to_builtins(change.fields or FieldChanges())),
    )


def _record(changes: Iterable[IndexChange]) -> None:
    now, asked = _clocks()
    rows = [
        RecordedIndex(
            name=change.index,
            uuid=change.recorded.uuid,
            mapping_hash=change.recorded.mapping_hash,
            at=now - timedelta(seconds=asked - change.recorded.at),
            gone=change.recorded.gone.value if change.recorded.gone else "",
            family=change.recorded.family,
            names=_joined(change.recorded.names),
        )
        for change in changes
    ]
    RecordedIndex.objects.bulk_create(
        rows,
        batch_size=ROWS_AT_ONCE,
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["uuid", "mapping_hash", "at", "gone", "family", "names"],
    )
    if any(change.recorded.gone for change in changes):
        latest = RecordedIndex.objects.exclude(gone="").order_by("-at", "name").values_list("pk", flat=True)
        for some in _portions(list(latest[KEPT_GONE:])):
            RecordedIndex.objects.filter(pk__in=some).delete()


def oldest_id() -> int | None:
    """Return the number of the oldest change that is kept; None if there is none."""
    found: int | None = _numbers().order_by("number").first()
    return found


def oldest_at() -> datetime | None:
    """Return when the oldest change that is kept was seen; None if there is none."""
    rows = MappingChange.objects.filter(number__lte=MAX_EXACT).order_by("number").values_list("at", flat=True)
    found = rows.first()
    return found if isinstance(found, datetime) else None


def _numbers() -> Any:
    """Return a query of all numbers. It leaves out values that somebody edited so that they are no numbers: SQLite
    takes these for larger than any number.
    """
    return MappingChange.objects.filter(number__lte=MAX_EXACT).values_list("number", flat=True)


@dataclass(frozen=True, slots=True)
class Outline:
    """The columns by which it is decided whether a change is wanted."""

    id: int
    index: str
    kind: str
    names: tuple[str, ...]


def outlines(after: int, until: int, most: int, kinds: Collection[str]) -> tuple[list[Outline], int]:
    """Return changes with numbers above `after` and up to `until`, in order, and the number up to which they are
    complete.

    `most`: how many rows are read at once. `kinds`: only changes of these kinds; empty: of all.
    """
    rows = MappingChange.objects.filter(number__gt=after, number__lte=until).order_by("number")
    if kinds:
        rows = rows.filter(kind__in=kinds)
    found = list(rows.values_list("number", "index", "kind", "names")[:most])
    fit = [
        Outline(number, index, kind, _split(names))
        for number, index, kind, names in found
        if is_count(number) and isinstance(index, str) and isinstance(kind, str)
    ]
    ignored_rows.note(MappingChange, len(found) - len(fit))
    return fit, fit[-1].id if len(found) == most and fit else until


@dataclass(frozen=True, slots=True)
class DatedOutline(Outline):
    """An outline with the time when the change was seen, the family of the index (empty: none), and how many fields
    were added, removed, retyped and altered.
    """

    at: datetime
    family: str
    totals: tuple[int, int, int, int]


_DATED = (
    *("number", "index", "kind", "names", "at", "family"),
    *("added_total", "removed_total", "retyped_total", "altered_total"),
)


def latest_outlines(
    before: int, since: datetime | None, most: int, kinds: Collection[str]
) -> tuple[list[DatedOutline], int]:
    """Return changes with numbers below `before`, newest first, and the number below which there may be more (0: there
    are none).

    `since`: only changes that were seen at this time or later; None: all. `most`: how many rows are read at once.
    `kinds`: only changes of these kinds; empty: of all.
    """
    rows = MappingChange.objects.filter(number__gt=0, number__lt=before).order_by("-number")
    if since is not None:
        rows = rows.filter(at__gte=since)
    if kinds:
        rows = rows.filter(kind__in=kinds)
    found = list(rows.values_list(*_DATED)[:most])
    fit = [
        DatedOutline(number, index, kind, _split(names), at, family, tuple(totals))
        for number, index, kind, names, at, family, *totals in found
        if is_count(number)
        and isinstance(at, datetime)
        and all(isinstance(text, str) for text in (index, kind, family))
        and all(is_count(total) for total in totals)
    ]
    ignored_rows.note(MappingChange, len(found) - len(fit))
    return fit, fit[-1].id if len(found) == most and fit else 0


def newest(after: int | None, most: int) -> tuple[Head, int, list[MappingChange]]:
    """Return where the history ends, a number, and the changes after that number, in order.

    The number is `after`, or a later one if there are more than `most` changes after it, or if the next ones aren't
    kept any more. `after` None: the newest `most` changes.
    """
    found = head()  # read first: what is written meanwhile comes after it
    if found.last_id == after:
        return found, after, []  # the usual case, once a second
    first = max(0, found.last_id - most)
    if after is not None and after <= found.last_id:
        first = max(first, after)
    rows = list(MappingChange.objects.filter(number__gt=first, number__lte=MAX_EXACT).order_by("number")[:most])
    if found.last_id > first and not (rows and rows[0].number == first + 1):
        # The next changes aren't kept any more, or somebody deleted them.
        oldest = oldest_id()
        first = found.last_id if oldest is None else max(first, oldest - 1)
    return found, first, rows


def names_of(row: MappingChange) -> tuple[str, ...]:
    """Return the aliases and data streams that the index of a change belonged to."""
    return _split(row.names)


def outline_of(row: MappingChange) -> Outline:
    """Return the outline of a change that has a number."""
    assert row.number is not None
    return Outline(row.number, row.index, row.kind, _split(row.names))


def numbered(numbers: Collection[int]) -> list[MappingChange]:
    """Return the changes with these numbers, in order."""
    rows: list[MappingChange] = []
    for some in _portions(sorted(numbers)):
        rows.extend(MappingChange.objects.filter(number__in=some).order_by("number"))
    return rows


def latest(names: Sequence[str], most: int) -> list[MappingChange]:
    """Return the latest changes of some indices, newest first, at most `most`."""
    return list(MappingChange.objects.filter(index__in=names).order_by("-pk")[:most])


def names_by_key() -> list[tuple[int, str]]:
    """Return the primary key and the index of each change that is kept, newest first."""
    return list(MappingChange.objects.order_by("-pk").values_list("pk", "index"))


def by_keys(keys: Collection[int]) -> list[MappingChange]:
    """Return the changes with these primary keys, newest first."""
    return list(MappingChange.objects.filter(pk__in=list(keys)).order_by("-pk"))


def _is_recorded(row: Any, now: datetime) -> bool:
    gone = ("", ChangeKind.DELETED.value, ChangeKind.HIDDEN.value)
    texts = (row.family, row.names)
    return (
        is_name(row.name)
        and is_hash(row.mapping_hash)
        and is_moment(row.at, now)
        and row.gone in gone
        and (row.uuid is None or isinstance(row.uuid, str))
        and all(isinstance(text, str) for text in texts)
    )


def _joined(names: Sequence[str]) -> str:
    # No name has a comma in it, so `,name,` and `,beginning` can be searched for.
    return f",{','.join(names)}," if names else ""


def _split(names: object) -> tuple[str, ...]:
    return tuple(filter(None, names.split(","))) if isinstance(names, str) else ()


def _storable(value: Any) -> Any:
    """Return the same value without the characters that PostgreSQL can't store in a text. Names of fields may have any
    characters.
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {key: _storable(one) for key, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list | tuple) else value


def _clocks() -> tuple[datetime, float]:
    """Return the database's clock and this process's clock (in seconds) at the same moment. With this pair, times are
    converted from one clock to the other, to decide which of two statements is newer.

    The clocks are read a few times, and the reading with the fastest answer is taken (Cristian's algorithm). The two
    times of a pair may be milliseconds apart.
    """
    best: tuple[float, datetime, float] | None = None
    for _ in range(CLOCK_TRIES):
        before = monotonic()
        # An aggregate, because it returns a row even for an empty table.
        now: datetime = HistoryHead.objects.aggregate(now=Coalesce(Max(Now()), Now()))["now"]
        took = monotonic() - before
        if best is None or took < best[0]:
            best = took, now, before + took / 2
        if took < CLOCK_SECONDS:
            break
    assert best is not None
    return best[1], best[2]


def _portions(values: list[Any]) -> Iterable[list[Any]]:
    return (values[start : start + ROWS_AT_ONCE] for start in range(0, len(values), ROWS_AT_ONCE))
