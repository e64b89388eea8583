"""Which pool a request belongs to, and of which kind it is: pure functions over its target."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

DEFAULT_POOL = "default"
RESERVED_NAMES = frozenset({"cache", "health", "watch"})
POOL_NAME = re.compile("[a-z][a-z0-9_-]{0,30}")
MAX_POOLS = 16
LARGEST_POOL = 10_000

KINDS = frozenset(
    {
        *("bulk", "cat", "cluster", "count", "create", "delete_by_query", "doc", "eql", "explain", "field_caps"),
        *("mapping", "mget", "msearch", "nodes", "pit", "query", "refresh", "reindex", "resolve", "scroll", "search"),
        *("settings", "source", "stats", "tasks", "termvectors", "update", "update_by_query", "validate"),
    }
)
"""Kinds of calls that are told apart: the first path segment that begins with `_`. All else is `index` or `other`."""
READS = frozenset({"count", "explain", "field_caps", "mget", "msearch", "search", "termvectors", "validate"})
"""Kinds that change nothing, though they may be sent by POST."""


@dataclass(frozen=True, slots=True)
class PoolRule:
    """A pool for the indices that match one of `patterns` (with `*`); at most `maxsize` connections in use."""

    name: str
    patterns: tuple[str, ...]
    maxsize: int


def parse_pools(raw: str) -> tuple[PoolRule, ...]:
    """`logs=logs-*,metrics-*:30;default=*:20`, first match wins. Raises `ValueError` that says what to write."""
    rules: list[PoolRule] = []
    for part in filter(None, map(str.strip, raw.split(";"))):
        name, _, rest = part.partition("=")
        patterns, _, size = rest.rpartition(":")
        rule = PoolRule(name.strip(), tuple(filter(None, map(str.strip, patterns.split(",")))), _size(size))
        _check(rule, rules)
        rules.append(rule)
    if len(rules) > MAX_POOLS:
        raise ValueError(f"use at most {MAX_POOLS} pools")
    return tuple(rules)


def with_default_pool(rules: tuple[PoolRule, ...], maxsize: int) -> tuple[PoolRule, ...]:
    """The rules, and one of `maxsize` connections for what they don't match unless it is among them."""
    if any(rule.name == DEFAULT_POOL for rule in rules):
        return rules
    return (*rules, PoolRule(DEFAULT_POOL, ("*",), maxsize))


def _size(raw: str) -> int:
    if not raw.strip().isdecimal() or not 1 <= int(raw) <= LARGEST_POOL:
        raise ValueError(
            f"write name=pattern,pattern:size;…, each size a whole number from 1 to {LARGEST_POOL}, "
            "for example logs=logs-*:30;default=*:20"
        )
    return int(raw)


def _check(rule: PoolRule, earlier: Sequence[PoolRule]) -> None:
    if not POOL_NAME.fullmatch(rule.name):
        raise ValueError("a pool's name is made of at most 31 of a-z, 0-9, _ and -, the first a letter")
    if rule.name in RESERVED_NAMES:
        raise ValueError(f"the pool names {', '.join(sorted(RESERVED_NAMES))} are taken")
    if any(rule.name == other.name for other in earlier):
        raise ValueError(f"the pool {rule.name} is there twice")
    if rule.name == DEFAULT_POOL and rule.patterns != ("*",):
        raise ValueError("the pool default takes what no other does: write default=*:size")
    if not rule.patterns:
        raise ValueError(f"the pool {rule.name} has no pattern")
    before = [(pattern, other.name) for other in earlier for pattern in other.patterns]
    for pattern in rule.patterns:
        for known, name in before:
            if _matches(pattern, known):
                raise ValueError(
                    f"the pattern {pattern} of pool {rule.name} is never reached: {known} of {name} has all"
                )
        before.append((pattern, rule.name))


def _matches(name: str, pattern: str) -> bool:
    """Whether a name, or all that another pattern stands for, is what `pattern` stands for.

    A `*` in `name` is a character like any other, which only a `*` matches: exactly what one pattern covering another
    means.
    """
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def pool_of(target: str, rules: Sequence[PoolRule]) -> str:
    """The name of the pool for a request target: `default` for those that name no index, or indices of several pools."""
    found = {_pool_of_index(index, rules) for index in _indices(target)}
    return found.pop() if len(found) == 1 else DEFAULT_POOL


def _pool_of_index(index: str, rules: Sequence[PoolRule]) -> str:
    for rule in rules:
        if any(_matches(index, pattern) for pattern in rule.patterns):
            return rule.name
    return DEFAULT_POOL


def _indices(target: str) -> list[str]:
    segment = target.partition("?")[0].lstrip("/").partition("/")[0]
    if segment.startswith("_"):
        return []
    return [unquote(index) for index in segment.replace("%2C", ",").replace("%2c", ",").split(",") if index]


def kind_of(target: str) -> str:
    """The kind of call, one of a bounded set."""
    segments = target.partition("?")[0].strip("/").split("/")
    if segments[:2] == ["_search", "scroll"]:
        return "scroll"  # not a search: asking again would skip a page
    for segment in segments:
        if segment.startswith("_"):
            return segment[1:] if segment[1:] in KINDS else "other"
    return "index" if segments[0] else "other"
