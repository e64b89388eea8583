"""Samples of the last hour of this process, for charts and for ratios over some time."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cacheapp.reports import CACHE_REPORT
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.elasticsearch.client import POOLS_REPORTS
from esassistant.resource import Handle, ReportHandle, Reports
from healthapp.process import PROCESS_REPORT

EVERY_SECONDS: Final = 10.0
KEPT: Final = 361
"""The samples of one hour, and the one at its beginning."""
MINUTE: Final = 60.0
KEPT_POINTS: Final = 61
FIVE_MINUTES: Final = 300.0
ELASTICSEARCH_POOLS: Final = POOLS_REPORTS[0]
SOURCES: tuple[ReportHandle[Any], ...] = (CACHE_REPORT, PROCESS_REPORT, ELASTICSEARCH_POOLS)


@dataclass(frozen=True, slots=True)
class Point:
    """One minute, which ended at `at`. `hit_percent` is about this minute, and `loop_lag_p99_seconds` about the last
    whole minute of the clock; the other values are those at the end. None: no data.
    """

    at: datetime
    hit_percent: float | None
    connections_in_use: int
    resident_bytes: int | None
    loop_lag_p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class HitRatio:
    """How many of `answers` within `seconds` came from memory. `percent`: None without answers."""

    seconds: float
    answers: int
    percent: float | None


@dataclass(frozen=True, slots=True)
class TimelineReport:
    """The last hour of this process. `points` are a minute apart, oldest first."""

    points: tuple[Point, ...]
    hits_five_minutes: HitRatio
    hits_hour: HitRatio


@dataclass(frozen=True, slots=True)
class _Sample:
    taken_at: float
    hits: int
    misses: int


class Timeline:
    """Keeps the samples. One per process, owned by the registry. `keep_sampling` is its background task."""

    def __init__(self, reports: Callable[[], Reports], *, clock: Clock = monotonic) -> None:
        """
        Args:
            reports: Returns the reports of `SOURCES`.
        """
        self._reports = reports
        self._clock = clock
        self._samples: deque[_Sample] = deque(maxlen=KEPT)
        self._points: deque[Point] = deque(maxlen=KEPT_POINTS)
        # That of the newest point.
        self._pointed: _Sample | None = None

    async def keep_sampling(self) -> None:
        """Background task: take a sample every ten seconds."""
        while True:
            self.sample()
            await asyncio.sleep(EVERY_SECONDS)

    def sample(self) -> None:
        """Take a sample, and, if a minute has passed, add a point for it."""
        reports = self._reports()
        answers = reports.typed(CACHE_REPORT).answers
        now = _Sample(self._clock(), answers.hits_total, answers.misses_total)
        self._samples.append(now)
        before = now if self._pointed is None else self._pointed
        if self._pointed is not None and now.taken_at - before.taken_at < MINUTE:
            return
        self._pointed = now
        process = reports.typed(PROCESS_REPORT)
        self._points.append(
            Point(
                at=now_utc(),
                hit_percent=_hits(before, now).percent,
                connections_in_use=sum(
                    pool.in_use + pool.overflow_in_use for pool in reports.typed(ELASTICSEARCH_POOLS).values()
                ),
                resident_bytes=process.resident_bytes,
                loop_lag_p99_seconds=process.loop_lag_last_minute.p99_seconds,
            )
        )

    def report(self) -> TimelineReport:
        nothing = _Sample(0.0, 0, 0)
        last = self._samples[-1] if self._samples else nothing
        first = self._samples[0] if self._samples else nothing
        recent = next((sample for sample in self._samples if last.taken_at - sample.taken_at <= FIVE_MINUTES), nothing)
        return TimelineReport(tuple(self._points), _hits(recent, last), _hits(first, last))


TIMELINE: Handle[Timeline] = Handle("timeline")
TIMELINE_REPORT: ReportHandle[TimelineReport] = ReportHandle("timeline")


def _hits(before: _Sample, now: _Sample) -> HitRatio:
    hits, misses = now.hits - before.hits, now.misses - before.misses
    answers = hits + misses
    return HitRatio(now.taken_at - before.taken_at, answers, 100.0 * hits / answers if answers else None)
