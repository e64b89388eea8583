"""Send the changes of the history to one target: each at least once, and those of one index in their order."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from cacheapp.change_log import Head
from cacheapp.change_reports import TargetReport, TargetState
from cacheapp.errors import ChangesGone
from cacheapp.shown_changes import ChangesPage
from cacheapp.state.changes import ChangeKind
from cacheapp.state.visible import Visible
from cacheapp.stores.database_thread import DatabaseThread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks import cursors
from cacheapp.webhooks.cursors import Cursor
from cacheapp.webhooks.events import Event, event_of, lost_until
from cacheapp.webhooks.policy import AT_ONCE, Attempt, Outcome, next_window, seconds_until_retry
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.config.webhooks import KINDS, Target
from esassistant.errors import StoreUnavailable

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.5
"""The time until the delivery checks again whether there are changes. The holder of the lease asks the database once
for all targets.
"""
AWAY_SECONDS: Final = 2.0
READ_AT_ONCE: Final = 100


class Sends(Protocol):
    """Sends an event once, and returns the outcome."""

    async def send(self, event: Event) -> Attempt: ...


class Changes(Protocol):
    """The part of the history that deliveries read."""

    async def changes(
        self, *, since: int | None = None, limit: int, kinds: tuple[ChangeKind, ...] = (), visible: Visible
    ) -> ChangesPage: ...


class Delivery:
    """Delivers changes to one target. One per target and process; belongs to its loop. `run` is a task while this
    process holds the lease.
    """

    def __init__(
        self,
        target: Target,
        history: Changes,
        thread: DatabaseThread,
        open_sender: Callable[[Target], AbstractAsyncContextManager[Sends]],
        *,
        head: Callable[[], Head | None],
        written_at: Callable[[], float | None],
        instance: str,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], datetime] = now_utc,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a delivery; no I/O.

        Args:
            target: The target.
            history: The history, from which changes are read.
            thread: The thread for the database.
            open_sender: Opens what sends events to the target.
            head: Returns the end of the history, as it was a moment ago.
            written_at: Returns when the file of targets was last written, in seconds since 1970.
            instance: The name of this process, for gaps that it reports.
            clock: The monotonic clock.
            sleep: Waits for some seconds.
            now: Returns the present time.
            jitter: Returns a random number from 0 to 1.
        """
        self.target = target
        self._history = history
        self._thread = thread
        self._open_sender = open_sender
        self._head, self._written_at = head, written_at
        self._instance = instance
        self._clock, self._sleep, self._now, self._jitter = clock, sleep, now, jitter
        self._kinds = () if target.kinds == KINDS else tuple(map(ChangeKind, target.kinds))
        self._visible = Visible(target.indices)
        # How far the target is, and the events that were read beyond that. While another process sends: None, and no
        # events.
        self._cursor: Cursor | None = None
        self._waiting: list[Event] = []
        self._read_until = 0
        self._is_sending = False
        self._failures = 0
        self._failing: tuple[float, datetime] | None = None
        self._retry_at: float | None = None
        self._outcomes: Counter[Outcome] = Counter()
        self._gaps_total = 0
        self._last_delivered_at: datetime | None = None
        self._error: str | None = None

    def report(self) -> TargetReport:
        now, cursor, head = self._clock(), self._cursor, self._head()
        return TargetReport(
            host=self.target.host,
            state=self._state(),
            behind=None if cursor is None or head is None else max(0, head.last_id - cursor.last_id),
            failing_since=None if self._failing is None else self._failing[1],
            failing_seconds=None if cursor is None else 0.0 if self._failing is None else now - self._failing[0],
            retry_in_seconds=None if self._retry_at is None else max(0.0, self._retry_at - now),
            attempts_total=self._outcomes.total(),
            outcomes={outcome.value: self._outcomes[outcome] for outcome in Outcome},
            gaps_total=self._gaps_total,
            last_delivered_at=self._last_delivered_at,
            error=self._error,
        )

    def _state(self) -> TargetState:
        if self._cursor is None:
            return TargetState.STANDBY
        if self._cursor.paused_at is not None:
            return TargetState.PAUSED
        if self._failures:
            return TargetState.FAILING
        return TargetState.SENDING if self._is_sending else TargetState.IDLE

    async def run(self, lease: Lease) -> None:
        """Send while this process holds the lease. Raises `StaleToken` when it no longer does."""
        try:
            async with self._open_sender(self.target) as sender:
                while True:
                    try:
                        seconds = await self.turn(sender, lease)
                    except StoreUnavailable as error:
                        logger.debug("%s", error.operator_detail)
                        seconds = AWAY_SECONDS
                    await self._sleep(seconds)
        finally:
            self._cursor, self._waiting = None, []
            self._failures, self._failing, self._retry_at = 0, None, None
            self._is_sending = False

    async def turn(self, sender: Sends, lease: Lease) -> float:
        """Send what comes next, and return the seconds until the next turn.

        1. If it isn't known how far the target is, read that from the database.
        2. If the receiver said that it is gone, send nothing until the file of targets is written again.
        3. If no events wait, read the next ones; if there are none, send nothing.
        4. Send the first events that wait: several at once, or a single one after a failure.
        """
        if self._cursor is None:
            self._cursor = await self._thread.run(lambda: cursors.load(self.target.name, lease))
        if self._cursor.paused_at is not None and not await self._go_on(self._cursor, lease):
            return IDLE_SECONDS
        if not self._waiting:
            await self._read(self._cursor)
            if not self._waiting:
                await self._move(replace(self._cursor, last_id=self._read_until), lease)
                return IDLE_SECONDS
        window = next_window(self._waiting, 1 if self._failures else AT_ONCE)
        self._is_sending = True
        attempts = await asyncio.gather(*map(sender.send, window))
        self._is_sending = False
        return await self._take(list(zip(window, attempts, strict=True)), lease)

    async def _go_on(self, cursor: Cursor, lease: Lease) -> bool:
        """End a pause if an operator has written the file of targets since it began. Return whether the pause has
        ended.
        """
        written_at = self._written_at()
        if cursor.paused_at is None or written_at is None or written_at <= cursor.paused_at.timestamp():
            return False
        logger.info("webhooks: %s is sent to again", self.target.name)
        await self._save(replace(cursor, paused_at=None), lease)
        return True

    async def _read(self, cursor: Cursor) -> None:
        """Read what comes next. A gap stands for changes that aren't kept any more, or that belong to another
        history.
        """
        self._read_until = cursor.last_id
        head = self._head()
        if head is None or (head.name == cursor.history and head.last_id <= cursor.last_id):
            return
        try:
            page = await self._history.changes(
                since=cursor.last_id, limit=READ_AT_ONCE, kinds=self._kinds, visible=self._visible
            )
        except ChangesGone as gone:
            self._note_lost(head.name, gone.go_on_with)
            return
        if page.history != cursor.history:
            self._note_lost(page.history, page.last_id if page.oldest_id is None else page.oldest_id - 1)
            return
        self._read_until = page.next
        self._waiting = [event_of(change, page.history) for change in page.changes if change.id is not None]

    def _note_lost(self, history: str, until: int) -> None:
        self._read_until = until
        self._waiting = [lost_until(until, history, self._now(), self._instance)]

    async def _take(self, sent: list[tuple[Event, Attempt]], lease: Lease) -> float:
        """Note the outcomes of what was sent, and return the seconds until the next turn."""
        for event, attempt in sent:
            self._outcomes[attempt.outcome] += 1
            if attempt.is_delivered:
                self._waiting.remove(event)
                self._gaps_total += event.index is None
                self._last_delivered_at = self._now()
        failed = [attempt for _, attempt in sent if not attempt.is_delivered]
        seconds = self._note_failures(failed)
        if len(failed) < len(sent):
            until = self._waiting[0].number - 1 if self._waiting else self._read_until
            await self._move(Cursor(sent[0][0].history, until), lease)
        if any(attempt.outcome is Outcome.GONE for attempt in failed):
            return await self._pause(lease)
        return seconds

    def _note_failures(self, failed: list[Attempt]) -> float:
        """Note how the latest attempts failed, or that none did, and return the seconds to wait. Logged when failures
        begin and when they end.
        """
        name = self.target.name
        if not failed:
            if self._failing is not None:
                logger.info("webhooks: %s takes events again, after %d failures", name, self._failures)
            self._failures, self._failing, self._retry_at, self._error = 0, None, None, None
            return 0.0
        worst = max(failed, key=lambda attempt: attempt.retry_after_seconds)
        self._failures += 1
        self._error = worst.detail
        if self._failing is None:
            self._failing = self._clock(), self._now()
            logger.warning("webhooks: %s does not take events: %s", name, worst.detail)
        seconds = seconds_until_retry(self._failures, worst.retry_after_seconds, self._jitter())
        self._retry_at = self._clock() + seconds
        return seconds

    async def _pause(self, lease: Lease) -> float:
        """Pause, because the receiver wants no more events: send nothing until an operator writes the file of targets
        again. Return the seconds until the next turn.
        """
        assert self._cursor is not None
        logger.warning("webhooks: nothing is sent to %s until the file of targets is written again", self.target.name)
        self._waiting, self._retry_at = [], None
        await self._save(replace(self._cursor, paused_at=self._now()), lease)
        return IDLE_SECONDS

    async def _move(self, cursor: Cursor, lease: Lease) -> None:
        if cursor != self._cursor:
            await self._save(cursor, lease)

    async def _save(self, cursor: Cursor, lease: Lease) -> None:
        await self._thread.run(lambda: cursors.save(self.target.name, cursor, lease))
        self._cursor = cursor
