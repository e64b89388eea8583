"""Counts of one pool's calls. Written on the client's loop only; reports are immutable copies."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from esassistant.breaker import BreakerReport, BreakerState
from esassistant.clock import monotonic
from esassistant.durations import Durations, DurationTotals, LatencyReport, report_of, totals_of
from esassistant.elasticsearch.routing import LONG_POLL
from esassistant.metrics import Kind, Metric
from esassistant.windows import Got, MinuteCounts, Window, WindowReport

FAILURE_KINDS = (
    *("connect_timeout", "request_timeout", "connection", "tls", "too_large"),
    *("status_429", "status_4xx", "status_5xx"),
)
REJECTIONS = ("pool_timeout", "pool_exhausted", "breaker_open")
SEARCHES = frozenset({"search", "msearch"})
"""Kinds of calls that are searches; the time of all others is nothing to compare theirs with."""
SORTS = ("search", "other")


@dataclass(frozen=True, slots=True)
class KindReport:
    """Attempts of one kind of call, and how long those took that were answered: well, and with an error. That of long
    polls is none.
    """

    requests_total: int
    failures_total: int
    latency: LatencyReport
    failed_latency: LatencyReport


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One connection pool since the start; latency over a sliding window.

    `requests_total` counts attempts, each retry included; `failures_total` those without a 2xx or 404 answer, and
    `failures` says of which kind. `rejected` counts calls that were refused before anything was sent.
    `latency` is of attempts that were answered and didn't fail, `failed_latency` of those that were answered with an
    error. `got`: what callers got for whole calls, retries included, of searches and of other calls.
    `retries_refused_total`: retries that the budget or the deadline didn't allow. `connections_open` is of the whole
    client, None when it made none yet. Bytes are of bodies: `sent` and `received` as they went over the wire,
    `decoded` after decompression.
    """

    max_connections: int
    max_overflow: int
    blocks: bool
    in_use: int
    overflow_in_use: int
    waiting: int
    connections_open: int | None
    connections_created_total: int
    connections_reused_total: int
    overflow_total: int
    requests_total: int
    failures_total: int
    failures: Mapping[str, int]
    cancelled_total: int
    retries_total: int
    retries_refused_total: int
    rejected: Mapping[str, int]
    success_percent: float | None
    sent_bytes_total: int
    received_bytes_total: int
    decoded_bytes_total: int
    latency: LatencyReport
    failed_latency: LatencyReport
    durations: DurationTotals
    calls: Mapping[str, KindReport]
    got: Mapping[str, Mapping[str, int]]
    breaker: BreakerReport | None


def refused_since(pools: Iterable[PoolReport]) -> datetime | None:
    """Since when the breaker of any of these pools refuses calls; None: none does."""
    since = [
        next(change.at for change in pool.breaker.transitions if change.before is BreakerState.CLOSED)
        for pool in pools
        if pool.breaker is not None
        and pool.breaker.refuses
        # Only the latest transitions are kept: after many probes in vain the first one is forgotten.
        and any(change.before is BreakerState.CLOSED for change in pool.breaker.transitions)
    ]
    return min(since, default=None)


class _KindCounters:
    def __init__(self) -> None:
        self.requests_total = 0
        self.failures_total = 0
        self.durations = Durations()
        self.failed_durations = Durations()

    def report(self) -> KindReport:
        return KindReport(
            self.requests_total,
            self.failures_total,
            report_of((self.durations,)),
            report_of((self.failed_durations,)),
        )


