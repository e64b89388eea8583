"""A table of all queries of Elasticsearch 8.19 and 9.1, one row each.

Source: the reference of the query language, and the source code of the builders (`AbstractQueryBuilder.fromXContent` of
each), including those of modules and x-pack.
"""

from collections.abc import Mapping

from cacheapp.queries import places
from cacheapp.queries.places import Place
from cacheapp.queries.slots import (
    ALTERNATIVES,
    ANY,
    COMMON,
    FLAG,
    INNER_HITS,
    NEGATED,
    NUMBER,
    QUERIES,
    QUERY,
    SCORING_QUERY,
    SCRIPT,
    TEXT,
    WHOLE,
    Clause,
    Keyed,
    Slot,
    any_of,
    field,
    fields,
    one,
    some,
)

VERSIONS = ("8.19", "9.1")
"""The versions of Elasticsearch that the tables were made from."""

_FUZZY = any_of("operator analyzer fuzziness minimum_should_match fuzzy_rewrite")
_FUZZY |= {"prefix_length": WHOLE, "max_expansions": WHOLE, "fuzzy_transpositions": FLAG}
_MATCH = {**_FUZZY, "lenient": FLAG, "zero_terms_query": ANY, "auto_generate_synonyms_phrase_query": FLAG}
_FIELDS_MATCH = {**_MATCH, "type": ANY, "tie_breaker": NUMBER, "slop": WHOLE}
_PHRASE = any_of("analyzer zero_terms_query") | {"slop": WHOLE}
_STRING = any_of("default_operator analyzer minimum_should_match quote_field_suffix")
_STRING |= {"analyze_wildcard": FLAG, "lenient": FLAG, "fuzzy_transpositions": FLAG}
_STRING |= {"auto_generate_synonyms_phrase_query": FLAG, "fuzzy_prefix_length": WHOLE, "fuzzy_max_expansions": WHOLE}
_QUERY_STRING = any_of("quote_analyzer fuzzy_rewrite rewrite time_zone type fuzziness default_field")
_QUERY_STRING |= {"allow_leading_wildcard": FLAG, "max_determinized_states": WHOLE, "enable_position_increments": FLAG}
_QUERY_STRING |= {"escape": FLAG, "phrase_slop": WHOLE, "tie_breaker": NUMBER}
_GEO = any_of("validation_method unit distance_type") | {"ignore_unmapped": FLAG}
_DECAYS = ("gauss", "linear", "exp")
_KNN = any_of("query_vector query_vector_builder rescore_vector visit_percentage")
_KNN |= {"k": WHOLE, "num_candidates": WHOLE, "similarity": NUMBER, "filter": QUERIES, "field": field(places.KNN)}

DECAY = Clause(
    keys=any_of("multi_value_mode"),
    keyed=Keyed(places.DECAY, None, any_of("origin scale offset decay"), has_short_form=False),
)
FUNCTION: dict[str, Slot] = {
    **dict.fromkeys(_DECAYS, one(DECAY)),
    "weight": NUMBER,
    "script_score": SCRIPT,
    "random_score": one(Clause({"seed": ANY, "field": field(places.RANDOM_SCORE)})),
    "field_value_factor": one(
        Clause(
            any_of("field factor modifier missing"),
            required=("field",),
            also="value_factor",
        )
    ),
}
INTERVAL_FILTER = any_of(
    "after before contained_by containing not_contained_by not_containing not_overlapping overlapping script"
)
_INTERVAL = any_of("analyzer") | {"use_field": field(places.INTERVALS)}
INTERVAL_RULES: dict[str, Slot] = {
    "match": one(Clause({**_INTERVAL, **any_of("query ordered filter"), "max_gaps": WHOLE}, required=("query",))),
    "prefix": one(Clause({**_INTERVAL, "prefix": TEXT}, required=("prefix",))),
    "wildcard": one(Clause({**_INTERVAL, "pattern": TEXT}, required=("pattern",))),
    "regexp": one(Clause({**_INTERVAL, "pattern": TEXT}, required=("pattern",))),
    "fuzzy": one(
        Clause({**_INTERVAL, **any_of("term fuzziness"), "prefix_length": WHOLE, "transpositions": FLAG}, ("term",))
    ),
    "range": one(Clause({**_INTERVAL, **any_of("gt gte lt lte")})),
    "all_of": one(
        Clause(
            {"intervals": Slot("interval_rules"), **any_of("ordered mode filter"), "max_gaps": WHOLE}, ("intervals",)
        )
    ),
    "any_of": one(Clause({"intervals": Slot("interval_rules"), **any_of("filter")}, ("intervals",))),
}


