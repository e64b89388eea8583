"""History: each pass and each change of a mapping as a row in Django's database; the number of rows is bounded.

A change is found by comparing a snapshot with what is recorded (cacheapp/state/changes.py), and it is recorded before
the snapshot is published. If the database is away, it delays one publication by two seconds, and no further ones.
Snapshots wait and are compared once the database is back. If more come than can wait, a gap is recorded.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice

from cacheapp import change_log
from cacheapp.change_log import Entry, Head
from cacheapp.change_reports import HistoryReport
from cacheapp.errors import ChangesGone, nothing_matches
from cacheapp.mapping.diff import FieldChanges
from cacheapp.models import PassRecord
from cacheapp.reports import RefreshReport
from cacheapp.rows import HISTORY_MODELS, ignored_rows
from cacheapp.shown_changes import (
    ChangesPage,
    RecentChanges,
    RecentOfIndex,
    ShownChange,
    Stretch,
    counts_of,
    is_chosen,
    newest_stretch,
    shown_change,
    sums_of,
)
from cacheapp.state.changes import (
    ChangeKind,
    IndexChange,
    Known,
    Recorded,
    compare,
    differing,
    index_changes,
    known_after,
    known_of,
)
from cacheapp.state.choice import EVERY_NAME, NameChoice
from cacheapp.state.expressions import Expression, resolve, with_recorded
from cacheapp.state.published import HistoryMark, StoredState
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from cacheapp.stores.database_rows import MAX_EXACT, is_name
from cacheapp.stores.database_thread import DatabaseThread, database_unavailable
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.errors import StoreUnavailable
from esassistant.http.sessions import known_failure
from esassistant.http.sessions import probe as probe_sessions
from esassistant.long_work import batched
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

KEPT_PASSES = 1_000
KEPT_CHANGES = 10_000
COMPARED_AT_ONCE = 20
MAX_WAITING = 100
"""How many passes may wait to be written."""
MAX_SEEN = 16
"""How many snapshots may wait to be compared. Each takes memory only for what differs from the others."""
SHOWN_CHANGES = 100
PROBE_PAUSE_SECONDS = 2.0
RETRY_SECONDS = 2.0
MARK_SECONDS = 2.0
"""How long a publication waits for the history at most."""
HIDDEN_SECONDS = 5.0
"""How long to wait for the cluster to say which unlisted indices are hidden; without its answer they count as
deleted.
"""
TAKE_IN_SECONDS = 2.0
"""How often to look for new rows of version 1.0 while a process of that version publishes."""
BESIDE_SECONDS = 600.0
"""How long after its last publication version 1.0 is taken to be running still."""
MAX_INDICES = 500
"""How many indices of an alias are looked up: databases limit how many values a query may have."""
OUTLINES_AT_ONCE = 1_000
"""How many changes are looked through in one turn of the thread; between turns others get theirs."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A snapshot to compare with what is recorded. `by_old`: version 1.0 published it, and writes its changes
    itself.
    """

    at: datetime
    snapshot: Snapshot
    by_old: bool = False


AskHidden = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Returns which of some names that the cluster doesn't list any more still exist, or are denied to this service."""


