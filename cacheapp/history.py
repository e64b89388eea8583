"""History: each pass and each change of a mapping as a bounded row in Django's database.

Written by the process that reads the cluster (the others take over what it published), in the background: nobody waits
for a row, and a database that is away costs rows, counted, and nothing else.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import msgspec

from cacheapp.errors import nothing_matches
from cacheapp.mapping.diff import FieldChanges
from cacheapp.models import MappingChange, PassRecord
from cacheapp.reports import HistoryReport, RefreshReport
from cacheapp.rows import HISTORY_MODELS, ignored_rows
from cacheapp.state.changes import IndexChange, index_changes
from cacheapp.state.expressions import Expression, resolve, with_recorded
from cacheapp.state.snapshot import Snapshot
from cacheapp.stores.database_rows import is_name
from cacheapp.stores.database_thread import DatabaseThread, database_unavailable
from esassistant.clock import now_utc
from esassistant.errors import StoreUnavailable
from esassistant.http.sessions import known_failure
from esassistant.http.sessions import probe as probe_sessions
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

KEPT_PASSES = 1_000
KEPT_CHANGES = 10_000
ROWS_AT_ONCE = 500
COMPARED_AT_ONCE = 20
MAX_WAITING = 100
SHOWN_CHANGES = 100
PROBE_PAUSE_SECONDS = 2.0
MAX_INDICES = 500
"""Of an alias: databases bound how many values a query may have."""


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One change of an index, as the API shows it. `compared`: both of its mappings were still there to compare; else
    nothing is known of its fields.
    """

    index: str
    at: datetime
    kind: str
    compared: bool
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
class _Comparison:
    at: datetime
    before: Snapshot
    after: Snapshot


