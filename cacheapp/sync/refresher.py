"""Refreshes: who may start a pass, one pass at a time, and the reports of passes.

One pass runs at a time in this process (those who ask meanwhile join it) and, by the store's lease, in the deployment.
Besides it, the watch has changes read at any time.
"""

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from cacheapp.errors import RefreshNotFound
from cacheapp.reports import ENDS, PassOutcome, RefresherReport, RefreshReport
from cacheapp.stores.protocol import Lease, Store
from cacheapp.sync.pass_record import CHANGES, EVERYTHING, ChangesRead, Pass, PassScope, RefreshAnswer
from cacheapp.sync.pass_runner import PassRunner
from cacheapp.sync.sharing import Sharing
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.config.model import MappingCacheConfig
from esassistant.errors import EsassistantError, StoreUnavailable
from esassistant.instance import instance_name
from esassistant.resource import Handle
from esassistant.single_flight import Spawn

if TYPE_CHECKING:
    from cacheapp.history import History  # imports models, which Django can't load yet when this module is imported


logger = logging.getLogger(__name__)

SCHEDULE = "schedule"
"""The trigger of passes that nobody asked for."""

LEASE = "refresh"
LEASE_TTL_SECONDS = 30.0
KEPT_REFRESHES = 32
REPORTED_REFRESHES = 4
FIRST_PASS_POLL_SECONDS = 0.1
OVERLAP_RETRY_SECONDS = 2.0
"""The longest `Retry-After` for a pass of another process. Its lease lasts longer than most passes, so the rest of the
lease says little about when to come back.
"""