class History:
    """The history, one per process, owned by the registry; used only on its event loop. `keep_writing` is its
    background task. Methods that read for a caller raise `StoreUnavailable` if the database can't be read.
    """

    def __init__(
        self,
        thread: DatabaseThread,
        instance: str,
        *,
        kept_passes: int = KEPT_PASSES,
        kept_changes: int = KEPT_CHANGES,
        max_waiting: int = MAX_WAITING,
        max_seen: int = MAX_SEEN,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock = monotonic,
        mark_seconds: float = MARK_SECONDS,
    ) -> None:
        """Make it. `kept_passes`, `kept_changes`: how many rows of each kind are kept. `max_waiting`, `max_seen`: how
        many passes and snapshots may wait to be written. `mark_seconds`: how long a publication waits at most.
        """
        self._thread = thread
        self._kept_passes = kept_passes
        self._kept_changes = kept_changes
        self._max_waiting = max_waiting
        self._max_seen = max_seen
        self._instance = instance
        self._sleep = sleep
        self._clock = clock
        self._mark_seconds = mark_seconds
        self._ask_hidden: AskHidden | None = None
        self._listeners: list[Callable[[], object]] = []
        # What is recorded, as far as this process knows; None: it hasn't read it yet.
        self._known: Known | None = None
        self._newest: Snapshot | None = None
        self._head: Head | None = None
        self._passes: deque[RefreshReport] = deque()
        self._seen: deque[_Seen] = deque()
        self._all_seen = asyncio.Event()
        self._all_seen.set()
        self._wake = asyncio.Event()
        # A gap has to be written: this process lost changes, or another one may have lost some and then died.
        self._owes_gap = False
        self._may_owe_gap = False
        self._old_until = -math.inf
        self._rows_written_total = 0
        self._gaps_total = 0
        self._lost_total = 0
        self._refusal: str | None = None

    def ask_hidden_by(self, ask_hidden: AskHidden) -> None:
        """From now on, use `ask_hidden` to tell hidden indices from deleted ones, when indices aren't listed any
        more.
        """
        self._ask_hidden = ask_hidden

    @contextmanager
    def telling(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call `listener`, for the length of a block, whenever this process learns that changes were written: by
        itself, or by a process whose publication it took over. Other writes are found only by reading the history.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def report(self) -> HistoryReport:
        return HistoryReport(
            rows_written_total=self._rows_written_total,
            lost_total=self._lost_total,
            waiting=len(self._passes) + len(self._seen),
            ignored_rows_total=ignored_rows.total(HISTORY_MODELS),
            write_error=self._refusal,
            gaps_total=self._gaps_total,
            name=None if self._head is None else self._head.name,
            last_id=None if self._head is None else self._head.last_id,
        )

    async def ping(self) -> None:
        """Check that the database can be connected to and sessions can be looked up, which every page for people needs.
        Otherwise raise `StoreUnavailable`, at once if the database is known to fail: `keep_probing` tries meanwhile.
        """
        if (failure := known_failure()) is not None:
            raise database_unavailable(failure)
        await self.probe()

    async def probe(self) -> None:
        """Connect and look up a session, even if the database is known to fail; raise `StoreUnavailable` if
        it fails.
        """
        await self._thread.run(probe_sessions, atomic=False, probes=True)

    async def keep_probing(self) -> None:
        """Background task: while the database fails, try whether it is back. No other task tries meanwhile."""
        while True:
            await self._sleep(PROBE_PAUSE_SECONDS)
            if known_failure() is not None:
                with suppress(StoreUnavailable):
                    await self.probe()

    def note_pass(self, report: RefreshReport) -> None:
        """Note that a pass ended with this report. It is written later."""
        if len(self._passes) >= self._max_waiting:
            self._passes.popleft()
            self._lost_total += 1
        self._passes.append(report)
        self._wake.set()

    def note_snapshot(self, snapshot: Snapshot) -> None:
        """Note that this process has read the cluster, and that `snapshot` is what it knows now."""
        if self._newest is None or self._newest.indices is not snapshot.indices:
            self._note(_Seen(now_utc(), snapshot))

    async def note_published(self, state: StoredState, bodies: Mapping[str, bytes], snapshot: Snapshot) -> None:
        """Note that a publication of another process was taken over. `bodies`: the mappings in memory before;
        `snapshot`: the state since. The first of these applies:

        1. Version 1.0 published it. It writes the changes itself, afterwards; they are numbered then.
        2. All of it is recorded in this database already: nothing is left to do.
        3. It isn't recorded yet. The publisher will do that or, if it dies, the next process that reads the cluster.
        4. It is recorded in another database. This process records it here too.
        """
        mark = state.history
        if mark is None:
            self._old_until = self._clock() + BESIDE_SECONDS
            self._note(_Seen(now_utc(), snapshot, by_old=True))
            return
        own = await self._own_name()
        if own is not None and mark.name == own and mark.last_id is not None:
            self._known = known_of(state, bodies, self._known)
            self._may_owe_gap = False
            self._tell()
        elif own is None or mark.name in ("", own):
            self._may_owe_gap = self._may_owe_gap or mark.lost
        else:
            self.note_snapshot(snapshot)

    async def mark(self, snapshot: Snapshot) -> HistoryMark:
        """Have a snapshot recorded before it is published, and return how far its changes are recorded. Wait for that
        at most `mark_seconds`, and not at all if the last write failed. Never raise `StoreUnavailable`.
        """
        self.note_snapshot(snapshot)
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._mark_seconds):
                if self._refusal is None:
                    await self._all_seen.wait()
                if not self._seen:
                    head = await self._thread.run(change_log.head, atomic=False)
                    return HistoryMark(head.name, head.last_id)
        return HistoryMark("" if self._head is None else self._head.name, None, self._owes_gap)

    async def keep_writing(self) -> None:
        """Background task: write what was noted, in order. If a write fails, try again after a pause."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TAKE_IN_SECONDS if self._clock() < self._old_until else None):
                    await self._wake.wait()
            self._wake.clear()
            while not await self.write_rest():
                await self._sleep(RETRY_SECONDS)
            if self._clock() < self._old_until:
                await self._take_in()

    async def write_rest(self) -> bool:
        """Write all that is waiting, and return True; return False as soon as a write fails."""
        try:
            while self._seen:
                await self._record(self._seen[0])
            while self._passes:
                await self._write_pass()
        except StoreUnavailable as error:
            # A warning once per outage; health and `lost_total` show the rest.
            log = logger.debug if self._refusal else logger.warning
            log("the history can't be written: %s", error.operator_detail)
            self._refusal = error.detail
            return False
        return True

    def _note(self, seen: _Seen) -> None:
        self._newest = seen.snapshot
        if len(self._seen) >= self._max_seen:
            # Only what differs from the next snapshot is lost; the rest is found by comparing that one.
            self._seen.popleft()
            self._lost_total += 1
            self._owes_gap = True
        self._seen.append(seen)
        self._all_seen.clear()
        self._wake.set()

    async def _write_pass(self) -> None:
        report = self._passes.popleft()
        try:
            await self._thread.run(lambda: _write_pass(report, self._instance, self._kept_passes))
        except StoreUnavailable:
            self._lost_total += 1
            raise
        self._rows_written_total += 1
        self._refusal = None

    async def _record(self, seen: _Seen) -> None:
        """Record the changes that a snapshot shows, and take it off the queue. Raise `StoreUnavailable` if it fails."""
        known, owes_gap = self._known, self._owes_gap
        names = None if known is None else await asyncio.to_thread(differing, known, seen.snapshot)
        if names is None or names or owes_gap:
            self._known = await self._record_news(seen, known, names, gap=owes_gap)
            self._owes_gap = self._owes_gap and not owes_gap
        else:
            self._known = seen.snapshot
        self._refusal = None
        # It may have been dropped meanwhile (`_note`).
        if self._seen and self._seen[0] is seen:
            self._seen.popleft()
        if not self._seen:
            self._all_seen.set()

    async def _record_news(self, seen: _Seen, known: Known | None, names: list[str] | None, *, gap: bool) -> Known:
        """Write the changes that a snapshot shows, unless another process has. Return what is recorded afterwards.
        `names`: the indices that may have changed; None: all. `gap`: write a gap before them.
        """
        snapshot = seen.snapshot
        recorded = await self._thread.run(lambda: change_log.recorded(names), atomic=False)
        found = await asyncio.to_thread(_news, recorded, known, snapshot, names)
        among = {*snapshot.indices, *recorded} if names is None else names
        after = known_after(snapshot, recorded, among, found)
        if known is not None and not (found or gap):
            return after
        compared = await _compared(found, known, snapshot)
        hidden = await self._hidden_of(found)

        def news(now_recorded: Mapping[str, Recorded]) -> list[IndexChange]:
            return [_completed(one, compared, hidden) for one in _news(now_recorded, known, snapshot, names)]

        may_owe_gap = self._may_owe_gap and bool(found)
        uuid = snapshot.cluster_uuid or ""
        await self._write(Entry(seen.at, self._instance, uuid, names, news, gap or may_owe_gap, silently=seen.by_old))
        return after

    async def _take_in(self) -> None:
        """Number the rows that version 1.0 has written meanwhile."""
        with suppress(StoreUnavailable):
            if await self._thread.run(change_log.has_unnumbered, atomic=False):
                await self._write(Entry(now_utc(), self._instance, "", (), lambda _: ()))

    async def _write(self, entry: Entry) -> None:
        written = await self._thread.run(lambda: change_log.write(entry, self._kept_changes))
        self._head = written.head
        self._rows_written_total += written.changes
        self._gaps_total += written.gaps
        if entry.gap:
            self._may_owe_gap = False
        self._tell()

    async def _hidden_of(self, changes: Iterable[IndexChange]) -> frozenset[str]:
        gone = [change.index for change in changes if change.kind is ChangeKind.DELETED]
        if not gone or self._ask_hidden is None:
            return frozenset()
        try:
            async with asyncio.timeout(HIDDEN_SECONDS):
                return await self._ask_hidden(gone)
        except TimeoutError:
            return frozenset()

    async def _own_name(self) -> str | None:
        """Return the name of this database's history; None if the database doesn't answer now."""
        if self._head is None:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(self._mark_seconds):
                    self._head = await self._thread.run(change_log.head, atomic=False)
        return None if self._head is None else self._head.name

    async def latest_changes(self, indices: Iterable[str], visible: Visible) -> list[ShownChange]:
        """Return the latest changes of some indices, newest first, as the caller sees them."""
        names = list(islice(indices, MAX_INDICES))
        rows = await self._thread.run(lambda: change_log.latest(names, SHOWN_CHANGES), atomic=False)
        return [change for change in (shown_change(row, visible) for row in rows) if change is not None]

    async def changes_matching(self, snapshot: Snapshot, expression: Expression) -> list[ShownChange]:
        """Return the latest changes of the indices that an expression stands for, newest first, deleted indices
        included. Raise `IllegalName` if it isn't legal, and `MappingNotFound` if it stands for nothing.
        """
        keys = await self._thread.run(lambda: _keys_matching(snapshot, expression), atomic=False)
        if keys is None:
            raise nothing_matches(expression.text)
        rows = await self._thread.run(lambda: change_log.by_keys(keys), atomic=False)
        shown = (shown_change(row, expression.visible) for row in rows)
        return [change for change in shown if change is not None]

    async def changes(
        self,
        *,
        since: int | None = None,
        limit: int,
        chosen_by: NameChoice = EVERY_NAME,
        kinds: Collection[ChangeKind] = (),
        visible: Visible,
    ) -> ChangesPage:
        """Return the changes after the one with the id `since`, oldest first; None: from the oldest that is kept.

        Args:
            limit: how many at most.
            chosen_by: only changes of the indices that it chooses, by their own name or that of an alias or data
                stream.
            kinds: only changes of these kinds; empty: of all. Gaps are always given.
            visible: the names that exist for the caller.

        Raises:
            ChangesGone: the changes after `since` are not kept any more, or the id is from another history.
            StoreUnavailable: the database can't be read.
        """
        head = await self._thread.run(change_log.head, atomic=False)
        after = since if since is not None else (await self._oldest_id() or head.last_id + 1) - 1
        if after > head.last_id:
            raise ChangesGone(after, await self._oldest_id(), head.last_id)
        wanted = _with_gaps(kinds)
        chosen: list[int] = []
        cursor = after
        while len(chosen) < limit and cursor < head.last_id:
            some, looked_through = await self._thread.run(
                partial(change_log.outlines, cursor, head.last_id, OUTLINES_AT_ONCE, wanted), atomic=False
            )
            chosen.extend(outline.id for outline in some if is_chosen(outline, visible, chosen_by))
            cursor = looked_through
        if len(chosen) > limit or (len(chosen) == limit and cursor < head.last_id):
            chosen = chosen[:limit]
            cursor = chosen[-1]
        rows = await self._thread.run(lambda: change_log.numbered(chosen), atomic=False)
        # Checked last, because the oldest rows may be dropped meanwhile: only now it is sure that none is missing.
        oldest_id = await self._oldest_id()
        if since is not None and since + 1 < (head.last_id + 1 if oldest_id is None else oldest_id):
            raise ChangesGone(since, oldest_id, head.last_id)
        shown = [change for change in (shown_change(row, visible) for row in rows) if change is not None]
        return ChangesPage(shown, cursor, oldest_id, head.last_id, head.name)

    async def recent(
        self,
        *,
        since: datetime | None,
        before: int | None,
        limit: int,
        chosen_by: NameChoice = EVERY_NAME,
        kinds: Collection[ChangeKind] = (),
        visible: Visible,
    ) -> RecentChanges:
        """Return the latest changes, newest first.

        Args:
            since: only changes that were seen at this time or later; None: all that are kept.
            before: only changes before the one with this id; None: from the newest on.
            limit: how many at most.
            chosen_by, kinds, visible: as for `changes`.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        seen = await self._outlines_since(since, kinds)
        # Matching ten thousand of them with fifty patterns takes 0.2 s.
        outlines = await asyncio.to_thread(lambda: [one for one in seen if is_chosen(one, visible, chosen_by)])
        page = [outline.id for outline in outlines if before is None or outline.id < before]
        rows = await self._thread.run(lambda: change_log.numbered(page[:limit]), atomic=False)
        shown = [change for change in (shown_change(row, visible) for row in reversed(rows)) if change is not None]
        return RecentChanges(
            changes=shown,
            next_before=page[limit - 1] if len(page) > limit else None,
            totals=sums_of(outlines),
            # Only for callers who see all names: the oldest change may be of a name that others don't see.
            oldest_at=await self._thread.run(change_log.oldest_at, atomic=False) if visible.everything else None,
        )

    async def counts_since(self, since: datetime) -> dict[str, RecentOfIndex]:
        """Return, by index, how many changes were seen since a time, and when the last was."""
        return await asyncio.to_thread(counts_of, await self._outlines_since(since))

    async def _outlines_since(
        self, since: datetime | None, kinds: Collection[ChangeKind] = ()
    ) -> list[change_log.DatedOutline]:
        wanted = _with_gaps(kinds)
        found: list[change_log.DatedOutline] = []
        before = MAX_EXACT
        while before:
            some, before = await self._thread.run(
                partial(change_log.latest_outlines, before, since, OUTLINES_AT_ONCE, wanted), atomic=False
            )
            found.extend(some)
        return found

    async def newest(self, after: int | None, most: int) -> Stretch:
        """Return the changes after a number as `newest_stretch` does."""
        return await self._thread.run(partial(newest_stretch, after, most), atomic=False)

    async def _oldest_id(self) -> int | None:
        return await self._thread.run(change_log.oldest_id, atomic=False)


