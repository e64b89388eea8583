"""The watch: learns of changes of the cluster's metadata the moment they happen, and has what changed read anew.

A long poll on a connection of its own. One process of a deployment watches, the holder of a lease; what it finds is
published, and the others take it over. Where the cluster refuses, full passes alone find changes.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from cacheapp.cluster.metadata_version import FIRST, MetadataClock, MetadataVersion
from cacheapp.errors import WatchRefused
from cacheapp.reports import WatchReport, WatchState
from cacheapp.stores.protocol import Lease, Store
from cacheapp.sync.refresher import Refresher
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.errors import ClusterUnavailable, StoreUnavailable
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

LEASE = "watch"
LEASE_TTL_SECONDS = 10.0
LONG_POLL_SECONDS = 25.0
DEBOUNCE_SECONDS = 0.01
"""PassChanges often come several at once: an index is created with its aliases, a template makes two indices."""
BEHIND_SECONDS = 0.05
"""A long poll that is answered sooner than this was about a change that had happened before it was sent."""
SECOND_LOOK_SECONDS = 0.5
UNREAD_SECONDS = 2.0
"""So long after a look that could not read everything comes the next, if nothing else happens."""
FIRST_RECONNECT_SECONDS = 0.5
LONGEST_RECONNECT_SECONDS = 5.0
REFUSED_SECONDS = 600.0
WARM_UP_POLL_SECONDS = 0.1


class Watch:
    """One per process, owned by the registry; belongs to its loop. `run` is its background task."""

    def __init__(
        self,
        metadata: MetadataClock,
        refresher: Refresher,
        store: Store,
        spawn: Callable[..., asyncio.Task[None]],
        *,
        clock: Clock = monotonic,
    ) -> None:
        self._metadata = metadata
        self._refresher = refresher
        self._store = store
        self._spawn = spawn
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._lease: Lease | None = None
        self._state = WatchState.OFF
        self._version: MetadataVersion | None = None
        self._wakes_total = 0
        self._changes_total = 0
        self._last_change_at: datetime | None = None
        self._last_error: str | None = None

    def stats(self) -> WatchReport:
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
        """Background task: watch while the lease is ours, wait for it otherwise."""
        retry = FIRST_RECONNECT_SECONDS
        self._state = WatchState.STARTING
        while True:
            if not await self._hold_lease():
                # What it knew while it watched is not what the watch knows now.
                self._state, self._last_error, self._version = WatchState.STANDBY, None, None
                await asyncio.sleep(LEASE_TTL_SECONDS / 3)
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
                    logger.warning("%s", error.detail)
                self._state, self._last_error = WatchState.REFUSED, error.detail
                await asyncio.sleep(REFUSED_SECONDS)
            elif isinstance(error, ClusterUnavailable):
                if self._state is WatchState.WATCHING:
                    retry = FIRST_RECONNECT_SECONDS
                self._state, self._last_error = WatchState.RECONNECTING, error.detail
                await asyncio.sleep(retry)
                retry = min(2 * retry, LONGEST_RECONNECT_SECONDS)
            elif error is not None:
                raise error

    async def _follow(self) -> None:
        """Anchor, look for what changed before, and then wait for change after change. Ends by an error alone."""
        version = await self._anchor()
        while True:
            asked_at = self._clock()
            unread = self._refresher.has_unread_changes
            patience = UNREAD_SECONDS if unread else LONG_POLL_SECONDS
            seen = await self._metadata.reached(version.number + 1, within_seconds=patience)
            if seen is None:
                # Quiet; or the cluster was restarted, counts anew from a lower number, and would never reach ours.
                seen = await self._metadata.reached(FIRST)
                if seen is None or seen.era != version.era:
                    version = await self._anchor()
                elif unread:
                    await self._look()
                continue
            self._wakes_total += 1
            behind = self._clock() - asked_at < BEHIND_SECONDS
            if seen.era != version.era or behind:
                # Another era, or several changes at once: find where it stands instead of following step by step.
                version = await self._anchor(FIRST if seen.era != version.era else version.number + 1)
                continue
            self._version = version = MetadataVersion(seen.era, version.number + 1, seen.state_uuid)
            await asyncio.sleep(DEBOUNCE_SECONDS)
            await self._look()

    async def _anchor(self, at_least: int = FIRST) -> MetadataVersion:
        self._version = version = await self._metadata.now(at_least)
        while not self._refresher.is_warm:  # noqa: ASYNC110  (the first pass reads everything; a look now would do so too)
            await asyncio.sleep(WARM_UP_POLL_SECONDS)
        await self._look()
        # Not sooner: who can't look must come back less and less often.
        self._state, self._last_error = WatchState.WATCHING, None
        return version

    async def _look(self) -> None:
        """A change pass; a second one a moment later when the first finds nothing: a node may count fields later than
        the master.
        """
        found = await self._refresher.find_changes()
        if not found:
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            found = await self._refresher.find_changes()
        if found:
            self._changes_total += found
            self._last_change_at = now_utc()
            await self._publish()

    async def _publish(self) -> None:
        if self._lease is not None:
            await self._refresher.publish(self._lease)

    async def _hold_lease(self) -> bool:
        """Whether this process may watch: the lease is ours, or there is no store to ask."""
        try:
            taken = await self._store.lease(LEASE, self._holder, LEASE_TTL_SECONDS)
        except StoreUnavailable:
            self._lease = None
            return True
        self._lease = taken if isinstance(taken, Lease) else None
        return self._lease is not None

    async def _keep_lease(self) -> None:
        """Renew the lease for as long as it is ours, and give out what another process published over."""
        while await self._hold_lease():
            if self._refresher.is_ahead:
                await self._publish()
            await asyncio.sleep(LEASE_TTL_SECONDS / 5)

    async def give_back(self) -> None:
        """Let another process watch at once."""
        if self._lease is not None:
            with suppress(StoreUnavailable):
                await self._store.release(self._lease)


WATCH: Handle[Watch] = Handle("watch")


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