def _options(keys: dict[str, Slot], *required: str, is_open: bool = False, also: str | None = None) -> Clause:
    return Clause({**COMMON, **keys}, required, is_open=is_open, also=also)


def _keyed(  # one argument for each difference between such rows
    place: Place,
    inner: dict[str, Slot],
    value: str | None = "value",
    *,
    outer: dict[str, Slot] | None = None,
    check: str = "any",
    has_short_form: bool = True,
    synonyms: Mapping[str, tuple[str, ...]] | None = None,
) -> Clause:
    keyed = Keyed(place, value, {**COMMON, **inner}, has_short_form, check)
    return Clause(outer or {}, keyed=keyed, synonyms=synonyms or {})


def _beside(place: Place, outer: dict[str, Slot]) -> Clause:
    """Return the row of a query that has a field's name as a key, and options beside that key."""
    return Clause({**COMMON, **outer}, keyed=Keyed(place, None, None, check="beside"))


_BOUNDS = any_of("gt gte lt lte from to format time_zone relation") | {"include_lower": FLAG, "include_upper": FLAG}
_RANGE_SYNONYMS = {
    **dict.fromkeys(("min", "minimum", "start", "after", "since", "greater_than_or_equal", "ge", "begin"), ("gte",)),
    **dict.fromkeys(("max", "maximum", "end", "until", "before", "le", "stop"), ("lte",)),
    **dict.fromkeys(("greater", "greater_than", "above", "more"), ("gt",)),
    **dict.fromkeys(("less", "less_than", "below"), ("lt",)),
}
_BOOL_SYNONYMS = {
    "and": ("must", "filter"),
    "or": ("should",),
    "not": ("must_not",),
    "any": ("should",),
    "all": ("must",),
    "exclude": ("must_not",),
    "min_should_match": ("minimum_should_match",),
    "minimum_number_should_match": ("minimum_should_match",),
    "where": ("filter",),
}