HISTORY: Handle[History] = Handle("history")


def _with_gaps(kinds: Collection[ChangeKind]) -> frozenset[str]:
    """Return the values of the wanted kinds, and of gaps, which are always given. Empty if all kinds are wanted."""
    return frozenset(kind.value for kind in (*kinds, ChangeKind.GAP)) if kinds else frozenset()


def _news(
    recorded: Mapping[str, Recorded], known: Known | None, snapshot: Snapshot, names: Collection[str] | None
) -> list[IndexChange]:
    among = sorted({*snapshot.indices, *recorded}) if names is None else names
    return list(index_changes(recorded, known, snapshot, among))


async def _compared(
    changes: Iterable[IndexChange], known: Known | None, snapshot: Snapshot
) -> dict[tuple[str, str], FieldChanges]:
    """Compare the mappings of each change that has two, and return the differences by both hashes. In a thread, because
    comparing two mappings of a thousand fields takes ten milliseconds; a few at a time, because a process that ends
    waits for its threads.
    """
    pairs = {change.pair for change in changes if change.pair is not None}
    compared: dict[tuple[str, str], FieldChanges] = {}
    for some in batched(pairs, COMPARED_AT_ONCE):
        compared |= await asyncio.to_thread(compare, some, known, snapshot)
    return compared


