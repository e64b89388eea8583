"""The watch: waits for changes of the cluster's metadata, and has what changed read the moment it happens.

A long poll on a connection of its own. One process of a deployment watches, the holder of a lease; what it finds is
published, and the others take it over. Where the cluster refuses, full passes alone find changes.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from cacheapp.cluster.metadata_version import FIRST, MetadataClock, MetadataVersion
from cacheapp.errors import WatchRefused
from cacheapp.reports import WatchReport, WatchState
from cacheapp.stores.protocol import Lease, Store
from cacheapp.sync.pass_record import ChangesRead
from cacheapp.sync.refresher import Refresher
from cacheapp.sync.sharing import Sharing
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.errors import ClusterUnavailable, StoreUnavailable
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

LEASE = "watch"
LONGEST_RECONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WatchIntervals:
    """How long the watch waits for what, in seconds.

    Attributes:
        lease_ttl: a process that holds the lease and dies keeps the others from watching so long.
        long_poll: one request waits so long for a change.
        debounce: between a change and the change pass. Changes often come several at once: an index is created with its
            aliases, a template makes two indices.
        behind: a long poll that is answered sooner than this was about a change that had happened before it was sent.
        second_look: between a change pass that found nothing and the second one.
        unread: so long after a change pass that could not read everything comes the next, if nothing else happens.
        first_reconnect: after an outage; doubles with each that follows, up to `LONGEST_RECONNECT_SECONDS`.
        refused: a cluster that doesn't let us is asked again so long afterwards.
    """

    lease_ttl: float = 10.0
    long_poll: float = 25.0
    debounce: float = 0.01
    behind: float = 0.05
    second_look: float = 0.5
    unread: float = 2.0
    first_reconnect: float = 0.5
    refused: float = 600.0


DEFAULT_INTERVALS = WatchIntervals()


class Watch:
    """One per process, owned by the registry; belongs to its loop. `run` is its background task."""

    def __init__(
        self,
        metadata: MetadataClock,
        refresher: Refresher,
        sharing: Sharing,
        store: Store,
        spawn: Callable[..., asyncio.Task[None]],
        *,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        intervals: WatchIntervals = DEFAULT_INTERVALS,
    ) -> None:
        self._metadata = metadata
        self._refresher = refresher
        self._sharing = sharing
        self._store = store
        self._spawn = spawn
        self._clock = clock
        self._sleep = sleep
        self._intervals = intervals
        self._holder = secrets.token_hex(8)
        self._lease: Lease | None = None
        self._state = WatchState.OFF
        self._version: MetadataVersion | None = None
        self._last_read = ChangesRead(changes_total=0, has_unread=False)
        self._wakes_total = 0
        self._changes_total = 0
        self._last_change_at: datetime | None = None
        self._last_error: str | None = None

    def report(self) -> WatchReport:
        return WatchReport(
            state=self._state,
            metadata_version=None if self._version is None else self._version.number,
            wakes_total=self._wakes_total,
            changes_total=self._changes_total,
            requests_total=self._metadata.requests_total + self._refresher.change_requests_total,
            last_change_at=self._last_change_at,
            last_error=self._last_error,
        )

    async def run(self) -> None:
        """Background task: watch while the lease is ours, wait for it otherwise.

        1. Another process holds the lease: stand by, and ask again.
        2. It is ours, or there is no store to ask: follow the cluster, until the lease is gone (again from 1.) or
           something fails:
        3. The cluster refuses: try again much later.
        4. The cluster is away: reconnect, less and less often, until it could be watched again.
        5. An error that nobody foresaw: raise it, so that it is logged and the task started anew.
        """
        retry = self._intervals.first_reconnect
        self._state = WatchState.STARTING
        while True:
            if not await self._hold_lease():
                # What it knew while it watched is not what the watch knows now.
                self._state, self._last_error, self._version = WatchState.STANDBY, None, None
                await self._sleep(self._intervals.lease_ttl / 3)
                continue
            following = self._spawn(self._follow)
            keeping = self._spawn(self._keep_lease)
            try:
                await asyncio.wait((following, keeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                following.cancel()
                keeping.cancel()
            error = _error_of(following) or _error_of(keeping)  # none: the lease is gone
            if isinstance(error, WatchRefused):
                if self._state is not WatchState.REFUSED:
                    logger.warning("%s", error.operator_detail)
                self._state, self._last_error = WatchState.REFUSED, error.detail
                await self._sleep(self._intervals.refused)
            elif isinstance(error, ClusterUnavailable):
                if self._state is WatchState.WATCHING:
                    retry = self._intervals.first_reconnect
                self._state, self._last_error = WatchState.RECONNECTING, error.detail
                await self._sleep(retry)
                retry = min(2 * retry, LONGEST_RECONNECT_SECONDS)
            elif error is not None:
                raise error

    async def _follow(self) -> None:
        """Anchor, and then have what changed read, change after change. Ends by an error alone."""
        version = await self._anchor()
        while True:
            asked_at = self._clock()
            patience = self._intervals.unread if self._last_read.has_unread else self._intervals.long_poll
            seen = await self._metadata.reached(version.number + 1, within_seconds=patience)
            # What an answer means, the first that applies:
            #   1. Quiet, and the era is another one, or none can be seen: the cluster was restarted, counts anew from a
            #      lower number, and would never reach ours. Anchor from the start.
            #   2. Quiet: wait on; first read what could not be read before, if there is any.
            #   3. A change in another era, whose numbers are others: anchor from the start.
            #   4. A change that was there before we asked: there may be many. Anchor from here on, instead of following
            #      step by step.
            #   5. One change: read it.
            if seen is None:
                seen = await self._metadata.reached(FIRST)
                if seen is None or seen.era != version.era:
                    version = await self._anchor()
                elif self._last_read.has_unread:
                    await self._read_changes()
                continue
            self._wakes_total += 1
            was_behind = self._clock() - asked_at < self._intervals.behind
            if seen.era != version.era:
                version = await self._anchor()
            elif was_behind:
                version = await self._anchor(version.number + 1)
            else:
                self._version = version = MetadataVersion(seen.era, version.number + 1, seen.state_uuid)
                await self._sleep(self._intervals.debounce)
                await self._read_changes()

    async def _anchor(self, at_least: int = FIRST) -> MetadataVersion:
        """Find where the cluster stands, and have read what changed before."""
        self._version = version = await self._metadata.now(at_least)
        # The first pass reads everything; a change pass now would do so too.
        await self._refresher.wait_for_first_pass()
        await self._read_changes()
        # Not sooner: where changes can't be read, the waits between reconnects must grow.
        self._state, self._last_error = WatchState.WATCHING, None
        return version

    async def _read_changes(self) -> None:
        """Run a change pass, and publish what it found. When the first finds nothing, run a second one a moment later:
        a node may count fields later than the master.
        """
        self._last_read = await self._refresher.read_changes()
        if not self._last_read.changes_total:
            await self._sleep(self._intervals.second_look)
            self._last_read = await self._refresher.read_changes()
        if self._last_read.changes_total:
            self._changes_total += self._last_read.changes_total
            self._last_change_at = now_utc()
            if self._lease is not None:
                await self._sharing.publish(self._lease)

    async def _hold_lease(self) -> bool:
        """Whether this process may watch: the lease is ours, or there is no store to ask."""
        try:
            taken = await self._store.lease(LEASE, self._holder, self._intervals.lease_ttl)
        except StoreUnavailable:
            self._lease = None
            return True
        self._lease = taken if isinstance(taken, Lease) else None
        return self._lease is not None

    async def _keep_lease(self) -> None:
        """Renew the lease for as long as it is ours, and publish again what another process published over."""
        while await self._hold_lease():
            if self._lease is not None:
                await self._sharing.publish_if_ahead(self._lease)
            await self._sleep(self._intervals.lease_ttl / 5)

    async def release_lease(self) -> None:
        """Let another process watch at once."""
        if self._lease is not None:
            with suppress(StoreUnavailable):
                await self._store.release(self._lease)


WATCH: Handle[Watch] = Handle("watch")


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
