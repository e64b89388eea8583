"""What is counted of requests: by route, status and door, bounded, and without claims before there is data."""

import copy
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.durations import WINDOW_SECONDS, Durations, LatencyReport, totals_of
from esassistant.http.statistics import MAX_ROUTES, MAX_TOKENS, UNMATCHED, HttpStatistics, RouteReport, TokenReport
from esassistant.windows import calls_in_a_row
from tests.support.fakes import FakeClock

NOTHING = RouteReport(
    requests_total=0,
    statuses={},
    aborted_total=0,
    doors={},
    hot_percent=None,
    sent_bytes_total=0,
    latency=LatencyReport(WINDOW_SECONDS, 0),
    durations=totals_of(()),
    failed_latency=LatencyReport(WINDOW_SECONDS, 0),
)


@dataclass(frozen=True)
class Ended:
    """One request, as `HttpStatistics.ended` is told of it."""

    route: str | None = "/a"
    door: str = "django"
    status: int | None = 200
    sent_bytes: int = 0
    seconds: float = 0.1


def counted(*requests: Ended) -> HttpStatistics:
    statistics = HttpStatistics(FakeClock())
    for each in requests:
        statistics.ended(each.route, each.door, each.status, each.sent_bytes, each.seconds, 1000.0)
    return statistics


def test_nothing_is_claimed_before_the_first_request() -> None:
    """Without requests there is no share of the hot path and no latency, instead of a flattering 0 or 100."""
    report = HttpStatistics().report()
    assert (report.in_flight, report.together, report.routes) == (0, NOTHING, {})


def test_in_flight() -> None:
    """The requests under way are reported as the counters set them."""
    statistics = HttpStatistics(FakeClock())
    statistics.in_flight += 2
    assert statistics.report().in_flight == 2
    statistics.in_flight -= 1
    assert statistics.report().in_flight == 1


def test_one_request() -> None:
    """A request counts once, with its status, its door, its bytes and its time, of its route and of all."""
    report = counted(Ended("/a", "hot", 200, 7, 0.5)).report()
    durations = Durations()
    durations.record(0.5, 0.0)
    assert report.together == RouteReport(
        requests_total=1,
        statuses={"2xx": 1},
        aborted_total=0,
        doors={"hot": 1},
        hot_percent=100.0,
        sent_bytes_total=7,
        latency=LatencyReport(WINDOW_SECONDS, 1, 0.5, 0.5, 0.5, 0.5),
        durations=totals_of([durations]),
        failed_latency=LatencyReport(WINDOW_SECONDS, 0),
    )
    assert report.routes == {"/a": report.together}


def test_statuses_by_first_digit() -> None:
    """Statuses are counted by their first digit, lowest first, and only those that occurred."""
    report = counted(*(Ended(status=status) for status in (503, 200, 299, 304, 404, 499, 500, 100))).report()
    assert list(report.together.statuses.items()) == [("1xx", 1), ("2xx", 2), ("3xx", 1), ("4xx", 2), ("5xx", 2)]


def test_aborted() -> None:
    """Who left before there was an answer counts as a request and as aborted, but has neither a status nor a
    latency.
    """
    report = counted(Ended(status=None, sent_bytes=3, seconds=99.0), Ended(seconds=1.0)).report().together
    assert (report.requests_total, report.aborted_total, report.statuses) == (2, 1, {"2xx": 1})
    assert (report.latency.samples, report.latency.max_seconds) == (1, 1.0)
    assert (report.doors, report.sent_bytes_total) == ({"django": 2}, 3)


def test_hot_percent() -> None:
    """The share of the hot path is of all requests of the route, aborted ones included; 0 where it never answered."""
    report = counted(
        Ended("/a", "hot"),
        Ended("/a", "fast"),
        Ended("/a", "django", None),
        Ended("/a", "hot"),
        Ended("/b", "django"),
    ).report()
    assert report.routes["/a"].hot_percent == 50.0
    assert list(report.routes["/a"].doors.items()) == [("django", 1), ("fast", 1), ("hot", 2)]
    assert report.routes["/b"].hot_percent == 0.0
    assert "hot" not in report.routes["/b"].doors
    assert report.together.hot_percent == 40.0


