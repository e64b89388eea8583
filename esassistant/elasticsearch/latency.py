"""Latencies of the last minutes, as a high dynamic range histogram (Gil Tene's HdrHistogram)."""

from collections import deque
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from esassistant.clock import Clock, monotonic

WINDOW_SECONDS = 300.0
SLICES = 5
LONGEST_MICROSECONDS = 3_600_000_000
SIGNIFICANT_DIGITS = 2


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Quantiles over the last `window_seconds`, two significant digits each; the maximum alike. None without samples."""

    window_seconds: float
    samples: int
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None
    max_seconds: float | None = None


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, LONGEST_MICROSECONDS, SIGNIFICANT_DIGITS)


class Latencies:
    """Records durations; keeps five slices of a minute each, in constant memory (about 20 kB per used slice)."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._slices: deque[tuple[int, HdrHistogram]] = deque()

    def record(self, seconds: float) -> None:
        number = self._number()
        if not self._slices or self._slices[-1][0] != number:
            self._drop_old(number)
            self._slices.append((number, _histogram()))
        self._slices[-1][1].record_value(min(LONGEST_MICROSECONDS, max(1, round(seconds * 1e6))))

    def report(self) -> LatencyReport:
        self._drop_old(self._number())
        together = _histogram()
        for _, histogram in self._slices:
            together.add(histogram)
        samples = together.get_total_count()
        if not samples:
            return LatencyReport(WINDOW_SECONDS, 0)
        p50, p95, p99 = (together.get_value_at_percentile(percentile) / 1e6 for percentile in (50, 95, 99))
        return LatencyReport(WINDOW_SECONDS, samples, p50, p95, p99, together.get_max_value() / 1e6)

    def _number(self) -> int:
        return int(self._clock() * SLICES / WINDOW_SECONDS)

    def _drop_old(self, number: int) -> None:
        while self._slices and self._slices[0][0] <= number - SLICES:
            self._slices.popleft()
