"""Advice on pools and the access log: each rule speaks exactly beyond its threshold, and what it says helps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from esassistant.advice import NotEnoughData, Recommendation, judge, percent, raised
from esassistant.config.pools import LARGEST_POOL, PoolRule, parse_pools
from esassistant.durations import WINDOW_SECONDS, LatencyReport
from esassistant.elasticsearch.advice import pool_rules
from esassistant.elasticsearch.stats import PoolReport
from esassistant.http.access_log import AccessLogReport, access_log_rules
from tests.support.advising import not_enough, only, recommendations
from tests.support.clients import pools
from tests.support.fixtures import LoadSettings


def pool(
    *, failures: Mapping[str, int] | None = None, rejected: Mapping[str, int] | None = None, **fields: Any
) -> PoolReport:
    """A busy pool of 50 that is well, with changes."""
    quiet = pools(maxsize=50, block=False, overflow=50).pool_for("/").report(None)
    well = {
        "requests_total": 1000,
        "connections_created_total": 50,
        "connections_reused_total": 950,
        "latency": LatencyReport(WINDOW_SECONDS, 1000, 0.01, 0.02, 0.03, 0.04),
        "failures": {**quiet.failures, **(failures or {})},
        "rejected": {**quiet.rejected, **(rejected or {})},
    }
    return replace(quiet, **{**well, **fields})


def advise(report: PoolReport, name: str = "default", listed: tuple[PoolRule, ...] = ()) -> list[Any]:
    return list(pool_rules(listed)({name: report}))


@pytest.mark.parametrize(
    ("value", "sample_size", "expected"),
    [
        (5.0, 10, None),
        (-1.0, 10, None),
        (5.1, 9, NotEnoughData("m", 9, 10, "calls")),
        (None, 10, NotEnoughData("m", 10, 10, "calls")),
        (5.1, 10, Recommendation("m", 5.1, 5.0, 10, "calls", "Why.", "A=1")),
    ],
)
def test_judge(value: float | None, sample_size: int, expected: Recommendation | NotEnoughData | None) -> None:
    """It speaks above the threshold alone, and says so when it can't tell yet."""
    found = tuple(judge("m", value, 5.0, sample_size, 10, "calls", "Why.", "A=1"))
    assert found == (() if expected is None else (expected,))


def test_percent() -> None:
    """A share of nothing is unknown, not 0."""
    assert (percent(1, 4), percent(0, 4), percent(0, 0)) == (25.0, 0.0, None)


@pytest.mark.parametrize(
    ("wanted", "present", "line"), [(7.2, 5, "A=8"), (20, 5, "A=10"), (5, 5, None), (20, 10, None), (4.5, 5.0, None)]
)
def test_raised(wanted: float, present: float, line: str | None) -> None:
    """The line raises a setting to a whole number, never beyond what it takes; where it would not raise there is
    none.
    """
    assert raised("A", wanted, present, 10) == line


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "refused_percent": (
        {"requests_total": 990, "rejected": {"pool_timeout": 4, "pool_exhausted": 6}},
        {"requests_total": 990, "rejected": {"pool_timeout": 4, "pool_exhausted": 7}},
    ),
    "overflow_percent": ({"overflow_total": 100}, {"overflow_total": 101}),
    "timeouts_percent": (
        {"failures": {"request_timeout": 20, "connect_timeout": 30}},
        {"failures": {"request_timeout": 20, "connect_timeout": 31}},
    ),
    "overloaded_percent": ({"failures": {"status_429": 10}}, {"failures": {"status_429": 11}}),
    "new_connections_percent": (
        {"connections_created_total": 50 + 7 + 500, "overflow_total": 7},
        {"connections_created_total": 50 + 7 + 501, "overflow_total": 7},
    ),
}
"""By metric: what is just right, and what is beyond."""


@pytest.mark.parametrize("metric", CASES)
def test_pool_thresholds(metric: str) -> None:
    """Each rule for pools is silent at its threshold and speaks just beyond it, and no other speaks with it."""
    right, beyond = CASES[metric]
    assert advise(pool(**right)) == []
    [found] = advise(pool(**beyond))
    assert only([found], f"pools.default.{metric}") is found
    assert found.value == pytest.approx(found.threshold, abs=0.2)


def test_a_pool_that_is_well() -> None:
    """Of a pool that works there is nothing to say: the more calls, the less."""
    assert advise(pool()) == advise(pool(requests_total=10**9)) == []


