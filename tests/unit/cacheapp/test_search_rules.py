"""What the rules of searching find in a search, by its place: scripts, what hides a query, names of other indices."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.errors import BadSearch
from cacheapp.search_rules import SHOWN_CHARACTERS, Reference, is_script, references_in, shown

SCRIPT = {"source": "while (true) {}"}
STORED = {"id": "mine"}
TERM = {"term": {"script": "x"}}
SCRIPT_QUERY = {"script": {"script": SCRIPT}}
SCRIPTED: list[dict[str, Any]] = [
    {"query": SCRIPT_QUERY},
    {"query": {"script": {"script": STORED}}},
    {"query": {"bool": {"filter": [SCRIPT_QUERY]}}},
    {"query": {"bool": {"must_not": SCRIPT_QUERY}}},
    {"query": {"nested": {"path": "a", "query": SCRIPT_QUERY}}},
    {"query": {"function_score": {"script_score": {"script": SCRIPT}}}},
    {"query": {"function_score": {"functions": [{"filter": TERM, "script_score": {"script": SCRIPT}}]}}},
    {"query": {"function_score": {"functions": [{"filter": SCRIPT_QUERY, "weight": 2}]}}},
    {"query": {"script_score": {"query": TERM, "script": SCRIPT}}},
    {"query": {"terms_set": {"a": {"terms": ["x"], "minimum_should_match_script": SCRIPT}}}},
    {"query": {"intervals": {"a": {"match": {"query": "x", "filter": {"script": SCRIPT}}}}}},
    {"query": {"nested": {"path": "a", "query": TERM, "inner_hits": {"script_fields": {"x": {"script": SCRIPT}}}}}},
    {"query": {"not_yet_known": {"deep": [{"script": SCRIPT}]}}},
    {"post_filter": SCRIPT_QUERY},
    {"sort": [{"_script": {"type": "number", "script": SCRIPT}}]},
    {"sort": {"a": {"order": "asc", "nested": {"path": "b", "filter": SCRIPT_QUERY}}}},
    {"sort": {"_geo_distance": {"a": [1, 2], "nested": {"path": "b", "filter": SCRIPT_QUERY}}}},
    {"script_fields": {"x": {"script": STORED}}},
    {"runtime_mappings": {"x": {"type": "long", "script": SCRIPT}}},
    {"runtime_mappings": {"x": {"type": "composite", "fields": {"y": {"type": "long"}}, "script": "emit(1)"}}},
    {"highlight": {"fields": {"a": {"highlight_query": SCRIPT_QUERY}}}},
    {"highlight": {"fields": [{"a": {"highlight_query": SCRIPT_QUERY}}]}},
    {"collapse": {"field": "a", "inner_hits": [{"name": "b", "sort": [{"_script": {"script": SCRIPT}}]}]}},
    {"knn": [{"field": "v", "query_vector": [1], "filter": [SCRIPT_QUERY]}]},
    {"aggs": {"x": {"scripted_metric": {"map_script": SCRIPT}}}},
    {"aggs": {"x": {"terms": {"script": SCRIPT}}}},
    {"aggs": {"x": {"filter": SCRIPT_QUERY}}},
    {"aggs": {"x": {"filters": {"filters": {"y": SCRIPT_QUERY}}}}},
    {"aggs": {"x": {"filters": {"filters": [SCRIPT_QUERY]}}}},
    {"aggs": {"x": {"adjacency_matrix": {"filters": {"y": SCRIPT_QUERY}}}}},
    {"aggs": {"x": {"composite": {"sources": [{"y": {"terms": {"script": SCRIPT}}}]}}}},
    {"aggs": {"x": {"top_hits": {"script_fields": {"y": {"script": SCRIPT}}}}}},
    {"aggs": {"x": {"weighted_avg": {"value": {"script": SCRIPT}, "weight": {"field": "w"}}}}},
    {"aggs": {"x": {"t_test": {"a": {"field": "b", "filter": SCRIPT_QUERY}}}}},
    {"aggs": {"x": {"significant_terms": {"field": "a", "script_heuristic": {"script": SCRIPT}}}}},
    {"aggs": {"x": {"significant_terms": {"field": "a", "background_filter": SCRIPT_QUERY}}}},
    {"aggs": {"x": {"terms": {"field": "a"}, "aggs": {"y": {"bucket_selector": {"script": "1"}}}}}},
    {"aggs": {"x": {"terms": {"field": "a"}, "aggregations": {"y": {"bucket_script": {"script": "1"}}}}}},
    {"aggs": {"x": {"date_histogram": {"field": "a"}, "aggs": {"y": {"moving_fn": {"window": 1}}}}}},
]

HARMLESS: list[dict[str, Any]] = [
    {"query": {"match": {"script": "x"}}},
    {"query": {"bool": {"must": [TERM, {"range": {"index": {"gte": 1}}}, {"exists": {"field": "script"}}]}}},
    {"query": {"terms": {"index": ["a", "b"]}}},
    {"query": {"match": {"wrapper": {"query": "x"}}}},
    {"query": {"function_score": {"query": TERM, "functions": [{"gauss": {"script_age": {"scale": 1}}}]}}},
    {"query": {"geo_distance": {"distance": "1km", "index": {"lat": 1, "lon": 2}}}},
    {"query": {"percolate": {"field": "q", "document": {"script": 1, "index": "x"}}}},
    {"query": {"more_like_this": {"fields": ["script"], "like": [{"doc": {"script": "x", "index": "y"}}, "text"]}}},
    {"aggs": {"script_hits": {"terms": {"field": "a", "order": {"script_hits": "asc"}}}}},
    {"aggs": {"script": {"terms": {"field": "script"}, "aggs": {"wrapper": {"max": {"field": "index"}}}}}},
    {"aggs": {"a": {"filters": {"filters": {"script": TERM, "index": TERM}}}}},
    {"aggs": {"a": {"composite": {"sources": [{"script": {"terms": {"field": "b"}}}], "after": {"script": "x"}}}}},
    {"aggs": {"a": {"stats_bucket": {"buckets_path": {"script": "x"}}}}},
    {"aggs": {"a": {"max": {"field": "b"}, "meta": {"script": SCRIPT, "index": "x"}}}},
    {"sort": [{"script": "asc"}, "index", {"index": {"order": "desc"}}]},
    {"sort": {"_geo_distance": {"script": {"lat": 1, "lon": 2}, "order": "asc"}}},
    {"highlight": {"fields": {"script": {}, "index": {"options": {"script": 1}}}}},
    {"suggest": {"text": "x", "script": {"term": {"field": "script"}}}},
    {"suggest": {"a": {"prefix": "x", "completion": {"field": "b", "contexts": {"index": ["c"]}}}}},
    {"runtime_mappings": {"script": {"type": "keyword"}}},
    {"_source": ["script", "index"], "fields": [{"field": "script"}]},
    {"script_fields": {}},
]


@pytest.mark.parametrize("search", SCRIPTED, ids=json.dumps)
def test_scripts_by_their_place(search: dict[str, Any]) -> None:
    """A script is found wherever it can stand, and passes only when scripts are permitted."""
    with pytest.raises(BadSearch, match="ESASSISTANT_SEARCH_SCRIPTS"):
        references_in(search, scripts=False)
    assert references_in(search, scripts=True) == []


@pytest.mark.parametrize("search", HARMLESS, ids=json.dumps)
def test_names_are_no_scripts(search: dict[str, Any]) -> None:
    """Fields, aggregations, filters and so on may be called what they like; so may members of documents."""
    assert references_in(search, scripts=False) == []


@pytest.mark.parametrize("scripts", [False, True])
@pytest.mark.parametrize(
    "search",
    [
        {"query": {"wrapper": {"query": "eyJzY3JpcHQiOnt9fQ=="}}},
        {"query": {"bool": {"should": [{"wrapper": {"query": ""}}]}}},
        {"suggest": {"a": {"text": "x", "phrase": {"field": "b", "collate": {"query": {"source": "{}"}}}}}},
        {"suggest": {"a": {"text": "x", "phrase": {"field": "b", "collate": {"query": STORED}}}}},
    ],
)
def test_what_hides_a_query(search: dict[str, Any], scripts: bool) -> None:
    """A query in base64 or in a template can't be looked at, so it is refused, scripts permitted or not."""
    with pytest.raises(BadSearch, match="hides what it asks for"):
        references_in(search, scripts=scripts)


