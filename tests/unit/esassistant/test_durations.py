"""Durations: quantiles against a sorted list, and which of them still count."""

import itertools
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.durations import (
    BOUNDS,
    SHORTEST_SECONDS,
    SLICE_SECONDS,
    SLICES,
    WINDOW_SECONDS,
    Durations,
    LatencyReport,
    report_of,
    totals_of,
)
from tests.support.fakes import FakeClock

LONGEST_SECONDS = 100.0
WITHIN_RANGE = st.floats(SHORTEST_SECONDS, LONGEST_SECONDS) | st.sampled_from(BOUNDS)
"""At the bounds a bucket may be missed by one."""


def recorded(*seconds: float, at: float = 1000.0) -> Durations:
    """Durations that all ended at the same moment."""
    durations = Durations()
    for each in seconds:
        durations.record(each, at)
    return durations


def report_now(*seconds: float) -> LatencyReport:
    return report_of([recorded(*seconds)], FakeClock())


def test_bounds() -> None:
    """The buckets reach from 10 µs to 100 s, each a little longer than the one before, but by no more than 5 %."""
    assert BOUNDS[0] == SHORTEST_SECONDS == 1e-5
    assert BOUNDS[-1] == pytest.approx(LONGEST_SECONDS)
    assert all(1.0 < longer / shorter < 1.05 for shorter, longer in itertools.pairwise(BOUNDS))


def test_nothing_is_claimed_before_the_first_sample() -> None:
    """Without samples every quantile is None, instead of a flattering 0; so it is without anything to report of."""
    nothing = LatencyReport(WINDOW_SECONDS, 0, None, None, None, None)
    assert (WINDOW_SECONDS, SLICE_SECONDS) == (300.0, 60.0)
    assert report_now() == nothing
    assert report_of([Durations(), Durations()], FakeClock()) == nothing
    assert report_of([]) == nothing


