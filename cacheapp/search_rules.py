"""Find the parts of a search that need permission: scripts, templates, and names of other indices. Pure.

They are recognised by their place in the search, because a field, an aggregation or a filter may be called `script` or
`index`. The tables say where keys are names that somebody chose, and where a search contains queries, sorts and so on.
At any place that the tables don't know, a key that looks like a script or an index is treated as one: it is better to
refuse too much than too little.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from cacheapp.errors import BadSearch

DEFAULT_SHAPE_INDEX = "shapes"
"""The index that Elasticsearch reads for an `indexed_shape` without an index name."""
SCRIPTED = frozenset({"script", "scripted_metric", "bucket_selector", "moving_fn"})
"""Keys that need a script. Those that begin with `script_` or end with `_script` do too."""
HIDING = frozenset({"wrapper", "collate"})
"""A query in base64, and a template of a query: what they ask for can't be checked."""
INDEX_KEYS = frozenset({"index", "_index", "target_index"})
PATTERN_KEYS = frozenset({"query_string", "simple_query_string", "wildcard"})
"""Queries whose texts have patterns with `*` and `?`."""
MAX_WILDCARDS = 200
"""How many `*` and `?` the patterns of a search may have together. A thousand take a node a second. Four thousand ended
one with a heap of 512 MB by an `OutOfMemoryError`.
"""
SHOWN_CHARACTERS = 120


class Place(Enum):
    """The kinds of things that a search is made of."""

    ANY = auto()
    """Something that the tables don't know."""
    LITERAL = auto()
    """Values and documents: Elasticsearch takes them as they are, so nothing in them is a script or an index."""
    SEARCH = auto()
    INNER_HITS = auto()
    QUERY = auto()
    QUERIES_BY_NAME = auto()
    FIELDS = auto()
    BOOL = auto()
    FUNCTION_SCORE = auto()
    SCRIPT_SCORE = auto()
    JOIN = auto()
    LIKE = auto()
    MORE_LIKE_THIS = auto()
    PERCOLATE = auto()
    KNN = auto()
    AGGS = auto()
    AGG = auto()
    AGG_BODY = auto()
    FILTERS = auto()
    SOURCES = auto()
    SORT = auto()
    SORT_FIELD = auto()
    GEO_SORT = auto()
    NESTED_SORT = auto()
    HIGHLIGHT = auto()
    HIGHLIGHT_FIELDS = auto()
    SUGGEST = auto()
    SUGGESTION = auto()
    COMPLETION = auto()
    RUNTIME_FIELDS = auto()
    RUNTIME_FIELD = auto()
    SCRIPT = auto()
    INDICES = auto()