LOOKUP = {"index": "other", "id": "1", "path": "p"}
NAMING: list[tuple[dict[str, Any], str]] = [
    ({"query": {"terms": {"user": LOOKUP}}}, "/query/terms/user/index"),
    ({"query": {"bool": {"filter": [{"terms": {"index": LOOKUP}}]}}}, "/query/bool/filter/0/terms/index/index"),
    ({"query": {"more_like_this": {"like": {"_index": "other", "_id": "1"}}}}, "/query/more_like_this/like/_index"),
    ({"query": {"more_like_this": {"unlike": [{"_index": "other"}]}}}, "/query/more_like_this/unlike/0/_index"),
    ({"query": {"geo_shape": {"a": {"indexed_shape": LOOKUP}}}}, "/query/geo_shape/a/indexed_shape/index"),
    ({"query": {"shape": {"a": {"indexed_shape": LOOKUP}}}}, "/query/shape/a/indexed_shape/index"),
    ({"query": {"percolate": {"field": "q", "index": "other", "id": "1"}}}, "/query/percolate/index"),
    ({"query": {"pinned": {"docs": [{"_index": "other"}], "organic": TERM}}}, "/query/pinned/docs/0/_index"),
    ({"query": {"not_yet_known": {"a": {"index": "other"}}}}, "/query/not_yet_known/a/index"),
    ({"knn": {"query_vector_builder": {"lookup": {"index": "other"}}}}, "/knn/query_vector_builder/lookup/index"),
    ({"runtime_mappings": {"a": {"type": "lookup", "target_index": "other"}}}, "/runtime_mappings/a/target_index"),
    ({"aggs": {"a": {"filter": {"terms": {"b": LOOKUP}}}}}, "/aggs/a/filter/terms/b/index"),
    (
        {"sort": {"a": {"nested": {"path": "b", "filter": {"terms": {"c": LOOKUP}}}}}},
        "/sort/a/nested/filter/terms/c/index",
    ),
]


