"""A table of all aggregations of Elasticsearch 8.19 and 9.1, one row each.

Source: the reference of aggregations, and the source code of their builders, including those of modules and x-pack.
"""

import msgspec

from cacheapp.queries import places
from cacheapp.queries.places import Place
from cacheapp.queries.slots import (
    ANY,
    FLAG,
    NUMBER,
    QUERY,
    SCRIPT,
    TEXT,
    WHOLE,
    Clause,
    Slot,
    any_of,
    field,
    fields,
    one,
    some,
)

_PLAIN: dict[str, Slot] = any_of("missing value_type")
_VALUES: dict[str, Slot] = {"script": SCRIPT, **_PLAIN, "format": ANY}


class Aggregation(msgspec.Struct, frozen=True):
    """One row of the table: one type of aggregation.

    Args:
        clause: The keys of its body.
        holds: Whether it has buckets, and may have other aggregations in it.
        numbers: The names of a metric's numbers, for paths to them. Empty: the metric is one number, or its numbers
            aren't known.
        pipeline: How a pipeline aggregation works on others. `parent`: on aggregations beside it, in the same bucket;
            `sibling`: on those in the buckets of an aggregation beside it. None for other aggregations.
    """

    clause: Clause
    holds: bool = True
    numbers: frozenset[str] = frozenset()
    pipeline: str | None = None


def _bucket(place: Place, keys: dict[str, Slot], *required: str, also: str | None = None) -> Aggregation:
    return Aggregation(Clause({"field": field(place), **_VALUES, **keys}, required, also=also))


def _metric(place: Place, keys: dict[str, Slot] | None = None, numbers: str = "") -> Aggregation:
    names = frozenset(numbers.split())
    return Aggregation(Clause({"field": field(place), **_VALUES, **(keys or {})}), False, names)


def _other(keys: dict[str, Slot], *required: str, is_open: bool = False, also: str | None = None) -> Aggregation:
    return Aggregation(Clause(keys, required, is_open=is_open, also=also))


def _pipeline(kind: str, keys: str = "", numbers: str = "", *, required: bool = True, **slots: Slot) -> Aggregation:
    row: dict[str, Slot] = {"buckets_path": ANY, **any_of("gap_policy format"), **any_of(keys), **slots}
    needed = ("buckets_path",) if required else ()
    return Aggregation(Clause(row, needed), False, frozenset(numbers.split()), kind)


_STATS = "count min max avg sum"
_EXTENDED = (
    f"{_STATS} sum_of_squares variance variance_population variance_sampling std_deviation std_deviation_population"
    " std_deviation_sampling std_upper std_lower std_upper_population std_lower_population std_upper_sampling"
    " std_lower_sampling std_deviation_bounds"
)
_TERMS = any_of("include exclude execution_hint")
_TERMS |= {"size": WHOLE, "shard_size": WHOLE, "min_doc_count": WHOLE, "shard_min_doc_count": WHOLE}
_ORDERED = {**_TERMS, **any_of("order collect_mode"), "show_term_doc_count_error": FLAG}
_SIGNIFICANT = {**_TERMS, "background_filter": QUERY, **any_of("jlh chi_square gnd mutual_information percentage")}
_SIGNIFICANT |= {"script_heuristic": SCRIPT, "p_value": ANY}
_PERCENTILES = any_of("tdigest hdr") | {"keyed": FLAG}
_HISTOGRAM = any_of("offset order extended_bounds hard_bounds") | {"keyed": FLAG, "min_doc_count": WHOLE}
_DATES = {
    **_HISTOGRAM,
    "time_zone": ANY,
    "calendar_interval": Slot("calendar_interval"),
    "fixed_interval": Slot("fixed_interval"),
}
_RANGES = {"ranges": ANY, "keyed": FLAG}
_GRID = {"precision": ANY, "bounds": ANY, "size": WHOLE, "shard_size": WHOLE}
_GEO_DISTANCE = any_of("origin point center unit distance_type")

