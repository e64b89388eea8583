"""The charts of the status page show the minutes as they were counted, with marks where something was wrong."""

from datetime import UTC, datetime, timedelta

from esassistant.windows import MinuteCounts
from healthapp.hour import HourReport
from healthapp.hour_charts import deployment_charts, process_charts
from healthapp.minutes import Counts, Minute
from healthapp.timeline import HitRatio, Point, TimelineReport

BEGIN = datetime(2026, 11, 30, 9, 58, tzinfo=UTC)


def hour(*minutes: Minute | None) -> HourReport:
    return HourReport(tuple((BEGIN + timedelta(minutes=number), minute) for number, minute in enumerate(minutes)))


def test_what_callers_got() -> None:
    """Rates by second, shares by hundred, durations by their quantiles."""
    busy = Minute(2, 0, Counts.of(MinuteCounts(120, 30, 0, {100: 90})), Counts(60, 6, 3), Counts(2))
    charts = {chart.title: chart for chart in deployment_charts(hour(Minute(1), busy))}
    assert charts["Requests"].slots[1].text == "09:59 UTC: all 2/s, failed 0.5/s"
    assert charts["Searches"].slots[1].text == "09:59 UTC: all 1/s, failed 0.1/s, in part 0.05/s"
    assert charts["Failed"].slots[1].text == "09:59 UTC: requests 25 %, searches 10 %"
    assert charts["Time of requests"].slots[1].text == "09:59 UTC: half within 1.27 ms, 95 % within 1.27 ms"
    assert charts["Time of searches"].slots[1].text == "09:59 UTC: no data"
    assert charts["Requests"].slots[0].text == "09:58 UTC: all 0/s, failed 0/s"


def test_marks() -> None:
    """Minutes that were not healthy are marked by the worst of them, those that nobody told of between others too; not
    those before the first.
    """
    minutes = (None, Minute(1), Minute(1, 1), None, Minute(1, 2), Minute(1, 2), None)
    for chart in deployment_charts(hour(*minutes)):
        assert [(mark.kind, mark.text) for mark in chart.marks] == [
            ("degraded", "Degraded from 10:00 UTC, 1 min"),
            ("silent", "No process told of it, from 10:01 UTC, 1 min"),
            ("unhealthy", "Unhealthy from 10:02 UTC, 2 min"),
        ]


def test_nothing_yet() -> None:
    """Before the first minute there are charts without data."""
    for chart in deployment_charts(HourReport()):
        assert {curve.now for curve in chart.curves} == {"no data"}


def test_this_process() -> None:
    """Of the process: hits, connections, lateness, memory."""
    point = Point(BEGIN, 75.0, 3, 5_000_000, 0.02)
    nothing = HitRatio(0.0, 0, None)
    texts = [chart.slots[0].text for chart in process_charts(TimelineReport((point,), nothing, nothing))]
    assert texts == [
        "09:58 UTC: share 75 %",
        "09:58 UTC: in use 3",
        "09:58 UTC: 99 % within 20 ms",
        "09:58 UTC: resident 5 MB",
    ]
