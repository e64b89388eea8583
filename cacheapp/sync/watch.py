"""The watch: waits for changes of the cluster's metadata, and has changes read at once.

It uses a long poll on a connection of its own. One process of a deployment watches, the holder of a lease. It publishes
what it finds, and the others take that over. If the cluster refuses, only full passes find changes.
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
    """The times that the watch waits, in seconds.

    Attributes:
        lease_ttl: The length of the lease. If its holder dies, no other process watches for this long.
        long_poll: How long one request waits for a change.
        debounce: The wait between a change and the change pass. Changes often come several at once: an index is created
            with its aliases, or a template makes two indices.
        behind: A long poll that is answered sooner than this was about a change that had happened before it was sent.
        second_look: The wait between a change pass that found nothing and the second one.
        unread: The wait between a change pass that could not read everything and the next one, if nothing else happens;
            doubles each time.
        first_reconnect: The wait after an outage; doubles each time, up to `LONGEST_RECONNECT_SECONDS`.
        refused: The wait before a cluster that refuses is asked again.
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
    """Watches the cluster. One per process, owned by the registry; belongs to its loop. `run` is its background
    task.
    """

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
        """Background task: watch while this process holds the lease, otherwise wait for it.

        1. Another process holds the lease: stand by, and ask again.
        2. This process holds it, or there is no store to ask: follow the cluster, until the lease is lost (again from
           1.) or something fails:
        3. The cluster refuses: try again much later.
        4. The cluster is away: reconnect, at growing intervals, until it can be watched again.
        5. An unexpected error: raise it, so that it is logged and the task is started again.
        """
        retry = self._intervals.first_reconnect
        self._state = WatchState.STARTING
        while True:
            if not await self._hold_lease():
                # The version from the time when this process watched is out of date now.
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
        """Anchor, and then have changes read, one after the other. Ends only by an error."""
        with at_one_node():
            version = await self._anchor()
        while True:
            asked_at = self._clock()
            seen = await self._metadata.later_than(version, within_seconds=self._patience())
            was_behind = self._clock() - asked_at < self._intervals.behind
            # The changes are read from the node that gave the answer, because another node may lag behind.
            with at_one_node(None if seen is None else seen.url):
                version = await self._go_on(version, seen, was_behind=was_behind)

    async def _go_on(self, version: MetadataVersion, seen: Seen | None, *, was_behind: bool) -> MetadataVersion:
        """Have read what follows from an answer. Return the version to go on from. The first rule that applies decides:

        1. Nothing changed, and the era is a later one, or none can be seen: the cluster was restarted. It counts from a
           lower number again, and would never reach our version. Anchor from the start.
        2. Nothing changed: have read what is due, if anything is, and go on waiting.
        3. A change in another era, whose numbers can't be compared: anchor from the start.
        4. A change that had happened before we asked: there may be many. Anchor from here on, instead of following step
           by step.
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
        """Return how many seconds to wait for a change: one long poll, or less if something is due before its end."""
        due_in = [seconds for seconds in (self._looks.due_in(), self._parameters.due_in()) if seconds is not None]
        return min([self._intervals.long_poll, *due_in])

    async def _anchor(self, at_least: int = FIRST) -> MetadataVersion:
        """Find the present version of the cluster's metadata, and have read what changed before."""
        self._version = version = await self._metadata.now(at_least)
        has_begun = await self._parameters.begin(version)
        # The first pass reads everything; a change pass now would do so too.
        await self._refresher.wait_for_first_pass()
        await self._read_changes(version, asks=not has_begun)
        # Set only now: if changes can't be read, the waits between reconnects have to grow.
        self._state, self._last_error = WatchState.WATCHING, None
        return version

    async def _read_changes(self, version: MetadataVersion, *, asks: bool = True) -> None:
        """Run a change pass for a wake of the watch. If it finds nothing, run a second one a moment later, because a
        node may count fields later than the master.

        `asks`: also have the versions of all mappings asked for when they are due.
        """
        self._looks.note_wake()
        # The uuid of the version's era, because another cluster may have taken the place of the known one.
        uuid = version.era.cluster_uuid
        found = await self._take(await self._refresher.read_changes(uuid))
        if asks:
            self._parameters.note_wake(found=found > 0)
        found += await self._take(await self._parameters.read_if_due(version))
        if not found:
            await self._sleep(self._intervals.second_look)
            await self._take(await self._refresher.read_changes(uuid))

    async def _read_due(self, version: MetadataVersion) -> None:
        """Have read what is due, although nothing woke the watch."""
        if self._looks.due_in() == 0:
            may_postpone = self._looks.may_postpone()
            await self._take(await self._refresher.read_changes(version.era.cluster_uuid, may_postpone=may_postpone))
        await self._take(await self._parameters.read_if_due(version))

    async def _take(self, read: ChangesRead | None) -> int:
        """Note what a change pass could not read or postponed, and publish what it found. Return the number of its
        changes; 0 if there was no pass.
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
        """Return whether this process may watch: it holds the lease, or there is no store to ask, or the store is used
        by another cluster.
        """
        if self._sharing.refusal is not None:
            # The holder of that lease watches another cluster, so standing by for it would never end.
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
        """Renew the lease for as long as this process holds it, and publish again what another process has
        overwritten.
        """
        while await self._hold_lease():
            if self._lease is not None:
                await self._sharing.publish_if_ahead(self._lease)
            await self._sleep(self._intervals.lease_ttl / 5)

    async def release_lease(self) -> None:
        """Give the lease back, so that another process can watch at once."""
        if self._lease is not None:
            with suppress(StoreUnavailable):
                await self._store.release(self._lease)


WATCH: Handle[Watch] = Handle("watch")


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
