"""A table of the keys of a search body in Elasticsearch 8.19 and 9.1, without queries and aggregations.

Source: the reference of the search API, and `SearchSourceBuilder.parseXContent`.
"""

from cacheapp.queries import places
from cacheapp.queries.slots import (
    ANY,
    FLAG,
    NUMBER,
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

_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("limit", "rows", "per_page", "page_size", "count", "hits", "top"), ("size",)),
    **dict.fromkeys(("offset", "skip", "start", "page"), ("from",)),
    **dict.fromkeys(("orderby", "order_by", "order", "sort_by", "sortby"), ("sort",)),
    **dict.fromkeys(("filter", "filters", "where"), ("post_filter", "query")),
    **dict.fromkeys(("q", "search"), ("query",)),
    **dict.fromkeys(("source", "include", "includes", "select", "columns"), ("_source",)),
    **dict.fromkeys(("facets", "group_by", "groupby", "agg"), ("aggs",)),
    **dict.fromkeys(("runtime", "runtime_fields"), ("runtime_mappings",)),
    **dict.fromkeys(("total", "track_total"), ("track_total_hits",)),
    **dict.fromkeys(("fielddata_fields", "doc_values"), ("docvalue_fields",)),
    **dict.fromkeys(("cursor", "after"), ("search_after",)),
    **dict.fromkeys(("suggestions", "did_you_mean"), ("suggest",)),
    **dict.fromkeys(("highlighting",), ("highlight",)),
    **dict.fromkeys(("distinct", "group"), ("collapse",)),
}

SLICE = Clause({"field": ANY, "id": WHOLE, "max": WHOLE}, ("id", "max"))
POINT_IN_TIME = Clause({"id": TEXT, "keep_alive": ANY}, ("id",))

_HIGHLIGHT_OPTIONS = any_of(
    "type boundary_chars boundary_max_scan boundary_scanner boundary_scanner_locale encoder force_source"
    " fragmenter fragment_offset fragment_size highlight_query matched_fields max_analyzed_offset"
    " no_match_size number_of_fragments options order phrase_limit post_tags pre_tags require_field_match tags_schema"
    " highlight_filter"
)
HIGHLIGHT_FIELD = Clause(
    {**_HIGHLIGHT_OPTIONS, "highlight_query": SCORING_QUERY, "matched_fields": fields(places.HIGHLIGHT)}
)
HIGHLIGHT = Clause(
    {**_HIGHLIGHT_OPTIONS, "highlight_query": SCORING_QUERY, "fields": Slot("highlight_fields", places.HIGHLIGHT)}
)

INNER_HITS = Clause(
    {
        **any_of("name ignore_unmapped version seq_no_primary_term explain track_scores stored_fields script_fields"),
        "from": WHOLE,
        "size": WHOLE,
        "sort": Slot("sort"),
        "_source": Slot("source"),
        "highlight": Slot("highlight"),
        "fields": Slot("fetched", places.FETCHED),
        "docvalue_fields": Slot("fetched", places.DOC_VALUE),
        "collapse": Slot("collapse"),
    }
)
COLLAPSE = Clause(
    {
        "field": field(places.COLLAPSE),
        "inner_hits": Slot("collapsed_hits"),
        "max_concurrent_group_searches": WHOLE,
    },
    ("field",),
    synonyms=dict.fromkeys(("key", "by", "on", "name", "group_by"), ("field",)),
)

SORT_FIELD = Clause(
    any_of("order missing mode numeric_type unmapped_type format") | {"nested": Slot("sort_nested")},
    synonyms=dict.fromkeys(("direction", "dir", "by", "sort", "ord"), ("order",)),
)
GEO_SORT = Clause(
    any_of("order mode unit distance_type validation_method ignore_unmapped") | {"nested": Slot("sort_nested")},
    keyed=Keyed(places.GEO_SORT, None, None, check="beside"),
)
SORT_NESTED = Clause({"path": TEXT, "filter": QUERY, "nested": ANY, "max_children": WHOLE}, ("path",))
SORT_SCRIPT = Clause({"script": SCRIPT, **any_of("type order mode nested")}, ("script", "type"))

_SUGGESTER = {"size": WHOLE, "shard_size": WHOLE, **any_of("analyzer")}
_GENERATOR = any_of(
    "suggest_mode accuracy max_edits max_inspections max_term_freq min_word_length min_doc_freq prefix_length sort"
    " string_distance size pre_filter post_filter"
)
SUGGESTERS: dict[str, Clause] = {
    "term": Clause({**_SUGGESTER, **_GENERATOR, "field": field(places.TERM_SUGGESTER)}, ("field",)),
    "phrase": Clause(
        {
            **_SUGGESTER,
            **any_of("gram_size real_word_error_likelihood confidence max_errors separator force_unigrams token_limit"),
            **any_of("highlight collate smoothing"),
            "field": field(places.PHRASE_SUGGESTER),
            "direct_generator": some(Clause({**_GENERATOR, "field": field(places.TERM_SUGGESTER)}, ("field",))),
        },
        ("field",),
    ),
    "completion": Clause(
        {
            **_SUGGESTER,
            **any_of("fuzzy regex contexts skip_duplicates"),
            "field": field(places.COMPLETION_SUGGESTER),
        },
        ("field",),
    ),
}
RESCORE = Clause(
    {
        "window_size": WHOLE,
        "query": one(
            Clause(
                {
                    "rescore_query": SCORING_QUERY,
                    "query_weight": NUMBER,
                    "rescore_query_weight": NUMBER,
                    "score_mode": TEXT,
                },
                ("rescore_query",),
            )
        ),
        **any_of("learning_to_rank script"),
    },
    is_open=True,
)

BODY = Clause(
    {
        "query": QUERY,
        **dict.fromkeys(("aggs", "aggregations"), Slot("aggregations")),
        "from": WHOLE,
        "size": WHOLE,
        "min_score": NUMBER,
        "terminate_after": WHOLE,
        **dict.fromkeys(("version", "seq_no_primary_term", "explain", "track_scores", "profile"), FLAG),
        **any_of("timeout track_total_hits indices_boost stats ext stored_fields include_named_queries_score"),
        "sort": Slot("sort"),
        "search_after": ANY,
        "_source": Slot("source"),
        "fields": Slot("fetched", places.FETCHED),
        "docvalue_fields": Slot("fetched", places.DOC_VALUE),
        "script_fields": SCRIPT,
        "highlight": Slot("highlight"),
        "collapse": Slot("collapse"),
        "post_filter": QUERY,
        "suggest": Slot("suggest"),
        "rescore": Slot("rescore"),
        "knn": Slot("knn"),
        "retriever": Slot("retriever"),
        "rank": ANY,
        "runtime_mappings": Slot("runtime_mappings"),
        "slice": one(SLICE),
        "pit": one(POINT_IN_TIME),
        "sub_searches": ANY,
    },
    synonyms=_SYNONYMS,
)