class PoolCounters:
    """The counters behind a `PoolReport`."""

    def __init__(self) -> None:
        self.requests_total = 0
        self.ended_total = 0
        self.cancelled_total = 0
        self.retries_total = 0
        self.retries_refused_total = 0
        self.overflow_total = 0
        self.connections_created_total = 0
        self.connections_reused_total = 0
        self.sent_bytes_total = 0
        self.received_bytes_total = 0
        self.decoded_bytes_total = 0
        self.rejected: Counter[str] = Counter(dict.fromkeys(REJECTIONS, 0))
        self._failures: Counter[str] = Counter(dict.fromkeys(FAILURE_KINDS, 0))
        self._durations = Durations()
        self._failed_durations = Durations()
        self._kinds: dict[str, _KindCounters] = {}
        self._got = {sort: dict.fromkeys((got.value for got in Got), 0) for sort in SORTS}
        self._windows = {sort: Window() for sort in SORTS}

    def sent(self, kind: str, body_bytes: int) -> None:
        """An attempt is about to be sent."""
        self.requests_total += 1
        self.sent_bytes_total += body_bytes
        self._of(kind).requests_total += 1

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """An attempt got an answer after `seconds`. 404 is an answer to a question, not a failure."""
        self.ended_total += 1
        now = monotonic()
        if not (200 <= status < 300 or status == 404):
            self._failed_durations.record(seconds, now)
            self._of(kind).failed_durations.record(seconds, now)
            self._failed(kind, "status_429" if status == 429 else "status_5xx" if status >= 500 else "status_4xx")
        elif kind != LONG_POLL:
            self._durations.record(seconds, now)
            self._of(kind).durations.record(seconds, now)

    def failed(self, kind: str, failure: str) -> None:
        """An attempt ended without an answer; `failure` is one of `FAILURE_KINDS`."""
        self.ended_total += 1
        self._failed(kind, failure)

    def call_ended(self, kind: str, got: Got, seconds: float) -> None:
        """A whole call, with its retries and its wait for a connection, ended: what its caller got."""
        if kind == LONG_POLL:
            return
        sort = "search" if kind in SEARCHES else "other"
        self._got[sort][got.value] += 1
        self._windows[sort].ended(got, seconds, monotonic())

    def windows(self) -> dict[str, WindowReport]:
        """What callers got of late, of searches and of other calls."""
        now = monotonic()
        found = ((sort, window.report(now)) for sort, window in self._windows.items())
        return {sort: report for sort, report in found if report is not None}

    def whole_minute(self, number: int) -> MinuteCounts:
        """What callers of searches got in one minute: the one of that number on the monotonic clock, just ended."""
        return self._windows["search"].whole_minute(number)

    def report(self) -> dict[str, Any]:
        """What the counters know of a `PoolReport`."""
        failures_total = self._failures.total()
        return {
            "connections_created_total": self.connections_created_total,
            "connections_reused_total": self.connections_reused_total,
            "overflow_total": self.overflow_total,
            "requests_total": self.requests_total,
            "failures_total": failures_total,
            "failures": dict(self._failures),
            "cancelled_total": self.cancelled_total,
            "retries_total": self.retries_total,
            "retries_refused_total": self.retries_refused_total,
            "rejected": dict(self.rejected),
            "success_percent": 100.0 * (self.ended_total - failures_total) / self.ended_total
            if self.ended_total
            else None,
            "sent_bytes_total": self.sent_bytes_total,
            "received_bytes_total": self.received_bytes_total,
            "decoded_bytes_total": self.decoded_bytes_total,
            "latency": report_of((self._durations,)),
            "failed_latency": report_of((self._failed_durations,)),
            "durations": totals_of((self._durations,)),
            "calls": {kind: counters.report() for kind, counters in sorted(self._kinds.items())},
            "got": {sort: dict(counts) for sort, counts in self._got.items()},
        }

    def _failed(self, kind: str, failure: str) -> None:
        self._failures[failure] += 1
        self._of(kind).failures_total += 1

    def _of(self, kind: str) -> _KindCounters:
        counters = self._kinds.get(kind)
        if counters is None:  # to make one each time costs as much as a search's headers
            counters = self._kinds[kind] = _KindCounters()
        return counters


def _of_pools(kind: Kind, name: str, help_: str, path: str, *labels: str) -> Metric:
    states = tuple(state.value for state in BreakerState) if kind is Kind.STATE else ()
    return Metric(kind, f"elasticsearch_{name}", help_, f"*.{path}", ("pool", *labels), states)


POOL_METRICS = (
    _of_pools(Kind.GAUGE, "pool_max_connections", "Connections that the pool may have in use.", "max_connections"),
    _of_pools(Kind.GAUGE, "pool_in_use", "Connections in use, overflow aside.", "in_use"),
    _of_pools(Kind.GAUGE, "pool_overflow_in_use", "Connections in use beyond the pool's size.", "overflow_in_use"),
    _of_pools(Kind.GAUGE, "pool_waiting", "Calls that wait for a connection.", "waiting"),
    _of_pools(Kind.COUNTER, "connections_created", "Connections made.", "connections_created_total"),
    _of_pools(
        Kind.COUNTER, "connections_reused", "Attempts on a connection that was there.", "connections_reused_total"
    ),
    _of_pools(Kind.COUNTER, "overflow", "Attempts on a connection beyond the pool's size.", "overflow_total"),
    _of_pools(Kind.COUNTER, "requests", "Attempts, by kind of call.", "calls.*.requests_total", "kind"),
    _of_pools(Kind.COUNTER, "failures", "Attempts without a 2xx or 404 answer, by reason.", "failures.*", "reason"),
    _of_pools(Kind.COUNTER, "rejected", "Calls refused before anything was sent, by reason.", "rejected.*", "reason"),
    _of_pools(
        Kind.COUNTER,
        "calls",
        "Calls that ended, by what their callers got: answer, part (of an answer), failure, refusal.",
        "got.*.*",
        "sort",
        "got",
    ),
    _of_pools(Kind.COUNTER, "retries", "Attempts after the first of a call.", "retries_total"),
    _of_pools(Kind.COUNTER, "retries_refused", "Retries that budget or deadline refused.", "retries_refused_total"),
    _of_pools(Kind.COUNTER, "sent_bytes", "Bytes of bodies sent, as on the wire.", "sent_bytes_total"),
    _of_pools(Kind.COUNTER, "received_bytes", "Bytes of bodies received, as on the wire.", "received_bytes_total"),
    _of_pools(
        Kind.HISTOGRAM, "request_duration_seconds", "Time of attempts that were answered and did not fail.", "durations"
    ),
    _of_pools(Kind.STATE, "breaker_state", "State of the pool's breaker.", "breaker.state"),
    _of_pools(Kind.GAUGE, "breaker_probing", "Calls under way that probe for a half-open breaker.", "breaker.probing"),
    _of_pools(Kind.COUNTER, "breaker_trips", "How often the breaker opened.", "breaker.trips_total"),
)
