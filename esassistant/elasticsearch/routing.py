"""Which pool a request belongs to, and of which kind it is: pure functions over its target."""

from collections.abc import Sequence
from urllib.parse import unquote

from esassistant.config.pools import DEFAULT_POOL, PoolRule, pattern_covers

KINDS = frozenset(
    {
        *("bulk", "cat", "cluster", "count", "create", "delete_by_query", "doc", "eql", "explain", "field_caps"),
        *("mapping", "mget", "msearch", "nodes", "pit", "query", "refresh", "reindex", "resolve", "scroll", "search"),
        *("settings", "source", "stats", "tasks", "termvectors", "update", "update_by_query", "validate"),
    }
)
"""Kinds of calls that are told apart: the first path segment that begins with `_`. All else is `index` or `other`, or
`LONG_POLL`.
"""
READS = frozenset({"count", "explain", "field_caps", "mget", "msearch", "search", "termvectors", "validate"})
"""Kinds that change nothing, though they may be sent by POST."""

LONG_POLL = "long_poll"
"""The kind of calls that wait on purpose, for a change: how long they take is no latency."""
WAITS = "wait_for_metadata_version="


def pool_of(target: str, rules: Sequence[PoolRule]) -> str:
    """The name of the pool for a request target: `default` for those that name no index, or indices of several
    pools.
    """
    found = {_pool_of_index(index, rules) for index in _indices(target)}
    return found.pop() if len(found) == 1 else DEFAULT_POOL


def _pool_of_index(index: str, rules: Sequence[PoolRule]) -> str:
    for rule in rules:
        if any(pattern_covers(index, pattern) for pattern in rule.patterns):
            return rule.name
    return DEFAULT_POOL


def _indices(target: str) -> list[str]:
    segment = target.partition("?")[0].lstrip("/").partition("/")[0]
    if segment.startswith("_"):
        return []
    return [unquote(index) for index in segment.replace("%2C", ",").replace("%2c", ",").split(",") if index]


def kind_of(target: str) -> str:
    """The kind of call, one of a bounded set."""
    path, _, query = target.partition("?")
    if WAITS in query:
        return LONG_POLL
    segments = path.strip("/").split("/")
    if segments[:2] == ["_search", "scroll"]:
        return "scroll"  # not a search: asking again would skip a page
    for segment in segments:
        if segment.startswith("_"):
            return segment[1:] if segment[1:] in KINDS else "other"
    return "index" if segments[0] else "other"
