"""Counts of one client's connections and calls. Written on the client's loop only; `report()` gives an immutable copy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One connection pool since the start. Latency is None before the first answer.

    `requests_total` counts attempts, each retry included; `failures_total` those without a 2xx or 404 answer.
    """

    max_connections: int
    in_use: int
    waiting: int
    requests_total: int
    failures_total: int
    timeouts_total: int
    retries_total: int
    connections_created_total: int
    connections_reused_total: int
    success_percent: float | None
    latency_mean_seconds: float | None
    latency_max_seconds: float | None


class PoolCounters:
    """The counters behind a `PoolReport`; shared by a client's transport and its nodes."""

    def __init__(self, max_connections: int) -> None:
        self.max_connections = max_connections
        self.in_use = 0
        self.waiting = 0
        self.requests_total = 0
        self.failures_total = 0
        self.timeouts_total = 0
        self.cancelled_total = 0
        self.retries_total = 0
        self.connections_created_total = 0
        self.connections_reused_total = 0
        self._answered_total = 0
        self._latency_sum_seconds = 0.0
        self._latency_max_seconds = 0.0

    def answered(self, status: int, seconds: float) -> None:
        """An attempt got an answer after `seconds`. 404 is an answer to a question, not a failure."""
        self._answered_total += 1
        self._latency_sum_seconds += seconds
        self._latency_max_seconds = max(self._latency_max_seconds, seconds)
        if not (200 <= status < 300 or status == 404):
            self.failures_total += 1

    def report(self) -> PoolReport:
        ended = self._answered_total
        finished = self.requests_total - self.in_use - self.cancelled_total
        return PoolReport(
            max_connections=self.max_connections,
            in_use=self.in_use,
            waiting=self.waiting,
            requests_total=self.requests_total,
            failures_total=self.failures_total,
            timeouts_total=self.timeouts_total,
            retries_total=self.retries_total,
            connections_created_total=self.connections_created_total,
            connections_reused_total=self.connections_reused_total,
            success_percent=100.0 * (finished - self.failures_total) / finished if finished > 0 else None,
            latency_mean_seconds=self._latency_sum_seconds / ended if ended else None,
            latency_max_seconds=self._latency_max_seconds if ended else None,
        )