class Refresher:
    """Starts passes and reports them. One per process, owned by the registry; belongs to its loop."""

    def __init__(
        self,
        runner: PassRunner,
        sharing: Sharing,
        store: Store,
        config: MappingCacheConfig,
        flight: Spawn,
        *,
        history: "History | None" = None,
        on_progress: Callable[[], None] = lambda: None,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        lease_ttl_seconds: float = LEASE_TTL_SECONDS,
    ) -> None:
        """Make a refresher. `on_progress` is called when a pass has started or ended."""
        self._runner = runner
        self._sharing = sharing
        self._store = store
        self._config = config
        self._flight = flight
        self._history = history
        self._on_progress = on_progress
        self._clock = clock
        self._sleep = sleep
        self._lease_ttl = lease_ttl_seconds
        self._holder = f"{instance_name()}:{secrets.token_hex(4)}"
        self._asking = asyncio.Lock()
        self._running: tuple[Pass, asyncio.Task[None]] | None = None
        self._passes: OrderedDict[str, Pass] = OrderedDict()
        self._outcomes = Counter(dict.fromkeys(ENDS, 0))
        self._next_pass_in: Callable[[], float | None] = lambda: None
        self._last_limited_at: float | None = None
        self._change_requests_total = 0

    async def ask(self, trigger: str, *, limited: bool = True, scope: PassScope = EVERYTHING) -> RefreshAnswer:
        """Start a pass, or join the one that runs.

        Args:
            trigger: Who asks, for the reports.
            limited: Whether passes are limited to one per `MIN_REFRESH_INTERVAL`, across processes.
            scope: What to read. While no full pass is known, a pass of any scope reads everything.
        """
        # Runs as a flight: if the caller leaves while the store is asked, the lease must still be released.
        return await asyncio.shield(self._flight(lambda: self._ask(trigger, limited, scope)))

    async def _ask(self, trigger: str, limited: bool, scope: PassScope) -> RefreshAnswer:
        # The first rule that applies decides the answer:
        #   1. A pass runs in this process: join it.
        #   2. Another process holds the lease: overlap.
        #   3. The request is limited, and comes too soon after the last attempt: rate-limited. The store counts the
        #      attempts; while the store is away, this process counts its own.
        #   4. Otherwise a pass starts. While the store is away, or holds another cluster's state, it starts without
        #      a lease: an outage of the store must not stop refreshes, and another cluster's leases aren't about ours.
        # The lock makes this atomic: while the store is asked, nobody else may start a pass.
        async with self._asking:
            if self._running is not None:
                return RefreshAnswer(PassOutcome.JOINED, self._running[0].id)
            lease: Lease | None = None
            store_error = self._sharing.refusal
            wait = self._local_wait() if limited else 0.0
            if store_error is None:
                try:
                    taken = await self._store.lease(LEASE, self._holder, self._lease_ttl)
                    if not isinstance(taken, Lease):
                        return RefreshAnswer(PassOutcome.OVERLAP, retry_after_seconds=min(taken, OVERLAP_RETRY_SECONDS))
                    lease = taken
                    wait = await self._store.attempt(LEASE, self._config.min_refresh_interval) if limited else 0.0
                except StoreUnavailable as error:
                    self._sharing.note_store_error(error)
                    store_error = error.detail
            if wait > 0:
                if lease is not None:
                    await self._release(lease)
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
        """Wait for a refresh to end, and return its report. Cancelling the caller doesn't cancel the refresh. Raise
        `RefreshNotFound` if this process doesn't know the refresh.
        """
        if self._running is not None and self._running[0].id == refresh_id:
            await asyncio.wait([self._running[1]])
        return self.refresh_report(refresh_id)

    def refresh_report(self, refresh_id: str) -> RefreshReport:
        """Return the report of a refresh that runs, or of one of the latest that ended. Raise `RefreshNotFound` for any
        other id.
        """
        try:
            return self._passes[refresh_id].report()
        except KeyError:
            raise RefreshNotFound(f"Only the latest {KEPT_REFRESHES} refreshes of this process are kept.") from None

    def latest_reports(self) -> dict[str, RefreshReport]:
        """Return the reports of the passes that other instances may be asked about, by id."""
        return {known.id: known.report() for known in list(self._passes.values())[-REPORTED_REFRESHES:]}

    def report(self) -> RefresherReport:
        ended = [known for known in self._passes.values() if known.ended is not None]
        return RefresherReport(
            running=self._running[0].report() if self._running is not None else None,
            last=ended[-1].report() if ended else None,
            next_refresh_in_seconds=self._next_pass_in(),
            min_interval_seconds=self._config.min_refresh_interval,
            on_demand_in_seconds=max(0.0, self._local_wait()),
            passes_total=self._outcomes.total(),
            outcomes={outcome.value: count for outcome, count in self._outcomes.items()},
            illegal_names_total=self._runner.illegal_names_total,
            store_generation=self._sharing.generation,
            store_error=self._sharing.store_error,
        )

    def report_next_pass(self, next_pass_in: Callable[[], float | None]) -> None:
        """From now on, include the seconds until the next scheduled pass in reports; `next_pass_in` returns them."""
        self._next_pass_in = next_pass_in

    async def wait_for_first_pass(self) -> None:
        """Wait until the result of a full pass is known, of this process or another."""
        while self._sharing.pass_at is None:
            await self._sleep(FIRST_PASS_POLL_SECONDS)

    @property
    def change_requests_total(self) -> int:
        """How many requests all change passes of this process have sent so far, including those of failed passes."""
        return self._change_requests_total

    async def read_changes(
        self, cluster_uuid: str | None = None, *, named: frozenset[str] = frozenset(), may_postpone: bool = True
    ) -> ChangesRead:
        """Run a change pass, even while another pass runs. It reads what is new, has another number of fields or is
        `named`, and drops what is gone. What could not be read is read by the next change pass, or by the next full
        pass, which then reads everything.

        Args:
            cluster_uuid: The uuid of the cluster, if it is known already. None: the cluster is asked for it.
            named: Indices to read in any case.
            may_postpone: Whether indices that were read a moment ago, and whose number of fields isn't known, may be
                left for a
                later change pass.

        Raises:
            ClusterUnavailable: The cluster can't be listed.
        """
        current = Pass("changes", "watch", self._clock, now_utc(), self._clock(), may_postpone=may_postpone)
        current.cluster_uuid = cluster_uuid
        try:
            await self._runner.run(current, replace(CHANGES, named=named))
        finally:
            self._change_requests_total += current.requests_total
        return ChangesRead(
            changes_total=current.changed_total + current.removed_total + current.names_total,
            failed=frozenset(current.errors),
            postponed_seconds=None if current.postponed_until is None else current.postponed_until - self._clock(),
        )

    async def list_now(self) -> None:
        """Run a change pass because a read did not find a name that is known, and publish what it found.

        Raises `ClusterUnavailable` when the cluster can't be listed.
        """
        # Before the first pass, a change pass would read everything; the first pass lists the cluster soon enough.
        if self._sharing.pass_at is not None and (await self.read_changes()).changes_total:
            await self._publish_names()

    async def _publish_names(self) -> None:
        """Publish outside of a pass, so that other processes stop using names that are gone. If a pass runs here or
        elsewhere, do nothing: that pass publishes at its end.
        """
        async with self._asking:  # so no pass starts here meanwhile, whose lease this would release
            if self._running is not None or self._sharing.refusal is not None:
                return
            try:
                lease = await self._store.lease(LEASE, self._holder, self._lease_ttl)
            except StoreUnavailable as error:
                self._sharing.note_store_error(error)
                return
            if isinstance(lease, Lease):
                await self._sharing.publish(lease)
                await self._release(lease)

    async def _run(self, current: Pass, scope: PassScope, lease: Lease | None, store_error: str | None) -> None:
        renewal = None if lease is None else self._flight(lambda: self._renew(lease))
        reads_all_instead = bool(scope.patterns) and self._sharing.pass_at is None
        try:
            await self._read(current, scope)
            if lease is None:
                current.error = store_error
            else:
                current.published = await self._sharing.publish(lease)
                current.error = None if current.published else self._sharing.publish_error
            if reads_all_instead:
                self._runner.check_some_match(scope.patterns)
        except EsassistantError as error:
            current.outcome = PassOutcome.FAILED
            current.error, current.operator_error = error.detail, error.operator_detail
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
            self._end(current)
            if lease is not None:
                await self._release(lease)

    async def _read(self, current: Pass, scope: PassScope) -> None:
        confirmed_at = await self._runner.run(current, EVERYTHING if self._sharing.pass_at is None else scope)
        if confirmed_at is not None:
            self._sharing.note_full_pass(confirmed_at)
        # With ten thousand indices, applying takes tens of milliseconds, and so does publishing. So each gets its own
        # turn of the event loop.
        await asyncio.sleep(0)

    def _end(self, current: Pass) -> None:
        current.ended = self._clock()
        self._outcomes[current.outcome] += 1
        self._running = None
        logger.log(
            _log_level(current),
            "refresh %s (%s) %s in %.2f s: %d read, %d changed, %d removed, %d failed%s",
            current.id,
            current.trigger,
            current.outcome.value,
            current.ended - current.started,
            current.read_total,
            current.changed_total,
            current.removed_total,
            len(current.errors),
            f" ({current.operator_error or current.error})" if current.error else "",
        )
        if self._history is not None:
            self._history.note_pass(current.report())
        self._on_progress()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._sleep(lease.ttl_seconds / 3)
            try:
                renewed = await self._store.lease(lease.name, self._holder, lease.ttl_seconds)
                if not isinstance(renewed, Lease):
                    return
                if renewed.token != lease.token:
                    # Another process had the lease meanwhile. The pass goes on to publish with its old token, so the
                    # new lease isn't needed.
                    await self._store.release(renewed)
                    return
            except StoreUnavailable as error:
                self._sharing.note_store_error(error)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._store.release(lease)
        except StoreUnavailable as error:
            self._sharing.note_store_error(error)

    def _local_wait(self) -> float:
        if self._last_limited_at is None:
            return 0.0
        return self._last_limited_at + self._config.min_refresh_interval - self._clock()

    def _remember(self, current: Pass) -> None:
        self._passes[current.id] = current
        while len(self._passes) > KEPT_REFRESHES:
            self._passes.popitem(last=False)


REFRESHER: Handle[Refresher] = Handle("refresher")


def _log_level(ended: Pass) -> int:
    """Return the level of the log line for a pass that has ended.

    A scheduled pass that found nothing new, or that failed, is only logged for debugging: outages are reported by the
    verdict, and that nothing changed is no news.
    """
    is_failed = ended.outcome is PassOutcome.FAILED
    is_partial = ended.outcome is PassOutcome.PARTIAL
    if ended.trigger == SCHEDULE and (is_failed or not (is_partial or ended.changed_total or ended.removed_total)):
        return logging.DEBUG
    return logging.WARNING if is_failed else logging.INFO
