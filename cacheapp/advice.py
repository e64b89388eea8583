"""What the reports of the mapping cache, its passes and its watch say of the settings. Pure functions."""

import math
from collections.abc import Iterable

from cacheapp.stats import CacheReport, Outcome, RefreshStats, WatchReport, WatchState
from esassistant.advice import Advice, Recommendation, Rule, judge, percent
from esassistant.config import MappingCacheConfig

ENOUGH_ANSWERS = 200
STALE_PERCENT = 5.0
MISSES_PERCENT = 20.0
PASS_PERCENT = 50.0


def cache_rules(config: MappingCacheConfig) -> Rule:
    """The rules for the mapping cache under `config`."""

    def advise(cache: CacheReport) -> Iterable[Advice]:
        answers = cache.answers
        answered = answers.hits_total + answers.misses_total
        if cache.evictions_total:
            why = f"{cache.evictions_total} mappings were dropped to stay within the bytes allowed, and many are asked for."
            setting = f"MAPPING_CACHE_MAX_BYTES={2 * config.max_bytes}"
        else:
            why = (
                "Many answers wait for the cluster though nothing was dropped: names that don't exist, or are excluded."
            )
            setting = f"MAPPING_CACHE_NEGATIVE_TTL={max(60, math.ceil(2 * config.negative_ttl))}"
        yield from judge(
            "mapping_cache.misses_percent",
            percent(answers.misses_total, answered),
            MISSES_PERCENT,
            answered,
            ENOUGH_ANSWERS,
            "answers",
            why,
            setting,
        )
        yield from judge(
            "mapping_cache.stale_served_percent",
            percent(answers.stale_served_total, answered),
            STALE_PERCENT,
            answered,
            ENOUGH_ANSWERS,
            "answers",
            "Many answers are older than the TTL. Either passes fail (see refresh.last), or the TTL is too short for them.",
            f"MAPPING_CACHE_TTL={math.ceil(max(config.ttl, 1.25 * config.refresh_interval) * 1.5)}",
        )

    return advise


def refresh_rules(config: MappingCacheConfig) -> Rule:
    """The rules for full passes under `config`."""

    def advise(refresh: RefreshStats) -> Iterable[Advice]:
        last = refresh.last
        if last is None or last.outcome not in (Outcome.COMPLETED, Outcome.PARTIAL) or not config.refresh_interval:
            return
        yield from judge(
            "refresh.last.duration_percent_of_interval",
            percent(last.duration_seconds, config.refresh_interval),
            PASS_PERCENT,
            1,
            1,
            "passes",
            "A full pass takes most of the time to the next one: the cluster hardly rests from it.",
            f"MAPPING_CACHE_REFRESH_INTERVAL={math.ceil(4 * last.duration_seconds)}",
        )

    return advise


def watch_rules(watch: WatchReport) -> Iterable[Advice]:
    """The rule for the watch: one that is refused is better off."""
    if watch.state is not WatchState.REFUSED:
        return
    yield Recommendation(
        "watch.requests_total",
        watch.requests_total,
        0,
        watch.requests_total,
        "requests",
        "The cluster doesn't let us wait for changes. Grant the cluster privilege `monitor`, or don't try.",
        "MAPPING_CACHE_WATCH=false",
    )
