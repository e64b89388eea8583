"""Which pool a request belongs to, of which kind it is, and what may stand in ELASTICSEARCH_POOLS."""

import re
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esassistant.config.pools import (
    DEFAULT_POOL,
    LARGEST_POOL,
    MAX_POOLS,
    PoolRule,
    parse_pools,
    pattern_covers,
    with_default_pool,
)
from esassistant.elasticsearch.routing import KINDS, READS, kind_of, pool_of

RULES = parse_pools("logs=logs-*,metrics-*:30;shop=shop,products-*-v?:10;default=*:20")


@pytest.mark.parametrize(
    ("raw", "rules"),
    [
        ("", ()),
        (" ; ", ()),
        ("logs=logs-*:30", (PoolRule("logs", ("logs-*",), 30),)),
        (
            " logs = logs-* , metrics-* : 30 ; default = * : 20 ; ",
            (PoolRule("logs", ("logs-*", "metrics-*"), 30), PoolRule("default", ("*",), 20)),
        ),
        # A name may have a colon when it is one of another cluster.
        ("far=far:logs-*:3", (PoolRule("far", ("far:logs-*",), 3),)),
        # The wider pattern comes later: it still has all the rest.
        ("a=logs-a*:1;b=logs-*:1", (PoolRule("a", ("logs-a*",), 1), PoolRule("b", ("logs-*",), 1))),
    ],
)
def test_parse(raw: str, rules: tuple[PoolRule, ...]) -> None:
    """Rules come out in their order; blanks and empty parts don't matter."""
    assert parse_pools(raw) == rules


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("logs", "for example logs=logs-*:30;default=*:20"),
        ("logs=logs-*", "each size a whole number from 1 to 10000"),
        ("logs=logs-*:", "whole number"),
        ("logs=logs-*:0", "whole number"),
        ("logs=logs-*:-1", "whole number"),
        ("logs=logs-*:1.5", "whole number"),
        ("logs=logs-*:²", "whole number"),
        (f"logs=logs-*:{LARGEST_POOL + 1}", "from 1 to 10000"),
        ("logs:30", "write name=pattern,pattern:size;…"),
        ("=logs-*:30", "the first a letter"),
        ("Logs=logs-*:30", "at most 31 of a-z, 0-9"),
        (f"{'a' * 32}=logs-*:30", "at most 31"),
        ("health=logs-*:30", "the pool names cache, health, watch are taken"),
        ("logs=a:1;logs=b:1", "the pool logs is there twice"),
        ("default=logs-*:1", "write default=*:size"),
        ("default=*,logs-*:1", "write default=*:size"),
        ("logs=:1", "the pool logs has no pattern"),
        ("logs= , :1", "the pool logs has no pattern"),
        ("default=*:20;logs=logs-*:30", "the pattern logs-* of pool logs is never reached: * of default has all"),
        ("a=logs-*:1;b=logs-a*:1", "logs-a* of pool b is never reached: logs-* of a has all"),
        ("a=logs,logs:1", "the pattern logs of pool a is never reached: logs of a has all"),
        ("a=*:1;default=*:1", "of pool default is never reached"),
        (";".join(f"p{number}=i{number}:1" for number in range(MAX_POOLS + 1)), "use at most 16 pools"),
    ],
)
def test_bad_rules(raw: str, message: str) -> None:
    """Each mistake is told with what to write instead."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_pools(raw)


@given(st.text("ab=*,:;1 ", max_size=30))
@example("a" * 100_000)
def test_parse_takes_anything(raw: str) -> None:
    """Whatever is written there: rules, or a message."""
    try:
        rules = parse_pools(raw)
    except ValueError as error:
        assert str(error)  # noqa: PT017  (either outcome is right)
    else:
        assert all(rule.patterns and 1 <= rule.maxsize <= LARGEST_POOL for rule in rules)


def test_the_default_pool() -> None:
    """What no rule matches has a pool of the usual size, unless the rules give it one."""
    logs, default = PoolRule("logs", ("logs-*",), 30), PoolRule("default", ("*",), 20)
    assert with_default_pool((), 50) == (PoolRule("default", ("*",), 50),)
    assert with_default_pool((logs,), 50) == (logs, PoolRule("default", ("*",), 50))
    assert with_default_pool((logs, default), 50) == (logs, default)


def stands_for(pattern: str, name: str) -> bool:
    """Whether a pattern matches a name: written once more, letter by letter."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(stands_for(pattern[1:], name[start:]) for start in range(len(name) + 1))
    return bool(name) and pattern[0] == name[0] and stands_for(pattern[1:], name[1:])