def test_routes_are_apart() -> None:
    """Each route counts for itself; what has none is together under one name. They come in the order of their names."""
    report = counted(Ended("/b"), Ended(None, status=404), Ended("/a"), Ended(None, status=404), Ended("/a")).report()
    assert [(name, route.requests_total) for name, route in report.routes.items()] == [
        ("/a", 2),
        ("/b", 1),
        (UNMATCHED, 2),
    ]
    assert report.routes[UNMATCHED].statuses == {"4xx": 2}
    assert report.together.requests_total == 5


@pytest.mark.parametrize("first", [None, "/first"])
def test_number_of_routes_is_bounded(first: str | None) -> None:
    """However many routes there are, so many are told apart at most; the rest counts as unmatched, and nothing is lost.
    Those known before go on counting for themselves.
    """
    many = [Ended(f"/{number}") for number in range(MAX_ROUTES + 50)]
    report = counted(Ended(first), *many, *many).report()
    assert len(report.routes) <= MAX_ROUTES + 1
    assert report.routes["/0"].requests_total == 2
    assert f"/{MAX_ROUTES}" not in report.routes
    assert report.together.requests_total == 1 + 2 * len(many)
    told_apart = sum(name.startswith("/") and name != "/first" for name in report.routes)
    assert told_apart == MAX_ROUTES - 1
    assert report.routes[UNMATCHED].requests_total == 2 * (len(many) - told_apart) + (first is None)


def test_latency_is_of_the_last_minutes() -> None:
    """What was long ago counts among the requests, but not in the latency any more."""
    clock = FakeClock()
    statistics = HttpStatistics(clock)
    statistics.ended("/a", "hot", 200, 0, 2.0, clock.now)
    clock.now += WINDOW_SECONDS
    report = statistics.report()
    for route in (report.together, report.routes["/a"]):
        assert (route.requests_total, route.latency) == (1, LatencyReport(WINDOW_SECONDS, 0))


def test_a_report_stays_as_it_is() -> None:
    """A report can't be written into, and what is counted later doesn't change it."""
    statistics = counted(Ended(), Ended(None, status=None))
    report = statistics.report()
    before = copy.deepcopy(report)
    for each in (Ended(), Ended("/b", "hot", 500, 9), Ended(None, status=None)):
        statistics.ended(each.route, each.door, each.status, each.sent_bytes, each.seconds, 1000.0)
    statistics.in_flight += 1
    assert report == before
    for frozen, name in ((report, "in_flight"), (report.together, "requests_total")):
        with pytest.raises(FrozenInstanceError):
            setattr(frozen, name, 7)


def test_reporting_changes_nothing() -> None:
    """Asking twice gives the same; nobody who writes into the mappings of a report reaches the counts."""
    statistics = counted(Ended())
    first: Any = statistics.report()
    first.together.statuses["2xx"] = first.routes["/a"].doors["django"] = 99
    first.routes.clear()
    assert statistics.report() == statistics.report() == counted(Ended()).report()


REQUESTS = st.lists(
    st.builds(
        Ended,
        st.sampled_from(["/a", "/b", "/c", None]),
        st.sampled_from(["hot", "fast", "django"]),
        st.sampled_from([100, 200, 204, 304, 404, 500, 503, None]),
        st.integers(0, 10_000),
        st.sampled_from([0.001, 0.01, 0.1]),
    ),
    max_size=60,
)


@settings(max_examples=50)
@given(REQUESTS)
def test_counts_add_up(requests: list[Ended]) -> None:
    """All together, and each route, report what counting by hand gives."""
    report = counted(*requests).report()
    by_route = {name: [each for each in requests if (each.route or UNMATCHED) == name] for name in report.routes}
    assert sum(map(len, by_route.values())) == len(requests)
    for found, expected in ((report.together, requests), *((report.routes[name], by_route[name]) for name in by_route)):
        answered = [each for each in expected if each.status is not None]
        assert found.requests_total == len(expected) == found.aborted_total + sum(found.statuses.values())
        assert found.statuses == Counter(f"{str(each.status)[0]}xx" for each in answered)
        assert found.doors == Counter(each.door for each in expected)
        assert found.sent_bytes_total == sum(each.sent_bytes for each in expected)
        for latency, some in (
            (found.latency, [each for each in answered if (each.status or 0) < 500]),
            (found.failed_latency, [each for each in answered if (each.status or 0) >= 500]),
        ):
            assert latency.samples == len(some)
            assert latency.max_seconds == max((each.seconds for each in some), default=None)
        hot = sum(each.door == "hot" for each in expected)
        assert found.hot_percent == (pytest.approx(100 * hot / len(expected)) if expected else None)


