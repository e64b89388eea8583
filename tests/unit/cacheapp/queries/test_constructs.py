"""Right searches of every construct have no findings; each kind of mistake has the finding that says so."""

from typing import Any

import pytest

from cacheapp.queries.aggregation_table import AGGREGATIONS, SOURCES
from cacheapp.queries.body_table import BODY
from cacheapp.queries.findings import Code, Finding, Severity
from cacheapp.queries.query_table import QUERIES_TABLE, RETRIEVERS, VERSIONS
from cacheapp.queries.slots import Clause
from cacheapp.queries.validation import KNOWN_ALSO, KNOWN_CHECKS, KNOWN_READERS, validate
from tests.support.searches import prepared

MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "runtime": {"late": {"type": "boolean"}},
    "properties": {
        "status": {"type": "keyword"},
        "short": {"type": "keyword", "ignore_above": 4},
        "hidden": {"type": "keyword", "index": False, "doc_values": False},
        "stored": {"type": "keyword", "doc_values": False},
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword"}, "plain": {"type": "text"}}},
        "words": {"type": "text", "fielddata": True},
        "typed": {"type": "search_as_you_type"},
        "price": {"type": "double"},
        "count": {"type": "short"},
        "at": {"type": "date"},
        "day": {"type": "date", "format": "yyyy-MM-dd"},
        "paid": {"type": "boolean"},
        "ip": {"type": "ip"},
        "window": {"type": "date_range"},
        "net": {"type": "ip_range"},
        "ages": {"type": "integer_range"},
        "place": {"type": "geo_point"},
        "labels": {"type": "flattened"},
        "vector": {"type": "dense_vector", "dims": 2},
        "meaning": {"type": "semantic_text"},
        "suggest": {"type": "completion"},
        "features": {"type": "rank_features"},
        "tokens": {"type": "sparse_vector"},
        "other": {"type": "alias", "path": "status"},
        "raw": {"type": "object", "enabled": False},
        "open": {"type": "object", "dynamic": "true", "properties": {"known": {"type": "long"}}},
        "loose": {"type": "object", "dynamic": "false"},
        "host": {"properties": {"name": {"type": "keyword"}, "os": {"properties": {"family": {"type": "keyword"}}}}},
        "lines": {
            "type": "nested",
            "properties": {
                "sku": {"type": "keyword"},
                "qty": {"type": "integer"},
                "parts": {"type": "nested", "properties": {"code": {"type": "keyword"}}},
            },
        },
        "seen": {"type": "nested", "include_in_root": True, "properties": {"by": {"type": "keyword"}}},
    },
}
PREPARED = prepared(MAPPING)
SCRIPT = {"source": "1"}
POINT = {"lat": 47, "lon": 15}


def found(body: Any) -> tuple[Finding, ...]:
    return validate(PREPARED, body).findings


def agg(kind: str, **body: Any) -> dict[str, Any]:
    return {"size": 0, "aggs": {"x": {kind: body}}}


def per_day(**within: Any) -> dict[str, Any]:
    days = {"date_histogram": {"field": "at", "calendar_interval": "day"}}
    return {"size": 0, "aggs": {"d": {**days, "aggs": {"p": {"sum": {"field": "price"}}, **within}}}}


