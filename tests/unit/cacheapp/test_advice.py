"""Advice on the mapping cache, its passes, its watch and its history: spoken exactly when it is due, and of use."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheapp.advice import (
    cache_rules,
    field_limit_rules,
    history_rules,
    refresh_rules,
    store_rules,
    watch_rules,
    webhook_rules,
)
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.change_reports import HistoryReport, TargetReport, TargetState, WebhooksReport
from cacheapp.errors import MappingNotFound
from cacheapp.reports import (
    CacheReport,
    FamilyFields,
    FieldLimitsReport,
    PassOutcome,
    RefresherReport,
    RefreshReport,
    StoreReport,
    WatchReport,
    WatchState,
)
from esassistant.advice import Advice, NotEnoughData
from esassistant.clock import now_utc
from esassistant.config.model import MappingCacheConfig
from tests.support.advising import only, recommendations
from tests.support.fakes import FakeClock, FakeReader, Instance, MemoryStore, cache_config, spawn
from tests.support.fixtures import LoadSettings

# As the settings are where nothing is set.
PLAIN = cache_config(ttl=300.0, max_stale=86_400.0, negative_ttl=5.0, max_bytes=268_435_456)
MISSES = "mapping_cache.misses_percent"
STALE = "mapping_cache.stale_served_percent"
DURATION = "refresh.last.duration_percent_of_interval"


def cache_report(*, evictions_total: int = 0, **counts: int) -> CacheReport:
    """A cache that answered a thousand times from memory, with changes."""
    report = MappingCache(FakeReader(), PLAIN, spawn, clock=FakeClock()).report()
    answers = replace(report.answers, **{"hits_total": 1000, **counts})
    return replace(report, answers=answers, evictions_total=evictions_total)


def of_cache(report: CacheReport, config: MappingCacheConfig = PLAIN) -> list[Advice]:
    return list(cache_rules(config)(report))


def refresh_stats(
    outcome: PassOutcome | None, *, duration: float = 1.0, due_in: float | None = 200.0, **of: Any
) -> RefresherReport:
    """A refresher whose last pass over ten indices ended that way."""
    clock = FakeClock()
    report = Instance(FakeReader(), MemoryStore(clock), clock).refresher.report()
    last = (
        None
        if outcome is None
        else RefreshReport(
            id="a",
            outcome=outcome,
            trigger="schedule",
            started_at=now_utc(),
            duration_seconds=duration,
            indices_total=of.pop("indices_total", 10),
            read_total=8,
            changed_total=0,
            removed_total=0,
            failed_total=2 if outcome is PassOutcome.PARTIAL else 0,
            requests_total=5,
            published=True,
            error=None,
            errors=(),
        )
    )
    return replace(report, last=last, next_refresh_in_seconds=due_in, **of)


def metrics(found: Iterable[Advice]) -> list[str]:
    return [advice.metric for advice in found]


def of_passes(report: RefresherReport, **config: Any) -> list[Advice]:
    return list(refresh_rules(replace(PLAIN, **config), "")(report))


@pytest.mark.parametrize(
    ("metric", "right", "beyond"),
    [
        (MISSES, {"misses_total": 250}, {"misses_total": 251}),
        (STALE, {"stale_served_total": 50}, {"stale_served_total": 51}),
    ],
)
def test_cache_thresholds(metric: str, right: dict[str, int], beyond: dict[str, int]) -> None:
    """Each rule for the cache is silent at its threshold, and speaks just beyond it alone."""
    assert of_cache(cache_report(**right)) == []
    [found] = of_cache(cache_report(**beyond))
    assert only([found], metric) is found
    assert found.sample_size == 1000 + beyond.get("misses_total", 0)


def test_few_answers_say_nothing_of_the_cache() -> None:
    """Below two hundred answers nothing is judged, and this is said; from there on it is."""
    few = cache_report(hits_total=99, misses_total=100, stale_served_total=99)
    assert of_cache(few) == [NotEnoughData(metric, 199, 200, "answers") for metric in (MISSES, STALE)]
    enough = cache_report(hits_total=100, misses_total=100, stale_served_total=99)
    assert metrics(recommendations(of_cache(enough))) == [MISSES, STALE]


@pytest.mark.parametrize(
    ("counts", "config", "why", "setting"),
    [
        ({"evictions_total": 300}, {}, "dropped to stay within the bytes", "MAPPING_CACHE_MAX_BYTES=536870912"),
        ({"evictions_total": 299}, {}, "don't exist", "MAPPING_CACHE_NEGATIVE_TTL=60"),
        ({"evictions_total": 300}, {"max_bytes": 2**40}, "dropped", None),
        ({}, {"negative_ttl": 90.5}, "don't exist", "MAPPING_CACHE_NEGATIVE_TTL=181"),
        ({}, {"negative_ttl": 3599.0}, "don't exist", "MAPPING_CACHE_NEGATIVE_TTL=3600"),
        ({}, {"negative_ttl": 3600.0}, "don't exist", None),
        ({"failures_total": 300}, {"max_stale": 0.0, "ttl": 10.0}, "which can't be read", None),
        ({}, {"max_stale": 0.0, "ttl": 240.0}, "too old to be answered", "MAPPING_CACHE_MAX_STALE=86400"),
        ({}, {"max_stale": 0.0, "ttl": 241.0}, "don't exist", "MAPPING_CACHE_NEGATIVE_TTL=60"),
        ({}, {"max_stale": 0.0, "refresh_interval": 0.0}, "too old to be answered", "MAPPING_CACHE_MAX_STALE=86400"),
        ({}, {"refresh_interval": 0.0}, "don't exist", "MAPPING_CACHE_NEGATIVE_TTL=60"),
    ],
)
def test_why_answers_wait(
    counts: dict[str, int], config: dict[str, Any], why: str, setting: str | None, load_settings: LoadSettings
) -> None:
    """Misses have several causes: the advice is on the one that the numbers show, and its line is accepted."""
    advice = only(of_cache(cache_report(misses_total=600, **counts), replace(PLAIN, **config)), MISSES)
    assert (why in advice.why, advice.setting) == (True, setting)
    if setting is not None:
        name, _, value = setting.removeprefix("MAPPING_CACHE_").partition("=")
        assert getattr(load_settings(setting).mapping_cache, name.lower()) == float(value)


async def test_longer_remembered_absence_makes_fewer_misses() -> None:
    """What the advice on names that don't exist rests on: that a remembered 404 is answered from memory, and counts
    so.
    """
    clock = FakeClock()
    cache = MappingCache(FakeReader(), replace(PLAIN, negative_ttl=60.0), spawn, clock=clock)
    for _ in range(5):
        with pytest.raises(MappingNotFound):
            await cache.get("absent")
        clock.advance(10.0)
    assert (cache.report().answers.hits_total, cache.report().answers.misses_total) == (4, 1)


@pytest.mark.parametrize(
    ("config", "ttl"),
    [
        ({}, 450),
        ({"ttl": 100.0}, 450),
        ({"ttl": 0.5, "refresh_interval": 0.0}, 1),
        ({"ttl": 7 * 86_400.0 - 1}, 7 * 86_400),
        ({"ttl": 7 * 86_400.0}, None),
    ],
)
def test_a_longer_ttl(config: dict[str, Any], ttl: int | None, load_settings: LoadSettings) -> None:
    """Stale answers ask for a TTL that lasts well beyond a pass, as far as one may be set."""
    advice = only(of_cache(cache_report(stale_served_total=1000), replace(PLAIN, **config)), STALE)
    assert advice.setting == (None if ttl is None else f"MAPPING_CACHE_TTL={ttl}")
    if ttl is not None:
        assert load_settings(advice.setting).mapping_cache.ttl == ttl


@pytest.mark.parametrize("outcome", [None, PassOutcome.COMPLETED, PassOutcome.UNCHANGED, PassOutcome.FAILED])
def test_passes_that_are_well(outcome: PassOutcome | None) -> None:
    """There is nothing to say of a pass that is done in time; nor of one that failed once another has succeeded since;
    nor before the first.
    """
    assert of_passes(refresh_stats(outcome)) == []


@pytest.mark.parametrize("outcome", [PassOutcome.COMPLETED, PassOutcome.PARTIAL])
def test_long_passes(outcome: PassOutcome, load_settings: LoadSettings) -> None:
    """A pass may take half of its interval. One that takes longer should run less often; nothing may grow stale by
    it.
    """
    assert DURATION not in metrics(of_passes(refresh_stats(outcome, duration=120.0)))
    advice = only(of_passes(refresh_stats(outcome, duration=120.5)), DURATION)
    assert advice.setting == "MAPPING_CACHE_REFRESH_INTERVAL=482\nMAPPING_CACHE_TTL=603"
    assert DURATION not in metrics(of_passes(refresh_stats(outcome, duration=120.5), refresh_interval=0.0))
    loaded = load_settings(advice.setting).mapping_cache
    assert (loaded.refresh_interval, loaded.ttl) == (482, 603)


def test_a_ttl_that_lasts_is_left_alone() -> None:
    """Where the TTL is long enough for fewer passes, it stays."""
    advice = only(of_passes(refresh_stats(PassOutcome.COMPLETED, duration=120.5), ttl=3600.0), DURATION)
    assert advice.setting == "MAPPING_CACHE_REFRESH_INTERVAL=482"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.floats(1.0, 604_800.0), st.floats(1.0, 604_800.0), st.floats(0.51, 50.0))
def test_any_long_pass(load_settings: LoadSettings, ttl: float, interval: float, share: float) -> None:
    """Whatever the settings and however long passes take: the lines are accepted, make passes fewer, and leave the TTL
    above the interval.
    """
    stats = refresh_stats(PassOutcome.COMPLETED, duration=share * interval)
    setting = only(of_passes(stats, ttl=ttl, refresh_interval=interval), DURATION).setting
    if setting is None:
        assert interval >= 0.75 * 604_800
        return
    lines = setting.splitlines()
    loaded = load_settings(*lines).mapping_cache
    assert loaded.refresh_interval > interval
    assert (loaded.ttl if len(lines) == 2 else ttl) > loaded.refresh_interval


@pytest.mark.parametrize(("due_in", "speaks"), [(0.0, True), (5.0, True), (5.1, False), (None, True)])
def test_failed_passes(due_in: float | None, speaks: bool) -> None:
    """A failed pass is told while the next one is due at once, or none at all: otherwise another process has done
    it.
    """
    found = of_passes(refresh_stats(PassOutcome.FAILED, duration=1000.0, due_in=due_in))
    assert metrics(found) == ["refresh.last.outcome"] * speaks
    assert not speaks or only(found, "refresh.last.outcome").setting is None


@pytest.mark.parametrize(("indices_total", "sample_size"), [(10, 10), (None, 2)])
def test_partial_passes(indices_total: int | None, sample_size: int) -> None:
    """Mappings that could not be read are told, with how many there are."""
    advice = only(
        of_passes(refresh_stats(PassOutcome.PARTIAL, indices_total=indices_total)), "refresh.last.failed_total"
    )
    assert (advice.value, advice.sample_size, advice.setting) == (2, sample_size, None)


def test_the_store_is_away() -> None:
    """A store that can't be used is told, whatever else, with the setting of the store that is in use."""
    report = refresh_stats(None, store_error="The store is down.")
    found = of_passes(report)
    assert only(found, "refresh.store_error").setting is None
    assert len(found) == 1
    assert only(found, "refresh.store_error").why.endswith("Start the database, or correct DATABASE_URL.")
    found = list(refresh_rules(PLAIN, "redis://127.0.0.1")(report))
    assert only(found, "refresh.store_error").why.endswith("Start Redis, or correct REDIS_URL.")