PATTERNS = st.text("ab*", max_size=5)


@settings(max_examples=300)
@given(PATTERNS, PATTERNS)
@example("a*b", "*a*b*")
@example("**", "*")
@example("*", "**")
def test_covering_is_exact(pattern: str, other: str) -> None:
    """One pattern covers another if and only if it matches every name that the other one matches.

    A name that shows the contrary needs no more letters than the pattern has, and one letter that is in neither.
    """
    names = ("".join(letters) for length in range(len(other) + 1) for letters in product("abc", repeat=length))
    assert pattern_covers(other, pattern) == all(stands_for(pattern, name) for name in names if stands_for(other, name))


@given(st.text("ab[]?!-*", max_size=6), st.text("ab[]?!-", max_size=6))
def test_only_the_star_is_special(pattern: str, name: str) -> None:
    """Every character of a pattern but `*` stands for itself."""
    assert pattern_covers(name, pattern) == stands_for(pattern, name)


@pytest.mark.parametrize(
    ("target", "pool"),
    [
        ("/logs-1/_search", "logs"),
        ("/logs-1", "logs"),
        ("/logs-1?x=/shop/", "logs"),
        ("/logs-1,metrics-2/_search", "logs"),
        ("/logs-1%2Cmetrics-2/_search", "logs"),
        ("/logs-1%2cmetrics-2/_search", "logs"),
        ("/logs-%2A/_search", "logs"),
        ("/logs-*,metrics-cpu*/_search", "logs"),
        ("/%6Cogs-1/_doc/1", "logs"),
        ("/logs-1,/_search", "logs"),
        ("/shop/_doc/logs-1", "shop"),
        ("/products-eu-v%3F/_search", "shop"),
        ("/products-eu-v1/_search", "default"),
        ("/logs-1,shop/_search", "default"),
        ("/logs-1%2Cshop/_search", "default"),
        ("/logs-1%252Cshop/_search", "logs"),
        ("/l*/_search", "default"),
        ("/*/_search", "default"),
        ("/other/_search", "default"),
        ("/", "default"),
        ("", "default"),
        ("?q=logs-1", "default"),
        ("/,/_search", "default"),
        ("/_search", "default"),
        ("/_cat/indices/logs-*", "default"),
        ("/_all/_search", "default"),
    ],
)
def test_pool_of(target: str, pool: str) -> None:
    """The first path segment decides, decoded once; no index, or indices of several pools, go to the default one."""
    assert pool_of(target, RULES) == pool


def test_first_match_wins() -> None:
    """Of rules that overlap, the one written first has the index."""
    rules = parse_pools("a=logs-a*:1;b=logs-*:1")
    assert [pool_of(f"/{index}/_count", rules) for index in ("logs-a1", "logs-b1", "x")] == ["a", "b", DEFAULT_POOL]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/logs/_search?size=1", "search"),
        ("/_search", "search"),
        ("/logs/_search/template", "search"),
        ("/_search/scroll", "scroll"),
        ("/logs/_doc/1", "doc"),
        ("/logs/_doc/_search", "doc"),
        ("/_bulk", "bulk"),
        ("/_cluster/health", "cluster"),
        ("/logs/_mapping", "mapping"),
        ("/logs/_made_up", "other"),
        ("/logs", "index"),
        ("/logs/", "index"),
        ("/", "other"),
        ("", "other"),
        ("?a=_search", "other"),
    ],
)
def test_kind_of(target: str, kind: str) -> None:
    """The first segment that begins with an underscore names the kind; a page of a scroll is no search."""
    assert kind_of(target) == kind


@given(st.text(max_size=40) | st.text("/_?abcserch", max_size=20))
def test_kinds_are_bounded(target: str) -> None:
    """Whatever is asked, there are only so many kinds to count."""
    assert kind_of(target) in KINDS | {"index", "other"}


def test_reads_are_kinds() -> None:
    """Nothing that changes something is among the calls that may be sent twice."""
    assert READS <= KINDS
    changing = {"bulk", "create", "doc", "update", "update_by_query", "delete_by_query", "reindex", "scroll", "pit"}
    assert not READS & changing