QUERIES_TABLE: dict[str, Clause] = {
    "match_all": _options({}),
    "match_none": _options({}),
    "bool": Clause(
        {
            **COMMON,
            "must": QUERIES,
            "filter": QUERIES,
            **dict.fromkeys(("must_not", "mustNot"), NEGATED),
            "should": ALTERNATIVES,
            "minimum_should_match": ANY,
            "adjust_pure_negative": FLAG,
        },
        synonyms=_BOOL_SYNONYMS,
    ),
    "boosting": _options(
        {"positive": QUERY, "negative": SCORING_QUERY, "negative_boost": NUMBER}, "positive", "negative"
    ),
    "constant_score": _options({"filter": QUERY}, "filter"),
    "dis_max": _options({"queries": ALTERNATIVES, "tie_breaker": NUMBER}, "queries"),
    "function_score": _options(
        {
            "query": QUERY,
            **any_of("boost_mode score_mode"),
            "max_boost": NUMBER,
            "min_score": NUMBER,
            "functions": some(Clause({**FUNCTION, "filter": SCORING_QUERY})),
            **FUNCTION,
        }
    ),
    "script_score": _options({"query": QUERY, "script": SCRIPT, "min_score": NUMBER}, "query", "script"),
    "script": _options({"script": SCRIPT}, "script"),
    "wrapper": _options({"query": SCRIPT}, "query"),
    # -- of terms
    "term": _keyed(places.TERM, {"case_insensitive": FLAG, "term": ANY}, check="term"),
    "terms": Clause(COMMON, keyed=Keyed(places.TERMS, None, None, check="terms")),
    "terms_set": _keyed(
        places.TERMS_SET,
        {
            "terms": ANY,
            "minimum_should_match_field": field(places.MINIMUM_SHOULD_MATCH_FIELD),
            "minimum_should_match_script": SCRIPT,
            "minimum_should_match": ANY,
        },
        "terms",
        has_short_form=False,
    ),
    "range": _keyed(
        places.RANGE,
        _BOUNDS,
        None,
        outer={"_name": TEXT},
        check="range",
        has_short_form=False,
        synonyms=_RANGE_SYNONYMS,
    ),
    "exists": _options({"field": field(places.EXISTS)}, "field"),
    "prefix": _keyed(places.PREFIX, {"rewrite": ANY, "case_insensitive": FLAG}, check="pattern"),
    "wildcard": _keyed(places.WILDCARD, {"rewrite": ANY, "case_insensitive": FLAG, "wildcard": ANY}, check="pattern"),
    "regexp": _keyed(
        places.REGEXP,
        {**any_of("flags flags_value rewrite"), "max_determinized_states": WHOLE, "case_insensitive": FLAG},
        outer={"_name": TEXT},
        check="regexp",
    ),
    "fuzzy": _keyed(
        places.FUZZY,
        {**any_of("fuzziness rewrite term"), "prefix_length": WHOLE, "max_expansions": WHOLE, "transpositions": FLAG},
        check="fuzzy",
    ),
    "ids": _options({"values": ANY}),
    # -- of texts
    "match": _keyed(places.MATCH, _MATCH, "query", check="match"),
    "match_phrase": _keyed(places.MATCH_PHRASE, _PHRASE, "query", check="match"),
    "match_phrase_prefix": _keyed(places.PHRASE_PREFIX, {**_PHRASE, "max_expansions": WHOLE}, "query"),
    "match_bool_prefix": _keyed(places.MATCH_BOOL_PREFIX, _FUZZY, "query", check="match"),
    "multi_match": _options(
        {**_FIELDS_MATCH, "query": ANY, "fields": ANY},
        "query",
        also="multi_match",
    ),
    "combined_fields": _options(
        {
            "query": ANY,
            "fields": fields(places.COMBINED),
            **any_of("operator minimum_should_match zero_terms_query"),
            "auto_generate_synonyms_phrase_query": FLAG,
        },
        *("query", "fields"),
    ),
    "query_string": _options(
        {**_STRING, **_QUERY_STRING, "query": TEXT, "fields": fields(places.QUERY_STRING)}, "query", also="query_string"
    ),
    "simple_query_string": _options(
        {**_STRING, "flags": ANY, "type": ANY, "query": TEXT, "fields": fields(places.SIMPLE_QUERY_STRING)}, "query"
    ),
    "intervals": _keyed(places.INTERVALS, INTERVAL_RULES, None, has_short_form=False),
    "more_like_this": _options(
        {
            "fields": fields(places.MORE_LIKE_THIS),
            **any_of("like unlike stop_words analyzer minimum_should_match boost_terms"),
            **any_of("max_query_terms min_term_freq min_doc_freq max_doc_freq min_word_length max_word_length"),
            **dict.fromkeys(("include", "fail_on_unsupported_field"), FLAG),
        }
    ),
    # -- nested and joined documents
    "nested": _options(
        {"path": ANY, "query": ANY, "score_mode": ANY, "ignore_unmapped": FLAG, "inner_hits": ANY},
        *("path", "query"),
        also="nested_query",
    ),
    "has_child": _options(
        {
            "type": TEXT,
            "query": Slot("joined_query"),
            "score_mode": ANY,
            "min_children": WHOLE,
            "max_children": WHOLE,
            "ignore_unmapped": FLAG,
            "inner_hits": INNER_HITS,
        },
        *("type", "query"),
    ),
    "has_parent": _options(
        {
            "parent_type": TEXT,
            "query": Slot("joined_query"),
            "score": FLAG,
            "ignore_unmapped": FLAG,
            "inner_hits": INNER_HITS,
        },
        *("parent_type", "query"),
    ),
    "parent_id": _options({"type": TEXT, "id": ANY, "ignore_unmapped": FLAG}, "type"),
    # -- places and shapes
    "geo_distance": _beside(places.GEO_QUERY, {**_GEO, "distance": ANY}),
    "geo_bounding_box": _beside(places.GEO_QUERY, _GEO),
    "geo_polygon": _beside(places.GEO_POLYGON, _GEO),
    "geo_shape": _beside(places.GEO_QUERY, _GEO),
    "geo_grid": _beside(places.GEO_QUERY, _GEO),
    "shape": _beside(places.SHAPE_QUERY, _GEO),
    # -- spans
    "span_term": _keyed(places.SPAN_TERM, {"term": ANY}, check="term"),
    "span_or": _options({"clauses": ALTERNATIVES}, "clauses"),
    "span_near": _options({"clauses": QUERIES, "slop": WHOLE, "in_order": FLAG}, "clauses"),
    "span_gap": _options({}, is_open=True),
    "span_not": _options(
        {"include": QUERY, "exclude": NEGATED, "pre": WHOLE, "post": WHOLE, "dist": WHOLE}, "include", "exclude"
    ),
    "span_first": _options({"match": QUERY, "end": WHOLE}, "match", "end"),
    "span_containing": _options({"big": QUERY, "little": QUERY}, "big", "little"),
    "span_within": _options({"big": QUERY, "little": QUERY}, "big", "little"),
    "span_multi": _options({"match": QUERY}, "match"),
    "field_masking_span": _options({"query": QUERY, "field": field(places.SPAN_TERM)}, "query", "field"),
    # -- numbers into scores
    "distance_feature": _options(
        {"field": field(places.DISTANCE_FEATURE), **any_of("origin pivot")}, "field", "origin", "pivot"
    ),
    "rank_feature": _options({"field": field(places.RANK_FEATURE), **any_of("saturation log sigmoid linear")}, "field"),
    # -- vectors and meaning
    "knn": _options(_KNN, "field", also="knn"),
    "sparse_vector": _options(
        {"field": field(places.SPARSE_VECTOR), **any_of("inference_id query query_vector prune pruning_config")},
        "field",
    ),
    "text_expansion": _beside(places.SPARSE_VECTOR, {}),
    "weighted_tokens": _beside(places.SPARSE_VECTOR, {}),
    "semantic": _options({"field": field(places.SEMANTIC), **any_of("query k num_candidates")}, "field", "query"),
    # -- others
    "percolate": _options(
        {"field": field(places.PERCOLATE), **any_of("document documents index id routing preference version name")},
        "field",
    ),
    "pinned": _options({"organic": QUERY, **any_of("ids docs")}, "organic"),
    "pinned_query": _options({"organic": QUERY, **any_of("ids docs")}, is_open=True),
    "rule": _options({"organic": QUERY, **any_of("match_criteria ruleset_id ruleset_ids")}, "organic"),
    "rule_query": _options({"organic": QUERY, **any_of("match_criteria ruleset_id ruleset_ids")}, "organic"),
    "kql": _options(any_of("query default_field time_zone case_insensitive"), "query", is_open=True),
    "template": _options({}, is_open=True),
}
"""All queries, by name. One that a node lacks, because it lacks the module, is listed too, and so is never reported as
unknown.
"""

