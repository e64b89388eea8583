"""The last hour: ratios between samples, bounded, and without claims before there is data."""

import asyncio
from types import SimpleNamespace

import pytest

from esassistant.durations import WINDOW_SECONDS, LatencyReport
from esassistant.resource import Reports
from healthapp.timeline import EVERY_SECONDS, KEPT, KEPT_POINTS, HitRatio, Timeline
from tests.support.fakes import FakeClock


class Numbers:
    """What the reports say; counters a test moves."""

    def __init__(self) -> None:
        self.hits = self.misses = 0

    def __call__(self) -> Reports:
        latency = LatencyReport(WINDOW_SECONDS, 0)
        return Reports(
            {
                "mapping_cache": SimpleNamespace(
                    answers=SimpleNamespace(hits_total=self.hits, misses_total=self.misses)
                ),
                "process": SimpleNamespace(resident_bytes=7, loop_lag_last_minute=latency),
                "elasticsearch": {
                    "a": SimpleNamespace(in_use=2, overflow_in_use=1),
                    "b": SimpleNamespace(in_use=1, overflow_in_use=0),
                },
            }
        )


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def timeline(numbers: Numbers, fake_clock: FakeClock) -> Timeline:
    return Timeline(numbers, clock=fake_clock)


def test_nothing_yet(timeline: Timeline) -> None:
    """Before the first sample there are no points, and no ratio."""
    report = timeline.report()
    assert report.points == ()
    assert report.hits_hour == report.hits_five_minutes == HitRatio(0.0, 0, None)


def test_points_are_of_the_time_between(timeline: Timeline, numbers: Numbers, fake_clock: FakeClock) -> None:
    """A point has the ratio of the answers in its minute, and what is so at its end; there is one a minute."""
    timeline.sample()
    for _ in range(6):
        fake_clock.now += EVERY_SECONDS
        numbers.hits, numbers.misses = 3, 1
        timeline.sample()
    first, second = timeline.report().points
    assert (first.hit_percent, second.hit_percent) == (None, 75.0)
    assert (second.connections_in_use, second.resident_bytes, second.loop_lag_p99_seconds) == (4, 7, None)


def test_ratios_over_a_while(timeline: Timeline, numbers: Numbers, fake_clock: FakeClock) -> None:
    """The hit ratio of five minutes forgets what was before, that of the hour doesn't; both tell of how many
    answers.
    """
    timeline.sample()
    for number in range(60):
        fake_clock.now += EVERY_SECONDS
        if number < 30:
            numbers.misses += 1
        else:
            numbers.hits += 1
        timeline.sample()
    report = timeline.report()
    assert report.hits_hour == HitRatio(600.0, 60, 50.0)
    assert report.hits_five_minutes == HitRatio(300.0, 30, 100.0)


def test_an_hour_and_no_more(timeline: Timeline, fake_clock: FakeClock) -> None:
    """However long it samples, an hour is kept."""
    for _ in range(2 * KEPT):
        timeline.sample()
        fake_clock.now += EVERY_SECONDS
    report = timeline.report()
    assert len(report.points) == KEPT_POINTS
    assert report.hits_hour.seconds == 3600.0


async def test_it_samples_by_itself(timeline: Timeline) -> None:
    """The background task takes the first sample at once."""
    task = asyncio.create_task(timeline.keep_sampling())
    await asyncio.sleep(0)
    task.cancel()
    assert len(timeline.report().points) == 1
