"""Windows of calls: what of the last minute and quarter of an hour is told, bounded, and added up over processes."""

from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.durations import BOUNDS
from esassistant.windows import (
    KEPT_LAST,
    EndedCall,
    Got,
    MinuteCounts,
    Window,
    WindowReport,
    added,
    calls_in_a_row,
    median_place,
    median_seconds,
    minutes_together,
    quantile_seconds,
)

AT = 6_000.0


def counted(*calls: tuple[float, float, Got]) -> WindowReport | None:
    """Of calls by how long ago they ended, oldest first, how long they took and what was got."""
    window = Window()
    for age, seconds, got in calls:
        window.ended(got, seconds, AT - age)
    return window.report(AT)


def test_nothing() -> None:
    """A kind that nobody called for a quarter of an hour has no report."""
    assert Window().report(AT) is None
    assert counted((901, 0.1, Got.ANSWER)) is None


def test_long_calls_began_when_most_were() -> None:
    """One long call among quick ones, half a minute before the cluster got slow, is not where that began; while
    nothing is answered nothing ends it.
    """
    quick = [(age, 0.01, Got.ANSWER) for age in (55.0, 50.0, 45.0, 42.0, 40.0, 35.0, 31.0, 30.5, 25.0)]
    outlier = (41.0, 0.6, Got.ANSWER)
    slow = [(age, 3.0, Got.ANSWER) for age in (20.0, 19.0, 18.0, 8.0, 2.0)]
    failed = (12.0, 10.0, Got.FAILURE)
    calls = sorted([*quick, outlier, *slow, failed], key=lambda call: -call[0])
    report = counted(*calls)
    assert report is not None
    assert report.first_long_seconds == 23.0
    calm = counted(*sorted([*quick, (45.5, 0.6, Got.ANSWER), (1.0, 0.01, Got.ANSWER)], key=lambda call: -call[0]))
    assert calm is not None
    assert calm.first_long_seconds is None


def test_a_minute() -> None:
    """Calls are counted by what their callers got; the first bad, partial and long ones by when they began."""
    report = counted(
        (70, 9.0, Got.FAILURE),
        (40, 2.0, Got.FAILURE),
        (30, 0.01, Got.REFUSAL),
        (29, 0.7, Got.PART),
        (20, 0.1, Got.PART),
        (1, 0.01, Got.ANSWER),
    )
    assert report is not None
    assert (report.calls, report.failures, report.refusals, report.parts, report.bad) == (5, 1, 1, 2, 2)
    assert (report.first_bad_seconds, report.first_part_seconds) == pytest.approx((42.0, 29.7))
    assert report.first_long_seconds is None  # since then some were quick
    assert (report.slowest_seconds, report.recent_bad) == (2.0, 0)
    assert (sum(report.recent.values()), sum(report.minute.values())) == (1, 3)
    assert [call.age_seconds for call in report.last] == [1, 20, 29, 30, 40]


def test_a_quiet_minute() -> None:
    """Calls of a quarter of an hour are known by the last five alone; of the minute there is nothing."""
    report = counted((300, 0.1, Got.FAILURE))
    last = (EndedCall(300.0, 0.1, Got.FAILURE),)
    assert report == WindowReport(newest_bad_seconds=300.0, last=last)


def test_older_by() -> None:
    """What was told some seconds ago is that much older."""
    report = counted((10, 0.5, Got.FAILURE), (5, 0.1, Got.ANSWER))
    assert report is not None
    older = report.older_by(3.0)
    assert (older.first_bad_seconds, older.first_part_seconds) == (13.5, None)
    assert [call.age_seconds for call in older.last] == [8.0, 13.0]
    assert older.last[1].began_seconds_ago == 13.5


def test_rows() -> None:
    """A row of bad calls ends at the newest that was answered."""
    report = counted((4, 0.1, Got.FAILURE), (3, 0.1, Got.ANSWER), (2, 0.1, Got.FAILURE), (1, 0.1, Got.REFUSAL))
    assert report is not None
    assert [call.age_seconds for call in calls_in_a_row(report.last)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("counts", "place"), [({}, None), ({7: 1}, 7), ({7: 1, 9: 1}, 7), ({7: 1, 9: 2}, 9), ({999: 1}, len(BOUNDS) - 1)]
)
def test_medians(counts: dict[int, int], place: int | None) -> None:
    """The median is a place of the bounds; of nothing there is none, and beyond the last bound it is that."""
    assert median_place(counts) == place
    assert median_seconds(counts) == (None if place is None else BOUNDS[place])


