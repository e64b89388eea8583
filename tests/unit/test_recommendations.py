"""Recommendations: each fires on the numbers that it is about, and is silent on all others."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.elasticsearch.stats import PoolReport
from healthapp.recommendations import ENOUGH_REQUESTS, FAILURE_PERCENT, recommend
from tests.unit.conftest import pools

QUIET = pools("default", maxsize=50).of("/").report(None)


def pool(requests: int, timeouts: int) -> PoolReport:
    to_connect = timeouts // 3
    failures = {**QUIET.failures, "connect_timeout": to_connect, "request_timeout": timeouts - to_connect}
    return replace(QUIET, requests_total=requests, failures=failures, failures_total=timeouts)


def test_timeouts() -> None:
    """More than 5 % of calls without an answer in time are worth a remark, which tells metric, value and sample."""
    (found,) = recommend({"default": pool(1000, 51), "health": QUIET})
    assert (found.metric, found.value, found.threshold) == ("pools.default.timeouts_percent", 5.1, FAILURE_PERCENT)
    assert found.sample_size == 1000
    assert found.setting is None
    assert found.why


def test_each_pool_for_itself() -> None:
    """Pools are judged one by one, in their order."""
    found = recommend({"default": pool(100, 100), "cache": pool(100, 0), "health": pool(200, 20)})
    assert [one.metric for one in found] == ["pools.default.timeouts_percent", "pools.health.timeouts_percent"]


def test_silent_on_threshold() -> None:
    """Exactly 5 % is still in order."""
    assert recommend({"default": pool(100, 5)}) == ()


def test_silent_without_pools() -> None:
    """No pools, no advice."""
    assert recommend({}) == ()


@settings(deadline=None)
@given(st.integers(0, ENOUGH_REQUESTS - 1), st.data())
def test_silent_on_little_data(requests: int, data: st.DataObject) -> None:
    """However bad the numbers: as long as there are too few, nothing is said."""
    assert recommend({"default": pool(requests, data.draw(st.integers(0, requests)))}) == ()


@settings(deadline=None)
@given(st.integers(ENOUGH_REQUESTS, 10_000), st.data())
def test_fires_just_above_threshold(requests: int, data: st.DataObject) -> None:
    """With enough data there is advice exactly when the share is above the threshold."""
    timeouts = data.draw(st.integers(0, requests))
    assert bool(recommend({"default": pool(requests, timeouts)})) == (100 * timeouts > FAILURE_PERCENT * requests)
