"""Full passes: read every mapping of the cluster in batches, on demand, on schedule and at the start.

One pass at a time, in this process (who asks meanwhile joins) and, by the store's lease, in the deployment. The
schedule, the warm-up and the takeover of what others published are background tasks of the registry.
"""

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import RefreshNotFound
from cacheapp.reports import ENDS, PassOutcome, RefresherReport, RefreshReport
from cacheapp.state.merge import is_ahead, to_publish
from cacheapp.state.published import StoredState
from cacheapp.stores.protocol import Lease, Store
from cacheapp.sync.pass_record import EVERYTHING, Pass, RefreshAnswer, Scope
from cacheapp.sync.pass_runner import Passing
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import EsassistantError, StaleToken, StoreUnavailable
from esassistant.instance import instance_name
from esassistant.resource import Handle
from esassistant.single_flight import Spawn

if TYPE_CHECKING:
    from cacheapp.history import History  # has models, which Django loads after what imports this


logger = logging.getLogger(__name__)

LEASE = "refresh"
LEASE_TTL_SECONDS = 30.0
KEPT_REFRESHES = 32
REPORTED_REFRESHES = 4
FIRST_WARM_UP_RETRY_SECONDS = 0.5
LONGEST_WARM_UP_RETRY_SECONDS = 5.0
STORE_POLL_SECONDS = 1.0
OVERLAP_RETRY_SECONDS = 2.0
"""A lease lasts longer than most passes, so that what is left of it says little of when to come back."""


