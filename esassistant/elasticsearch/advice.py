"""Advice on settings from the reports of the connection pools. Pure functions."""

from collections.abc import Iterable, Mapping

from esassistant.advice import Advice, NotEnoughData, Rule, judge, percent
from esassistant.config.pools import DEFAULT_POOL, LARGEST_POOL, PoolRule
from esassistant.elasticsearch.stats import PoolReport

ENOUGH_REQUESTS = 100
REFUSED_PERCENT = 1.0
TIMEOUTS_PERCENT = 5.0
OVERFLOW_PERCENT = 10.0
NEW_CONNECTIONS_PERCENT = 50.0
OVERLOADED_PERCENT = 1.0
TOO_SLOW = "The cluster answers too slowly for so many calls at once."


def pool_rules(listed: tuple[PoolRule, ...]) -> Rule:
    """Return the rule for the pools of a client.

    Args:
        listed: The pools of `ELASTICSEARCH_POOLS`. Settings can change these and `default`, but no others.
    """

    def advise(pools: Mapping[str, PoolReport]) -> Iterable[Advice]:
        for name, pool in pools.items():
            yield from _advise(name, pool, listed)

    return advise


def _advise(name: str, pool: PoolReport, listed: tuple[PoolRule, ...]) -> Iterable[Advice]:
    attempts = pool.requests_total
    refused = pool.rejected["pool_timeout"] + pool.rejected["pool_exhausted"]
    if attempts + refused < ENOUGH_REQUESTS:
        yield NotEnoughData(f"pools.{name}", attempts + refused, ENOUGH_REQUESTS, "calls")
        return
    timeouts = percent(pool.failures["request_timeout"] + pool.failures["connect_timeout"], attempts)
    overloaded = percent(pool.failures["status_429"], attempts)
    # More calls at once would not help a cluster that can't keep up with the present ones.
    is_behind = (timeouts or 0.0) > TIMEOUTS_PERCENT or (overloaded or 0.0) > OVERLOADED_PERCENT
    more = None if is_behind else _sized(name, pool, min(LARGEST_POOL, 2 * pool.max_connections), listed)
    yield from judge(
        f"pools.{name}.refused_percent",
        percent(refused, attempts + refused),
        REFUSED_PERCENT,
        attempts + refused,
        ENOUGH_REQUESTS,
        "calls",
        "Calls found their pool full and were refused. " + ("It needs more connections." if more else TOO_SLOW),
        more,
        f"Calls found their pool full and were refused. {TOO_SLOW}",
    )
    yield from judge(
        f"pools.{name}.overflow_percent",
        percent(pool.overflow_total, attempts),
        OVERFLOW_PERCENT,
        attempts,
        ENOUGH_REQUESTS,
        "attempts",
        "Many calls got a connection beyond the pool's size, which is made and closed for each. "
        + ("A larger pool keeps it." if more else TOO_SLOW),
        more,
        f"Many calls got a connection beyond the pool's size, which is made and closed for each. {TOO_SLOW}",
    )
    yield from judge(
        f"pools.{name}.timeouts_percent",
        timeouts,
        TIMEOUTS_PERCENT,
        attempts,
        ENOUGH_REQUESTS,
        "attempts",
        "Many calls get no answer in time, or no connection. Look at the cluster's load, and at the way to it: a "
        "longer timeout only means longer waits.",
        None,
    )
    yield from judge(
        f"pools.{name}.overloaded_percent",
        overloaded,
        OVERLOADED_PERCENT,
        attempts,
        ENOUGH_REQUESTS,
        "attempts",
        "The cluster refuses calls (429), as its queues are full or its memory is short. Ask less at once, or give "
        "it more nodes.",
        _fewer(name, pool, listed),
    )
    # The first connections say nothing, and overflow is judged above. Idle connections are kept for a minute; only with
    # enough traffic can we tell whether they last that long.
    renewed = max(0, pool.connections_created_total - pool.overflow_total - pool.max_connections)
    yield from judge(
        f"pools.{name}.new_connections_percent",
        percent(renewed, attempts),
        NEW_CONNECTIONS_PERCENT,
        pool.latency.samples,
        ENOUGH_REQUESTS,
        "answers in five minutes",
        "Most calls make a new connection, though idle ones are kept for a minute: something between here and the "
        "cluster closes them earlier. Raise its limit.",
        None,
    )


def _can_be_set(name: str, listed: tuple[PoolRule, ...]) -> bool:
    return name == DEFAULT_POOL or any(rule.name == name for rule in listed)


def _fewer(name: str, pool: PoolReport, listed: tuple[PoolRule, ...]) -> str | None:
    """Return the line that lowers the number of calls of a pool that may be under way at once."""
    if pool.max_overflow and _can_be_set(name, listed):
        return "ELASTICSEARCH_POOL_BLOCK=true"  # with a smaller pool, more calls would only overflow
    return _sized(name, pool, max(1, pool.max_connections // 2), listed)


def _sized(name: str, pool: PoolReport, size: int, listed: tuple[PoolRule, ...]) -> str | None:
    """Return the line that sets the size of a pool; None if it has that size already, or has no setting."""
    if size == pool.max_connections or not _can_be_set(name, listed):
        return None
    if not any(rule.name == name for rule in listed):
        return f"ELASTICSEARCH_POOL_MAXSIZE={size}"
    sizes = ((rule, size if rule.name == name else rule.maxsize) for rule in listed)
    return "ELASTICSEARCH_POOLS=" + ";".join(
        f"{rule.name}={','.join(rule.patterns)}:{wanted}" for rule, wanted in sizes
    )