def placed(references: list[Reference]) -> list[tuple[str, str, bool]]:
    return [(one.where, one.name, one.may_be_pattern) for one in references]


@pytest.mark.parametrize(("search", "where"), NAMING, ids=lambda value: value if isinstance(value, str) else None)
def test_names_of_other_indices(search: dict[str, Any], where: str) -> None:
    """Wherever a search reads from another index, its name and place are found."""
    assert placed(references_in(search, scripts=False)) == [(where, "other", False)]


def test_indices_boost() -> None:
    """Its keys are names or patterns, as an object and as a list of objects."""
    found = references_in({"indices_boost": {"a*": 1}}, scripts=False)
    assert placed(found) == [("/indices_boost/a*", "a*", True)]
    found = references_in({"indices_boost": [{"a": 1}, {"b": 2}]}, scripts=False)
    assert sorted(reference.name for reference in found) == ["a", "b"]


def test_a_shape_of_no_index() -> None:
    """Elasticsearch takes it from an index of a fixed name."""
    search = {"query": {"geo_shape": {"a": {"indexed_shape": {"id": "1"}}}}}
    expected = [("/query/geo_shape/a/indexed_shape", "shapes", False)]
    assert placed(references_in(search, scripts=False)) == expected


def test_permitted_scripts_hide_nothing() -> None:
    """What stands beside a script is looked at all the same; its parameters mean nothing."""
    script = {"source": "1", "params": {"index": "no index"}}
    search = {"query": {"script_score": {"script": script, "query": {"terms": {"a": LOOKUP}}}}}
    expected = [("/query/script_score/query/terms/a/index", "other", False)]
    assert placed(references_in(search, scripts=True)) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("a", "query", "aggs", "terms", "script", "index", "bool")), inner, max_size=4
        )
    ),
    max_leaves=20,
)
PLACES = st.sampled_from(("query", "aggs", "sort", "suggest", "highlight", "collapse", "knn", "runtime_mappings"))


@given(PLACES, JSON)
def test_whatever_it_is_made_of(place: str, value: object) -> None:
    """Any JSON is looked through or refused as a search; a query that is itself a script never passes."""
    try:
        references_in({place: value}, scripts=False)
    except BadSearch:
        return
    assert not (place == "query" and isinstance(value, dict) and any(map(is_script, value)))


def test_deep_and_wide_searches() -> None:
    """The walk needs no deeper stack for a deeper search, and a refusal stays short however long the keys are."""
    search: dict[str, Any] = {"script": SCRIPT}
    for _ in range(5_000):
        search = {"bool": {"must": [search]}}
    with pytest.raises(BadSearch) as caught:
        references_in({"query": search}, scripts=False)
    assert len(caught.value.detail) < 300
    assert len(shown(((((), "a"), "k" * 60_000), 3))) <= SHOWN_CHARACTERS + 1


@pytest.mark.parametrize(
    "query",
    [
        {"query_string": {"query": "*" * 201}},
        {"simple_query_string": {"query": "a* " * 201}},
        {"wildcard": {"a": "?" * 201}},
        {"bool": {"should": [{"wildcard": {"a": {"value": "*b*"}}}] * 101}},
        {"span_multi": {"match": {"wildcard": {"a": {"wildcard": "*" * 201}}}}},
        {"query_string": {"query": "a", "fields": ["b*"] * 201}},
    ],
)
def test_wildcards_are_bounded(query: dict[str, Any]) -> None:
    """Thousands of them kill a node."""
    with pytest.raises(BadSearch, match="at most 200"):
        references_in({"query": query}, scripts=True)


def test_what_is_no_pattern_may_have_stars() -> None:
    """Texts that are taken as they are, and what somebody called like a query."""
    query = {"bool": {"must": [{"match": {"wildcard": "*" * 999}}, {"query_string": {"query": "a*" * 200}}]}}
    search = {"query": query, "aggs": {"wildcard": {"terms": {"field": "a", "exclude": ["?" * 999]}}}}
    assert references_in(search, scripts=False) == []


def test_thousands_of_names_deep_in_a_search() -> None:
    """Where each name stands is told only if it is asked: else each costs as much as it has levels around it."""
    search: Any = [{"index": ["other"] * 10} for _ in range(500)]
    for _ in range(900):
        search = [search]
    started_at = time.thread_time()
    found = references_in({"query": search}, scripts=False)
    assert len(found) == 5_000
    assert time.thread_time() - started_at < 0.5
    assert found[0].where.endswith("/index")
