"""Full passes: read every mapping of the cluster in batches, on demand, on schedule and at the start.

One pass at a time, in this process (who asks meanwhile joins) and, by the store's lease, in the deployment. The
schedule, the warm-up and the takeover of what others published are background tasks of the registry.
"""

import asyncio
import logging
import os
import secrets
import socket
import sys
from collections import OrderedDict

from cacheapp.batching import Batches, BatchSize
from cacheapp.errors import RefreshNotFound
from cacheapp.mapping_cache import MappingCache
from cacheapp.passes import Answer, Pass
from cacheapp.reader import ClusterReader, Listing
from cacheapp.snapshot import to_publish
from cacheapp.stats import Outcome, RefreshReport, RefreshStats
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.config import MappingCacheConfig
from esassistant.errors import ClusterUnavailable, EsassistantError, StaleToken, StoreUnavailable
from esassistant.single_flight import Spawn
from esassistant.store import Lease, Store, StoredState

logger = logging.getLogger(__name__)

LEASE = "refresh"
LEASE_TTL_SECONDS = 30.0
BATCHES_IN_FLIGHT = 4
KEPT_REFRESHES = 32
FIRST_WARM_UP_RETRY_SECONDS = 0.5
LONGEST_WARM_UP_RETRY_SECONDS = 5.0
STORE_POLL_SECONDS = 1.0
OVERLAP_RETRY_SECONDS = 2.0
"""A lease lasts longer than most passes, so that what is left of it says little of when to come back."""
FAILURES_IN_A_ROW = 2 * BATCHES_IN_FLIGHT
"""After so many failed batches one after the other the pass gives up: each may have taken the whole timeout."""


