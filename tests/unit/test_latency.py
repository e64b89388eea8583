"""Latencies: quantiles against a sorted list, and which samples count."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.elasticsearch.latency import LONGEST_MICROSECONDS, SLICES, WINDOW_SECONDS, Latencies, LatencyReport
from tests.unit.conftest import FakeClock

DURATIONS = st.floats(1e-6, 3_600, allow_nan=False)
WITHIN = 0.01
"""Two significant digits."""


def close_to(value: float | None, low: float, high: float) -> bool:
    """Whether a value lies between two others, both with the precision that is promised (and no finer than 1 µs)."""
    assert value is not None
    return low * (1 - WITHIN) - 1e-6 <= value <= high * (1 + WITHIN) + 1e-6


def test_nothing_is_claimed_before_the_first_sample() -> None:
    """Without samples every quantile is None."""
    assert Latencies(FakeClock()).report() == LatencyReport(WINDOW_SECONDS, 0, None, None, None, None)


@settings(deadline=None)
@given(st.lists(DURATIONS, min_size=1, max_size=200))
def test_quantiles(durations: list[float]) -> None:
    """Each quantile is within 1 % of the one of the sorted list, whatever the order and the spread; so is the maximum."""
    latencies = Latencies(FakeClock())
    for seconds in durations:
        latencies.record(seconds)
    report = latencies.report()
    ordered = sorted(durations)
    for percent, value in ((50, report.p50_seconds), (95, report.p95_seconds), (99, report.p99_seconds)):
        rank = percent / 100 * len(ordered)
        # Of a rank between two samples either is right.
        lower, upper = max(1, math.floor(rank)), min(len(ordered), math.ceil(rank))
        assert close_to(value, ordered[lower - 1], ordered[upper - 1])
    assert close_to(report.max_seconds, ordered[-1], ordered[-1])
    assert report.samples == len(durations)


@pytest.mark.parametrize(("seconds", "counted"), [(0.0, 1e-6), (1e-9, 1e-6), (-1.0, 1e-6), (1e9, 3_600.0)])
def test_extremes(seconds: float, counted: float) -> None:
    """What lies outside the histogram counts at its edge, instead of being lost or raised."""
    latencies = Latencies(FakeClock())
    latencies.record(seconds)
    assert latencies.report().samples == 1
    assert close_to(latencies.report().max_seconds, counted, counted)
    assert LONGEST_MICROSECONDS == 3_600_000_000


def test_it_slides(fake_clock: FakeClock) -> None:
    """A sample counts for at least four of the five minutes, and never longer than five."""
    latencies = Latencies(fake_clock)
    fake_clock.now = 10 * WINDOW_SECONDS
    latencies.record(60.0)
    for _ in range(SLICES - 1):
        fake_clock.now += WINDOW_SECONDS / SLICES
        latencies.record(1.0)
        assert close_to(latencies.report().max_seconds, 60.0, 60.0)
    fake_clock.now += WINDOW_SECONDS / SLICES
    latencies.record(1.0)
    assert latencies.report().samples == SLICES
    assert close_to(latencies.report().max_seconds, 1.0, 1.0)
    fake_clock.now += WINDOW_SECONDS
    assert latencies.report() == LatencyReport(WINDOW_SECONDS, 0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 200), max_size=50))
def test_memory_is_constant(pauses: list[float]) -> None:
    """However long it records: never more slices than it reports."""
    clock = FakeClock()
    latencies = Latencies(clock)
    for pause in pauses:
        clock.now += pause
        latencies.record(0.1)
        assert len(latencies._slices) <= SLICES