RIGHT_QUERIES: list[dict[str, Any]] = [
    {"bool": {"must": None, "filter": [], "should": {"term": {"status": "a"}}, "mustNot": []}},
    {"boosting": {"positive": {"match_all": {}}, "negative": {"term": {"status": "a"}}, "negative_boost": 0.2}},
    {"dis_max": {"queries": [{"match": {"title": "a"}}, {"match": {"words": "b"}}], "tie_breaker": 0.3}},
    {"function_score": {"query": {"match_all": {}}, "random_score": {}, "boost_mode": "sum"}},
    {"function_score": {"functions": [{"field_value_factor": {"field": "price", "missing": 1}, "weight": 2}]}},
    {"function_score": {"field_value_factor": {"field": "nowhere", "missing": 1}}},
    {"function_score": {"gauss": {"at": {"origin": "now", "scale": "1d"}, "multi_value_mode": "avg"}}},
    {"function_score": {"script_score": {"script": SCRIPT}}},
    {"script_score": {"query": {"match_all": {}}, "script": SCRIPT}},
    {"script": {"script": SCRIPT}},
    {"wrapper": {"query": "e30="}},
    {"term": {"_id": "1"}},
    {"term": {"other": "a"}},
    {"term": {"labels.team": "a"}},
    {"term": {"late": True}},
    {"term": {"net": "10.0.0.1"}},
    {"term": {"ages": 5}},
    {"term": {"window": "2026-01-01"}},
    {"terms": {"status": {"index": "other", "id": "1", "path": "a"}, "boost": 2}},
    {"terms": {"_index": ["a"]}},
    {"terms_set": {"status": {"terms": ["a"], "minimum_should_match_field": "count"}}},
    {"range": {"labels.team": {"gte": "a", "lt": "b"}}},
    {"range": {"at": {"gte": "now-1d/d", "lt": "2026-01-01||+1M/d", "time_zone": "+01:00"}}},
    {"range": {"day": {"gte": "01/2026", "format": "MM/yyyy"}}},
    {"range": {"at": {"gte": 1788000000000, "lt": None}}},
    {"range": {"ip": {"gte": "10.0.0.0", "lt": "::1"}}},
    {"range": {"title": {"gte": "a"}}},
    {"exists": {"field": "host"}},
    {"exists": {"field": "host.*"}},
    {"exists": {"field": "labels.x"}},
    {"prefix": {"title": "flo"}},
    {"wildcard": {"status": {"value": "A*b", "case_insensitive": True}}},
    {"wildcard": {"title": {"wildcard": "fl*"}}},
    {"regexp": {"title": "(Floor|wall) lamps?"}},
    {"fuzzy": {"title": "lapm"}},
    {"ids": {"values": ["1"]}},
    {"match": {"title": {"query": "A b", "operator": "and"}}},
    {"match": {"count": {"query": "many", "lenient": True}}},
    {"match_phrase_prefix": {"title": "a b"}},
    {"multi_match": {"query": "a", "fields": ["title^2", "typed._2gram", "typed"], "type": "bool_prefix"}},
    {"multi_match": {"query": "a"}},
    {"multi_match": {"query": "a", "fields": ["title*", "nosuch*"]}},
    {"combined_fields": {"query": "a", "fields": ["title", "words"]}},
    {"query_string": {"query": "title:(a OR b) AND price:[1 TO *] _exists_:at", "fields": ["title"]}},
    {"query_string": {"query": "(((", "escape": True}},
    {"query_string": {"query": "at:2026-11 AND day:2026-11-01"}},
    {"simple_query_string": {"query": "a | -b", "fields": ["title"], "flags": "ALL"}},
    {"intervals": {"title": {"all_of": {"intervals": [{"match": {"query": "a"}}, {"prefix": {"prefix": "b"}}]}}}},
    {"more_like_this": {"fields": ["title"], "like": "a", "min_term_freq": 1}},
    {"nested": {"path": "lines", "query": {"term": {"lines.sku": "a"}}, "inner_hits": {"_source": ["sku"]}}},
    {
        "nested": {
            "path": "lines",
            "query": {"nested": {"path": "lines.parts", "query": {"exists": {"field": "lines.parts"}}}},
        }
    },
    {"nested": {"path": "nowhere", "query": {"term": {"nowhere.a": 1}}, "ignore_unmapped": True}},
    {"term": {"seen.by": "a"}},
    {"has_child": {"type": "a", "query": {"term": {"status": "a"}}, "inner_hits": {}}},
    {"has_parent": {"parent_type": "a", "query": {"match_all": {}}}},
    {"geo_distance": {"distance": "1km", "place": POINT}},
    {"geo_distance": {"distance": "1km", "place.lat": 47, "place.lon": 15}} if False else {"match_all": {}},
    {"geo_distance": {"distance": "1km", "nowhere": POINT, "ignore_unmapped": True}},
    {"geo_bounding_box": {"place": {"top_left": "50,10", "bottom_right": "40,20"}, "validation_method": "STRICT"}},
    {"geo_shape": {"place": {"indexed_shape": {"index": "a", "id": "1", "path": "p"}}}},
    {"span_near": {"clauses": [{"span_term": {"title": "a"}}, {"span_multi": {"match": {"prefix": {"title": "b"}}}}]}},
    {"span_not": {"include": {"span_term": {"title": "a"}}, "exclude": {"span_term": {"title": {"term": "b"}}}}},
    {"field_masking_span": {"query": {"span_term": {"title": "a"}}, "field": "words"}},
    {"distance_feature": {"field": "at", "origin": "now", "pivot": "1d"}},
    {"rank_feature": {"field": "features.a", "saturation": {}}},
    {"knn": {"field": "vector", "query_vector": [1, 2], "k": 1, "num_candidates": 2}},
    {"sparse_vector": {"field": "tokens", "query_vector": {"a": 1}}},
    {"text_expansion": {"tokens": {"model_id": "m", "model_text": "a"}}},
    {"semantic": {"field": "meaning", "query": "a"}},
    {"pinned": {"ids": ["1"], "organic": {"match_all": {}}}},
    {"rule": {"organic": {"match_all": {}}, "match_criteria": {}, "ruleset_ids": ["a"]}},
    {"kql": {"query": "status: a"}},
    {"sltr": {"model": "a"}},
]
RIGHT_BODIES: list[dict[str, Any]] = [
    {},
    {"sort": ["_score", {"price": {"order": "desc", "mode": "avg"}}, "_doc"], "track_total_hits": False},
    {"sort": {"_geo_distance": {"place": [15, 47], "order": "asc", "unit": "km"}}},
    {"sort": [{"_script": {"type": "number", "script": SCRIPT}}]},
    {"sort": [{"lines.qty": {"nested": {"path": "lines", "filter": {"term": {"lines.sku": "a"}}}}}]},
    {"sort": [{"nowhere": {"unmapped_type": "long"}}, "words"], "search_after": [1, 2]},
    {"sort": ["price"], "search_after": [1, 2], "pit": {"id": "a"}},
    {"_source": {"includes": ["host.*", "status"], "excludes": ["nosuch"]}},
    {"_source": ["raw.anything", "loose.thing", "place.lat"], "stored_fields": ["_none_"]},
    {"fields": ["*", {"field": "at", "format": "epoch_millis"}], "docvalue_fields": ["ip", "price*"]},
    {"fields": [{"field": "nowhere", "include_unmapped": True}]},
    {"highlight": {"fields": [{"title": {"matched_fields": ["title", "title.plain"]}}, {"*": {}}], "order": "score"}},
    {"collapse": {"field": "status", "inner_hits": [{"name": "a", "sort": ["price"]}]}},
    {
        "suggest": {
            "text": "a",
            "x": {"term": {"field": "title"}},
            "y": {"prefix": "a", "completion": {"field": "suggest"}},
        }
    },
    {"rescore": [{"window_size": 5, "query": {"rescore_query": {"match": {"title": "a"}}, "query_weight": 1}}]},
    {
        "knn": [
            {
                "field": "vector",
                "query_vector": [1, 2],
                "k": 1,
                "num_candidates": 2,
                "filter": {"term": {"status": "a"}},
            }
        ]
    },
    {"retriever": {"rrf": {"retrievers": [{"standard": {"query": {"match": {"title": "a"}}}}], "rank_window_size": 5}}},
    {"retriever": {"linear": {"retrievers": [{"retriever": {"standard": {}}, "weight": 2}]}}},
    {
        "runtime_mappings": {"x": {"type": "long", "script": SCRIPT}},
        "query": {"range": {"x": {"gte": 1}}},
        "sort": ["x"],
    },
    {
        "runtime_mappings": {"c": {"type": "composite", "fields": {"a": {"type": "keyword"}}}},
        "query": {"term": {"c.a": 1}},
    },
    {"indices_boost": [{"a": 2}], "timeout": "1s", "stats": ["a"], "ext": {}, "slice": {"id": 0, "max": 2}},
    agg("terms", field="status", order=[{"_count": "desc"}, {"_key": "asc"}], include=["a"], missing="none"),
    agg("terms", script=SCRIPT),
    agg("terms", field="words"),
    agg("filters", filters=[{"term": {"status": "a"}}], other_bucket_key="rest"),
    agg("composite", sources=[{"a": {"terms": {"field": "status"}}}], after={"a": "x"}),
    agg("date_range", field="at", ranges=[{"from": "now-1d/d"}, {"to": "2026", "key": "old"}], format="yyyy"),
    agg("top_hits", size=1, sort=[{"price": "desc"}], _source={"includes": ["status"]}),
    agg("weighted_avg", value={"field": "price"}, weight={"field": "count"}),
    agg("multi_terms", terms=[{"field": "status"}, {"field": "ip"}]),
    agg("missing", field="host"),
    agg("percentiles", field="price", percents=[1], hdr={"number_of_significant_value_digits": 3}),
    agg("histogram", field="ages", interval=5),
    agg("ip_range", field="ip", ranges=[{"mask": "10.0.0.0/8"}]),
    {
        "aggs": {
            "n": {
                "nested": {"path": "lines"},
                "aggs": {"r": {"reverse_nested": {}, "aggs": {"s": {"terms": {"field": "status"}}}}},
            }
        }
    },
    {
        "aggs": {
            "s": {
                "terms": {"field": "status", "order": {"p.max": "desc"}},
                "aggs": {"p": {"stats": {"field": "price"}}},
            }
        }
    },
    {"aggs": {"g": {"global": {}, "aggs": {"a": {"avg": {"field": "price"}}}}}, "query": {"match_none": {}}},
    per_day(
        c={"cumulative_sum": {"buckets_path": "p"}},
        m={"moving_fn": {"buckets_path": "_count", "window": 2, "script": "1"}},
    ),
    per_day(s={"bucket_script": {"buckets_path": {"a": "p", "b": "_count"}, "script": "1"}}),
    per_day(b={"bucket_sort": {"sort": [{"p": {"order": "desc"}}, "_key"], "size": 2}}),
]