def test_what_a_limit_refused_has_no_latency() -> None:
    """It is counted, but how long a body did not come says nothing of this service."""
    report = counted(Ended(None, "refused", 408, 7, 5.0), Ended("/a", "hot", 200, 7, 0.5)).report().together
    assert (report.requests_total, report.doors, report.statuses) == (2, {"hot": 1, "refused": 1}, {"2xx": 1, "4xx": 1})
    assert (report.latency.samples, report.durations.buckets["+Inf"]) == (1, 1)


def test_windows() -> None:
    """What callers got of late is told by route: answers, failures, no long polls but those that fail, and nothing of
    what a limit refused or whose client left; and nothing of before the registry opened.
    """
    statistics = counted(
        Ended("/a"), Ended("/a", status=503), Ended("/a", "refused", 503), Ended("/a", status=None), Ended("/b")
    )
    statistics.ended("/wait", "fast", 200, 0, 60.0, 1000.0, is_long_poll=True)
    statistics.ended("/wait", "fast", 503, 0, 60.0, 1000.0, is_long_poll=True)
    found = {route: (window.calls, window.bad) for route, window in statistics.windows().items()}
    assert found == {"/a": (2, 1), "/b": (1, 0), "/wait": (1, 1)}
    assert statistics.report().routes["/wait"].latency.samples == 0
    statistics.forget_recent()
    assert statistics.windows() == {}
    assert statistics.report().routes["/a"].requests_total == 4


def test_a_whole_minute() -> None:
    """What callers got in one minute is told of each route, also of one that nobody called in it."""
    statistics = HttpStatistics(FakeClock())
    for route, status, ended_at in (
        ("/a", 200, 5999.0),
        ("/a", 200, 6000.0),
        ("/a", 503, 6059.0),
        ("/a", 503, 6060.0),
        ("/b", 200, 6060.0),
    ):
        statistics.ended(route, "fast", status, 0, 0.1, ended_at)
    found = {
        route: (minute.calls, minute.bad, sum(minute.times.values()))
        for route, minute in statistics.whole_minute(100).items()
    }
    assert found == {"/a": (2, 1, 1), "/b": (0, 0, 0)}


def test_what_callers_are_to_blame_for() -> None:
    """Refusals of strangers (4xx) are requests, and say nothing of what callers get: neither that it goes well, nor how
    long it takes.
    """
    statistics = counted(*(Ended("/a", status=401) for _ in range(500)), *(Ended("/a", status=503) for _ in range(3)))
    [window] = statistics.windows().values()
    assert (window.calls, window.bad, len(list(calls_in_a_row(window.last)))) == (3, 3, 3)
    assert statistics.report().routes["/a"].statuses == {"4xx": 500, "5xx": 3}


def test_the_last_minute() -> None:
    """The last whole minute is told apart from the five."""
    clock = FakeClock()
    clock.now = 6000.0
    statistics = HttpStatistics(clock)
    statistics.ended("/a", "fast", 200, 0, 0.5, 6000.0)
    assert statistics.report().last_minute.samples == 0
    clock.now = 6060.0
    statistics.ended("/a", "fast", 200, 0, 9.0, 6060.0)
    assert statistics.report().last_minute == LatencyReport(60.0, 1, 0.5, 0.5, 0.5, 0.5)


def test_requests_by_token() -> None:
    """They are counted by status under the name of their token; refusals by its bound apart from other 429."""
    statistics = HttpStatistics()
    for door, status in (
        ("hot", 200),
        ("fast", 404),
        ("fast", 429),
        ("refused", 429),
        ("refused", 413),
        ("fast", None),
    ):
        statistics.ended_of("logs", door, status)
    assert statistics.report().tokens == {"logs": TokenReport(6, {"2xx": 1, "4xx": 4}, 1)}


def test_names_of_tokens_are_bounded() -> None:
    """Whoever writes new names into the file all the time doesn't fill memory and metrics: the rest is together."""
    statistics = HttpStatistics()
    for number in range(MAX_TOKENS + 50):
        statistics.ended_of(f"token-{number}", "hot", 200)
    found = statistics.report().tokens
    assert len(found) == MAX_TOKENS + 1
    assert found["other"].requests_total == 50
