"""The charts of the status page: what callers got in the last hour, and how this process was. Pure."""

from collections.abc import Callable, Sequence

from esassistant.units import as_bytes, as_count, as_percent, as_rate, as_seconds
from healthapp.charts import Chart, Line, Values, chart, marks_of
from healthapp.hour import MINUTE_SECONDS, HourReport
from healthapp.minutes import LEVELS, Counts, Minute
from healthapp.timeline import TimelineReport

MARKS = {"degraded": "Degraded", "unhealthy": "Unhealthy", "silent": "No process told of it,"}
"""The texts of the marks, by their kind."""


def deployment_charts(hour: HourReport) -> tuple[Chart, ...]:
    """Return the charts of what callers of all processes got, minute by minute, with marks where that
    was not healthy.
    """
    times = [at for at, _ in hour.minutes]
    minutes = [minute for _, minute in hour.minutes]
    marks = tuple(marks_of(times, [_kind(index, minutes) for index in range(len(minutes))], MARKS))

    def values(of: Callable[[Minute], float | None]) -> Values:
        return [None if minute is None else of(minute) for minute in minutes]

    def rates(of: Callable[[Minute], int]) -> Values:
        return values(lambda minute: of(minute) / MINUTE_SECONDS)

    def times_of(of: Callable[[Minute], Counts], *shares: float) -> tuple[Line, ...]:
        def quantiles(share: float) -> Values:
            return values(lambda minute: of(minute).quantile(share))

        return tuple(
            Line(_share_name(share), f"line-{place}", quantiles(share)) for place, share in enumerate(shares, 1)
        )

    return (
        chart(
            "Requests",
            times,
            (
                Line("all", "line-1", rates(lambda minute: minute.requests.calls)),
                Line("failed", "line-2", rates(lambda minute: minute.requests.bad)),
            ),
            as_rate,
            marks=marks,
        ),
        chart("Time of requests", times, times_of(lambda minute: minute.requests, 0.5, 0.95), as_seconds, marks=marks),
        chart(
            "Searches",
            times,
            (
                Line("all", "line-1", rates(lambda minute: minute.searches.calls)),
                Line("failed", "line-2", rates(lambda minute: minute.searches.bad)),
                Line("in part", "line-3", rates(lambda minute: minute.searches.parts)),
            ),
            as_rate,
            marks=marks,
        ),
        chart("Time of searches", times, times_of(lambda minute: minute.searches, 0.5, 0.95), as_seconds, marks=marks),
        chart(
            "Failed",
            times,
            (
                Line("requests", "line-1", values(lambda minute: _bad_percent(minute.requests))),
                Line("searches", "line-2", values(lambda minute: _bad_percent(minute.searches))),
            ),
            as_percent,
            100.0,
            marks,
        ),
        chart(
            "Time of pings of Elasticsearch", times, times_of(lambda minute: minute.pings, 0.5), as_seconds, marks=marks
        ),
    )


def _kind(index: int, minutes: Sequence[Minute | None]) -> str:
    """Return the kind of the mark for a minute. Minutes before the first known one get none, as the service may not
    have been running.
    """
    minute = minutes[index]
    if minute is not None:
        return LEVELS[minute.level].value if minute.level else ""
    return "silent" if any(minutes[:index]) and any(minutes[index:]) else ""


def _share_name(share: float) -> str:
    return "half within" if share == 0.5 else f"{100 * share:g} % within"


def _bad_percent(counts: Counts) -> float | None:
    return 100.0 * counts.bad / counts.calls if counts.calls else None


def process_charts(timeline: TimelineReport) -> tuple[Chart, ...]:
    """Return the charts of how this process was, minute by minute."""
    points = timeline.points
    times = [point.at for point in points]
    hits = Line("share", "line-1", [point.hit_percent for point in points])
    in_use = Line("in use", "line-1", [float(point.connections_in_use) for point in points])
    lag = Line("99 % within", "line-1", [point.loop_lag_p99_seconds for point in points])
    memory = Line("resident", "line-1", [point.resident_bytes for point in points])
    return (
        chart("Answers from memory", times, (hits,), as_percent, 100.0),
        chart("Connections in use", times, (in_use,), as_count),
        chart("How late the event loop is", times, (lag,), as_seconds),
        chart("Memory", times, (memory,), as_bytes),
    )
