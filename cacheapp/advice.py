"""Rules that recommend settings, from the reports of the mapping cache, its passes, its watch, its history and
webhooks. Pure.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cacheapp.change_reports import TargetState, WebhooksReport
from cacheapp.reports import (
    CacheReport,
    FieldLimitsReport,
    PassOutcome,
    RefresherReport,
    RefreshReport,
    StoreReport,
    WatchReport,
    WatchState,
)
from cacheapp.sync.schedule import LONGEST_RETRY_SECONDS
from esassistant.advice import Advice, Recommendation, Rule, judge, percent, raised
from esassistant.config.model import LONGEST_NEGATIVE_TTL_SECONDS, LONGEST_SECONDS, MOST_CACHE_BYTES, MappingCacheConfig
from esassistant.followed_file import kept_entries

if TYPE_CHECKING:
    from cacheapp.change_reports import HistoryReport  # imports models, which Django loads later

ENOUGH_ANSWERS = 200
STALE_PERCENT = 5.0
MISSES_PERCENT = 20.0
PASS_PERCENT = 50.0
FULL_PERCENT = 80.0
FAILING_SECONDS = 300.0
DAY_SECONDS = 86_400


def cache_rules(config: MappingCacheConfig) -> Rule:
    """Return the rules for the mapping cache under `config`."""

    def advise(cache: CacheReport) -> Iterable[Advice]:
        answers = cache.answers
        answered = answers.hits_total + answers.misses_total
        why, setting = _of_misses(cache, config)
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
            "Many answers are older than the TTL. Either passes fail (`refresh.last` of /api/cache/stats says why), or "
            "the TTL is too short for them.",
            raised(
                "MAPPING_CACHE_TTL", 1.5 * max(config.ttl, 1.25 * config.refresh_interval), config.ttl, LONGEST_SECONDS
            ),
        )

    return advise


def _of_misses(cache: CacheReport, config: MappingCacheConfig) -> tuple[str, str | None]:
    """Return why many answers wait for the cluster, and the line of settings that makes them fewer (None: no setting
    does).
    """
    misses = cache.answers.misses_total
    if 2 * cache.answers.failures_total >= misses:
        return "Many answers wait for the cluster, which can't be read: health says what is wrong with it.", None
    if 2 * cache.evictions_total >= misses:
        why = "mappings that were dropped to stay within the bytes allowed are asked for again."
        setting = raised("MAPPING_CACHE_MAX_BYTES", 2 * config.max_bytes, config.max_bytes, MOST_CACHE_BYTES)
    elif config.ttl + config.max_stale <= (config.refresh_interval or DAY_SECONDS):
        why = "what is known grows too old to be answered before a pass renews it."
        setting = raised("MAPPING_CACHE_MAX_STALE", DAY_SECONDS, config.max_stale, LONGEST_SECONDS)
    else:
        why = "names that don't exist, or are excluded, are asked for again and again."
        longer = max(60, 2 * config.negative_ttl)
        setting = raised("MAPPING_CACHE_NEGATIVE_TTL", longer, config.negative_ttl, LONGEST_NEGATIVE_TTL_SECONDS)
    return f"Many answers wait for the cluster: {why}", setting


def refresh_rules(config: MappingCacheConfig, redis_url: str) -> Rule:
    """Return the rules for passes under `config`, and for the store through which their results are shared.

    `redis_url`: empty if the store is the database.
    """
    what, setting = ("Redis", "REDIS_URL") if redis_url else ("the database", "DATABASE_URL")

    def advise(refresh: RefresherReport) -> Iterable[Advice]:
        if refresh.last is not None:
            yield from _of_last(refresh.last, config)
            # A failed pass is tried again within moments. If it isn't, another process has read everything since.
            is_due = (refresh.next_refresh_in_seconds or 0.0) <= LONGEST_RETRY_SECONDS
            if refresh.last.outcome is PassOutcome.FAILED and is_due:
                yield Recommendation(
                    "refresh.last.outcome",
                    1,
                    0,
                    1,
                    "passes",
                    "The last pass failed, and mappings grow stale: `refresh.last.error` of /api/cache/stats says why.",
                    None,
                )
        if refresh.store_error is not None:
            yield Recommendation(
                "refresh.store_error",
                1,
                0,
                1,
                "stores",
                "The store can't be used, so that each process reads the cluster for itself and shares nothing. Start "
                f"{what}, or correct {setting}.",
                None,
            )

    return advise


def _of_last(last: RefreshReport, config: MappingCacheConfig) -> Iterable[Advice]:
    if last.outcome is PassOutcome.PARTIAL:
        yield Recommendation(
            "refresh.last.failed_total",
            last.failed_total,
            0,
            last.indices_total or last.failed_total,
            "indices",
            "In the last pass of this process some mappings could not be read, and stay as they were: "
            "`refresh.last.errors` of /api/cache/stats names them, and says why.",
            None,
        )
    if last.outcome in (PassOutcome.COMPLETED, PassOutcome.PARTIAL) and config.refresh_interval:
        yield from judge(
            "refresh.last.duration_percent_of_interval",
            percent(last.duration_seconds, config.refresh_interval),
            PASS_PERCENT,
            1,
            1,
            "passes",
            "A full pass takes most of the time to the next one: the cluster hardly rests from it. Fewer passes, and "
            "a TTL that lasts from one to the next.",
            _less_often(last.duration_seconds, config),
        )


def _less_often(pass_seconds: float, config: MappingCacheConfig) -> str | None:
    """Return the lines of settings with which a pass runs for only a quarter of the time between two passes, and
    mappings don't become stale in that time. None if the interval can't be raised.
    """
    interval = min(4 * pass_seconds, 0.75 * LONGEST_SECONDS)
    lines = (
        raised("MAPPING_CACHE_REFRESH_INTERVAL", interval, config.refresh_interval, LONGEST_SECONDS),
        raised("MAPPING_CACHE_TTL", 1.25 * math.ceil(interval), config.ttl, LONGEST_SECONDS),
    )
    return None if lines[0] is None else "\n".join(filter(None, lines))


def watch_rules(watch: WatchReport) -> Iterable[Advice]:
    """Recommend switching the watch off if the cluster refuses it."""
    if watch.state is WatchState.REFUSED:
        yield Recommendation(
            "watch.state",
            1,
            0,
            watch.requests_total,
            "requests",
            "The cluster doesn't let us wait for changes. Grant the cluster privilege `monitor`, or don't try.",
            "MAPPING_CACHE_WATCH=false",
        )


def history_rules(history: "HistoryReport") -> Iterable[Advice]:
    """Recommend repairing the database if passes or changes are missing from the history."""
    if history.lost_total:
        yield Recommendation(
            "history.lost_total",
            history.lost_total,
            0,
            history.rows_written_total + history.lost_total,
            "rows written or notes lost",
            "Passes or changes of mappings are missing from the history, as the database was away or too slow. Start "
            "it, or correct DATABASE_URL, if it is still away.",
            None,
        )


def store_rules(store: StoreReport) -> Iterable[Advice]:
    """Recommend what to do if the store refuses writes, or if it holds values that this service didn't write."""
    if not store.writable:
        yield Recommendation(
            "store.write_error",
            1,
            0,
            store.refused_writes_total,
            "refused writes",
            f"{store.write_error} Until a write succeeds, what one process learns stays unknown to the others.",
            None,
        )
    if store.poisoned_total:
        yield Recommendation(
            "store.poisoned_total",
            store.poisoned_total,
            0,
            store.poisoned_total,
            "values",
            "Something else writes to the place in Redis that this deployment keeps its state in; what it wrote was "
            "ignored. Give each deployment a database number or a password of its own in REDIS_URL."
            if store.kind == "redis"
            else "Rows in the database are not what this service writes: somebody edited them, or the database was "
            "damaged. They are ignored; the next pass that publishes replaces them.",
            None,
        )