@pytest.mark.parametrize(("attempts", "refused"), [(0, 0), (99, 0), (0, 99), (50, 49)])
def test_few_calls_say_nothing_of_a_pool(attempts: int, refused: int) -> None:
    """Below a hundred calls, refused ones included, all that is said of a pool is how many there were."""
    bad = pool(
        requests_total=attempts,
        rejected={"pool_exhausted": refused},
        failures={"request_timeout": attempts, "status_429": attempts},
        overflow_total=attempts,
    )
    assert advise(bad) == [NotEnoughData("pools.default", attempts + refused, 100, "calls")]


def test_a_pool_that_refuses_nearly_all() -> None:
    """Where hardly anything is sent, it is told that calls are refused, and what can't be judged of the others."""
    found = advise(pool(requests_total=10, rejected={"pool_exhausted": 90}))
    assert only(found, "pools.default.refused_percent").value == 90.0
    assert {advice.metric: advice.sample_size for advice in not_enough(found)} == {
        f"pools.default.{name}_percent": 10 for name in ("overflow", "timeouts", "overloaded")
    }


def test_new_connections_need_traffic() -> None:
    """A service that is seldom asked makes connections anew, as idle ones end after a minute: no sign of anything."""
    seldom = pool(connections_created_total=1000, latency=LatencyReport(WINDOW_SECONDS, 99, 0.1, 0.1, 0.1, 0.1))
    missing = NotEnoughData("pools.default.new_connections_percent", 99, 100, "answers in five minutes")
    assert advise(seldom) == [missing]


@pytest.mark.parametrize("metric", ["refused_percent", "overflow_percent"])
def test_a_larger_pool(metric: str, load_settings: LoadSettings) -> None:
    """Whose pool is too small gets the line that doubles it, which the settings accept."""
    found = only(advise(pool(**CASES[metric][1])), f"pools.default.{metric}")
    assert found.setting == "ELASTICSEARCH_POOL_MAXSIZE=100"
    assert load_settings(found.setting).elasticsearch.pools == (PoolRule("default", ("*",), 100),)


@pytest.mark.parametrize("failures", [{"request_timeout": 51}, {"status_429": 11}])
@pytest.mark.parametrize("metric", ["refused_percent", "overflow_percent"])
def test_more_connections_do_not_help_a_cluster_that_is_behind(metric: str, failures: dict[str, int]) -> None:
    """While calls time out, or the cluster refuses them, no advice asks more of it at once."""
    found = advise(pool(**{**CASES[metric][1], "failures": failures}))
    advice = only(found, f"pools.default.{metric}")
    assert (advice.setting, "too slowly" in advice.why) == (None, True)
    assert len(recommendations(found)) == 2
    assert not any("MAXSIZE" in (each.setting or "") for each in recommendations(found))


def test_less_at_once(load_settings: LoadSettings) -> None:
    """A cluster that refuses calls is asked less at once: first without overflow, and then by a smaller pool."""
    refused = CASES["overloaded_percent"][1]
    first = only(advise(pool(**refused)), "pools.default.overloaded_percent").setting
    assert (first, load_settings(first).elasticsearch.pool_block) == ("ELASTICSEARCH_POOL_BLOCK=true", True)
    then = only(advise(pool(**refused, blocks=True, max_overflow=0)), "pools.default.overloaded_percent").setting
    assert load_settings(then).elasticsearch.pools == (PoolRule("default", ("*",), 25),)
    smallest = pool(**refused, blocks=True, max_overflow=0, max_connections=1)
    assert only(advise(smallest), "pools.default.overloaded_percent").setting is None


@pytest.mark.parametrize("name", ["cache", "health", "watch"])
@pytest.mark.parametrize("metric", CASES)
def test_pools_of_our_own_cannot_be_set(metric: str, name: str) -> None:
    """Of pools whose size is fixed the same is told, without a line that would change nothing."""
    assert only(advise(pool(**CASES[metric][1]), name), f"pools.{name}.{metric}").setting is None


def test_the_largest_pool() -> None:
    """A pool that is as large as may be gets no line."""
    largest = pool(**CASES["overflow_percent"][1], max_connections=LARGEST_POOL)
    assert only(advise(largest), "pools.default.overflow_percent").setting is None
    large = pool(**CASES["overflow_percent"][1], max_connections=LARGEST_POOL - 1)
    assert only(advise(large), "pools.default.overflow_percent").setting == "ELASTICSEARCH_POOL_MAXSIZE=10000"


LISTED = "logs=logs-*,metrics-*:30;audit=other:audit-*:4;default=*:20"


