"""The counters behind a pool's report."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.breaker import BreakerReport, BreakerState, BreakerTransition
from esassistant.elasticsearch.stats import FAILURE_KINDS, REJECTIONS, PoolCounters, refused_since
from esassistant.windows import Got, MinuteCounts, minutes_together
from tests.support.clients import pools
from tests.support.fakes import minute_now


def test_nothing_is_claimed_before_the_first_answer() -> None:
    """Without answers there is no success rate and no latency, instead of a flattering 0 or 100; every kind of failure
    and rejection is there, with 0.
    """
    report = pools(maxsize=7).pool_for("/").report(None)
    assert (report.success_percent, report.latency.samples, report.latency.p50_seconds) == (None, 0, None)
    assert (report.max_connections, report.requests_total, report.failures_total) == (7, 0, 0)
    assert report.failures == dict.fromkeys(FAILURE_KINDS, 0)
    assert report.rejected == dict.fromkeys(REJECTIONS, 0)
    assert report.calls == {}


def test_a_report_stays_as_it_is() -> None:
    """What is counted later doesn't change a report that was given out."""
    pool = pools().pool_for("/")
    before = pool.report(None)
    pool.counters.sent("search", 10)
    pool.counters.failed("search", "connection")
    pool.counters.rejected["breaker_open"] += 1
    assert (before.failures["connection"], before.rejected["breaker_open"], before.requests_total) == (0, 0, 0)
    after = pool.report(None)
    assert (after.failures["connection"], after.rejected["breaker_open"], after.requests_total) == (1, 1, 1)


AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
TRIPPED = BreakerTransition(AT, CLOSED, OPEN, "it failed")
PROBED = BreakerTransition(AT + timedelta(seconds=5), OPEN, HALF_OPEN, "a probe")


@pytest.mark.parametrize(
    ("state", "probing", "transitions", "since"),
    [
        (CLOSED, 0, (), None),
        (CLOSED, 0, (PROBED, TRIPPED), None),
        (OPEN, 0, (TRIPPED,), AT),
        (HALF_OPEN, 1, (PROBED, TRIPPED), AT),
        (OPEN, 0, (PROBED,), None),
    ],
)
def test_since_when_calls_are_refused(
    state: BreakerState, probing: int, transitions: tuple[BreakerTransition, ...], since: datetime | None
) -> None:
    """Since the breaker tripped, whatever was probed since then; of several pools, since the first did."""
    report = pools().pool_for("/").report(None)
    breaker = BreakerReport(
        state=state,
        calls=0,
        failures=0,
        failure_percent=None,
        minimum_calls=20,
        window_seconds=10.0,
        trips_total=1,
        next_probe_in_seconds=None,
        reason=None,
        probing=probing,
        prober=None,
        transitions=transitions,
    )
    later = replace(TRIPPED, at=AT + timedelta(days=1))
    other = replace(breaker, state=OPEN, transitions=(later,))
    without = replace(report, breaker=None)
    assert refused_since([without, replace(report, breaker=breaker)]) == since
    assert refused_since([replace(report, breaker=one) for one in (breaker, other)]) == (since or later.at)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (200, None),
        (299, None),
        (404, None),
        (400, "status_4xx"),
        (409, "status_4xx"),
        (429, "status_429"),
        (500, "status_5xx"),
        (503, "status_5xx"),
    ],
)
def test_what_is_a_failure(status: int, failure: str | None) -> None:
    """2xx and 404 answer the question; everything else is a failure of a kind."""
    counters = PoolCounters()
    counters.answered("search", status, 0.1)
    report = counters.report()
    assert {kind for kind, number in report["failures"].items() if number} == ({failure} if failure else set())
    assert report["failures_total"] == report["calls"]["search"].failures_total == (failure is not None)


def test_searches_of_a_minute() -> None:
    """The searches that ended in that minute are told, with those that failed; other calls and other minutes aren't."""
    counters = PoolCounters()
    first = minute_now()
    for kind, got in (("search", Got.FAILURE), ("bulk", Got.FAILURE), ("msearch", Got.REFUSAL)):
        counters.call_ended(kind, got, 0.1)
    assert minutes_together(map(counters.whole_minute, range(first, minute_now() + 1))) == MinuteCounts(calls=2, bad=2)
    assert counters.whole_minute(first - 1) == MinuteCounts()


ANSWERS = st.tuples(st.sampled_from(["search", "bulk"]), st.sampled_from([200, 404, 503, "tls"]), st.floats(0, 100))


@given(st.lists(ANSWERS, min_size=1))
def test_report_of_answers(answers: list[tuple[str, int | str, float]]) -> None:
    """The report has the share of successes and counts each kind of call apart; the kinds make up the whole."""
    counters = PoolCounters()
    for kind, status, seconds in answers:
        counters.sent(kind, 3)
        if isinstance(status, int):
            counters.answered(kind, status, seconds)
        else:
            counters.failed(kind, status)
    report = counters.report()
    good = sum(status in (200, 404) for _, status, _ in answers)
    assert report["success_percent"] == pytest.approx(100 * good / len(answers))
    assert report["failures_total"] == sum(report["failures"].values()) == len(answers) - good
    assert report["sent_bytes_total"] == 3 * len(answers)
    for name, total in (("requests_total", len(answers)), ("failures_total", len(answers) - good)):
        assert report[name] == sum(getattr(calls, name) for calls in report["calls"].values()) == total
    assert report["latency"].samples == good
    assert report["failed_latency"].samples == sum(status == 503 for _, status, _ in answers)
    for kind, calls in report["calls"].items():
        assert calls.requests_total == sum(kind == other for other, _, _ in answers)