_SOURCE = {**any_of("order missing_order"), "missing_bucket": FLAG, "script": SCRIPT, "value_type": ANY}
SOURCES: dict[str, Slot] = {
    "terms": one(Clause({**_SOURCE, "field": field(places.TERMS_AGG)})),
    "histogram": one(
        Clause({**_SOURCE, "field": field(places.COMPOSITE_HISTOGRAM), "interval": NUMBER}, ("interval",))
    ),
    "date_histogram": one(
        Clause(
            {
                **_SOURCE,
                **any_of("format time_zone offset"),
                "field": field(places.COMPOSITE_HISTOGRAM),
                "calendar_interval": Slot("calendar_interval"),
                "fixed_interval": Slot("fixed_interval"),
            }
        )
    ),
    "geotile_grid": one(Clause({**_SOURCE, "field": field(places.GEO_POINT_AGG), "precision": ANY, "bounds": ANY})),
}
"""The kinds of sources that a composite aggregation can combine, by name."""

_MULTI_TERMS = Clause({"field": field(places.TERMS_AGG), **_VALUES, **any_of("include exclude")})
_METRIC_FIELD = Clause({"field": field(places.METRIC), **_VALUES, "filter": QUERY})
_TOP_METRIC = Clause({"field": field(places.TOP_METRIC), **any_of("missing")}, ("field",))
_ITEM_FIELD = Clause({"field": field(places.TERMS_AGG), **any_of("include exclude")}, ("field",))
_LINE = Clause({"field": field(places.GEO_POINT_AGG)}, ("field",))
_LINE_SORT = Clause({"field": field(places.SORT)}, ("field",))
_TOP_HITS: dict[str, Slot] = {
    **any_of("stored_fields script_fields track_scores explain version seq_no_primary_term"),
    "from": WHOLE,
    "size": WHOLE,
    "sort": Slot("sort"),
    "_source": Slot("source"),
    "highlight": Slot("highlight"),
    "fields": Slot("fetched", places.FETCHED),
    "docvalue_fields": Slot("fetched", places.DOC_VALUE),
}

