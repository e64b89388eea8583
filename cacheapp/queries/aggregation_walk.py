"""Read aggregations: each by its row of the table, and with special rules that rows can't express. The types of these
functions in walk.py (`Reader`, `Also`) explain their arguments.
"""

import re
from typing import Any

from cacheapp.queries import bucket_paths
from cacheapp.queries.aggregation_table import AGGREGATION_SYNONYMS, AGGREGATIONS, SOURCES, Aggregation
from cacheapp.queries.field_checks import Scope
from cacheapp.queries.findings import MAX_FINDINGS, Code, Severity, pointer, shortened
from cacheapp.queries.places import DATES, NUMBERS
from cacheapp.queries.query_walk import nested_scope
from cacheapp.queries.slots import Slot
from cacheapp.queries.values import check_bounds
from cacheapp.queries.walk import MAX_DEPTH, Also, Reader, Walk

_CONTAINERS = ("aggs", "aggregations")
_BAD_NAME = re.compile(r"[\[\]>]")
_CALENDAR = re.compile(r"1?[mhdwMqy]|minute|hour|day|week|month|quarter|year")
_FIXED = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*(nanos|micros|ms|s|m|h|d|H|D|S|MS)\s*")
_QUERY = Slot("query")
_OF_BUCKETS = frozenset({"_count", "_key", "_term"})


