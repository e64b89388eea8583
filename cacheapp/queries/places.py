"""The places where a search names a field, and what each needs of the field: a table.

Source: Elasticsearch 8.19 and 9.1: the reference of queries and aggregations, the source code of their builders, and
what a node of 8.19.21 answered in each place to a field of each type. A place takes a type unless it is known to refuse
it; types that aren't in `JUDGED` are never refused.
"""

import enum

import msgspec

from cacheapp.queries.known_fields import KEYED

TEXTS = frozenset({"text", "match_only_text", "search_as_you_type", "annotated_text", "pattern_text", "patterned_text"})
KEYWORDS = frozenset({"keyword", "constant_keyword", "wildcard", "version", "counted_keyword", "icu_collation_keyword"})
STRINGS = TEXTS | KEYWORDS | {"flattened", KEYED}
WHOLE_NUMBERS = frozenset({"long", "integer", "short", "byte", "unsigned_long", "token_count"})
DECIMALS = frozenset({"double", "float", "half_float", "scaled_float"})
NUMBERS = WHOLE_NUMBERS | DECIMALS
DATES = frozenset({"date", "date_nanos"})
NUMBER_RANGES = frozenset({"integer_range", "long_range", "float_range", "double_range"})
RANGES = NUMBER_RANGES | {"date_range", "ip_range"}
GEO = frozenset({"geo_point", "geo_shape"})
CARTESIAN = frozenset({"point", "shape"})
VECTORS = frozenset({"dense_vector"})
OTHERS = frozenset({"binary", "completion", "sparse_vector"})
JUDGED = STRINGS | NUMBERS | DATES | RANGES | GEO | CARTESIAN | VECTORS | OTHERS | {"boolean", "ip"}
"""The types for which it is known which places refuse them."""

_NUMERIC = NUMBERS | DATES | {"boolean"}
_TERMS = KEYWORDS | NUMBERS | DATES | {"boolean", "ip", "flattened", KEYED}
_COUNTED = _TERMS | RANGES | GEO | CARTESIAN
_SEARCHED = JUDGED - GEO - CARTESIAN - VECTORS - {"binary"}
_COLLAPSED = KEYWORDS | NUMBERS
_DOC_VALUED = JUDGED - TEXTS - OTHERS - {"date_range", "ip_range"}


class Access(enum.Enum):
    """What a place reads the field's values from."""

    INDEX = "index"
    DOC_VALUES = "doc values"
    SOURCE = "source"


class Place(msgspec.Struct, frozen=True):
    """One row of the table: a place where a field's name stands.

    Args:
        name: The place's name for people, used in details of findings.
        takes: The types that it takes.
        access: What it reads the field's values from.
        is_loud: Whether the node answers 400 to a name that isn't mapped, instead of finding nothing.
        takes_objects: Whether the name of an object means all fields below it.
        takes_patterns: Whether names may have `*`.
        is_weak: Whether the caller may well mean a name that matches nothing.
        terms_match_whole: Whether the value isn't analyzed, so that it has to be a whole token of a text.
        misfit_is_silent: Whether a type that it doesn't take makes the node find nothing, instead of answering 400.
        shows_source: Whether it shows values of documents, mapped or not.
        ignores_nesting: Whether the nested objects around the field don't matter.
        needs_nested: Whether the node refuses a field of a nested object unless that object is named.
        takes_runtime: Whether it takes fields that a script computes.
        prefers: The types that are mostly meant there, for suggestions.
    """

    name: str
    takes: frozenset[str] = JUDGED
    access: Access = Access.INDEX
    is_loud: bool = False
    takes_objects: bool = False
    takes_patterns: bool = False
    is_weak: bool = False
    terms_match_whole: bool = False
    misfit_is_silent: bool = False
    shows_source: bool = False
    ignores_nesting: bool = False
    needs_nested: bool = False
    takes_runtime: bool = True
    prefers: frozenset[str] = frozenset()


def _aggregation(name: str, takes: frozenset[str], prefers: frozenset[str] = frozenset()) -> Place:
    return Place(f"{name} aggregation", takes, Access.DOC_VALUES, prefers=prefers)