OF_PLUGINS = frozenset({"sltr", "ltr", "match_mapped_fields", "hybrid", "neural", "elastiknn_nearest_neighbors"})
"""The queries of known plugins. They are not checked."""

QUERY_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("equals", "equal", "eq", "is"), ("term",)),
    **dict.fromkeys(("in", "one_of", "any_of"), ("terms",)),
    **dict.fromkeys(("like", "contains", "search", "text"), ("match", "wildcard", "match_phrase")),
    **dict.fromkeys(("and", "or", "not", "filtered", "must", "should", "must_not", "filter"), ("bool",)),
    **dict.fromkeys(("between", "gt", "gte", "lt", "lte", "numeric_range"), ("range",)),
    **dict.fromkeys(("missing",), ("bool",)),
    **dict.fromkeys(("phrase", "match_exact"), ("match_phrase",)),
    **dict.fromkeys(("starts_with", "startswith", "begins_with"), ("prefix",)),
    **dict.fromkeys(("regex", "regexp_query", "matches"), ("regexp",)),
    **dict.fromkeys(("mlt",), ("more_like_this",)),
    **dict.fromkeys(("all",), ("match_all",)),
    **dict.fromkeys(("lucene", "querystring", "field"), ("query_string",)),
    **dict.fromkeys(("common", "common_terms"), ("match",)),
    **dict.fromkeys(("near", "geo_radius", "distance"), ("geo_distance",)),
    **dict.fromkeys(("bounding_box", "bbox", "geo_bbox"), ("geo_bounding_box",)),
    **dict.fromkeys(("id",), ("ids",)),
    **dict.fromkeys(("vector", "knn_query"), ("knn",)),
    **dict.fromkeys(("multi_field", "multimatch"), ("multi_match",)),
}

