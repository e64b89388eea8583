"""Queries on `_index`: found wherever a query may stand, and nothing else is taken for one."""

import time
from typing import Any

import pytest

from cacheapp.index_name_queries import query_on_index_name


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"term": {"_index": "secret"}}, "/query/term/_index"),
        ({"bool": {"must_not": [{"prefix": {"_index": {"value": "s"}}}]}}, "/query/bool/must_not/0/prefix/_index"),
        ({"span_multi": {"match": {"prefix": {"_index": "s"}}}}, "/query/span_multi/match/prefix/_index"),
        ({"multi_match": {"query": "secret", "fields": ["message", "_ind*^2"]}}, "/query/multi_match"),
        ({"multi_match": {"query": "secret", "fields": "*index"}}, "/query/multi_match"),
        ({"simple_query_string": {"query": "s*", "fields": ["_index"]}}, "/query/simple_query_string"),
        ({"query_string": {"query": "secret", "default_field": "_index"}}, "/query/query_string"),
        ({"query_string": {"query": "a -_index :secret"}}, "/query/query_string/query"),
        ({"query_string": {"query": "(_ind\\ex:s*)"}}, "/query/query_string/query"),
        ({"query_string": {"query": "_\\u0069ndex:s*"}}, "/query/query_string/query"),
        ({"query_string": {"query": "a^2_index:s*"}}, "/query/query_string/query"),
        ({"query_string": {"query": "_ind\\*:secret"}}, "/query/query_string/query"),
    ],
)
def test_found(query: dict[str, Any], where: str) -> None:
    """By the name of the field, by a pattern of fields, in a text however it is escaped."""
    assert query_on_index_name({"query": query}) == where


@pytest.mark.parametrize(
    "text", ["a" * 60_000, "*" * 60_000, "a*" * 30_000 + ";", "_index" * 10_000, "_index " + " " * 60_000]
)
def test_long_texts_take_no_longer(text: str) -> None:
    """A text is looked at in proportion to its length: on the event loop, in which all others wait."""
    started_at = time.thread_time()
    assert query_on_index_name({"query": {"query_string": {"query": text}}}) is None
    assert time.thread_time() - started_at < 1


def test_found_beside_the_query() -> None:
    """In an aggregation too, and in what filters hits afterwards."""
    query = {"wildcard": {"_index": "s*"}}
    for search in ({"aggs": {"mine": {"filters": {"filters": {"x": query}}}}}, {"post_filter": query}):
        assert query_on_index_name(search) is not None


@pytest.mark.parametrize(
    "search",
    [
        {"aggs": {"by": {"terms": {"field": "_index"}}}, "sort": [{"_index": "asc"}], "fields": ["_index"]},
        {"query": {"match": {"message": "no _index: found"}}},
        {"query": {"multi_match": {"query": "_index", "fields": ["*", "index", 7]}}},
        {"query": {"query_string": {"query": "my_index:a OR a._index:b OR *:c OR x", "default_field": "*"}}},
        {"query": {"query_string": {"query": 7}}},
        {"query": {"more_like_this": {"fields": ["message"], "like": [{"_index": "logs-1", "_id": "1"}]}}},
    ],
)
def test_not_found(search: dict[str, Any]) -> None:
    """Names of indices that are sorted, counted, or looked up; words in texts; other fields."""
    assert query_on_index_name(search) is None