@pytest.mark.parametrize("state", WatchState)
def test_the_watch(state: WatchState, load_settings: LoadSettings) -> None:
    """Only a watch that the cluster refuses is better off; all else passes by itself, or health tells it."""
    found = list(watch_rules(WatchReport(state, None, 0, 0, 3, None, None)))
    assert len(found) == (state is WatchState.REFUSED)
    if found:
        assert load_settings(only(found, "watch.state").setting).mapping_cache.watch is False


def test_history_that_is_lost() -> None:
    """One note lost is told; none is nothing to tell."""
    assert list(history_rules(HistoryReport(1000, 0, 5))) == []
    advice = only(history_rules(HistoryReport(9, 1, 5)), "history.lost_total")
    assert (advice.value, advice.sample_size, advice.setting) == (1, 10, None)


def test_values_of_others_in_redis() -> None:
    """That somebody else writes to our place in Redis is told; that nobody does, not."""
    assert list(store_rules(StoreReport("redis", 0))) == []
    advice = only(store_rules(StoreReport("redis", 2)), "store.poisoned_total")
    assert (advice.value, advice.threshold, advice.sample_size, advice.setting) == (2, 0, 2, None)


def test_a_store_that_takes_no_writes() -> None:
    """The cause, which has the next step, is told as long as it lasts, with what it costs; no setting helps."""
    why = "Redis takes no writes: its memory is full (OOM)."
    refused = StoreReport("redis", 0, writable=False, write_error=why, refused_writes_total=3)
    advice = only(store_rules(refused), "store.write_error")
    assert (advice.value, advice.sample_size, advice.setting) == (1, 3, None)
    assert advice.why.startswith(why)
    assert list(store_rules(StoreReport("redis", 0, refused_writes_total=3))) == []


