"""Read the parts of a body besides queries and aggregations: sort, collapse, what is fetched, and suggest. The type of
these functions in walk.py (`Reader`) explains their arguments.
"""

from typing import Any

from cacheapp.queries import places
from cacheapp.queries.body_table import (
    COLLAPSE,
    GEO_SORT,
    HIGHLIGHT,
    HIGHLIGHT_FIELD,
    INNER_HITS,
    RESCORE,
    SORT_FIELD,
    SORT_NESTED,
    SORT_SCRIPT,
    SUGGESTERS,
)
from cacheapp.queries.field_checks import Scope
from cacheapp.queries.findings import Code, Severity, pointer, shortened
from cacheapp.queries.query_walk import nested_scope
from cacheapp.queries.slots import Slot
from cacheapp.queries.suggestions import nearest
from cacheapp.queries.walk import Reader, Walk

_NO_FIELDS = frozenset({"_score", "_doc", "_shard_doc"})
_QUERY = Slot("query")
_SORT_NESTED = Slot("sort_nested")


def read_sort(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read a sort: `"price"`, `{"price": "asc"}`, or a list of those."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            _sort(walk, one, pointer(path, number), scope)
    else:
        _sort(walk, value, path, scope)


def _sort(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    if isinstance(value, str):
        _sorted_by(walk, value, {}, path, scope)
    elif isinstance(value, dict):
        for name, part in value.items():
            _sort_of(walk, name, part, pointer(path, name), scope)
    else:
        walk.wrong_shape(path, 'A field belongs here, as {"price": "asc"}.')


def _sort_of(walk: Walk, name: str, part: Any, path: str, scope: Scope) -> None:
    if name == "_geo_distance":
        inner = _nested_sort(walk, part, path, scope)
        if inner is not None:
            walk.clause(GEO_SORT, part, path, inner)
        return
    if name == "_script":
        walk.clause(SORT_SCRIPT, part, path, scope)
        return
    if isinstance(part, dict):
        before = len(walk.findings)
        walk.keys(SORT_FIELD, part, path, scope)
        if any(one.code is Code.UNKNOWN_KEY for one in walk.findings[before:]):
            return
        _sorted_by(walk, name, part, path, scope)
    elif isinstance(part, str):
        if part.lower() not in ("asc", "desc"):
            walk.wrong_shape(path, "asc or desc belongs here.", name)
        _sorted_by(walk, name, {}, path, scope)
    else:
        walk.wrong_shape(path, "asc, desc or an object belongs here.", name)


def _sorted_by(walk: Walk, name: str, options: dict[str, Any], path: str, scope: Scope) -> None:
    if name in _NO_FIELDS:
        return
    inner = _nested_sort(walk, options, path, scope)
    if inner is None:
        return
    if walk.field(name, places.SORT, path, inner, is_forgiven=options.get("unmapped_type") is not None):
        walk.conflict(name, path)


def _nested_sort(walk: Walk, options: Any, path: str, scope: Scope) -> Scope | None:
    """Return the scope of the innermost nested object that a sort names; None where that is wrong."""
    if not isinstance(options, dict) or not isinstance(options.get("nested"), dict):
        return scope
    inner: Scope | None = scope
    part, below = options, path
    for _ in range(10):
        if not isinstance(part.get("nested"), dict):
            return inner
        part, below = part["nested"], pointer(below, "nested")
        inner = nested_scope(walk, part, below, scope, is_loud=True)
        if inner is None:
            return None
    return inner


def read_sort_nested(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the filter of a nested sort, which looks at the nested objects."""
    if not isinstance(value, dict):
        walk.wrong_shape(path, "An object with the path of a nested object belongs here.")
        return
    name = value.get("path")
    inner = Scope(name if isinstance(name, str) else None, True)
    walk.keys(SORT_NESTED, value, path, inner)
    if isinstance(value.get("nested"), dict):
        walk.read(_SORT_NESTED, value["nested"], pointer(path, "nested"), inner)


def read_collapse(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read `collapse`. Its field has one value in each document, so it can't be in a nested object."""
    walk.clause(COLLAPSE, value, path, Scope())


def read_collapsed_hits(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the definition of the hits that each collapsed value shows: one definition or several."""
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        walk.clause(INNER_HITS, one, pointer(path, number) if isinstance(value, list) else path, Scope())


def read_inner_hits(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    walk.clause(INNER_HITS, value, path, scope)


def read_source(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read `_source`: true, a name, a list, or includes and excludes. Patterns and excludes may match nothing."""
    if isinstance(value, dict):
        for key in value:
            if key not in ("includes", "excludes", "include", "exclude", "exclude_vectors"):
                meant = nearest(key, ("includes", "excludes"))
                walk.say(
                    Code.UNKNOWN_KEY, pointer(path, key), f"[{shortened(key)}] isn't known here.", did_you_mean=meant
                )
        for key in ("includes", "include"):
            if key in value:
                walk.read(slot, value[key], pointer(path, key), scope)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _source_name(walk, one, pointer(path, number), scope)
    else:
        _source_name(walk, value, path, scope)


def _source_name(walk: Walk, name: Any, path: str, scope: Scope) -> None:
    if not isinstance(name, str) or "*" in name or name in ("true", "false"):
        return
    # Inside nested objects, names may also be given relative to the nested object.
    if scope.nested is not None and walk.is_known(f"{scope.nested}.{name}"):
        return
    walk.field(name, places.SOURCE, path, scope)


def read_fetched(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read `fields` or `docvalue_fields`: names, or objects with a name and a format."""
    assert slot.place is not None
    if not isinstance(value, list):
        if not isinstance(value, str | dict):
            walk.wrong_shape(path, "A list of fields belongs here.")
        return
    for number, one in enumerate(value):
        below = pointer(path, number)
        if isinstance(one, dict):
            name, is_forgiven = one.get("field"), one.get("include_unmapped") in (True, "true")
            below = pointer(below, "field")
        else:
            name, is_forgiven = one, False
        if not isinstance(name, str):
            walk.wrong_shape(below, "The name of a field belongs here.")
        else:
            walk.field(name, slot.place, below, scope, is_forgiven=is_forgiven)


def read_highlight(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    walk.clause(HIGHLIGHT, value, path, scope)


def read_highlight_fields(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the fields to highlight: an object, or a list of objects where the order matters."""
    listed = value if isinstance(value, list) else [value]
    for number, one in enumerate(listed):
        below = pointer(path, number) if isinstance(value, list) else path
        if not isinstance(one, dict):
            walk.wrong_shape(below, "An object with the names of fields belongs here.")
            continue
        for name, part in one.items():
            if "*" not in name:
                walk.field(name, places.HIGHLIGHT, pointer(below, name), scope)
            if isinstance(part, dict):
                walk.clause(HIGHLIGHT_FIELD, part, pointer(below, name), scope)


def read_suggest(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read `suggest`: suggestions by names that the caller chooses, each with one suggester."""
    if not isinstance(value, dict):
        walk.wrong_shape(path, "An object belongs here.")
        return
    for name, part in value.items():
        if name != "text":
            _suggestion(walk, part, pointer(path, name))


def _suggestion(walk: Walk, part: Any, path: str) -> None:
    if not isinstance(part, dict):
        walk.wrong_shape(path, "An object with a text and a suggester belongs here.")
        return
    for kind, body in part.items():
        if kind in ("text", "prefix", "regex"):
            continue
        if (clause := SUGGESTERS.get(kind)) is None:
            walk.unknown_clause(kind, "suggester", pointer(path, kind), SUGGESTERS)
        else:
            walk.clause(clause, body, pointer(path, kind), Scope())


def read_rescore(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        walk.clause(RESCORE, one, pointer(path, number) if isinstance(value, list) else path, scope)


def check_search_after(walk: Walk, body: dict[str, Any]) -> None:
    """Check that `search_after` has a value for each part of the sort."""
    after, order = body.get("search_after"), body.get("sort")
    if not isinstance(after, list) or order is None:
        return
    parts = order if isinstance(order, list) else [order]
    wanted = sum(len(one) if isinstance(one, dict) else 1 for one in parts)
    # With a point in time, Elasticsearch adds one part to the sort, for which a value may be given too.
    allowed = (wanted, wanted + 1) if "pit" in body else (wanted,)
    if len(after) not in allowed:
        detail = f"search_after has {len(after)} values, the sort {wanted} parts: it needs one for each."
        walk.say(Code.BAD_COMBINATION, "/search_after", detail, Severity.ERROR)


READERS: dict[str, Reader] = {
    "sort": read_sort,
    "sort_nested": read_sort_nested,
    "collapse": read_collapse,
    "collapsed_hits": read_collapsed_hits,
    "inner_hits": read_inner_hits,
    "source": read_source,
    "fetched": read_fetched,
    "highlight": read_highlight,
    "highlight_fields": read_highlight_fields,
    "suggest": read_suggest,
    "rescore": read_rescore,
}
