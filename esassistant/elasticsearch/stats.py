"""Counts the calls of one pool. Written only on the client's loop; reports are immutable copies."""

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
"""The kinds of calls that are searches. The durations of all other kinds can't be compared with those of searches."""
SORTS = ("search", "other")


@dataclass(frozen=True, slots=True)
class KindReport:
    """Attempts of one kind of call. `latency`: how long the successful answers took; `failed_latency`: how long the
    answers with an error took. Long polls have no `latency`.
    """

    requests_total: int
    failures_total: int
    latency: LatencyReport
    failed_latency: LatencyReport


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One connection pool since the start; latencies are those of the last minutes.

    `max_connections`, `max_overflow`, `blocks`: its limits, as in `PoolLimits`. `in_use`, `overflow_in_use`:
    connections in use now; `waiting`: calls that wait for one.

    `requests_total` counts attempts, with each retry. `failures_total` counts those without a 2xx or 404 answer, and
    `failures` the same by kind. `rejected` counts calls that were refused before anything was sent.

    `latency` is that of attempts that were answered and didn't fail, `failed_latency` that of attempts that were
    answered with an error. `got`: what callers got for whole calls, retries included, for searches and for other calls.
    `retries_refused_total`: retries that the budget or the deadline didn't allow.

    `connections_open` is the number for the whole client; None if it hasn't made any yet. Bytes are those of bodies:
    `sent` and `received` as they went over the wire, `decoded` after decompression.
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
    """Return since when the breaker of one of these pools has refused calls, or None if no breaker does."""
    since = [
        next(change.at for change in pool.breaker.transitions if change.before is BreakerState.CLOSED)
        for pool in pools
        if pool.breaker is not None
        and pool.breaker.refuses
        # Only the latest transitions are kept; after many failed probes, the first one is gone.
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
        """Count an attempt that is about to be sent."""
        self.requests_total += 1
        self.sent_bytes_total += body_bytes
        self._of(kind).requests_total += 1

    def answered(self, kind: str, status: int, seconds: float) -> None:
        """Count an attempt that was answered after `seconds`. A 404 is an answer, and no failure."""
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
        """Count an attempt that ended without an answer. `failure` is one of `FAILURE_KINDS`."""
        self.ended_total += 1
        self._failed(kind, failure)

    def call_ended(self, kind: str, got: Got, seconds: float) -> None:
        """Count what the caller of a whole call got. `seconds` includes its retries and its wait for a connection."""
        if kind == LONG_POLL:
            return
        sort = "search" if kind in SEARCHES else "other"
        self._got[sort][got.value] += 1
        self._windows[sort].ended(got, seconds, monotonic())

    def windows(self) -> dict[str, WindowReport]:
        """Return what callers got lately, for searches and for other calls."""
        now = monotonic()
        found = ((sort, window.report(now)) for sort, window in self._windows.items())
        return {sort: report for sort, report in found if report is not None}

    def whole_minute(self, number: int) -> MinuteCounts:
        """Return what callers of searches got in one minute. `number` is its number on the monotonic clock; it must
        have just ended.
        """
        return self._windows["search"].whole_minute(number)

    def report(self) -> dict[str, Any]:
        """Return those members of a `PoolReport` that the counters know."""
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
        if counters is None:  # making one each time would cost as much as a search's headers
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
