"""Decide when passes run by themselves: the first one as soon as the cluster is reachable, then one per interval."""

import asyncio

from cacheapp.stores.protocol import Store
from cacheapp.sync.refresher import SCHEDULE, Refresher
from cacheapp.sync.sharing import Sharing
from esassistant.clock import Clock, Sleep, monotonic

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 5.0
STORE_POLL_SECONDS = 1.0


def next_pass_in(pass_at: float | None, interval_seconds: float, now: float) -> float | None:
    """Return the seconds until the next scheduled pass; 0: it is due; None: there won't be any.

    1. No full pass is known: it is due.
    2. The interval is 0: only the first pass is scheduled.
    3. Otherwise it comes one interval after the newest full pass (`pass_at`), of this process or another.
    """
    if pass_at is None:
        return 0.0
    if interval_seconds == 0:
        return None
    return max(0.0, pass_at + interval_seconds - now)


class Schedule:
    """Runs the scheduled passes. One per process; belongs to its loop. `keep_fresh` and `follow_store` are its
    background tasks.
    """

    def __init__(
        self,
        refresher: Refresher,
        sharing: Sharing,
        store: Store,
        interval_seconds: float,
        *,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._refresher = refresher
        self._sharing = sharing
        self._store = store
        self._interval = interval_seconds
        self._clock = clock
        self._sleep = sleep
        self._retry_at: float | None = None

    def next_pass_in(self) -> float | None:
        """Return the seconds until this process tries to run the next pass; None if there won't be any."""
        return self._due_in() if self._retry_at is None else max(0.0, self._retry_at - self._clock())

    async def keep_fresh(self) -> None:
        """Background task: start with what the store has, then run a pass whenever one is due.

        1. No pass is due: wait, and check again, because another process may have published meanwhile.
        2. A pass is due: ask for it, or join the one that runs, and wait for its end.
        3. It is still due, because the pass failed or another process runs one: try again, at growing intervals.
        """
        await self._sharing.take_over()
        self._refresher.report_next_pass(self.next_pass_in)
        retry = FIRST_RETRY_SECONDS
        while (due_in := self._due_in()) is not None:
            if due_in > 0:
                await self._sleep(due_in)
                continue
            trigger = "warm-up" if self._sharing.pass_at is None else SCHEDULE
            answer = await self._refresher.ask(trigger, limited=False)
            if answer.id is not None:
                await self._refresher.wait(answer.id)
            if self._due_in() == 0:
                self._retry_at = self._clock() + retry
                await self._sleep(retry)
                self._retry_at = None
                retry = min(retry * 2, LONGEST_RETRY_SECONDS)
            else:
                retry = FIRST_RETRY_SECONDS

    async def follow_store(self) -> None:
        """Background task: take over what other processes publish."""
        while True:
            await self._store.wait_for_change(STORE_POLL_SECONDS)
            await self._sharing.take_over()

    def _due_in(self) -> float | None:
        return next_pass_in(self._sharing.pass_at, self._interval, self._clock())
