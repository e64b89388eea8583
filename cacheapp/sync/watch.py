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

from cacheapp.cluster.metadata_version import FIRST, MetadataClock, MetadataVersion, Seen
from cacheapp.errors import WatchRefused
from cacheapp.reports import WatchReport, WatchState
from cacheapp.stores.protocol import Lease, Store
from cacheapp.sync.look_policy import FIRST_UNREAD_SECONDS, Looks
from cacheapp.sync.parameter_changes import ParameterChanges
from cacheapp.sync.pass_record import ChangesRead
from cacheapp.sync.refresher import Refresher
from cacheapp.sync.sharing import Sharing
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.elasticsearch.node_pool import at_one_node
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
        unread: so long after a change pass that could not read everything comes the next, if nothing else happens;
            doubles with each that follows.
        first_reconnect: after an outage; doubles with each that follows, up to `LONGEST_RECONNECT_SECONDS`.
        refused: a cluster that doesn't let us is asked again so long afterwards.
    """

    lease_ttl: float = 10.0
    long_poll: float = 25.0
    debounce: float = 0.01
    behind: float = 0.05
    second_look: float = 0.5
    unread: float = FIRST_UNREAD_SECONDS
    first_reconnect: float = 0.5
    refused: float = 600.0


DEFAULT_INTERVALS = WatchIntervals()


class Watch:
    """One per process, owned by the registry; belongs to its loop. `run` is its background task."""

    def __init__(
        self,
        metadata: MetadataClock,
        parameters: ParameterChanges,
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
        self._parameters = parameters
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
        self._looks = Looks(clock, first_unread_seconds=intervals.unread)
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
            requests_total=self._metadata.requests_total
            + self._parameters.requests_total
            + self._refresher.change_requests_total,
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
        with at_one_node():
            version = await self._anchor()
        while True:
            asked_at = self._clock()
            seen = await self._metadata.later_than(version, within_seconds=self._patience())
            was_behind = self._clock() - asked_at < self._intervals.behind
            # What follows from an answer is read at the node that gave it: another may lag behind.
            with at_one_node(None if seen is None else seen.url):
                version = await self._go_on(version, seen, was_behind=was_behind)

    async def _go_on(self, version: MetadataVersion, seen: Seen | None, *, was_behind: bool) -> MetadataVersion:
        """Have read what follows from an answer, the first that applies. Return the version to go on from.

        1. Quiet, and the era is a later one, or none can be seen: the cluster was restarted, counts anew from a lower
           number, and would never reach ours. Anchor from the start.
        2. Quiet: wait on; first read what is due, if there is anything.
        3. A change in another era, whose numbers are others: anchor from the start.
        4. A change that was there before we asked: there may be many. Anchor from here on, instead of following step by
           step.
        5. One change: read it.
        """
        if seen is None:
            now = await self._metadata.reached(FIRST)
            if now is None or (now.era != version.era and not now.era.is_before(version.era)):
                return await self._anchor()
            await self._read_due(version)
            return version
        self._wakes_total += 1
        if seen.era != version.era:
            return await self._anchor()
        if was_behind:
            return await self._anchor(version.number + 1)
        self._version = version = MetadataVersion(seen.era, version.number + 1, seen.state_uuid)
        await self._sleep(self._intervals.debounce)
        await self._read_changes(version)
        return version

    def _patience(self) -> float:
        """Return how long to wait for a change: for one long poll, but not longer than until something is due."""
        due_in = [seconds for seconds in (self._looks.due_in(), self._parameters.due_in()) if seconds is not None]
        return min([self._intervals.long_poll, *due_in])

    async def _anchor(self, at_least: int = FIRST) -> MetadataVersion:
        """Find where the cluster stands, and have read what changed before."""
        self._version = version = await self._metadata.now(at_least)
        has_begun = await self._parameters.begin(version)
        # The first pass reads everything; a change pass now would do so too.
        await self._refresher.wait_for_first_pass()
        await self._read_changes(version, asks=not has_begun)
        # Not sooner: where changes can't be read, the waits between reconnects must grow.
        self._state, self._last_error = WatchState.WATCHING, None
        return version

    async def _read_changes(self, version: MetadataVersion, *, asks: bool = True) -> None:
        """Run a change pass, and have the versions of the mappings asked for when they are due; this wake is owed that,
        if `asks`. When nothing is found, run a second pass a moment later: a node may count fields later than the
        master.
        """
        self._looks.note_wake()
        # Of the era, as another cluster may be in the place of the one that was known.
        uuid = version.era.cluster_uuid
        found = await self._take(await self._refresher.read_changes(uuid))
        if asks:
            self._parameters.note_wake(found=found > 0)
        found += await self._take(await self._parameters.read_if_due(version))
        if not found:
            await self._sleep(self._intervals.second_look)
            await self._take(await self._refresher.read_changes(uuid))

    async def _read_due(self, version: MetadataVersion) -> None:
        """Have read what is due although nothing woke the watch."""
        if self._looks.due_in() == 0:
            may_postpone = self._looks.may_postpone()
            await self._take(await self._refresher.read_changes(version.era.cluster_uuid, may_postpone=may_postpone))
        await self._take(await self._parameters.read_if_due(version))

    async def _take(self, read: ChangesRead | None) -> int:
        """Note what a change pass left to do, and publish what it found. Return how many changes these are; 0 where
        there was no pass.
        """
        if read is None:
            return 0
        self._looks.note(read)
        if read.changes_total:
            self._changes_total += read.changes_total
            self._last_change_at = now_utc()
            if self._lease is not None:
                await self._sharing.publish(self._lease)
        return read.changes_total

    async def _hold_lease(self) -> bool:
        """Whether this process may watch: the lease is ours, or there is no store to ask, or none that is ours."""
        if self._sharing.refusal is not None:
            # Who holds that lease watches another cluster: standing by for it would be for ever.
            await self.release_lease()
            self._lease = None
            return True
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