AGGREGATIONS: dict[str, Aggregation] = {
    # -- buckets
    "terms": _bucket(places.TERMS_AGG, _ORDERED, also="terms_aggregation"),
    "rare_terms": _bucket(places.RARE_TERMS, {**any_of("include exclude precision"), "max_doc_count": WHOLE}),
    "significant_terms": _bucket(places.RARE_TERMS, _SIGNIFICANT),
    "significant_text": _other(
        {
            **_SIGNIFICANT,
            "field": field(places.SIGNIFICANT_TEXT),
            "source_fields": ANY,
            "filter_duplicate_text": FLAG,
        }
    ),
    "multi_terms": _other({**_ORDERED, "terms": some(_MULTI_TERMS)}, "terms"),
    "categorize_text": _other(
        {
            "field": field(places.CATEGORIZE),
            **any_of("categorization_analyzer categorization_filters max_unique_tokens max_matched_tokens"),
            **any_of("similarity_threshold size shard_size min_doc_count shard_min_doc_count"),
        },
        "field",
    ),
    "histogram": _bucket(places.HISTOGRAM, {**_HISTOGRAM, "interval": NUMBER}, "interval"),
    "date_histogram": _bucket(places.DATE_HISTOGRAM, _DATES),
    "auto_date_histogram": _bucket(
        places.AUTO_DATE_HISTOGRAM, {"buckets": WHOLE, "minimum_interval": TEXT, "time_zone": ANY}
    ),
    "variable_width_histogram": _bucket(places.NUMBER_METRIC, any_of("buckets shard_size initial_buffer")),
    "range": _bucket(places.RANGE_AGG, _RANGES, "ranges"),
    "date_range": _bucket(places.DATE_RANGE_AGG, {**_RANGES, "time_zone": ANY}, "ranges", also="date_ranges"),
    "ip_range": _bucket(places.IP_RANGE_AGG, _RANGES, "ranges"),
    "ip_prefix": _bucket(
        places.IP_RANGE_AGG,
        {
            "prefix_length": WHOLE,
            "is_ipv6": FLAG,
            "append_prefix_length": FLAG,
            "min_doc_count": WHOLE,
            "keyed": FLAG,
        },
        "prefix_length",
    ),
    "geo_distance": _bucket(places.GEO_POINT_AGG, {**_RANGES, **_GEO_DISTANCE}, "origin", "ranges"),
    "geohash_grid": _bucket(places.GEO_AGG, _GRID),
    "geotile_grid": _bucket(places.GEO_AGG, _GRID),
    "geohex_grid": _bucket(places.GEO_AGG, _GRID),
    "missing": _bucket(places.MISSING, {}),
    "filter": Aggregation(Clause()),
    "filters": _other(
        {"filters": Slot("filters"), "other_bucket": FLAG, **any_of("other_bucket_key keyed")}, "filters"
    ),
    "adjacency_matrix": _other({"filters": Slot("filters"), "separator": TEXT}, "filters"),
    "global": _other({}),
    "nested": _other({"path": ANY}, "path"),
    "reverse_nested": _other({"path": ANY}),
    "children": _other({"type": TEXT}, "type"),
    "parent": _other({"type": TEXT}, "type"),
    "sampler": _other({"shard_size": WHOLE}),
    "diversified_sampler": _bucket(places.DIVERSITY, any_of("shard_size max_docs_per_value execution_hint")),
    "random_sampler": _other(any_of("probability seed shard_seed"), "probability"),
    "composite": _other({"sources": Slot("sources"), "size": WHOLE, "after": ANY}, "sources", also="composite"),
    "time_series": _other(any_of("keyed size"), is_open=True),
    "frequent_item_sets": _other(
        {
            "fields": some(_ITEM_FIELD),
            **any_of("minimum_support minimum_set_size size execution_hint"),
            "filter": QUERY,
        },
        "fields",
    ),
    "frequent_items": _other({"fields": some(_ITEM_FIELD), "filter": QUERY}, is_open=True),
    # -- metrics
    "avg": _metric(places.METRIC),
    "sum": _metric(places.METRIC),
    "min": _metric(places.METRIC),
    "max": _metric(places.METRIC),
    "stats": _metric(places.METRIC, numbers=_STATS),
    "extended_stats": _metric(places.METRIC, {"sigma": NUMBER}, _EXTENDED),
    "value_count": _metric(places.COUNT),
    "cardinality": _metric(places.COUNT, {"precision_threshold": WHOLE, **any_of("rehash execution_hint")}),
    "percentiles": _metric(places.METRIC, {**_PERCENTILES, "percents": ANY}),
    "percentile_ranks": _metric(places.METRIC, {**_PERCENTILES, "values": ANY}),
    "median_absolute_deviation": _metric(places.METRIC, any_of("compression execution_hint")),
    "boxplot": _metric(places.METRIC, any_of("compression execution_hint"), "min max q1 q2 q3 lower upper"),
    "string_stats": _metric(
        places.STRING_STATS, {"show_distribution": FLAG}, "count min_length max_length avg_length entropy"
    ),
    "rate": _metric(places.METRIC, any_of("unit mode")),
    "geo_bounds": _metric(places.GEO_AGG, {"wrap_longitude": FLAG}),
    "geo_centroid": _metric(places.GEO_AGG),
    "cartesian_bounds": _metric(places.CARTESIAN_AGG),
    "cartesian_centroid": _metric(places.CARTESIAN_AGG),
    "weighted_avg": Aggregation(
        Clause({"value": one(_METRIC_FIELD), "weight": one(_METRIC_FIELD), **any_of("format value_type")}), False
    ),
    "matrix_stats": Aggregation(
        Clause({"fields": fields(places.METRIC), **any_of("missing mode")}, ("fields",)), False
    ),
    "top_hits": Aggregation(Clause(_TOP_HITS), False),
    "top_metrics": Aggregation(
        Clause({"metrics": some(_TOP_METRIC), "sort": Slot("sort"), "size": WHOLE}, ("metrics", "sort")), False
    ),
    "t_test": Aggregation(
        Clause({"a": one(_METRIC_FIELD), "b": one(_METRIC_FIELD), "type": TEXT, **any_of("value_type")}), False
    ),
    "geo_line": Aggregation(
        Clause({"point": one(_LINE), "sort": one(_LINE_SORT), **any_of("include_sort sort_order size")}, ("point",)),
        False,
    ),
    "scripted_metric": Aggregation(
        Clause(
            {
                **any_of("params"),
                **dict.fromkeys(("init_script", "map_script", "combine_script", "reduce_script"), SCRIPT),
            }
        ),
        False,
    ),
    "bucket_count_ks_test": _pipeline("sibling", "alternative fractions sampling_method", required=True),
    "bucket_correlation": _pipeline("sibling", "function"),
    # -- pipeline aggregations that work on the buckets of an aggregation beside them
    "avg_bucket": _pipeline("sibling"),
    "sum_bucket": _pipeline("sibling"),
    "min_bucket": _pipeline("sibling"),
    "max_bucket": _pipeline("sibling"),
    "stats_bucket": _pipeline("sibling", numbers=_STATS),
    "extended_stats_bucket": _pipeline("sibling", "sigma", _EXTENDED),
    "percentiles_bucket": _pipeline("sibling", "percents keyed"),
    "change_point": _pipeline("sibling"),
    # -- pipelines on those beside
    "derivative": _pipeline("parent", "unit"),
    "cumulative_sum": _pipeline("parent"),
    "cumulative_cardinality": _pipeline("parent"),
    "moving_fn": _pipeline("parent", "window shift", script=SCRIPT),
    "moving_percentiles": _pipeline("parent", "window shift"),
    "serial_diff": _pipeline("parent", "lag"),
    "normalize": _pipeline("parent", "method"),
    "bucket_script": _pipeline("parent", script=SCRIPT),
    "bucket_selector": _pipeline("parent", script=SCRIPT),
    "bucket_sort": _pipeline("parent", "from size sort", required=False),
    "inference": _pipeline("parent", "model_id inference_config"),
}
"""All aggregations, by name. One that a node lacks, because it lacks the module, is listed too, and so is never
reported as unknown.
"""