class Refresher:
    """Runs full passes and shares their results. One per process, owned by the registry; belongs to its loop."""

    def __init__(
        self,
        cache: MappingCache,
        passing: Passing,
        store: Store,
        config: MappingCacheConfig,
        flight: Spawn,
        *,
        cluster_urls: str,
        history: "History | None" = None,
        on_progress: Callable[[], None] = lambda: None,
        clock: Clock = monotonic,
    ) -> None:
        """`on_progress` is called when a pass has started or ended.

        `cluster_urls` is a hash of the URLs of the cluster: what tells clusters apart while none can be reached.
        """
        self._cache = cache
        self._passing = passing
        self._store = store
        self._config = config
        self._flight = flight
        self._cluster_urls = cluster_urls
        self._history = history
        self._on_progress = on_progress
        self._clock = clock
        self._holder = f"{instance_name()}:{secrets.token_hex(4)}"
        self._asking = asyncio.Lock()
        self._running: tuple[Pass, asyncio.Task[None]] | None = None
        self._passes: OrderedDict[str, Pass] = OrderedDict()
        self._outcomes = Counter(dict.fromkeys(ENDS, 0))
        self._generation: int | None = None
        self._store_error: str | None = None
        self._scheduled = False
        self._retry_at: float | None = None
        self._last_limited_at: float | None = None
        # When the newest full pass that this process knows of, its own or another's, listed the cluster.
        self._pass_at: float | None = None
        # What change passes cost so far, and whether the last one could not read all that it wanted.
        self.change_requests_total = 0
        self.has_unread_changes = False
        # Whether this process knows mappings that are newer than what was published last.
        self.is_ahead = False

    async def ask(self, trigger: str, *, limited: bool = True, scope: Scope = EVERYTHING) -> RefreshAnswer:
        """Start a pass, or join the one that runs. `limited`: not more often than `MIN_REFRESH_INTERVAL`, across
        processes. As long as nothing is known, a pass of any scope reads everything.
        """
        # A flight: a caller who leaves while the store is asked must not leave a lease behind.
        return await asyncio.shield(self._flight(lambda: self._ask(trigger, limited, scope)))

    async def _ask(self, trigger: str, limited: bool, scope: Scope) -> RefreshAnswer:
        # The lock makes asking atomic: between the rate limit (a wait for the store) and the start, nobody else may
        # start one.
        async with self._asking:
            if self._running is not None:
                return RefreshAnswer(PassOutcome.JOINED, self._running[0].id)
            lease: Lease | None = None
            store_error: str | None = None
            try:
                taken = await self._store.lease(LEASE, self._holder, LEASE_TTL_SECONDS)
                if not isinstance(taken, Lease):
                    return RefreshAnswer(PassOutcome.OVERLAP, retry_after_seconds=min(taken, OVERLAP_RETRY_SECONDS))
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
                return RefreshAnswer(PassOutcome.RATE_LIMITED, retry_after_seconds=wait)
            if limited:
                self._last_limited_at = self._clock()
            current = Pass(secrets.token_hex(6), trigger, self._clock, now_utc(), self._clock())
            task = self._flight(lambda: self._run(current, scope, lease, store_error))
            self._running = (current, task)
            self._remember(current)
            self._on_progress()
            return RefreshAnswer(PassOutcome.STARTED, current.id)

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

    def stats(self) -> RefresherReport:
        ended = [known for known in self._passes.values() if known.ended is not None]
        return RefresherReport(
            running=self._running[0].report() if self._running is not None else None,
            last=ended[-1].report() if ended else None,
            next_refresh_in_seconds=self._next_refresh_in(),
            min_interval_seconds=self._config.min_refresh_interval,
            on_demand_in_seconds=max(0.0, self._local_wait()),
            passes_total=self._outcomes.total(),
            outcomes={outcome.value: count for outcome, count in self._outcomes.items()},
            store_generation=self._generation,
            store_error=self._store_error,
        )

    def latest(self) -> dict[str, RefreshReport]:
        """The passes that other instances may be asked about."""
        return {known.id: known.report() for known in list(self._passes.values())[-REPORTED_REFRESHES:]}

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
            await self._store.wait_for_change(STORE_POLL_SECONDS)
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
                    await self._apply(loaded.state, asked_at)
            self._store_error = None
        except StoreUnavailable as error:
            self._note_store(error)

    async def _apply(self, state: StoredState, asked_at: float) -> None:
        if self._is_of_our_cluster(state):
            await self._cache.apply_published(state, asked_at)
            if self._history is not None:
                self._history.note_published(self._cache.snapshot)
            self.is_ahead = is_ahead(self._cache.snapshot, state, asked_at)
            pass_at = asked_at - state.age_seconds
            self._pass_at = pass_at if self._pass_at is None else max(self._pass_at, pass_at)

    def _is_of_our_cluster(self, state: StoredState) -> bool:
        """Whether a published state is of the cluster that this process is set to; by the URLs, until it has been
        reached.
        """
        if (known := self._cache.snapshot.cluster_uuid) is not None:
            return state.cluster_uuid == known
        return state.cluster_urls == self._cluster_urls

    async def _run(self, current: Pass, scope: Scope, lease: Lease | None, store_error: str | None) -> None:
        renewal = None if lease is None else self._flight(lambda: self._renew(lease))
        try:
            await self._read(current, scope)
            if lease is None:
                current.error = store_error
            else:
                current.published = await self.publish(lease)
                current.error = None if current.published else self._store_error
        except EsassistantError as error:
            current.outcome = PassOutcome.FAILED
            current.error = error.detail
        except Exception:
            logger.exception("refresh %s failed in a way that nobody foresaw", current.id)
            current.outcome = PassOutcome.FAILED
            current.error = "An error in this server; its log has the details."
        except asyncio.CancelledError:
            current.outcome = PassOutcome.FAILED
            current.error = "The server ended before the refresh was done."
            raise
        finally:
            if renewal is not None:
                renewal.cancel()
            current.ended = self._clock()
            self._outcomes[current.outcome] += 1
            self._running = None
            log = logger.warning if current.outcome is PassOutcome.FAILED else logger.info
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
            if self._history is not None:
                self._history.note_pass(current.report())
            self._on_progress()
            if lease is not None:
                await self._give_back(lease)

    @property
    def is_warm(self) -> bool:
        return self._cache.warm

    async def _read(self, current: Pass, scope: Scope) -> None:
        if self._pass_at is None or scope == EVERYTHING:
            self._pass_at = await self._passing.everything(current)
        elif scope.patterns:
            await self._passing.matching(current, scope.patterns)
        else:
            await self._passing.changes(current)
        # Of ten thousand indices, applying takes tens of milliseconds, and so does publishing: a turn each.
        await asyncio.sleep(0)

    async def find_changes(self) -> int:
        """A change pass: read what is new or has other fields, and forget what is gone. Returns how many mappings and
        aliases that were.

        Raises `ClusterUnavailable` when the cluster can't be listed. What could not be read is read by the next change
        pass (`has_unread_changes`), or by the next full pass, which then reads everything.
        """
        current = Pass("changes", "watch", self._clock, now_utc(), self._clock(), may_postpone=True)
        try:
            changes = await self._passing.changes(current)
        finally:
            self.change_requests_total += current.requests_total
        self.has_unread_changes = bool(current.errors or current.postponed_total)
        return changes.changed_total + changes.removed_total + changes.aliases_total

    async def publish(self, lease: Lease) -> bool:
        """Give what this process knows to the others; whether that worked. `store_error` in the statistics says why
        not.
        """
        # What is published replaces everything: what others published since we looked must be in it.
        await self.take_over()
        if self._pass_at is None:
            return False
        state = to_publish(self._cache.snapshot, self._pass_at, self._clock(), cluster_urls=self._cluster_urls)
        try:
            self._generation = await self._store.publish(state, lease)
        except StaleToken as error:
            self._store_error = error.detail
            return False
        except StoreUnavailable as error:
            self._note_store(error)
            return False
        self._store_error = None
        self.is_ahead = False
        return True

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


REFRESHER: Handle[Refresher] = Handle("refresher")