def field_limit_rules(limits: FieldLimitsReport) -> Iterable[Advice]:
    """Recommend what to do if a family is near its limit of fields."""
    full = [
        (name, one)
        for name, one in (limits.families or {}).items()
        if (percent(one.fields, one.limit) or 0) > FULL_PERCENT
    ]
    if not full:
        return
    (family, one), *others = full
    rest = f" {len(others)} more of the families are so full: `field_limits` of /api/cache/stats." if others else ""
    yield Recommendation(
        "field_limits.fullest_percent",
        100.0 * one.fields / one.limit,
        FULL_PERCENT,
        one.limit,
        "fields",
        f"{one.index!r} of the family {family!r} has {one.fields} of the {one.limit} fields that it may have. At the "
        "limit Elasticsearch refuses documents with new fields. Often keys of data have become names of fields: map "
        "such objects as `flattened`, or with `dynamic` false. If all fields are wanted, raise "
        f"`index.mapping.total_fields.limit` in the index and its template.{rest}",
        None,
    )


def webhook_rules(webhooks: WebhooksReport) -> Iterable[Advice]:
    """Recommend what to do if the file of targets is not in force, or if a target takes no events."""
    if webhooks.error is not None:
        why = kept_entries("ESASSISTANT_WEBHOOKS", webhooks.error)
        yield Recommendation("webhooks.error", 1, 0, webhooks.reads_total, "reads", why, None)
    for name, target in webhooks.targets.items():
        if target.state is TargetState.PAUSED:
            yield Recommendation(
                f"webhooks.targets.{name}.state",
                1,
                0,
                target.attempts_total,
                "attempts",
                f"The receiver {name!r} answered 410, so that nothing is sent to it any more. Take it out of the file "
                "of ESASSISTANT_WEBHOOKS, or write the file again (`touch` will do) to go on where it ended.",
                None,
            )
        elif (target.failing_seconds or 0) > FAILING_SECONDS:
            yield Recommendation(
                f"webhooks.targets.{name}.failing_seconds",
                target.failing_seconds or 0,
                FAILING_SECONDS,
                target.attempts_total,
                "attempts",
                f"The receiver {name!r} takes no events: {target.error}. Mend it, or correct its entry in the file of "
                "ESASSISTANT_WEBHOOKS. What it misses waits in the history, whose newest 10,000 changes are kept.",
                None,
            )
