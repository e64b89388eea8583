"""Webhooks: one process of a deployment, the holder of a lease, sends the changes of the history to all targets.

The lease is kept in Django's database, whatever the store is, because the history and the cursors are there too. So a
process that sends can always record how far it is, and one that lost the lease can't.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from cacheapp import change_log
from cacheapp.change_log import Head
from cacheapp.change_reports import TargetReport, TargetState, WebhooksReport
from cacheapp.stores.database import DatabaseStore
from cacheapp.stores.database_thread import DatabaseThread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks.delivery import Delivery
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.config.webhooks import Target
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.followed_file import FollowedFile
from esassistant.resource import Handle, PingResult

logger = logging.getLogger(__name__)

LEASE: Final = "webhooks"
LEASE_SECONDS: Final = 10.0
"""The length of the lease. If its holder dies, no other process sends for this long."""
RENEW_SECONDS: Final = 2.0
END_SECONDS: Final = 3.0
HELD_SECONDS: Final = LEASE_SECONDS - END_SECONDS
"""How long after the request for it a lease counts as ours. So this process stops sending before another one can have
the lease.
"""
RESTART_SECONDS: Final = 30.0
"""A delivery that ended by an unexpected error is started again after this time."""
SETTLED_SECONDS: Final = 30.0
"""A delivery that has run for this long since its restart counts as well again: its next error is a first one."""
LOOK_SECONDS: Final = 0.5
"""How often the sending process asks for the end of the history."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A delivery that ended by an unexpected error.

    Args:
        delivery: The delivery.
        error: The name of the error's class.
        at: When the first error of the series happened, on the monotonic clock.
        since: The same moment as a date and time.
        restart_at: When the delivery may start again, on the monotonic clock.
    """

    delivery: Delivery
    error: str
    at: float
    since: datetime
    restart_at: float


class Webhooks:
    """Sends to all targets. One per process, owned by the registry; belongs to its loop. `run` is its background
    task.
    """

    def __init__(
        self,
        file: FollowedFile[Target],
        thread: DatabaseThread,
        make_delivery: Callable[["Webhooks", Target], Delivery],
        spawn: Callable[..., asyncio.Task[None]],
        *,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`make_delivery`: makes the delivery to one target. `spawn`: starts a task that ends together with the
        registry's resource.
        """
        self._file = file
        self._thread = thread
        self._leases = DatabaseStore(thread)
        self._make_delivery = make_delivery
        self._spawn = spawn
        self._clock = clock
        self._sleep = sleep
        self._holder = secrets.token_hex(8)
        self._lease: Lease | None = None
        self._deliveries: dict[str, Delivery] = {}
        self._tasks: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._crashes: dict[str, Crash] = {}
        """The latest crash of each target's delivery, by the target's name."""
        self.head: Head | None = None
        """The end of the history, as it was a moment ago; None: this process doesn't send."""
        self._match_targets()

    def report(self) -> WebhooksReport:
        return WebhooksReport(
            enabled=True,
            sends=self.head is not None,
            readable=self._file.error is None,
            error=self._file.error,
            reads_total=self._file.reads_total,
            targets={name: self._target_report(name, delivery) for name, delivery in self._deliveries.items()},
        )

    def _target_report(self, name: str, delivery: Delivery) -> TargetReport:
        crash = self._crashes.get(name)
        if crash is None or self.head is None or name in self._tasks:
            return delivery.report()
        return replace(
            delivery.report(),
            state=TargetState.FAILING,
            failing_since=crash.since,
            failing_seconds=self._clock() - crash.at,
            retry_in_seconds=max(0.0, crash.restart_at - self._clock()),
            error=f"this service made a mistake ({crash.error}), which its log has",
        )

    async def ping(self) -> PingResult:
        """Return whether the file of targets is in force as it is. How receivers do isn't part of this service's
        health.
        """
        return await self._file.ping()

    async def run(self) -> None:
        """Background task: send while this process holds the lease, otherwise wait for it.

        1. Another process holds the lease, or the database is away: try again later.
        2. This process holds it: send to all targets, until the lease is lost.
        """
        while True:
            self._match_targets()
            with suppress(StoreUnavailable, StaleToken, TimeoutError):
                asked_at = self._clock()
                taken = await self._leases.lease(LEASE, self._holder, LEASE_SECONDS)
                if isinstance(taken, Lease):
                    self._lease = taken
                    await self._send(taken, asked_at)
            await self._sleep(RENEW_SECONDS)

    async def release_lease(self) -> None:
        """Give the lease back, so that another process can send at once."""
        if self._lease is not None:
            with suppress(StoreUnavailable):
                await self._leases.release(self._lease)

    async def _send(self, lease: Lease, asked_at: float) -> None:
        """Run the deliveries to all targets for as long as this process holds the lease. Raises `StaleToken`,
        `StoreUnavailable` or `TimeoutError` as soon as that is no longer sure.

        Args:
            lease: The lease.
            asked_at: When the lease was asked for. It was granted at a later moment, and ends `LEASE_SECONDS` after
                that moment, however late the answer came.
        """
        try:
            while True:
                # This ends before the lease does; otherwise two processes could send at once.
                async with asyncio.timeout(asked_at + HELD_SECONDS - self._clock()):
                    if (now := self._clock()) - asked_at >= RENEW_SECONDS:
                        # With another token, another process held the lease meanwhile, and may have sent what this one
                        # doesn't know of.
                        if await self._leases.lease(LEASE, self._holder, LEASE_SECONDS) != lease:
                            return
                        asked_at = now
                    self.head = await self._thread.run(change_log.head, atomic=False)
                    self._match_targets()
                    await self._match_tasks(lease)
                await self._sleep(LOOK_SECONDS)
        finally:
            self.head = None
            await self._end(list(self._tasks))

    def _match_targets(self) -> None:
        """Keep one delivery for each target of the file, and none for other targets."""
        wanted = {target.name: target for target in self._file.entries}
        kept = {name: one for name, one in self._deliveries.items() if wanted.get(name) == one.target}
        self._deliveries = {
            name: kept[name] if name in kept else self._make_delivery(self, target) for name, target in wanted.items()
        }
        self._crashes = {name: one for name, one in self._crashes.items() if self._deliveries.get(name) is one.delivery}

    async def _match_tasks(self, lease: Lease) -> None:
        """Keep one task running for each delivery. If a task has ended, the error decides:

        1. `StaleToken`, or the database is away: this concerns all targets, and is raised.
        2. An unexpected error concerns this target only; its delivery is started again later.
        """
        for name, (delivery, task) in list(self._tasks.items()):
            if task.done():
                self._note_end(name, delivery, task)
        await self._end(
            [name for name, (delivery, _) in self._tasks.items() if self._deliveries.get(name) is not delivery]
        )
        for name, delivery in self._deliveries.items():
            crash = self._crashes.get(name)
            if name not in self._tasks and (crash is None or self._clock() >= crash.restart_at):
                self._tasks[name] = delivery, self._spawn(partial(delivery.run, lease))

    def _note_end(self, name: str, delivery: Delivery, task: asyncio.Task[None]) -> None:
        try:
            task.result()
        except (StaleToken, StoreUnavailable):
            raise
        except Exception as error:
            logger.exception("webhooks: sending to %s crashed; it starts again in %.0f s", name, RESTART_SECONDS)
            now, before = self._clock(), self._crashes.get(name)
            if before is None or now - before.restart_at >= SETTLED_SECONDS:
                at, since = now, now_utc()
            else:
                at, since = before.at, before.since
            self._crashes[name] = Crash(delivery, type(error).__name__, at, since, now + RESTART_SECONDS)
        del self._tasks[name]

    async def _end(self, names: list[str]) -> None:
        tasks = [self._tasks.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=END_SECONDS)
            for task in done:
                if not task.cancelled():
                    task.exception()  # marks the exception as seen, so that asyncio doesn't log it


WEBHOOKS: Handle[Webhooks | None] = Handle("webhooks")
"""None: there are no targets."""
NO_WEBHOOKS: Final = WebhooksReport(enabled=False, sends=False, readable=True, error=None, reads_total=0, targets={})