@given(st.lists(WITHIN_RANGE, min_size=1, max_size=250))
def test_quantiles(durations: list[float]) -> None:
    """Each quantile is the one of the sorted list or up to 5 % more, and never less, whatever the order and the spread;
    the maximum is exact.
    """
    report = report_now(*durations)
    ordered = sorted(durations)
    for percent, value in ((50, report.p50_seconds), (95, report.p95_seconds), (99, report.p99_seconds)):
        truth = ordered[-(-percent * len(ordered) // 100) - 1]
        assert value is not None
        assert truth <= value <= min(1.05 * truth, ordered[-1])
    assert report.max_seconds == ordered[-1]
    assert report.samples == len(durations)


@pytest.mark.parametrize(("count", "ranks"), [(1, (1, 1, 1)), (2, (1, 2, 2)), (20, (10, 19, 20)), (100, (50, 95, 99))])
def test_ranks(count: int, ranks: tuple[int, int, int]) -> None:
    """A quantile is the smallest sample that so many percent don't exceed, neither the one before nor the one after."""
    report = report_now(*(1e-5 * 1.1**number for number in range(count)))
    for rank, value in zip(ranks, (report.p50_seconds, report.p95_seconds, report.p99_seconds), strict=True):
        assert value is not None
        assert 1e-5 * 1.1 ** (rank - 1) <= value < 1e-5 * 1.1**rank


@pytest.mark.parametrize(("seconds", "reported"), [(-1.0, 0.0), (0.0, 0.0), (1e-9, 1e-9), (101.0, 101.0), (1e9, 1e9)])
def test_outside_the_buckets(seconds: float, reported: float) -> None:
    """What is shorter or longer than all buckets counts at their edge, instead of being lost or raised; the longest one
    bounds what is said of it.
    """
    assert report_now(seconds) == LatencyReport(WINDOW_SECONDS, 1, reported, reported, reported, reported)


def test_outside_among_others() -> None:
    """The shorter ones count as 10 µs beside longer ones; those above 100 s, which aren't told apart, as the
    longest.
    """
    report = report_now(*[1e-9] * 60, 1.0, *[200.0] * 38, 300.0)
    assert (report.p50_seconds, report.p95_seconds, report.max_seconds) == (SHORTEST_SECONDS, 300.0, 300.0)
    report = report_now(*[99.0] * 60, *[300.0] * 40)
    assert (report.p50_seconds, report.p95_seconds) == (BOUNDS[-1], 300.0)


def test_it_slides(fake_clock: FakeClock) -> None:
    """A sample counts for at least four of the five minutes, and never longer than five."""
    durations = Durations()
    fake_clock.now = 10 * WINDOW_SECONDS
    durations.record(60.0, fake_clock.now)
    for _ in range(SLICES - 1):
        fake_clock.now += SLICE_SECONDS
        durations.record(1.0, fake_clock.now)
        assert report_of([durations], fake_clock).max_seconds == 60.0
    fake_clock.now += SLICE_SECONDS - 0.001
    assert report_of([durations], fake_clock).samples == SLICES
    fake_clock.now += 0.001
    durations.record(1.0, fake_clock.now)
    assert report_of([durations], fake_clock).samples == SLICES
    assert report_of([durations], fake_clock).max_seconds == 1.0
    fake_clock.now += WINDOW_SECONDS
    assert report_of([durations], fake_clock) == LatencyReport(WINDOW_SECONDS, 0)


def test_it_slides_without_new_samples(fake_clock: FakeClock) -> None:
    """Old samples stop counting by time alone, not only when new ones push them out."""
    durations = recorded(1.0, 2.0, at=fake_clock.now)
    assert report_of([durations], fake_clock).samples == 2
    fake_clock.now += WINDOW_SECONDS - SLICE_SECONDS
    assert report_of([durations], fake_clock).samples == 2
    fake_clock.now += SLICE_SECONDS
    assert report_of([durations], fake_clock).samples == 0


PAUSES = st.integers(0, 800).map(lambda quarters: quarters / 4)
"""Quarters of seconds, of which floats make exact sums."""
TIMES = st.lists(st.tuples(WITHIN_RANGE, PAUSES), max_size=60)
"""Durations, and how long after the one before each ended."""


@given(TIMES)
def test_which_samples_count(times: list[tuple[float, float]]) -> None:
    """The report is of all samples of the last four minutes, of none older than five, and of the last ones in
    between.
    """
    durations, clock, ended = Durations(), FakeClock(), []
    for seconds, pause in times:
        clock.now += pause
        durations.record(seconds, clock.now)
        ended.append((clock.now, seconds))
    report = report_of([durations], clock)
    ages = [clock.now - at for at, _ in ended]
    certain = sum(age <= WINDOW_SECONDS - SLICE_SECONDS for age in ages)
    possible = sum(age < WINDOW_SECONDS for age in ages)
    assert certain <= report.samples <= possible
    counted = [seconds for _, seconds in ended[len(ended) - report.samples :]]
    assert report.max_seconds == max(counted, default=None)


@given(TIMES)
def test_since_the_start(times: list[tuple[float, float]]) -> None:
    """`counts` and `total_seconds` are of everything since the start, each in the bucket whose bound it doesn't
    exceed.
    """
    durations, now = Durations(), 1000.0
    expected = [0] * (len(BOUNDS) + 1)
    for seconds, pause in times:
        now += pause
        durations.record(seconds, now)
        expected[next((bucket for bucket, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
    assert durations.counts == expected
    assert durations.total_seconds == pytest.approx(math.fsum(seconds for seconds, _ in times))


def test_rest_is_counted() -> None:
    """What is longer than every bound has a bucket of its own, the last; what is shorter is in the first."""
    durations = recorded(0.0, 1e9, 1e9)
    assert len(durations.counts) == len(BOUNDS) + 1
    assert (durations.counts[0], durations.counts[-1], sum(durations.counts)) == (1, 2, 3)


@given(st.lists(st.tuples(st.integers(0, 3), WITHIN_RANGE, PAUSES), max_size=60))
def test_several_together(times: list[tuple[int, float, float]]) -> None:
    """Several report together what one would that had recorded everything, also when some of them rested."""
    parts, whole, clock = [Durations() for _ in range(4)], Durations(), FakeClock()
    for part, seconds, pause in times:
        clock.now += pause
        parts[part].record(seconds, clock.now)
        whole.record(seconds, clock.now)
    assert report_of(parts, clock) == report_of([whole], clock)


@given(st.lists(st.lists(WITHIN_RANGE | st.floats(0.0, 200.0), max_size=30), max_size=4))
def test_totals(parts: list[list[float]]) -> None:
    """Totals of several count, for each bound, how many were not longer, since the start and however long ago; all are
    within the last. Bounds grow, and lie close enough together to tell a millisecond from ten.
    """
    everything = [seconds for part in parts for seconds in part]
    totals = totals_of(recorded(*part, at=1000.0 * number) for number, part in enumerate(parts))
    assert totals.sum_seconds == pytest.approx(math.fsum(everything))
    *bounds, last = totals.buckets
    assert (last, totals.buckets[last]) == ("+Inf", len(everything))
    numbers = [float(bound) for bound in bounds]
    assert (numbers[0], numbers[-1]) == (1e-5, 100.0)
    assert all(3 < longer / shorter < 3.5 for shorter, longer in itertools.pairwise(numbers))
    for bound in numbers:
        counted = totals.buckets[f"{bound:.6g}"]
        # As text a bound is rounded: what lies between the two may count on either side.
        assert sum(seconds < 0.99999 * bound for seconds in everything) <= counted
        assert counted <= sum(seconds <= 1.00001 * bound for seconds in everything)
    assert totals_of(()) == totals_of([Durations()])


def size_of(durations: Durations) -> int:
    """Bytes, without what Python shares among all."""
    lists = [durations.counts, *(part.counts for part in durations._slices)]
    return sum(sys.getsizeof(each) + sum(sys.getsizeof(count) for count in each if count > 256) for each in lists)


@settings(max_examples=30)
@given(TIMES)
def test_memory_is_constant(times: list[tuple[float, float]]) -> None:
    """However much it records, and for however long: never more slices than it reports, and 20 kB."""
    durations, now = Durations(), 1000.0
    for seconds, pause in times:
        now += pause
        durations.record(seconds, now)
        assert len(durations._slices) <= SLICES
    assert size_of(durations) < 20_000


def test_reports_stay_as_they_are(fake_clock: FakeClock) -> None:
    """What is recorded later doesn't change a report that was given out."""
    durations = recorded(1.0, at=fake_clock.now)
    before = report_of([durations], fake_clock)
    durations.record(2.0, fake_clock.now)
    assert (before.samples, before.max_seconds) == (1, 1.0)