P = Place
FIELD_QUERIES = (
    *("match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "term", "terms", "terms_set", "range"),
    *("prefix", "wildcard", "regexp", "fuzzy", "intervals", "span_term", "geo_distance", "geo_bounding_box"),
    *("geo_polygon", "geo_shape", "geo_grid", "shape", "text_expansion", "weighted_tokens"),
)
"""Queries that have the name of a field as a key."""
_OF_QUERIES = (
    *("dis_max", "constant_score", "boosting", "pinned", "rule", "span_near", "span_or", "span_not", "span_first"),
    *("span_containing", "span_within", "span_multi", "span_field_masking", "field_masking_span"),
)
_HITS = {
    "sort": P.SORT,
    "highlight": P.HIGHLIGHT,
    "collapse": P.INNER_HITS,
    "inner_hits": P.INNER_HITS,
    "script_fields": P.RUNTIME_FIELDS,
}
_AGGS = {"aggs": P.AGGS, "aggregations": P.AGGS}

MEMBERS: Mapping[Place, Mapping[str, Place]] = {
    P.SEARCH: {
        **_HITS,
        **_AGGS,
        "query": P.QUERY,
        "post_filter": P.QUERY,
        "suggest": P.SUGGEST,
        "knn": P.KNN,
        "runtime_mappings": P.RUNTIME_FIELDS,
        "indices_boost": P.INDICES,
    },
    P.INNER_HITS: _HITS,
    P.QUERY: {
        **dict.fromkeys(FIELD_QUERIES, P.FIELDS),
        **dict.fromkeys(_OF_QUERIES, P.BOOL),
        **dict.fromkeys(("nested", "has_child", "has_parent"), P.JOIN),
        "bool": P.BOOL,
        "function_score": P.FUNCTION_SCORE,
        "script_score": P.SCRIPT_SCORE,
        "more_like_this": P.MORE_LIKE_THIS,
        "percolate": P.PERCOLATE,
        "knn": P.KNN,
    },
    P.BOOL: {
        **dict.fromkeys(("must", "filter", "should", "must_not", "queries", "positive", "negative"), P.QUERY),
        **dict.fromkeys(("organic", "clauses", "include", "exclude", "match", "big", "little", "query"), P.QUERY),
        "match_criteria": P.LITERAL,
    },
    P.FUNCTION_SCORE: {
        **dict.fromkeys(("query", "filter"), P.QUERY),
        **dict.fromkeys(("gauss", "exp", "linear"), P.FIELDS),
        "functions": P.FUNCTION_SCORE,
        "script_score": P.SCRIPT_SCORE,
    },
    P.SCRIPT_SCORE: {"query": P.QUERY, "script": P.SCRIPT},
    P.JOIN: {"query": P.QUERY, "inner_hits": P.INNER_HITS},
    P.MORE_LIKE_THIS: {"like": P.LIKE, "unlike": P.LIKE},
    P.LIKE: {"doc": P.LITERAL, "per_field_analyzer": P.LITERAL},
    P.PERCOLATE: {"document": P.LITERAL, "documents": P.LITERAL},
    P.KNN: {"filter": P.QUERY, "inner_hits": P.INNER_HITS},
    P.AGG: {
        **_AGGS,
        "meta": P.LITERAL,
        "filter": P.QUERY,
        "filters": P.FILTERS,
        "adjacency_matrix": P.FILTERS,
        "top_hits": P.INNER_HITS,
    },
    P.AGG_BODY: {
        **dict.fromkeys(("order", "buckets_path", "after"), P.LITERAL),
        **dict.fromkeys(("filter", "background_filter"), P.QUERY),
        **dict.fromkeys(("a", "b"), P.AGG_BODY),
        "sources": P.SOURCES,
        "sort": P.SORT,
    },
    P.FILTERS: {"filters": P.QUERIES_BY_NAME},
    P.SORT: {"_script": P.SORT_FIELD, "_geo_distance": P.GEO_SORT},
    P.SORT_FIELD: {"nested": P.NESTED_SORT},
    P.GEO_SORT: {"nested": P.NESTED_SORT},
    P.NESTED_SORT: {"filter": P.QUERY, "nested": P.NESTED_SORT},
    P.HIGHLIGHT: {"fields": P.HIGHLIGHT_FIELDS, "highlight_query": P.QUERY, "options": P.LITERAL},
    P.SUGGESTION: {"completion": P.COMPLETION},
    P.COMPLETION: {"contexts": P.LITERAL},
    P.RUNTIME_FIELD: {"fields": P.RUNTIME_FIELDS},
    P.SCRIPT: {"params": P.LITERAL},
}
"""For each kind of object, what its members with these keys are."""

OTHERS: Mapping[Place, Place] = {P.AGG: P.AGG_BODY}
"""For each kind of object, what its other members are; `ANY` if it isn't here."""

NAMED: Mapping[Place, Place] = {
    P.QUERIES_BY_NAME: P.QUERY,
    P.FIELDS: P.ANY,
    P.AGGS: P.AGG,
    P.SOURCES: P.AGG,
    P.SORT: P.SORT_FIELD,
    P.GEO_SORT: P.ANY,
    P.HIGHLIGHT_FIELDS: P.HIGHLIGHT,
    P.SUGGEST: P.SUGGESTION,
    P.RUNTIME_FIELDS: P.RUNTIME_FIELD,
}
"""Objects whose other keys are names that somebody chose, and what the values are."""

IN_LISTS: Mapping[Place, Place] = {P.QUERIES_BY_NAME: P.QUERY}
"""What the elements of a list are. If it isn't here, they are what the list itself is."""

NONE: Mapping[str, Place] = {}


Path = tuple[Any, object]
"""Where something stands: the path of the object or list around it, and its key or number in that. The path of the
whole search is empty.
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """The name of another index, and the path to where it stands in the search. `may_be_pattern`: Elasticsearch takes
    patterns there.
    """

    path: Path
    name: str
    may_be_pattern: bool = False

    @property
    def where(self) -> str:
        """The path as text for people. Made only when it is needed: a search may have thousands of names, each below
        hundreds of others.
        """
        return shown(self.path)


def references_in(search: Mapping[str, Any], *, scripts: bool) -> list[Reference]:
    """Return the names of other indices in a decoded search, from which it would read.

    Args:
        search: the whole body; its own keys have been checked.
        scripts: whether it may have scripts.

    Raises:
        BadSearch: it has a script and may not have one, or something that hides what it asks for, or too many
            wildcards.
    """
    found: list[Reference] = []
    wildcards_total = 0
    waiting: list[tuple[object, Place, Path | tuple[()]]] = [(search, Place.SEARCH, ())]
    while waiting:
        value, place, path = waiting.pop()
        if isinstance(value, list):
            inner = IN_LISTS.get(place, place)
            waiting += [(each, inner, (path, number)) for number, each in enumerate(value) if _is_container(each)]
        elif place is Place.INDICES:
            assert isinstance(value, dict)
            found += [Reference((path, name), name, may_be_pattern=True) for name in value]
        else:
            assert isinstance(value, dict)
            known, named = MEMBERS.get(place, NONE), NAMED.get(place)
            for key, member in value.items():
                # A member is the first of these that applies:
                #   1. A name that somebody chose. Whatever it is, it is no script and no index.
                #   2. A script, or something that may hide one: refused, wherever it is.
                #   3. The name of an index, or something for which Elasticsearch takes a default index.
                #   4. What the tables say; `ANY` if they don't say.
                here = (path, key)
                if named is not None and key not in known:
                    inner = named
                else:
                    _check_key(key, here, scripts=scripts)
                    wildcards_total += _wildcards_in(member) if key in PATTERN_KEYS else 0
                    found += _named_by(key, member, here)
                    inner = known.get(key) or _place_of(key, place)
                if inner is not Place.LITERAL and _is_container(member):
                    waiting.append((member, inner, here))
    if wildcards_total > MAX_WILDCARDS:
        raise BadSearch(f"The patterns of this search have {wildcards_total} * and ?: use at most {MAX_WILDCARDS}.")
    return found


def _wildcards_in(member: object) -> int:
    """Return how many `*` and `?` the texts in a member have."""
    total = 0
    waiting = [member]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            total += value.count("*") + value.count("?")
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return total


def _is_container(value: object) -> bool:
    return isinstance(value, dict | list)


def _check_key(key: str, path: Path, *, scripts: bool) -> None:
    if key in HIDING:
        raise BadSearch(f"{shown(path)} can't be used here, as it hides what it asks for. Send that query itself.")
    if not scripts and is_script(key):
        raise BadSearch(
            f"Scripts are not permitted ({shown(path)}); the operator permits them by ESASSISTANT_SEARCH_SCRIPTS."
        )


def is_script(key: str) -> bool:
    """Return whether a key brings a script with it. Not for keys that are names somebody chose."""
    if key == "script_fields":
        return False  # each of them has a `script`
    return key in SCRIPTED or key.endswith("_script") or key.startswith("script_")


def _place_of(key: str, place: Place) -> Place:
    return Place.SCRIPT if is_script(key) else OTHERS.get(place, Place.ANY)


def _named_by(key: str, value: object, path: Path) -> list[Reference]:
    """Return the indices that a member names."""
    if key in INDEX_KEYS:
        names = value if isinstance(value, list) else [value]
        return [Reference(path, name) for name in names if isinstance(name, str)]
    if key == "indexed_shape" and isinstance(value, dict) and "index" not in value:
        return [Reference(path, DEFAULT_SHAPE_INDEX)]
    return []


def shown(path: Path | tuple[()]) -> str:
    """Return a path as text for people, such as `/query/terms/user`, shortened in the middle."""
    parts: list[str] = []
    left: Any = path
    while left:
        left, key = left
        parts.append(f"/{str(key)[:SHOWN_CHARACTERS]}")
    text = "".join(reversed(parts))
    return (
        text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS // 2]}…{text[-SHOWN_CHARACTERS // 2 :]}"
    )