TERM = Place("term query", _SEARCHED, terms_match_whole=True, prefers=KEYWORDS)
TERMS = Place("terms query", _SEARCHED, terms_match_whole=True, prefers=KEYWORDS)
TERMS_SET = Place("terms_set query", _SEARCHED, prefers=KEYWORDS)
MATCH = Place("match query", _SEARCHED, prefers=TEXTS)
MATCH_PHRASE = Place("match_phrase query", _SEARCHED, prefers=TEXTS)
PHRASE_PREFIX = Place("phrase prefix query", TEXTS)
MATCH_BOOL_PREFIX = Place("match_bool_prefix query", _SEARCHED - {"completion"}, prefers=TEXTS)
MULTI_MATCH = Place("multi_match query", _SEARCHED, takes_patterns=True, prefers=TEXTS)
MULTI_PHRASE_PREFIX = Place("multi_match query of type phrase_prefix", TEXTS, takes_patterns=True)
COMBINED = Place("combined_fields query", TEXTS, takes_patterns=True)
QUERY_STRING = Place("query_string query", takes_patterns=True)
SIMPLE_QUERY_STRING = Place("simple_query_string query", _SEARCHED, takes_patterns=True, prefers=TEXTS)
RANGE = Place("range query", _SEARCHED - {"completion", "sparse_vector"}, prefers=NUMBERS | DATES)
PREFIX = Place("prefix query", STRINGS, terms_match_whole=True, prefers=KEYWORDS)
WILDCARD = Place("wildcard query", STRINGS - {KEYED}, terms_match_whole=True, prefers=KEYWORDS)
REGEXP = Place("regexp query", STRINGS - {KEYED}, prefers=KEYWORDS)
FUZZY = Place("fuzzy query", STRINGS - {KEYED}, prefers=KEYWORDS)
EXISTS = Place("exists query", takes_objects=True, takes_patterns=True, is_weak=True)
SPAN_TERM = Place("span_term query", TEXTS | {"completion"}, terms_match_whole=True)
INTERVALS = Place("intervals query", TEXTS)
MORE_LIKE_THIS = Place("more_like_this query", TEXTS | KEYWORDS, prefers=TEXTS)
DISTANCE_FEATURE = Place("distance_feature query", DATES | {"geo_point"})
RANK_FEATURE = Place("rank_feature query", frozenset({"rank_feature", "rank_features"}))
SPARSE_VECTOR = Place("sparse_vector query", frozenset({"sparse_vector", "rank_features"}))
SEMANTIC = Place("semantic query", frozenset({"semantic_text"}))
PERCOLATE = Place("percolate query", frozenset({"percolator"}))
KNN = Place("knn search", VECTORS)
GEO_QUERY = Place("geo query", GEO, is_loud=True)
GEO_POLYGON = Place("geo_polygon query", frozenset({"geo_point"}), is_loud=True)
SHAPE_QUERY = Place("shape query", CARTESIAN, is_loud=True)
DECAY = Place("decay function", _NUMERIC | {"geo_point"}, Access.DOC_VALUES, is_loud=True)
FIELD_VALUE_FACTOR = Place(
    "field_value_factor", _NUMERIC, Access.DOC_VALUES, is_loud=True, ignores_nesting=True, prefers=NUMBERS
)
RANDOM_SCORE = Place("random_score", _COUNTED, Access.DOC_VALUES, is_loud=True, ignores_nesting=True)
MINIMUM_SHOULD_MATCH_FIELD = Place("minimum_should_match_field", _NUMERIC, Access.DOC_VALUES, is_loud=True)

SORT = Place("sort", _TERMS | RANGES, Access.DOC_VALUES, is_loud=True, needs_nested=True)
GEO_SORT = Place("_geo_distance sort", frozenset({"geo_point"}), Access.DOC_VALUES, is_loud=True, needs_nested=True)
COLLAPSE = Place(
    "collapse", _COLLAPSED, Access.DOC_VALUES, is_loud=True, is_weak=True, takes_runtime=False, prefers=KEYWORDS
)
FETCHED = Place("fields", access=Access.SOURCE, takes_objects=True, takes_patterns=True, ignores_nesting=True)
DOC_VALUE = Place(
    "docvalue_fields",
    _DOC_VALUED,
    Access.DOC_VALUES,
    takes_patterns=True,
    is_weak=True,
    ignores_nesting=True,
)
SOURCE = Place("_source", access=Access.SOURCE, takes_objects=True, shows_source=True, ignores_nesting=True)
HIGHLIGHT = Place(
    "highlight", access=Access.SOURCE, takes_objects=True, takes_patterns=True, ignores_nesting=True, prefers=TEXTS
)
TERM_SUGGESTER = Place("term suggester", STRINGS, is_loud=True, misfit_is_silent=True, prefers=TEXTS)
PHRASE_SUGGESTER = Place("phrase suggester", STRINGS, is_loud=True, misfit_is_silent=True, prefers=TEXTS)
COMPLETION_SUGGESTER = Place("completion suggester", frozenset({"completion"}), is_loud=True)

METRIC = _aggregation("metric", _NUMERIC, NUMBERS)
NUMBER_METRIC = _aggregation("metric", NUMBERS | {"boolean", "date", "date_nanos"}, NUMBERS)
COUNT = _aggregation("counting", _COUNTED)
MISSING = msgspec.structs.replace(_aggregation("missing", _COUNTED), takes_objects=True, is_weak=True)
TERMS_AGG = _aggregation("terms", _TERMS, KEYWORDS)
RARE_TERMS = _aggregation("rare or significant terms", _TERMS - DECIMALS, KEYWORDS)
SIGNIFICANT_TEXT = Place(
    "significant_text aggregation", STRINGS | {"boolean", "completion", "sparse_vector"}, prefers=TEXTS
)
CATEGORIZE = Place("categorize_text aggregation", STRINGS, prefers=TEXTS)
STRING_STATS = _aggregation("string_stats", KEYWORDS | TEXTS)
HISTOGRAM = _aggregation("histogram", _NUMERIC | NUMBER_RANGES | {"date_range"}, NUMBERS)
DATE_HISTOGRAM = _aggregation("date_histogram", _NUMERIC | {"date_range"}, DATES)
AUTO_DATE_HISTOGRAM = _aggregation("auto_date_histogram", _NUMERIC, DATES)
DATE_RANGE_AGG = _aggregation("date_range", DATES)
RANGE_AGG = _aggregation("range", _NUMERIC, NUMBERS)
IP_RANGE_AGG = _aggregation("ip", frozenset({"ip"}))
GEO_AGG = _aggregation("geo", GEO)
GEO_POINT_AGG = _aggregation("geo", frozenset({"geo_point"}))
CARTESIAN_AGG = _aggregation("cartesian", CARTESIAN)
COMPOSITE_HISTOGRAM = _aggregation("composite histogram", _NUMERIC, NUMBERS | DATES)
DIVERSITY = _aggregation("diversified_sampler", _TERMS)
TOP_METRIC = _aggregation("top_metrics", _TERMS)
TIME = _aggregation("time", DATES)