@pytest.mark.parametrize(
    ("listed", "name", "line"),
    [
        (LISTED, "logs", "ELASTICSEARCH_POOLS=logs=logs-*,metrics-*:60;audit=other:audit-*:4;default=*:20"),
        (LISTED, "default", "ELASTICSEARCH_POOLS=logs=logs-*,metrics-*:30;audit=other:audit-*:4;default=*:40"),
        ("logs=logs-*:30", "logs", "ELASTICSEARCH_POOLS=logs=logs-*:60"),
        ("logs=logs-*:30", "default", "ELASTICSEARCH_POOL_MAXSIZE=100"),
        ("default=*:20", "default", "ELASTICSEARCH_POOLS=default=*:40"),
    ],
)
def test_other_pools_are_kept(listed: str, name: str, line: str, load_settings: LoadSettings) -> None:
    """With several pools the line changes the one that it is about, where its size is set; all others stay."""
    before = {rule.name: rule for rule in load_settings(f"ELASTICSEARCH_POOLS={listed}").elasticsearch.pools}
    report = pool(**CASES["overflow_percent"][1], max_connections=before[name].maxsize)
    advice = only(advise(report, name, parse_pools(listed)), f"pools.{name}.overflow_percent")
    assert advice.setting == line
    after = {rule.name: rule for rule in load_settings(f"ELASTICSEARCH_POOLS={listed}", line).elasticsearch.pools}
    assert after == {**before, name: replace(before[name], maxsize=2 * before[name].maxsize)}


def test_as_many_pools_as_may_be(load_settings: LoadSettings) -> None:
    """With sixteen pools listed, the seventeenth, which takes the rest, gets a line that is accepted too."""
    listed = ";".join(f"p{number}=p{number}-*:5" for number in range(16))
    report = pool(**CASES["overflow_percent"][1])
    line = only(advise(report, "default", parse_pools(listed)), "pools.default.overflow_percent").setting
    loaded = load_settings(f"ELASTICSEARCH_POOLS={listed}", line).elasticsearch.pools
    assert loaded == (*parse_pools(listed), PoolRule("default", ("*",), 100))


SIZES = st.integers(1, LARGEST_POOL)


@given(st.lists(SIZES, min_size=1, max_size=16), st.data())
def test_any_pools(sizes: list[int], data: st.DataObject) -> None:
    """Whatever the pools and whichever is advised on: the line is one that is accepted, and changes that one alone, in
    the right direction.
    """
    listed = tuple(PoolRule(f"p{number}", (f"p{number}-*",), size) for number, size in enumerate(sizes))
    rule = data.draw(st.sampled_from(listed))
    metric = data.draw(st.sampled_from(["overflow_percent", "overloaded_percent"]))
    report = pool(**CASES[metric][1], max_connections=rule.maxsize, max_overflow=0)
    setting = only(advise(report, rule.name, listed), f"pools.{rule.name}.{metric}").setting
    if setting is None:
        assert rule.maxsize == (LARGEST_POOL if metric == "overflow_percent" else 1)
        return
    after = parse_pools(setting.removeprefix("ELASTICSEARCH_POOLS="))
    [changed] = set(after) - set(listed)
    assert [each.name for each in after] == [each.name for each in listed]
    assert replace(changed, maxsize=rule.maxsize) == rule
    assert (changed.maxsize > rule.maxsize) == (metric == "overflow_percent")


def test_each_pool_is_judged_apart() -> None:
    """One pool's trouble is told of that one alone."""
    found = list(pool_rules(())({"cache": pool(), "default": pool(**CASES["overflow_percent"][1])}))
    assert [advice.metric for advice in found] == ["pools.default.overflow_percent"]


@pytest.mark.parametrize("line", ["ELASTICSEARCH_POOL_MAXSIZE=0", "ELASTICSEARCH_POOLS=a:5"])
def test_bad_lines_are_refused(line: str, load_settings: LoadSettings) -> None:
    """What these tests hold of lines holds something: bad ones don't load."""
    with pytest.raises(ImproperlyConfigured):
        load_settings(line)


def test_lines_lost_of_the_access_log() -> None:
    """A single line lost is told; none is nothing to tell, and before the first there is nothing to judge."""
    metric = "access_log.lost_lines_total"
    assert list(access_log_rules(AccessLogReport(0, 0))) == [NotEnoughData(metric, 0, 1, "lines")]
    assert list(access_log_rules(AccessLogReport(10**6, 0))) == []
    lost = only(access_log_rules(AccessLogReport(999, 1)), metric)
    assert (lost.value, lost.sample_size, lost.setting) == (1, 1000, None)