def read_aggregations(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read an object of aggregations, by names that the caller chooses."""
    if not isinstance(value, dict):
        walk.wrong_shape(path, "An object with the names of aggregations belongs here.")
        return
    for name in value:
        below = pointer(path, name)
        if _BAD_NAME.search(name):
            walk.wrong_shape(below, f"The name [{shortened(name)}] may not have [, ] or > in it.", name)
        _aggregation(walk, name, value, below, scope)


def _aggregation(walk: Walk, name: str, beside: dict[str, Any], path: str, scope: Scope) -> None:
    one = beside[name]
    if not isinstance(one, dict):
        walk.wrong_shape(path, "An object belongs here.")
        return
    kinds = [key for key in one if key not in _CONTAINERS and key != "meta"]
    if len(kinds) != 1:
        said = "One type of aggregation belongs here" + (f", not {len(kinds)}." if kinds else ", as terms or avg.")
        walk.wrong_shape(path, said)
        return
    kind = kinds[0]
    row = AGGREGATIONS.get(kind)
    if row is None:
        walk.unknown_clause(kind, "aggregation", pointer(path, kind), AGGREGATIONS, AGGREGATION_SYNONYMS)
        return
    inner = _body(walk, row, name, beside, pointer(path, kind), scope)
    _within(walk, kind, row, one, path, inner)


def _within(walk: Walk, kind: str, row: Aggregation, one: dict[str, Any], path: str, scope: Scope | None) -> None:
    for key in _CONTAINERS:
        if key not in one:
            continue
        if not row.holds and one[key]:
            walk.wrong_shape(path, f"A {kind} aggregation can't have others in it.")
        elif scope is not None:
            walk.read(_AGGREGATIONS, one[key], pointer(path, key), scope)


_AGGREGATIONS = Slot("aggregations")


def _body(walk: Walk, row: Aggregation, name: str, beside: dict[str, Any], path: str, scope: Scope) -> Scope | None:
    """Read an aggregation's own body. Return the scope of the aggregations within it; None where nothing can be said of
    them.
    """
    kind = bucket_paths.kind_of(beside[name]) or ""
    body = beside[name][kind]
    if kind == "filter":
        walk.read(_QUERY, body, path, scope)
        return scope
    walk.clause(row.clause, body, path, scope)
    if not isinstance(body, dict):
        return scope
    if row.pipeline is not None:
        _pipeline(walk, body, beside, path, name)
    if kind == "nested":
        return nested_scope(walk, body, path, scope, is_loud=False) if body.get("path") is not None else scope
    if kind == "reverse_nested":
        return _reverse(walk, body, path, scope)
    if kind in ("global", "children", "parent"):
        return Scope(None, scope.is_weak)
    return scope


def _reverse(walk: Walk, body: dict[str, Any], path: str, scope: Scope) -> Scope | None:
    if scope.nested is None:
        walk.say(Code.BAD_COMBINATION, path, "reverse_nested stands inside a nested aggregation: there is none around.")
        return scope
    name = body.get("path")
    if name is None:
        return Scope(None, scope.is_weak)
    return nested_scope(walk, body, path, scope, is_loud=True)


def _pipeline(walk: Walk, body: dict[str, Any], beside: dict[str, Any], path: str, name: str) -> None:
    """Check the paths of a pipeline aggregation to the aggregations that it works on."""
    given = body.get("buckets_path")
    below = pointer(path, "buckets_path")
    if isinstance(given, str):
        _path(walk, given, beside, below, name)
    elif isinstance(given, dict):
        for key, one in given.items():
            _path(walk, one, beside, pointer(below, key), name)
    elif isinstance(given, list):
        for number, one in enumerate(given):
            _path(walk, one, beside, pointer(below, number), name)


def _path(walk: Walk, given: Any, beside: dict[str, Any], path: str, asker: str | None) -> None:
    if not isinstance(given, str) or (wrong := bucket_paths.wrong_step(given, beside)) is None:
        return
    if len(walk.findings) >= MAX_FINDINGS:
        return
    step, before = wrong
    where = f"in [{shortened(before)}]" if before else "beside it"
    detail = f"[{shortened(given)}] leads nowhere: no aggregation {where} is named [{shortened(step)}]."
    walk.say(Code.BAD_PATH, path, detail, Severity.ERROR, given, bucket_paths.suggested(given, beside, asker))


def check_order(walk: Walk, order: Any, within: dict[str, Any], path: str) -> None:
    """Check the order of buckets, which names aggregations within them."""
    for number, one in enumerate(order if isinstance(order, list) else [order]):
        below = pointer(path, number) if isinstance(order, list) else path
        for name in one if isinstance(one, dict) else ():
            if name not in _OF_BUCKETS:
                _path(walk, name, within, pointer(below, name), None)


def _sort_names(value: Any, path: str) -> list[tuple[str, str]]:
    found = []
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        below = pointer(path, number) if isinstance(value, list) else path
        if isinstance(one, str):
            found.append((one, below))
        elif isinstance(one, dict):
            found += [(name, pointer(below, name)) for name in one]
    return found


def read_filters(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read `filters`: queries by name, or a list of them. Each makes one bucket."""
    if isinstance(value, dict):
        for name, one in value.items():
            walk.read(_QUERY, one, pointer(path, name), scope.weak())
    elif isinstance(value, list):
        for number, one in enumerate(value):
            walk.read(_QUERY, one, pointer(path, number), scope.weak())
    else:
        walk.wrong_shape(path, "Queries by name belong here.")


def read_sources(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read what a composite aggregation combines: a list of objects with one name each."""
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        below = pointer(path, number) if isinstance(value, list) else path
        if not isinstance(one, dict) or len(one) != 1:
            walk.wrong_shape(below, 'One source belongs here, as {"name": {"terms": {…}}}.')
            continue
        name, part = next(iter(one.items()))
        inner = pointer(below, name)
        if not isinstance(part, dict) or len(part) != 1:
            walk.wrong_shape(inner, "One type of source belongs here.")
            continue
        kind, body = next(iter(part.items()))
        if (source := SOURCES.get(kind)) is None:
            walk.unknown_clause(kind, "source", pointer(inner, kind), SOURCES)
        else:
            walk.read(source, body, pointer(inner, kind), scope)


def also_composite(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check that `after` has a value for each source of a composite aggregation."""
    after, sources = value.get("after"), value.get("sources")
    if not isinstance(after, dict) or not isinstance(sources, list):
        return
    names = {name for one in sources if isinstance(one, dict) for name in one}
    if set(after) != names:
        detail = f"after has to have a value of each source: {', '.join(sorted(names))}."
        walk.say(Code.BAD_COMBINATION, pointer(path, "after"), detail)


def also_terms(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `include` and `exclude` of a terms aggregation: they can't be regular expressions if the field holds
    numbers, dates, IP addresses or booleans.
    """
    name = value.get("field")
    if not isinstance(name, str):
        return
    for key in ("include", "exclude"):
        variants = walk.variants(name) if isinstance(value.get(key), str) else []
        wrong = [one.field for one in variants if one.field and one.field.type in NUMBERS | DATES | {"ip", "boolean"}]
        if wrong and len(wrong) == len(variants):
            detail = f"[{shortened(name)}] is {wrong[0].type}: {key} takes a list of its values, and no pattern."
            walk.say(Code.TYPE_MISFIT, pointer(path, key), detail, Severity.ERROR, name)


def also_date_ranges(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check the bounds of a `date_range` aggregation: dates of its own format, or of the field's."""
    name, ranges, own = value.get("field"), value.get("ranges"), value.get("format")
    if not isinstance(name, str) or not isinstance(ranges, list):
        return
    for number, one in enumerate(ranges):
        bounds = {key: one[key] for key in ("from", "to") if key in one} if isinstance(one, dict) else {}
        bounds = {key: bound for key, bound in bounds.items() if isinstance(bound, str)}
        for variant in walk.variants(name):
            if variant.field is None or variant.field.type not in DATES:
                continue
            found = check_bounds(variant.field, bounds, own if isinstance(own, str) else None)
            if found is not None:
                key, complaint = found
                below = pointer(pointer(pointer(path, "ranges"), number), key)
                walk.say(complaint.code, below, complaint.detail, Severity.WARNING, name)
                return


def read_calendar_interval(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if not isinstance(value, str) or _CALENDAR.fullmatch(value) is None:
        detail = "One unit of the calendar belongs here: minute, hour, day, week, month, quarter or year."
        walk.say(Code.BAD_VALUE, path, detail)


def read_fixed_interval(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if not isinstance(value, str) or _FIXED.fullmatch(value) is None:
        walk.say(Code.BAD_VALUE, path, "A number with ms, s, m, h or d belongs here; months are calendar_interval.")


def check_deferred(walk: Walk, aggregations: Any, path: str, level: int = 0) -> None:
    """Check the paths to other aggregations in the orders of buckets and in `bucket_sort`, at every level that was
    read.

    This comes after the aggregations themselves are read, as a path may lead to one that comes later.
    """
    if not isinstance(aggregations, dict) or level >= MAX_DEPTH:
        return
    for name, one in aggregations.items():
        kind = bucket_paths.kind_of(one)
        if kind is None or not isinstance(one.get(kind), dict):
            continue
        own, below = one[kind], pointer(pointer(path, name), kind)
        if kind in ("terms", "multi_terms", "histogram", "date_histogram", "rare_terms") and "order" in own:
            check_order(walk, own["order"], dict(bucket_paths.below(one)), pointer(below, "order"))
        if kind == "bucket_sort" and "sort" in own:
            for named, place in _sort_names(own["sort"], pointer(below, "sort")):
                if named not in _OF_BUCKETS:
                    _path(walk, named, aggregations, place, name)
        for key in _CONTAINERS:
            if key in one:
                check_deferred(walk, one[key], pointer(pointer(path, name), key), level + 1)


READERS: dict[str, Reader] = {
    "aggregations": read_aggregations,
    "filters": read_filters,
    "sources": read_sources,
    "calendar_interval": read_calendar_interval,
    "fixed_interval": read_fixed_interval,
}
ALSO: dict[str, Also] = {
    "composite": also_composite,
    "terms_aggregation": also_terms,
    "date_ranges": also_date_ranges,
}