def of_fields(*counts: int) -> list[Advice]:
    families = {f"family-{number}": FamilyFields(f"i{number}", n, 20, n / 20) for number, n in enumerate(counts)}
    return list(field_limit_rules(FieldLimitsReport(families)))


def test_families_near_their_field_limit() -> None:
    """Above 80 %, the fullest is named with its fields and its limit, and how many more there are."""
    assert of_fields() == of_fields(16, 3) == list(field_limit_rules(FieldLimitsReport(None))) == []
    (one,) = recommendations(of_fields(17, 16))
    assert (one.metric, one.value, one.threshold, one.sample_size) == ("field_limits.fullest_percent", 85.0, 80.0, 20)
    assert "'i0' of the family 'family-0' has 17 of the 20 fields" in one.why
    assert "more of the families" not in one.why
    (several,) = recommendations(of_fields(20, 18, 17, 2))
    assert "2 more of the families" in several.why


def of_target(**values: Any) -> list[Advice]:
    report = TargetReport("h", TargetState.IDLE, 0, None, 0.0, None, 9, {}, 0, None, None)
    return list(webhook_rules(WebhooksReport(True, True, True, None, 1, {"registry": replace(report, **values)})))


def test_webhooks() -> None:
    """Said: a file that can't be used, a receiver that has taken nothing for minutes, one that is gone, and what to do;
    nothing of one that is well, or failed a moment ago, or is another process's.
    """
    assert of_target() == of_target(failing_seconds=300.0) == of_target(failing_seconds=None) == []
    advice = only(
        of_target(failing_seconds=301.0, error="it answered 500"), "webhooks.targets.registry.failing_seconds"
    )
    assert (advice.value, advice.threshold, advice.sample_size, advice.setting) == (301.0, 300.0, 9, None)
    assert "'registry' takes no events: it answered 500." in advice.why
    gone = only(of_target(state=TargetState.PAUSED, failing_seconds=999.0), "webhooks.targets.registry.state")
    assert "answered 410" in gone.why
    bad = WebhooksReport(True, False, False, "is not TOML", 1, {})
    advice = only(webhook_rules(bad), "webhooks.error")
    assert advice.why.startswith("ESASSISTANT_WEBHOOKS is not TOML. What it said before stays in force")