KNN_SEARCH = Clause({**COMMON, **_KNN, "inner_hits": INNER_HITS}, required=("field",), also="knn")
_MULTIPLE = {"rank_window_size": WHOLE, "min_score": NUMBER, "filter": QUERIES, "_name": TEXT}
RETRIEVERS: dict[str, Clause] = {
    "standard": Clause(
        {
            "query": QUERY,
            "filter": QUERIES,
            "search_after": ANY,
            "sort": Slot("sort"),
            "collapse": Slot("collapse"),
            "terminate_after": WHOLE,
            "min_score": NUMBER,
            "_name": TEXT,
        }
    ),
    "knn": Clause({**_KNN, "min_score": NUMBER, "_name": TEXT, "inner_hits": INNER_HITS}, ("field",), also="knn"),
    "rrf": Clause(
        {**_MULTIPLE, "retrievers": Slot("retrievers"), "rank_constant": WHOLE, **any_of("query fields")}, is_open=True
    ),
    "linear": Clause(
        {**_MULTIPLE, "retrievers": Slot("retrievers"), **any_of("query fields normalizer")}, is_open=True
    ),
    "text_similarity_reranker": Clause(
        {**_MULTIPLE, "retriever": Slot("retriever"), **any_of("field inference_id inference_text")}, is_open=True
    ),
    "rescorer": Clause({**_MULTIPLE, "retriever": Slot("retriever"), "rescore": Slot("rescore")}, is_open=True),
    "rule": Clause({**_MULTIPLE, "retriever": Slot("retriever"), **any_of("match_criteria ruleset_ids")}, is_open=True),
    "pinned": Clause({**_MULTIPLE, "retriever": Slot("retriever"), **any_of("ids docs")}, is_open=True),
    "random_reranker": Clause({**_MULTIPLE, "retriever": Slot("retriever"), "field": ANY, "seed": ANY}, is_open=True),
    "diversify": Clause({**_MULTIPLE, "retriever": Slot("retriever"), **any_of("field type")}, is_open=True),
}
"""All retrievers, by name. All but the first two are open: versions differ in some of their keys, which are not listed
here.
"""