@pytest.mark.parametrize("query", RIGHT_QUERIES, ids=lambda query: next(iter(query)))
def test_right_queries(query: dict[str, Any]) -> None:
    """A right query of each kind has no finding, also as a filter, excluded, and as one of several."""
    for body in (
        query,
        {"bool": {"filter": [query]}},
        {"bool": {"must_not": query}},
        {"constant_score": {"filter": query}},
    ):
        assert found({"query": body}) == ()


@pytest.mark.parametrize("body", RIGHT_BODIES, ids=lambda body: "-".join(body) or "empty")
def test_right_bodies(body: dict[str, Any]) -> None:
    """A right body of each construct has no finding."""
    assert found(body) == ()


WRONG: list[tuple[Code, str | None, dict[str, Any]]] = [
    (Code.UNKNOWN_FIELD, "status", {"query": {"term": {"statsu": "a"}}}),
    (Code.UNKNOWN_FIELD, "host.name", {"query": {"exists": {"field": "hostname"}}}),
    (Code.UNKNOWN_FIELD, "status", {"query": {"term": {"status.keyword": "a"}}}),
    (Code.UNKNOWN_FIELD, "labels.team", {"query": {"term": {"label.team": "a"}}}),
    (Code.UNKNOWN_FIELD, None, {"query": {"function_score": {"field_value_factor": {"field": "zzzzzz"}}}}),
    (Code.UNKNOWN_FIELD, "host.*", {"query": {"multi_match": {"query": "a", "fields": ["hosts.*"]}}}),
    (Code.UNKNOWN_FIELD, "price", {"query": {"query_string": {"query": "prise:3"}}}),
    (Code.UNKNOWN_FIELD, "title", {"query": {"query_string": {"query": "a", "default_field": "titel"}}}),
    (Code.UNKNOWN_FIELD, "lines.sku", {"query": {"nested": {"path": "lines", "query": {"term": {"lines.skv": "a"}}}}}),
    (Code.UNKNOWN_FIELD, "lines", {"query": {"nested": {"path": "line", "query": {"match_all": {}}}}}),
    (Code.UNKNOWN_FIELD, "price", {"fields": ["prise"]}),
    (Code.UNKNOWN_FIELD, "status", {"_source": ["statsu"]}),
    (Code.UNKNOWN_FIELD, "title", {"highlight": {"fields": {"titel": {}}}}),
    (Code.OBJECT_AS_FIELD, "host.name", {"query": {"term": {"host": "a"}}}),
    (Code.OBJECT_AS_FIELD, "host.name", {"sort": ["host"]}),
    (Code.DISABLED_OBJECT, None, {"query": {"exists": {"field": "raw.a"}}}),
    (Code.DISABLED_OBJECT, None, {"query": {"exists": {"field": "raw"}}}),
    (Code.NOT_SEARCHABLE, None, {"query": {"term": {"hidden": "a"}}}),
    (Code.NOT_SEARCHABLE, None, {"query": {"exists": {"field": "hidden"}}}),
    (Code.NO_DOC_VALUES, None, agg("terms", field="stored")),
    (Code.TEXT_NEEDS_KEYWORD, "title.keyword", {"sort": [{"title": "asc"}]}),
    (Code.TEXT_NEEDS_KEYWORD, "title.keyword", agg("cardinality", field="title.plain")),
    (Code.TERM_ON_TEXT, "title.keyword", {"query": {"term": {"title": "Floor"}}}),
    (Code.TERM_ON_TEXT, "title.keyword", {"query": {"terms": {"title": ["floor lamp"]}}}),
    (Code.TERM_ON_TEXT, "title.keyword", {"query": {"prefix": {"title": "Floor"}}}),
    (Code.TERM_ON_TEXT, "title.keyword", {"query": {"regexp": {"title": "Floor lamp"}}}),
    (Code.TERM_ON_TEXT, "title.keyword", {"query": {"fuzzy": {"title": "floor lamp"}}}),
    (Code.TYPE_MISFIT, None, agg("avg", field="status")),
    (Code.TYPE_MISFIT, "place", {"query": {"geo_distance": {"distance": "1km", "status": POINT}}}),
    (Code.TYPE_MISFIT, None, {"query": {"prefix": {"ip": "10."}}}),
    (Code.TYPE_MISFIT, None, agg("terms", field="price", include="1.*")),
    (Code.TYPE_MISFIT, None, {"collapse": {"field": "late"}}),
    (Code.TYPE_MISFIT, None, {"query": {"multi_match": {"query": "a", "type": "phrase_prefix", "fields": ["title*"]}}}),
    (Code.TYPE_MISFIT, None, {"suggest": {"x": {"text": "a", "term": {"field": "price"}}}}),
    (Code.FLATTENED_MISUSE, None, {"query": {"wildcard": {"labels.team": "a*"}}}),
    (Code.FLATTENED_MISUSE, None, {"query": {"range": {"labels.team": {"gte": "a"}}}}),
    (Code.FLATTENED_MISUSE, "labels.team", {"query": {"term": {"labels.team.keyword": "a"}}}),
    (Code.NESTED_MISSING, None, {"query": {"term": {"lines.sku": "a"}}}),
    (Code.NESTED_MISSING, None, {"query": {"exists": {"field": "lines"}}}),
    (Code.NESTED_MISSING, None, {"sort": ["seen.by"]}),
    (Code.NESTED_MISSING, None, {"collapse": {"field": "lines.sku"}}),
    (Code.NESTED_WRONG, "lines", {"query": {"nested": {"path": "lines.parts", "query": {"term": {"lines.sku": "a"}}}}}),
    (Code.NESTED_WRONG, None, {"query": {"nested": {"path": "lines", "query": {"term": {"status": "a"}}}}}),
    (
        Code.NESTED_WRONG,
        None,
        {"aggs": {"n": {"nested": {"path": "lines"}, "aggs": {"s": {"terms": {"field": "status"}}}}}},
    ),
    (Code.NOT_NESTED, "lines", {"query": {"nested": {"path": "host", "query": {"match_all": {}}}}}),
    (Code.BAD_VALUE, None, {"query": {"term": {"count": "many"}}}),
    (Code.BAD_VALUE, None, {"query": {"term": {"paid": 1}}}),
    (Code.BAD_VALUE, None, {"query": {"term": {"ip": "10.0"}}}),
    (Code.BAD_VALUE, None, {"query": {"match": {"at": "soon"}}}),
    (Code.BAD_VALUE, None, {"query": {"range": {"at": {"gte": 1788000000000, "lt": "2026-01-01"}}}}),
    (Code.BAD_VALUE, None, {"query": {"range": {"day": {"gte": 2026, "format": "yyyy-MM"}}}}),
    (Code.BAD_VALUE, None, {"query": {"multi_match": {"query": "many", "fields": ["title", "count"]}}}),
    (Code.BAD_VALUE, None, {"query": {"query_string": {"query": "count:many"}}}),
    (Code.BAD_VALUE, None, {"query": {"query_string": {"query": "count:[many TO 5]"}}}),
    (Code.BAD_VALUE, None, {"knn": {"field": "vector", "query_vector": [1], "k": 1, "num_candidates": 2}}),
    (Code.BAD_VALUE, None, agg("date_histogram", field="at", calendar_interval="2w")),
    (Code.BAD_VALUE, None, agg("date_histogram", field="at", fixed_interval="1M")),
    (Code.BAD_VALUE, None, agg("date_range", field="day", ranges=[{"from": "2026"}])),
    (Code.OUT_OF_RANGE, None, {"query": {"term": {"count": 70000}}}),
    (Code.OUT_OF_RANGE, None, {"query": {"term": {"count": 5.5}}}),
    (Code.NUMBER_ON_DATE, None, {"query": {"range": {"at": {"lte": 20261110}}}}),
    (Code.RANGE_ON_KEYWORD, None, {"query": {"range": {"status": {"gte": 5}}}}),
    (Code.OVER_IGNORE_ABOVE, None, {"query": {"term": {"short": "longer"}}}),
    (Code.UNKNOWN_CLAUSE, "term", {"query": {"trem": {"status": "a"}}}),
    (Code.UNKNOWN_CLAUSE, None, {"query": {"status": "a"}}),
    (Code.UNKNOWN_CLAUSE, "percentiles", agg("percentile", field="price")),
    (Code.UNKNOWN_CLAUSE, "terms", agg("composite", sources=[{"a": {"term": {"field": "status"}}}])),
    (Code.UNKNOWN_CLAUSE, "term", {"suggest": {"x": {"text": "a", "trem": {"field": "title"}}}}),
    (Code.UNKNOWN_CLAUSE, "standard", {"retriever": {"standart": {}}}),
    (Code.UNKNOWN_KEY, "must", {"query": {"bool": {"and": []}}}),
    (Code.UNKNOWN_KEY, "size", {"limit": 5}),
    (Code.UNKNOWN_KEY, "includes", {"_source": {"includs": []}}),
    (Code.UNKNOWN_KEY, "gte", {"query": {"range": {"price": {"min": 5}}}}),
    (Code.UNKNOWN_KEY, "order", {"sort": [{"price": {"direction": "asc"}}]}),
    (Code.UNKNOWN_KEY, "distance", {"query": {"geo_distance": {"distnace": "1km", "place": POINT}}}),
    (Code.WRONG_SHAPE, None, {"size": "ten"}),
    (Code.WRONG_SHAPE, None, {"explain": "yes"}),
    (Code.WRONG_SHAPE, None, {"query": [{"match_all": {}}]}),
    (Code.WRONG_SHAPE, None, {"query": {"match_all": {}, "term": {"status": "a"}}}),
    (Code.WRONG_SHAPE, "query", {"match": {"title": "a"}}),
    (Code.WRONG_SHAPE, None, {"query": {"term": {"status": ["a"]}}}),
    (Code.WRONG_SHAPE, None, {"query": {"terms": {"status": "a"}}}),
    (Code.WRONG_SHAPE, None, {"query": {"term": {"status": "a", "paid": True}}}),
    (Code.WRONG_SHAPE, None, {"query": {"term": {"status": {"value": ["a"]}}}}),
    (Code.WRONG_SHAPE, None, {"query": {"exists": "status"}}),
    (Code.WRONG_SHAPE, None, {"query": {"exists": {"field": ["a"]}}}),
    (Code.WRONG_SHAPE, None, {"query": {"range": {"price": 5}}}),
    (Code.WRONG_SHAPE, None, {"query": {"query_string": {"query": {}}}}),
    (Code.WRONG_SHAPE, None, {"query": {"nested": {"path": 5, "query": {"match_all": {}}}}}),
    (Code.WRONG_SHAPE, None, {"min_score": True}),
    (Code.WRONG_SHAPE, None, {"sort": [5]}),
    (Code.WRONG_SHAPE, None, {"sort": [{"price": "up"}]}),
    (Code.WRONG_SHAPE, None, {"sort": [{"price": 5}]}),
    (Code.WRONG_SHAPE, None, {"aggs": []}),
    (Code.WRONG_SHAPE, None, {"aggs": {"x": []}}),
    (Code.WRONG_SHAPE, None, {"aggs": {"x": {}}}),
    (Code.WRONG_SHAPE, None, {"aggs": {"a[b]": {"avg": {"field": "price"}}}}),
    (Code.WRONG_SHAPE, None, {"aggs": {"x": {"avg": {"field": "price"}, "aggs": {"y": {"avg": {"field": "price"}}}}}}),
    (Code.WRONG_SHAPE, None, agg("filters", filters="a")),
    (Code.WRONG_SHAPE, None, agg("composite", sources=[{}])),
    (Code.WRONG_SHAPE, None, agg("composite", sources=[{"a": {}}])),
    (Code.WRONG_SHAPE, None, {"suggest": []}),
    (Code.WRONG_SHAPE, None, {"suggest": {"x": "a"}}),
    (Code.WRONG_SHAPE, None, {"fields": 5}),
    (Code.WRONG_SHAPE, None, {"fields": [5]}),
    (Code.WRONG_SHAPE, None, {"highlight": {"fields": ["title"]}}),
    (Code.WRONG_SHAPE, None, {"retriever": {}}),
    (Code.WRONG_SHAPE, None, {"runtime_mappings": []}),
    (Code.WRONG_SHAPE, None, {"sort": [{"price": {"nested": []}}]}),
    (Code.EMPTY_CLAUSE, None, {"query": {}}),
    (Code.EMPTY_CLAUSE, None, {"query": {"range": {}}}),
    (Code.EMPTY_CLAUSE, None, {"query": {"range": {"price": {}}}}),
    (Code.EMPTY_CLAUSE, None, {"query": {"match": {"title": {}}}}),
    (Code.EMPTY_CLAUSE, None, {"query": {"exists": {}}}),
    (Code.EMPTY_CLAUSE, None, {"query": {"terms": {"status": [None]}}}),
    (Code.BAD_COMBINATION, None, {"sort": ["price"], "search_after": [1, 2]}),
    (Code.BAD_COMBINATION, None, agg("reverse_nested")),
    (Code.BAD_COMBINATION, None, agg("composite", sources=[{"a": {"terms": {"field": "status"}}}], after={"b": 1})),
    (Code.BAD_COMBINATION, None, {"knn": {"field": "vector", "query_vector": [1, 2], "k": 9, "num_candidates": 2}}),
    (Code.BAD_PATH, "p", per_day(c={"cumulative_sum": {"buckets_path": "q"}})),
    (Code.BAD_PATH, "d>p", {"aggs": {**per_day()["aggs"], "m": {"avg_bucket": {"buckets_path": "days>p"}}}}),
    (Code.BAD_PATH, "d>p", {"aggs": {**per_day()["aggs"], "m": {"avg_bucket": {"buckets_path": ["d/p"]}}}}),
    (
        Code.BAD_PATH,
        "p",
        {
            "aggs": {
                "s": {"terms": {"field": "status", "order": {"pp": "asc"}}, "aggs": {"p": {"max": {"field": "price"}}}}
            }
        },
    ),
    (Code.BAD_PATH, "p", per_day(b={"bucket_sort": {"sort": ["pq"]}})),
    (Code.QUERY_STRING_SYNTAX, None, {"query": {"query_string": {"query": "(a"}}}),
]


