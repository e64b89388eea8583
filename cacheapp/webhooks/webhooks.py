"""Webhooks: one process of a deployment sends the changes of the history to all targets, the holder of a lease.

The lease is one of Django's database, where the history and the cursors are, whatever the store is: who sends can
record how far it is, and who lost the lease can't.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from cacheapp import change_log
from cacheapp.change_log import Head
from cacheapp.change_reports import WebhooksReport
from cacheapp.stores.database import DatabaseStore
from cacheapp.stores.database_thread import DatabaseThread
from cacheapp.stores.protocol import Lease
from cacheapp.webhooks.delivery import Delivery
from esassistant.clock import Clock, Sleep, monotonic
from esassistant.config.webhooks import Target
from esassistant.errors import StaleToken, StoreUnavailable
from esassistant.followed_file import FollowedFile
from esassistant.resource import Handle, PingResult

logger = logging.getLogger(__name__)

LEASE: Final = "webhooks"
LEASE_SECONDS: Final = 10.0
"""A process that sends and dies keeps the others from sending so long."""
RENEW_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
END_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.5
"""How often who sends asks where the history ends."""


class Webhooks:
    """One per process, owned by the registry; belongs to its loop. `run` is its background task."""

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
        """`make_delivery` makes what sends to one target, `spawn` a task that ends with the registry's resource."""
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
        self.head: Head | None = None
        """Where the history ends, as it was a moment ago; None: this process doesn't send."""
        self._match_targets()

    def report(self) -> WebhooksReport:
        return WebhooksReport(
            enabled=True,
            sends=self.head is not None,
            readable=self._file.error is None,
            error=self._file.error,
            reads_total=self._file.reads_total,
            targets={name: delivery.report() for name, delivery in self._deliveries.items()},
        )

    async def ping(self) -> PingResult:
        """Say whether what the file of targets says is in force. Whether receivers do well isn't about this service."""
        return await self._file.ping()

    async def run(self) -> None:
        """Background task: send while the lease is ours, wait for it otherwise.

        1. Another process holds the lease, or the database is away: look again later.
        2. It is ours: send to all targets, until it isn't any more.
        """
        while True:
            self._match_targets()
            with suppress(StoreUnavailable, StaleToken, TimeoutError):
                taken = await self._leases.lease(LEASE, self._holder, LEASE_SECONDS)
                if isinstance(taken, Lease):
                    self._lease = taken
                    await self._send(taken)
            await self._sleep(RENEW_SECONDS)

    async def release_lease(self) -> None:
        """Let another process send at once."""
        if self._lease is not None:
            with suppress(StoreUnavailable):
                await self._leases.release(self._lease)

    async def _send(self, lease: Lease) -> None:
        """Have all targets sent to for as long as the lease is ours. Raises `StaleToken`, `StoreUnavailable` or
        `TimeoutError` as soon as that isn't known.
        """
        renewed_at = self._clock()
        try:
            while True:
                # Sooner than the lease ends, or two processes would send at once.
                async with asyncio.timeout(ANSWER_SECONDS):
                    if self._clock() - renewed_at >= RENEW_SECONDS:
                        renewed_at = self._clock()
                        # Another token: another process held it meanwhile, and sent what this one doesn't know of.
                        if await self._leases.lease(LEASE, self._holder, LEASE_SECONDS) != lease:
                            return
                    self.head = await self._thread.run(change_log.head, atomic=False)
                self._match_targets()
                await self._match_tasks(lease)
                await self._sleep(LOOK_SECONDS)
        finally:
            self.head = None
            await self._end(list(self._tasks))

    def _match_targets(self) -> None:
        """Have a delivery for each target of the file, and none for any other."""
        wanted = {target.name: target for target in self._file.entries}
        kept = {name: one for name, one in self._deliveries.items() if wanted.get(name) == one.target}
        self._deliveries = {
            name: kept[name] if name in kept else self._make_delivery(self, target) for name, target in wanted.items()
        }

    async def _match_tasks(self, lease: Lease) -> None:
        """Have a task for each delivery. Raises what one of them raised: none ends by itself."""
        for _, task in self._tasks.values():
            if task.done():
                task.result()
        await self._end(
            [name for name, (delivery, _) in self._tasks.items() if self._deliveries.get(name) is not delivery]
        )
        for name, delivery in self._deliveries.items():
            if name not in self._tasks:
                self._tasks[name] = delivery, self._spawn(partial(delivery.run, lease))

    async def _end(self, names: list[str]) -> None:
        tasks = [self._tasks.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=END_SECONDS)
            for task in done:
                if not task.cancelled():
                    task.exception()  # so that nobody says that it was never asked for


WEBHOOKS: Handle[Webhooks | None] = Handle("webhooks")
"""None: there are no targets."""
NO_WEBHOOKS: Final = WebhooksReport(enabled=False, sends=False, readable=True, error=None, reads_total=0, targets={})
