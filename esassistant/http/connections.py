"""Limits the client connections of a process, and counts those that were too many or sent nonsense."""

import logging
import resource
from dataclasses import dataclass
from functools import cache
from typing import Final

from django.conf import settings

from esassistant.clock import Clock, monotonic
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle

logger = logging.getLogger(__name__)

BEYOND: Final = 64
"""How many connections beyond the limit may still ask for a probe."""
OWN_FILES: Final = 200
"""Descriptors for everything except connections of clients and to the cluster."""
SAID_EVERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionsReport:
    """Connections of clients. `open`: open now; `limit`: how many may be open; `refused_total`: refused beyond the
    limit; `overdue_total`: closed as the client neither sent its request nor took its answer; `malformed_total`:
    requests that were no valid HTTP.
    """

    open: int
    limit: int
    refused_total: int
    overdue_total: int
    malformed_total: int


CONNECTION_METRICS = (
    Metric(Kind.GAUGE, "connections", "Connections of clients.", "open"),
    Metric(Kind.COUNTER, "connections_refused", "Connections and requests refused beyond the limit.", "refused_total"),
    Metric(
        Kind.COUNTER, "connections_overdue", "Connections closed as their client kept them waiting.", "overdue_total"
    ),
    Metric(Kind.COUNTER, "malformed_requests", "Requests that are no HTTP.", "malformed_total"),
)


class Connections:
    """The connections of the process."""

    def __init__(self, limit: int, clock: Clock = monotonic) -> None:
        self.limit = limit
        self.open = 0
        self.overdue_total = 0
        self.malformed_total = 0
        self._clock = clock
        self._refused_total = 0
        self._said_at: float | None = None

    def report(self) -> ConnectionsReport:
        return ConnectionsReport(self.open, self.limit, self._refused_total, self.overdue_total, self.malformed_total)

    def refuse(self) -> None:
        """Count a refused client. Log at most once a minute that there are too many."""
        self._refused_total += 1
        now = self._clock()
        if self._said_at is None or now - self._said_at >= SAID_EVERY_SECONDS:
            self._said_at = now
            logger.warning(
                "the limit of %d connections is reached (ESASSISTANT_MAX_CONNECTIONS): more are refused, probes aside; "
                "%d refused since the start",
                self.limit,
                self._refused_total,
            )


class Looks:
    """Counts how many looks in a row found the same mark."""

    def __init__(self) -> None:
        self._mark: object = None
        self._count = 0

    def found(self, mark: object) -> int:
        """Return how many looks in a row, with this one, found an equal `mark`. None means that the connection waits
        for nothing now, and counts as 0.
        """
        self._count = 0 if mark is None else self._count + 1 if mark == self._mark else 1
        self._mark = mark
        return self._count


def connection_limit(wanted: int, to_cluster: int, files: int) -> int:
    """Return how many client connections a process may have if it may open `files`. Beyond that, nothing else would
    work.
    """
    return max(1, min(wanted, files - to_cluster - OWN_FILES - BEYOND))


@cache
def connections() -> Connections:
    """Return the connections of this process. Raises the soft limit for open files as needed, up to the hard limit."""
    config = settings.ESASSISTANT
    to_cluster = config.elasticsearch.max_connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.max_connections + to_cluster + OWN_FILES + BEYOND
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = needed if soft == resource.RLIM_INFINITY else soft
    limit = connection_limit(config.max_connections, to_cluster, files)
    if limit < config.max_connections:
        logger.warning("this process may open %d files: at most %d connections of clients (`ulimit -Hn`)", files, limit)
    return Connections(limit)


CONNECTIONS: Handle[Connections] = Handle("connections")
CONNECTIONS_REPORT: ReportHandle[ConnectionsReport] = ReportHandle("connections")