@pytest.mark.parametrize(("code", "meant", "body"), WRONG)
def test_mistakes_are_named(code: Code, meant: str | None, body: dict[str, Any]) -> None:
    """Each mistake has one finding of its code, with what was meant, if that can be told, as the first suggestion."""
    findings = found(body)
    assert [one.code for one in findings] == [code]
    if meant is not None:
        assert findings[0].did_you_mean[:1] == (meant,)


def test_weak_places_warn() -> None:
    """That nothing is found may be meant in `must_not`, `should` and `exists`, and where documents may add a field."""
    unknown = {"term": {"nosuch": "a"}}
    for query in ({"bool": {"must_not": unknown}}, {"bool": {"should": [unknown]}}, {"term": {"open.nosuch": 1}}):
        assert [one.severity for one in found({"query": query})] == [Severity.WARNING]
    assert [one.severity for one in found({"query": unknown})] == [Severity.ERROR]


def test_scripts_are_not_checked() -> None:
    """What isn't looked into is named."""
    body = {"query": {"script": {"script": SCRIPT}}, "script_fields": {"a": {"script": SCRIPT}}}
    assert validate(PREPARED, body).not_checked == ("/query/script/script", "/script_fields")


def test_a_later_version_may_know_more() -> None:
    """A clause that is like none of the tables' is a warning: a later version may have it."""
    assert VERSIONS == ("8.19", "9.1")
    (finding,) = validate(PREPARED, {"query": {"quantum_rank": {"status": "a"}}}).findings
    assert finding.severity is Severity.WARNING
    (finding,) = validate(PREPARED, {"query": {"trem": {"status": "a"}}}).findings
    assert finding.severity is Severity.ERROR


def clauses() -> list[Clause]:
    """All clauses of the tables, those within others too."""
    waiting = [BODY, *QUERIES_TABLE.values(), *RETRIEVERS.values(), *(one.clause for one in AGGREGATIONS.values())]
    waiting += [slot.clause for slot in SOURCES.values() if slot.clause]
    every: list[Clause] = []
    while waiting:
        clause = waiting.pop()
        every.append(clause)
        waiting += [slot.clause for slot in clause.keys.values() if slot.clause]
    return every


def test_tables_name_what_there_is() -> None:
    """Each reader, check and further check that a row names is one of the walk's."""
    every = clauses()
    slots = [slot for clause in every for slot in clause.keys.values()]
    assert {slot.reader for slot in slots} <= KNOWN_READERS
    assert {clause.also for clause in every if clause.also} <= KNOWN_ALSO
    assert {clause.keyed.check for clause in every if clause.keyed} <= KNOWN_CHECKS
    assert all(set(clause.required) <= set(clause.keys) for clause in every)