class History:
    """One per process, owned by the registry; belongs to its loop. `keep_writing` is its background task."""

    def __init__(
        self,
        thread: DatabaseThread,
        instance: str,
        *,
        kept_passes: int = KEPT_PASSES,
        kept_changes: int = KEPT_CHANGES,
        max_waiting: int = MAX_WAITING,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`kept_passes`, `kept_changes`: rows of each kind. `max_waiting`: passes and snapshots not written yet."""
        self._thread = thread
        self._kept_passes = kept_passes
        self._kept_changes = kept_changes
        self._max_waiting = max_waiting
        self._instance = instance
        self._sleep = sleep
        # The snapshot up to which all changes are noted, by this process or by the one that published it.
        self._known: Snapshot | None = None
        self._waiting: deque[RefreshReport | _Comparison] = deque()
        self._wake = asyncio.Event()
        self._rows_written_total = 0
        self._lost_total = 0
        self._refusal: str | None = None

    def report(self) -> HistoryReport:
        ignored = ignored_rows.total(HISTORY_MODELS)
        return HistoryReport(self._rows_written_total, self._lost_total, len(self._waiting), ignored, self._refusal)

    async def ping(self) -> None:
        """Say whether the database can be connected to, and sessions be looked up, which everybody's pages need. Raises
        `StoreUnavailable`: at once where that is known to fail, as `keep_probing` tries then.
        """
        if (failure := known_failure()) is not None:
            raise database_unavailable(failure)
        await self.probe()

    async def probe(self) -> None:
        """Connect, and look up a session, whatever has failed before. Raises `StoreUnavailable`."""
        await self._thread.run(probe_sessions, atomic=False, probes=True)

    async def keep_probing(self) -> None:
        """Background task: while the database is in trouble, find out whether it is well again. Nobody else tries."""
        while True:
            await self._sleep(PROBE_PAUSE_SECONDS)
            if known_failure() is not None:
                with suppress(StoreUnavailable):
                    await self.probe()

    def note_pass(self, report: RefreshReport) -> None:
        """A pass ended, with this report."""
        self._add(report)

    def note_snapshot(self, snapshot: Snapshot) -> None:
        """This process read the cluster, and knows this now. What the first snapshot has is not news."""
        before, self._known = self._known, snapshot
        if before is not None and before.indices is not snapshot.indices:
            self._add(_Comparison(now_utc(), before, snapshot))

    def note_published(self, snapshot: Snapshot) -> None:
        """This is known by way of another process, which notes the changes itself."""
        self._known = snapshot

    async def keep_writing(self) -> None:
        """Background task: write what was noted, in order."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write_next()

    async def write_rest(self) -> None:
        """Write what is still waiting, at the end."""
        while self._waiting:
            await self._write_next()

    async def latest_changes(self, indices: Iterable[str]) -> list[ShownChange]:
        """The latest changes of some indices, newest first. Raises `StoreUnavailable`."""
        names = list(islice(indices, MAX_INDICES))
        return await self._thread.run(lambda: _changes_of(names), atomic=False)

    async def changes_matching(self, snapshot: Snapshot, expression: Expression) -> list[ShownChange]:
        """The latest changes of the indices that an expression stands for, newest first: of those that there are, and
        of those that are recorded, deleted ones too.

        Raises `IllegalName`, `MappingNotFound` where it stands for nothing, or `StoreUnavailable`.
        """
        changes = await self._thread.run(lambda: _changes_matching(snapshot, expression), atomic=False)
        if changes is None:
            raise nothing_matches(expression.text)
        return changes

    async def _write_next(self) -> None:
        noted = self._waiting[0]
        changes = await _changes(noted, self._kept_changes) if isinstance(noted, _Comparison) else deque()
        # Not before: who is cancelled while comparing leaves it to `write_rest`. It may have been dropped meanwhile.
        if self._waiting[0] is not noted:
            return
        self._waiting.popleft()
        try:
            await self._write(noted, changes)
        except StoreUnavailable as error:
            self._lost_total += 1
            # Once per outage: health and the number of what is lost tell the rest.
            log = logger.debug if self._refusal else logger.warning
            log("a part of the history is lost: %s", error.operator_detail)
            self._refusal = error.detail
        else:
            self._refusal = None

    def _add(self, noted: RefreshReport | _Comparison) -> None:
        if len(self._waiting) >= self._max_waiting:
            self._waiting.popleft()
            self._lost_total += 1
        self._waiting.append(noted)
        self._wake.set()

    async def _write(self, noted: RefreshReport | _Comparison, changes: Collection[IndexChange]) -> None:
        if isinstance(noted, RefreshReport):
            await self._thread.run(lambda: _write_pass(noted, self._instance, self._kept_passes))
            self._rows_written_total += 1
        elif changes:
            await self._thread.run(lambda: _write_changes(changes, noted.at, self._instance, self._kept_changes))
            self._rows_written_total += len(changes)


HISTORY: Handle[History] = Handle("history")


async def _changes(noted: _Comparison, kept: int) -> deque[IndexChange]:
    """The last of them that are kept. In a thread, as comparing two mappings of a thousand fields takes ten
    milliseconds, and a few at a time, as a process that ends waits for its threads.
    """
    found = index_changes(noted.before, noted.after)
    changes: deque[IndexChange] = deque(maxlen=kept)
    while some := await asyncio.to_thread(lambda: list(islice(found, COMPARED_AT_ONCE))):
        changes.extend(some)
    return changes


def _write_pass(report: RefreshReport, instance: str, kept: int) -> None:
    PassRecord.objects.create(
        refresh_id=report.id,
        started_at=report.started_at,
        trigger=report.trigger,
        outcome=report.outcome.value,
        duration_seconds=report.duration_seconds,
        indices_total=report.indices_total,
        read_total=report.read_total,
        changed_total=report.changed_total,
        removed_total=report.removed_total,
        failed_total=report.failed_total,
        requests_total=report.requests_total,
        error=(report.error or "")[:500],
        instance=instance,
    )
    _drop_old(PassRecord, kept)


def _write_changes(changes: Collection[IndexChange], at: datetime, instance: str, kept: int) -> None:
    MappingChange.objects.bulk_create(
        [
            MappingChange(
                index=change.index,
                at=at,
                kind=change.kind.value,
                instance=instance,
                compared=change.fields is not None,
                **msgspec.to_builtins(change.fields or FieldChanges()),
            )
            for change in changes
        ],
        batch_size=ROWS_AT_ONCE,
    )
    _drop_old(MappingChange, kept)


def _drop_old(rows: type[PassRecord | MappingChange], kept: int) -> None:
    # Keys grow, so that the oldest rows have the lowest.
    first_kept = rows.objects.order_by("-pk").values_list("pk", flat=True)[kept - 1 : kept].first()
    if first_kept is not None:
        rows.objects.filter(pk__lt=first_kept).delete()


def _changes_of(indices: list[str]) -> list[ShownChange]:
    rows = MappingChange.objects.filter(index__in=indices).order_by("-pk")[:SHOWN_CHANGES]
    return [change for change in map(_shown_change, rows) if change is not None]


def _changes_matching(snapshot: Snapshot, expression: Expression) -> list[ShownChange] | None:
    """None: it stands for nothing."""
    # As many rows as are kept, and few columns: their names are few, and the patterns are held against these.
    recorded = [row for row in MappingChange.objects.order_by("-pk").values_list("pk", "index") if is_name(row[1])]
    resolved = resolve(with_recorded(snapshot, {index for _, index in recorded}), expression)
    names = {*resolved.indices, *resolved.missing}
    if not names:
        return None
    keys = [key for key, index in recorded if index in names][:SHOWN_CHANGES]
    rows = MappingChange.objects.filter(pk__in=keys).order_by("-pk")
    return [change for change in map(_shown_change, rows) if change is not None]


def _shown_change(row: MappingChange) -> ShownChange | None:
    """None: somebody edited it to what no change is."""
    columns = {name: getattr(row, name) for name in ShownChange.__dataclass_fields__ if name != "seen_by"}
    try:
        change = msgspec.convert({**columns, "seen_by": row.instance}, ShownChange)
    except (msgspec.ValidationError, TypeError):
        change = None
    if change is None or not change.index or not isinstance(row.at, datetime) or min(change.totals) < 0:
        ignored_rows.note(MappingChange)
        return None
    return change


def recent_changes(most: int) -> list[ShownChange]:
    """The latest changes of all indices. Reads the database."""
    rows = MappingChange.objects.order_by("-pk")[:most]
    return [change for change in map(_shown_change, rows) if change is not None]


def recent_passes(most: int) -> list[PassRecord]:
    """The latest passes. Reads the database."""
    rows = list(PassRecord.objects.order_by("-pk")[:most])
    passes = [row for row in rows if _is_pass(row)]
    ignored_rows.note(PassRecord, len(rows) - len(passes))
    return passes


def _is_pass(row: PassRecord) -> bool:
    counts = (row.read_total, row.changed_total, row.failed_total)
    seconds = row.duration_seconds
    return (
        isinstance(row.started_at, datetime)
        and isinstance(seconds, int | float)
        and 0 <= seconds < math.inf
        and all(isinstance(count, int) for count in counts)
        and isinstance(row.outcome, str)
        and isinstance(row.trigger, str)
    )