class Refresher:
    """Runs full passes and shares their results. One per process, owned by the registry; belongs to its loop."""

    def __init__(
        self,
        cache: MappingCache,
        reader: ClusterReader,
        store: Store,
        config: MappingCacheConfig,
        flight: Spawn,
        *,
        cluster_urls: str,
        clock: Clock = monotonic,
    ) -> None:
        """`cluster_urls` is a hash of the URLs of the cluster: what tells clusters apart while none can be reached."""
        self._cache = cache
        self._reader = reader
        self._store = store
        self._config = config
        self._flight = flight
        self._cluster_urls = cluster_urls
        self._clock = clock
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._asking = asyncio.Lock()
        self._running: tuple[Pass, asyncio.Task[None]] | None = None
        self._passes: OrderedDict[str, Pass] = OrderedDict()
        self._passes_total = 0
        self._generation: int | None = None
        self._store_error: str | None = None
        self._scheduled = False
        self._retry_at: float | None = None
        self._last_limited_at: float | None = None
        # When the newest full pass that this process knows of, its own or another's, listed the cluster.
        self._pass_at: float | None = None

    async def ask(self, trigger: str, *, limited: bool = True) -> Answer:
        """Start a full pass, or join the one that runs. `limited`: not more often than `MIN_REFRESH_INTERVAL`, across
        processes.
        """
        # A flight: a caller who leaves while the store is asked must not leave a lease behind.
        return await asyncio.shield(self._flight(lambda: self._ask(trigger, limited=limited)))

    async def _ask(self, trigger: str, *, limited: bool) -> Answer:
        # The lock makes asking atomic: between the rate limit (a wait for the store) and the start, nobody else may
        # start one.
        async with self._asking:
            if self._running is not None:
                return Answer(Outcome.JOINED, self._running[0].id)
            lease: Lease | None = None
            store_error: str | None = None
            try:
                taken = await self._store.lease(LEASE, self._holder, LEASE_TTL_SECONDS)
                if not isinstance(taken, Lease):
                    return Answer(Outcome.OVERLAP, retry_after_seconds=min(taken, OVERLAP_RETRY_SECONDS))
                lease = taken
                wait = await self._store.attempt(LEASE, self._config.min_refresh_interval) if limited else 0.0
            except StoreUnavailable as error:
                # Without the store each process looks after itself: an outage of the store must not stop refreshes.
                self._note_store(error)
                store_error = error.detail
                wait = self._local_wait() if limited else 0.0
            if wait > 0:
                if lease is not None:
                    await self._give_back(lease)
                return Answer(Outcome.RATE_LIMITED, retry_after_seconds=wait)
            if limited:
                self._last_limited_at = self._clock()
            current = Pass(secrets.token_hex(6), trigger, self._clock, now_utc(), self._clock())
            task = self._flight(lambda: self._run(current, lease, store_error))
            self._running = (current, task)
            self._remember(current)
            return Answer(Outcome.STARTED, current.id)

    async def wait(self, refresh_id: str) -> RefreshReport:
        """Wait for a refresh to end. Cancelling the waiter leaves the refresh alone. Raises `RefreshNotFound`."""
        if self._running is not None and self._running[0].id == refresh_id:
            await asyncio.wait([self._running[1]])
        return self.report(refresh_id)

    def report(self, refresh_id: str) -> RefreshReport:
        """A refresh under way or one of the latest that ended. Raises `RefreshNotFound`."""
        try:
            return self._passes[refresh_id].report()
        except KeyError:
            raise RefreshNotFound(f"Only the latest {KEPT_REFRESHES} refreshes of this process are kept.") from None

    def stats(self) -> RefreshStats:
        ended = [known for known in self._passes.values() if known.ended is not None]
        return RefreshStats(
            running=self._running[0].report() if self._running is not None else None,
            last=ended[-1].report() if ended else None,
            next_refresh_in_seconds=self._next_refresh_in(),
            min_interval_seconds=self._config.min_refresh_interval,
            passes_total=self._passes_total,
            store_generation=self._generation,
            store_error=self._store_error,
        )

    async def keep_fresh(self) -> None:
        """Background task: warm start from the store, a first pass as soon as the cluster is there, then the schedule."""
        await self.take_over()
        self._scheduled = True
        retry = FIRST_WARM_UP_RETRY_SECONDS
        while (due_in := self._due_in()) is not None:
            if due_in > 0:
                await asyncio.sleep(due_in)
                continue  # another process may have published meanwhile
            answer = await self.ask("schedule" if self._cache.warm else "warm-up", limited=False)
            if answer.id is not None:
                await self.wait(answer.id)
            if self._due_in() == 0:  # it failed, or another process is at work
                self._retry_at = self._clock() + retry
                await asyncio.sleep(retry)
                self._retry_at = None
                retry = min(retry * 2, LONGEST_WARM_UP_RETRY_SECONDS)
            else:
                retry = FIRST_WARM_UP_RETRY_SECONDS
        self._scheduled = False

    def _next_refresh_in(self) -> float | None:
        if not self._scheduled:
            return None
        return self._due_in() if self._retry_at is None else max(0.0, self._retry_at - self._clock())

    def _due_in(self) -> float | None:
        """Seconds until the next scheduled pass; None when there won't be any."""
        if self._pass_at is None:
            return 0.0
        if self._config.refresh_interval == 0:
            return None
        return max(0.0, self._pass_at + self._config.refresh_interval - self._clock())

    async def follow_store(self) -> None:
        """Background task: take over what other processes publish."""
        while True:
            await asyncio.sleep(STORE_POLL_SECONDS)
            await self.take_over()

    async def take_over(self) -> None:
        """Take over what other processes published since the last time, if it is of the same cluster."""
        try:
            generation = await self._store.generation()
            if generation not in (0, self._generation):
                asked_at = self._clock()
                loaded = await self._store.load(self._cache.snapshot.bodies.keys())
                if loaded is not None:
                    self._generation = loaded.generation
                    self._apply(loaded.state, asked_at)
            self._store_error = None
        except StoreUnavailable as error:
            self._note_store(error)

    def _apply(self, state: StoredState, asked_at: float) -> None:
        if self._is_of_our_cluster(state):
            self._cache.apply_published(state, asked_at)
            pass_at = asked_at - state.age_seconds
            self._pass_at = pass_at if self._pass_at is None else max(self._pass_at, pass_at)

    def _is_of_our_cluster(self, state: StoredState) -> bool:
        """Whether a published state is of the cluster that this process is set to; by the URLs, until it has been
        reached.
        """
        if (known := self._cache.snapshot.cluster_uuid) is not None:
            return state.cluster_uuid == known
        return state.cluster_urls == self._cluster_urls

    async def _run(self, current: Pass, lease: Lease | None, store_error: str | None) -> None:
        renewal = None if lease is None else self._flight(lambda: self._renew(lease))
        try:
            requests_before = self._reader.requests_total
            try:
                await self._read_everything(current)
            finally:
                current.requests_total = self._reader.requests_total - requests_before
            if lease is None:
                current.error = store_error
            else:
                await self._publish(current, lease)
        except EsassistantError as error:
            current.outcome = Outcome.FAILED
            current.error = error.detail
        except Exception:
            logger.exception("refresh %s failed in a way that nobody foresaw", current.id)
            current.outcome = Outcome.FAILED
            current.error = "An error in this server; its log has the details."
        except asyncio.CancelledError:
            current.outcome = Outcome.FAILED
            current.error = "The server ended before the refresh was done."
            raise
        finally:
            if renewal is not None:
                renewal.cancel()
            current.ended = self._clock()
            self._passes_total += 1
            self._running = None
            log = logger.warning if current.outcome is Outcome.FAILED else logger.info
            log(
                "refresh %s (%s) %s in %.2f s: %d read, %d changed, %d removed, %d failed%s",
                current.id,
                current.trigger,
                current.outcome.value,
                current.ended - current.started,
                current.read_total,
                current.changed_total,
                current.removed_total,
                len(current.errors),
                f" ({current.error})" if current.error else "",
            )
            if lease is not None:
                await self._give_back(lease)

    async def _read_everything(self, current: Pass) -> None:
        listed_at = self._clock()
        listing = await self._list()
        current.indices_total = len(listing.uuids)
        bodies = await self._read_batches(current, sorted(listing.uuids))
        await self._confirm_absent(current, [name for name in listing.uuids if name not in bodies])
        if current.errors and not bodies:
            raise ClusterUnavailable("No mapping could be read.", retry_after_seconds=5)
        self._pass_at = listed_at
        changes = self._cache.apply_pass(bodies, listing, failed=current.errors, listed_at=listed_at)
        current.changed_total = changes.changed_total
        current.removed_total = changes.removed_total
        current.outcome = Outcome.PARTIAL if current.errors else Outcome.COMPLETED

    async def _read_batches(self, current: Pass, names: list[str]) -> dict[str, bytes]:
        """The mappings that could be read. Those that could not are named in the pass's errors."""
        bodies: dict[str, bytes] = {}
        waiting = Batches.of(names)
        size = BatchSize(self._config.batch_size, adaptive=self._config.adaptive)
        failures_in_a_row = 0

        async def read_one_after_another() -> None:
            nonlocal failures_in_a_row
            while failures_in_a_row < FAILURES_IN_A_ROW and (batch := waiting.take(size.size)):
                asked_at = self._clock()
                try:
                    async with asyncio.timeout(self._config.fetch_timeout):
                        read = await self._reader.mappings(batch)
                except TimeoutError:
                    error = f"no answer within {self._config.fetch_timeout:g} s"
                except ClusterUnavailable as unavailable:
                    error = unavailable.detail
                else:
                    failures_in_a_row = 0
                    size.answered(len(batch), self._clock() - asked_at, sum(map(len, read.values())))
                    bodies.update(read)
                    current.read_total = len(bodies)
                    continue
                failures_in_a_row += 1
                size.failed()
                current.errors.update(dict.fromkeys(batch, error))

        async with asyncio.TaskGroup() as group:
            for _ in range(BATCHES_IN_FLIGHT):
                group.create_task(read_one_after_another())
        for name in waiting.take(len(names), max_bytes=sys.maxsize):
            current.errors[name] = "not asked for: too many failures in a row before it"
        return bodies

    async def _confirm_absent(self, current: Pass, names: list[str]) -> None:
        """An index that is missing from an answer is gone; if it is still listed, its mapping was withheld or lost."""
        absent = [name for name in names if name not in current.errors]
        if absent:
            listed = (await self._list()).uuids
            current.errors.update((name, "listed, but its mapping was not given") for name in absent if name in listed)

    async def _list(self) -> Listing:
        try:
            async with asyncio.timeout(self._config.indices_timeout):
                return await self._reader.listing()
        except TimeoutError:
            raise ClusterUnavailable(
                f"Elasticsearch did not list its indices within {self._config.indices_timeout:g} s.",
                retry_after_seconds=5,
            ) from None

    async def _publish(self, current: Pass, lease: Lease) -> None:
        try:
            assert self._pass_at is not None
            state = to_publish(self._cache.snapshot, self._pass_at, self._clock(), cluster_urls=self._cluster_urls)
            self._generation = await self._store.publish(state, lease)
            current.published = True
            self._store_error = None
        except StaleToken as error:
            current.error = error.detail
        except StoreUnavailable as error:
            self._note_store(error)
            current.error = error.detail

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(lease.ttl_seconds / 3)
            try:
                renewed = await self._store.lease(lease.name, self._holder, lease.ttl_seconds)
                if not isinstance(renewed, Lease):
                    return
                if renewed.token != lease.token:
                    await self._store.release(renewed)
                    return
            except StoreUnavailable as error:
                self._note_store(error)

    async def _give_back(self, lease: Lease) -> None:
        try:
            await self._store.release(lease)
        except StoreUnavailable as error:
            self._note_store(error)

    def _local_wait(self) -> float:
        if self._last_limited_at is None:
            return 0.0
        return self._last_limited_at + self._config.min_refresh_interval - self._clock()

    def _note_store(self, error: StoreUnavailable) -> None:
        if self._store_error is None:
            logger.warning("%s Mappings are not shared between processes until it is back.", error.detail)
        self._store_error = error.detail

    def _remember(self, current: Pass) -> None:
        self._passes[current.id] = current
        while len(self._passes) > KEPT_REFRESHES:
            self._passes.popitem(last=False)