AGGREGATION_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("distinct", "unique", "count_distinct", "distinct_count", "uniques", "unique_count"), ("cardinality",)
    ),
    **dict.fromkeys(("group_by", "groupby", "group", "facet", "facets", "term", "values"), ("terms", "composite")),
    **dict.fromkeys(("count", "counts"), ("value_count",)),
    **dict.fromkeys(("average", "mean"), ("avg",)),
    **dict.fromkeys(("total", "add"), ("sum",)),
    **dict.fromkeys(("maximum",), ("max",)),
    **dict.fromkeys(("minimum",), ("min",)),
    **dict.fromkeys(("percentile", "quantile", "quantiles", "median"), ("percentiles",)),
    **dict.fromkeys(("date_histo", "datehistogram", "timeseries", "time_histogram", "per_day"), ("date_histogram",)),
    **dict.fromkeys(("stddev", "std_deviation", "variance"), ("extended_stats",)),
    **dict.fromkeys(("geohash", "grid"), ("geohash_grid",)),
    **dict.fromkeys(("bounds",), ("geo_bounds",)),
    **dict.fromkeys(("centroid",), ("geo_centroid",)),
    **dict.fromkeys(("top", "hits", "docs"), ("top_hits",)),
    **dict.fromkeys(("moving_avg",), ("moving_fn",)),
    **dict.fromkeys(("having",), ("bucket_selector",)),
    **dict.fromkeys(("query", "where"), ("filter",)),
    **dict.fromkeys(("running_total", "cumsum"), ("cumulative_sum",)),
}
