"""Counts how long requests and calls took, in buckets, as recording must cost next to nothing.

The buckets form a logarithmic histogram, as in Gil Tene's HdrHistogram. (Its Python version takes six times as long to
record a value.) They bound the error of every quantile, need constant memory, and can be added up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from esassistant.clock import Clock, monotonic

WINDOW_SECONDS: Final = 300.0
SLICES: Final = 5
SLICE_SECONDS: Final = WINDOW_SECONDS / SLICES
STEPS_PER_DECADE: Final = 48
SHORTEST_SECONDS: Final = 1e-5
BOUNDS: Final = tuple(SHORTEST_SECONDS * 10 ** (step / STEPS_PER_DECADE) for step in range(7 * STEPS_PER_DECADE + 1))
"""Upper bounds of the buckets in seconds, from 10 µs to 100 s; each is 5 % above the one before."""
TOTALS_EVERY: Final = STEPS_PER_DECADE // 2
"""The running totals have two bounds per decade."""


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Quantiles of the durations in the last `window_seconds`, or in one whole minute. Each is at least the true value,
    and at most 5 % above it. None without samples.
    """

    window_seconds: float
    samples: int
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DurationTotals:
    """All durations since the start: their sum, and how many were not longer than each bound. The bounds are in
    seconds, as text, because keys of JSON objects are texts. The last bound is `+Inf`.
    """

    sum_seconds: float
    buckets: Mapping[str, int]


def _no_counts() -> list[int]:
    return [0] * (len(BOUNDS) + 1)


@dataclass(slots=True)
class _Slice:
    number: int
    counts: list[int] = field(default_factory=_no_counts)
    longest: float = 0.0


class Durations:
    """Counts durations since the start, and those of the last five minutes, minute by minute. Needs about 20 kB,
    however many there are.
    """

    __slots__ = ("_latest", "_slices", "counts", "total_seconds")

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque(maxlen=SLICES)
        self._latest = _Slice(-1)
        self.counts = _no_counts()
        """The counts of all buckets since the start: one for each of `BOUNDS`, and one for longer durations."""
        self.total_seconds = 0.0

    def record(self, seconds: float, ended_at: float) -> None:
        """Count a duration that has just ended, at `ended_at` of the monotonic clock."""
        number = int(ended_at / SLICE_SECONDS)
        latest = self._latest
        if latest.number != number:
            latest = self._latest = _Slice(number)
            self._slices.append(latest)
        bucket = bisect_left(BOUNDS, seconds)
        latest.counts[bucket] += 1
        if seconds > latest.longest:
            latest.longest = seconds
        self.counts[bucket] += 1
        self.total_seconds += seconds

    def recent(self, now: float) -> list[_Slice]:
        """Return the slices that lie in the last five minutes."""
        oldest = int(now / SLICE_SECONDS) - SLICES + 1
        return [part for part in self._slices if part.number >= oldest]


def totals_of(together: Iterable[Durations]) -> DurationTotals:
    """Return the totals since the start of several counters together."""
    parts = tuple(together)
    counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)] or _no_counts()
    running = tuple(accumulate(counts))
    buckets = {f"{BOUNDS[place]:.6g}": running[place] for place in range(0, len(BOUNDS), TOTALS_EVERY)}
    return DurationTotals(sum(part.total_seconds for part in parts), {**buckets, "+Inf": running[-1]})


def report_of(together: Iterable[Durations], clock: Clock = monotonic) -> LatencyReport:
    """Return the quantiles over the last five minutes of several counters together."""
    now = clock()
    return _report(WINDOW_SECONDS, [part for durations in together for part in durations.recent(now)])


def last_minute_of(together: Iterable[Durations], clock: Clock = monotonic) -> LatencyReport:
    """Return the quantiles over the last whole minute of several counters together."""
    now = clock()
    wanted = int(now / SLICE_SECONDS) - 1
    return _report(
        SLICE_SECONDS, [part for durations in together for part in durations.recent(now) if part.number == wanted]
    )


def _report(window_seconds: float, slices: list[_Slice]) -> LatencyReport:
    counts = [sum(column) for column in zip(*(part.counts for part in slices), strict=True)]
    samples = sum(counts)
    if not samples:
        return LatencyReport(window_seconds, 0)
    longest = max(part.longest for part in slices)
    p50, p95, p99 = (_quantile(counts, samples * percent / 100, longest) for percent in (50, 95, 99))
    return LatencyReport(window_seconds, samples, p50, p95, p99, longest)


def _quantile(counts: list[int], rank: float, longest: float) -> float:
    """Return the upper bound of the bucket that holds the value of this rank."""
    seen = 0
    for bucket, count in enumerate(counts[:-1]):
        seen += count
        if seen >= rank:
            return min(BOUNDS[bucket], longest)
    return longest