def _completed(
    change: IndexChange, compared: Mapping[tuple[str, str], FieldChanges], hidden: Collection[str]
) -> IndexChange:
    """Return the change with the differences of its fields, and as `hidden`, not `deleted`, if the index is hidden."""
    if change.pair is not None:
        return replace(change, fields=compared.get(change.pair))
    if change.kind is ChangeKind.DELETED and change.index in hidden:
        return replace(change, kind=ChangeKind.HIDDEN, recorded=replace(change.recorded, gone=ChangeKind.HIDDEN))
    return change


def _keys_matching(snapshot: Snapshot, expression: Expression) -> list[int] | None:
    """Return the keys of the latest changes of the indices that an expression stands for; None if it stands for
    nothing.
    """
    # All rows that are kept, but few columns. They have few different names, with which the patterns are matched.
    rows = [(key, index) for key, index in change_log.names_by_key() if is_name(index)]
    resolved = resolve(with_recorded(snapshot, {index for _, index in rows}), expression)
    for name in resolved.missing:
        expression.visible.check(name)  # a name that the caller may not see isn't looked up in the history
    names = {*resolved.indices, *resolved.missing}
    return [key for key, index in rows if index in names][:SHOWN_CHANGES] if names else None


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
    # Keys grow, so the oldest rows have the lowest keys.
    first_kept = PassRecord.objects.order_by("-pk").values_list("pk", flat=True)[kept - 1 : kept].first()
    if first_kept is not None:
        PassRecord.objects.filter(pk__lt=first_kept).delete()


def recent_passes(most: int) -> list[PassRecord]:
    """Return the latest passes, newest first. Reads the database."""
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
