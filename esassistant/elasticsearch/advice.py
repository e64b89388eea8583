"""What the pools' reports say of the settings. Pure functions."""

from collections.abc import Iterable, Mapping

from esassistant.advice import Advice, NotEnoughData, Rule, judge, percent
from esassistant.elasticsearch.routing import DEFAULT_POOL, LARGEST_POOL, PoolRule
from esassistant.elasticsearch.stats import PoolReport

ENOUGH_REQUESTS = 100
REFUSED_PERCENT = 1.0
TIMEOUTS_PERCENT = 5.0
OVERFLOW_PERCENT = 10.0
NEW_CONNECTIONS_PERCENT = 50.0
OVERLOADED_PERCENT = 1.0


def pool_rules(rules: tuple[PoolRule, ...]) -> Rule:
    """The rules for the pools of a client; those in `rules` can be set, any others can't."""

    def advise(pools: Mapping[str, PoolReport]) -> Iterable[Advice]:
        for name, pool in pools.items():
            yield from _advise(name, pool, rules)

    return advise


def _advise(name: str, pool: PoolReport, rules: tuple[PoolRule, ...]) -> Iterable[Advice]:
    refused = pool.rejected["pool_timeout"] + pool.rejected["pool_exhausted"]
    calls = pool.requests_total + refused
    if calls < ENOUGH_REQUESTS:
        yield NotEnoughData(f"pools.{name}", calls, ENOUGH_REQUESTS, "requests")
        return
    larger = _setting(name, min(LARGEST_POOL, 2 * pool.max_connections), rules)
    yield from judge(
        f"pools.{name}.refused_percent",
        percent(refused, calls),
        REFUSED_PERCENT,
        calls,
        ENOUGH_REQUESTS,
        "calls",
        "Calls found their pool full and were refused. More connections, unless the cluster is the bottleneck.",
        larger,
    )
    yield from judge(
        f"pools.{name}.overflow_percent",
        percent(pool.overflow_total, pool.requests_total),
        OVERFLOW_PERCENT,
        pool.requests_total,
        ENOUGH_REQUESTS,
        "requests",
        "Many calls got a connection beyond the pool's size, which is made and closed for each.",
        larger,
    )
    yield from judge(
        f"pools.{name}.timeouts_percent",
        percent(pool.failures["request_timeout"] + pool.failures["connect_timeout"], pool.requests_total),
        TIMEOUTS_PERCENT,
        pool.requests_total,
        ENOUGH_REQUESTS,
        "requests",
        "Many calls get no answer in time. Look at the cluster's load: a longer timeout only means longer waits.",
        None,
    )
    yield from judge(
        f"pools.{name}.overloaded_percent",
        percent(pool.failures["status_429"], pool.requests_total),
        OVERLOADED_PERCENT,
        pool.requests_total,
        ENOUGH_REQUESTS,
        "requests",
        "The cluster refuses calls because its queues are full (429). Ask less at once, or give it more nodes.",
        _setting(name, max(1, pool.max_connections // 2), rules),
    )
    yield from judge(
        f"pools.{name}.new_connections_percent",
        percent(pool.connections_created_total - pool.overflow_total, pool.requests_total),
        NEW_CONNECTIONS_PERCENT,
        pool.requests_total,
        ENOUGH_REQUESTS,
        "requests",
        "Most calls made a new connection. Something between here and the cluster closes idle ones early: raise its limit.",
        None,
    )


def _setting(name: str, size: int, rules: tuple[PoolRule, ...]) -> str | None:
    """The line that gives a pool that size; None for a pool that can't be set."""
    if name not in {rule.name for rule in rules}:
        return None
    if [rule.name for rule in rules] == [DEFAULT_POOL]:
        return f"ELASTICSEARCH_POOL_MAXSIZE={size}"
    sizes = ((rule, size if rule.name == name else rule.maxsize) for rule in rules)
    return "ELASTICSEARCH_POOLS=" + ";".join(
        f"{rule.name}={','.join(rule.patterns)}:{wanted}" for rule, wanted in sizes
    )