CALLS = st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 20), st.sampled_from(list(Got))), max_size=30)


@settings(deadline=None, max_examples=50)
@given(st.lists(CALLS, max_size=4))
def test_adding_up(processes: list[list[tuple[float, float, Got]]]) -> None:
    """Several processes' counts add up to those of one that saw all calls, and survive the way by JSON."""
    ordered = [sorted(calls, key=lambda call: -call[0]) for calls in processes]
    reports = [report for calls in ordered if (report := counted(*calls)) is not None]
    together = added(msgspec.json.decode(msgspec.json.encode(report), type=WindowReport) for report in reports)
    alone = counted(*sorted((call for calls in processes for call in calls), key=lambda call: -call[0]))
    alone = alone or WindowReport()
    for name in ("calls", "failures", "refusals", "parts", "recent_bad", "recent", "minute", "slowest_seconds"):
        assert getattr(together, name) == getattr(alone, name), name
    assert len(together.last) <= KEPT_LAST
    assert [call.age_seconds for call in together.last] == [call.age_seconds for call in alone.last]


def test_a_whole_minute() -> None:
    """A minute that has just ended is told whole, and nothing of its neighbours; an older one is forgotten."""
    window, minute = Window(), int(AT // 60)
    for ended_at, got in (
        (AT - 61.0, Got.FAILURE),
        (AT - 59.0, Got.ANSWER),
        (AT - 30.0, Got.PART),
        (AT - 0.5, Got.REFUSAL),
        (AT + 4.0, Got.FAILURE),
    ):
        window.ended(got, 0.01, ended_at)
    assert window.whole_minute(minute - 1) == MinuteCounts(3, 1, 1, {bisect_left(BOUNDS, 0.01): 2})
    assert window.whole_minute(minute) == MinuteCounts(1, 1, 0, {})
    assert window.whole_minute(minute - 5) == MinuteCounts()
    twice = minutes_together([window.whole_minute(minute - 1)] * 2)
    assert twice == MinuteCounts(6, 2, 2, {bisect_left(BOUNDS, 0.01): 4})


@given(st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(1, 1000), min_size=1))
def test_quantiles(counts: dict[int, int]) -> None:
    """Half is the median; all is the longest; more is never less."""
    found = [quantile_seconds(counts, share) for share in (0.1, 0.5, 0.95, 1.0)]
    assert found == sorted(found, key=lambda seconds: seconds or 0)
    assert found[1] == median_seconds(counts)
    assert found[-1] == BOUNDS[min(max(counts), len(BOUNDS) - 1)]
    assert quantile_seconds({}, 0.5) is None


def test_two_troubles_within_a_minute() -> None:
    """The second began with its own first bad call: four slices with calls, of which none was bad, part them. Where
    calls are rare, a slice without any parts nothing.
    """
    between = [(age, 0.01, Got.ANSWER) for age in (47.0, 42.0, 37.0, 32.0, 27.0, 22.0)]
    report = counted((55, 1.0, Got.FAILURE), *between, (12, 2.0, Got.FAILURE), (3, 2.0, Got.FAILURE))
    assert report is not None
    assert report.first_bad_seconds == 14.0
    rare = counted((55, 1.0, Got.FAILURE), *between[:3], (12, 2.0, Got.FAILURE))
    assert rare is not None
    assert rare.first_bad_seconds == 56.0


def test_the_newest_answer() -> None:
    """How long ago the newest answered call ended is known however many failed since."""
    report = counted((100, 0.1, Got.ANSWER), *((age, 0.1, Got.FAILURE) for age in (50, 40, 30, 20, 10, 5)))
    assert report is not None
    assert report.newest_good_seconds == 100
    assert report.older_by(2.0).newest_good_seconds == 102
    assert added((report, WindowReport(newest_good_seconds=7.0))).newest_good_seconds == 7.0
