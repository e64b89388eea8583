"""Finds the pool and the kind of a request: pure functions of its target."""

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
"""The kinds of calls that are counted separately, by the first path segment that begins with `_`. All other calls are
`index`, `other` or `LONG_POLL`.
"""
READS = frozenset({"count", "explain", "field_caps", "mget", "msearch", "search", "termvectors", "validate"})
"""Kinds that change nothing, even if they are sent by POST."""

LONG_POLL = "long_poll"
"""The kind of calls that wait for a change on purpose: their duration says nothing about latency."""
WAITS = "wait_for_metadata_version="


def pool_of(target: str, rules: Sequence[PoolRule]) -> str:
    """Return the name of the pool for a request target: `default` if it names no index, or indices of several pools."""
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
    """Return the kind of a call; there are only a few."""
    path, _, query = target.partition("?")
    if WAITS in query:
        return LONG_POLL
    segments = path.strip("/").split("/")
    if segments[:2] == ["_search", "scroll"]:
        return "scroll"  # no search: a repeated call would skip a page
    for segment in segments:
        if segment.startswith("_"):
            return segment[1:] if segment[1:] in KINDS else "other"
    return "index" if segments[0] else "other"
