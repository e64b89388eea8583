"""The pools of connections, as `ELASTICSEARCH_POOLS` declares them. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

DEFAULT_POOL = "default"
RESERVED_NAMES = frozenset({"cache", "health", "watch"})
POOL_NAME = re.compile("[a-z][a-z0-9_-]{0,30}")
MAX_POOLS = 16
LARGEST_POOL = 10_000


@dataclass(frozen=True, slots=True)
class PoolRule:
    """A pool for the indices that match one of `patterns` (with `*`). At most `maxsize` of its connections
    are in use.
    """

    name: str
    patterns: tuple[str, ...]
    maxsize: int


def parse_pools(raw: str) -> tuple[PoolRule, ...]:
    """Parse a text such as `logs=logs-*,metrics-*:30;default=*:20`. For an index, the first pool that matches counts.

    Raise `ValueError` for any other text; its message says what to write.
    """
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
    """Return the rules, with a rule for all other indices of `maxsize` connections if they have none yet."""
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
            if pattern_covers(pattern, known):
                raise ValueError(
                    f"the pattern {pattern} of pool {rule.name} is never reached: {known} of {name} has all"
                )
        before.append((pattern, rule.name))


def pattern_covers(name: str, pattern: str) -> bool:
    """Return True if `pattern` matches everything that `name` stands for: one name, or all names that match another
    pattern.

    `name` is compared as a plain text, in which only a `*` of `pattern` can match a `*`. That is enough: if `pattern`
    matches the text of another pattern, it also matches every name that the other pattern matches.
    """
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))
