"""The counters behind a pool's report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.elasticsearch.stats import PoolCounters


def test_nothing_is_claimed_before_the_first_answer() -> None:
    """Without answers there is no success rate and no latency, instead of a flattering 0 or 100."""
    report = PoolCounters(7).report()
    assert (report.success_percent, report.latency_mean_seconds, report.latency_max_seconds) == (None, None, None)
    assert (report.max_connections, report.requests_total, report.failures_total) == (7, 0, 0)


@pytest.mark.parametrize(
    ("status", "failure"),
    [(200, False), (299, False), (404, False), (300, True), (400, True), (429, True), (503, True)],
)
def test_what_is_a_failure(status: int, failure: bool) -> None:
    """2xx and 404 answer the question; everything else is a failure."""
    counters = PoolCounters(1)
    counters.answered(status, 0.1)
    assert counters.failures_total == failure


@given(st.lists(st.tuples(st.sampled_from([200, 404, 503]), st.floats(0, 100)), min_size=1))
def test_report_of_answers(answers: list[tuple[int, float]]) -> None:
    """The report has the share of successes, and the mean and the worst latency of all answers."""
    counters = PoolCounters(1)
    for status, seconds in answers:
        counters.requests_total += 1
        counters.answered(status, seconds)
    report = counters.report()
    good = sum(status != 503 for status, _ in answers)
    assert report.success_percent == pytest.approx(100 * good / len(answers))
    assert report.latency_mean_seconds == pytest.approx(sum(seconds for _, seconds in answers) / len(answers))
    assert report.latency_max_seconds == max(seconds for _, seconds in answers)
