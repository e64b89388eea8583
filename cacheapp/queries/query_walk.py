"""Read queries: each by its row of the table, and with special rules that rows can't express. The types of these
functions in walk.py (`Reader`, `Also`, `Check`) explain their arguments.
"""

import re
from collections.abc import Callable
from typing import Any

from cacheapp.queries import places
from cacheapp.queries.dates import is_date
from cacheapp.queries.field_checks import Scope
from cacheapp.queries.findings import Code, Severity, pointer, shortened
from cacheapp.queries.known_fields import KEYED, KnownField
from cacheapp.queries.places import TEXTS, Place
from cacheapp.queries.query_strings import Named, parse
from cacheapp.queries.query_table import (
    INTERVAL_RULES,
    KNN_SEARCH,
    OF_PLUGINS,
    QUERIES_TABLE,
    QUERY_SYNONYMS,
    RETRIEVERS,
)
from cacheapp.queries.slots import Clause, Keyed, Slot
from cacheapp.queries.values import Complaint, check_analyzed, check_bounds, check_term, looks_analyzed_away
from cacheapp.queries.walk import Also, Check, Reader, Walk

MAX_CHECKED_TERMS = 1_000
_BOUNDS = ("gt", "gte", "lt", "lte", "from", "to")
_GEO_SUFFIXES = (".lat", ".lon", ".geohash")


def read_query(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read one query: an object with one key, which is the query's name."""
    if not isinstance(value, dict):
        walk.wrong_shape(path, 'One query belongs here, as {"match": {…}}; several are combined by bool.')
        return
    if not value:
        walk.say(Code.EMPTY_CLAUSE, path, "An empty query: write match_all, or leave it out.")
        return
    if len(value) > 1:
        known = [name for name in value if name in QUERIES_TABLE]
        names = ", ".join(shortened(name) for name in list(value)[:3])
        walk.wrong_shape(path, f"One query belongs here, not {len(value)} ({names}): combine them by bool.")
        for name in known[:2]:
            walk.clause(QUERIES_TABLE[name], value[name], pointer(path, name), scope.weak())
        return
    name, part = next(iter(value.items()))
    below = pointer(path, name)
    if (clause := QUERIES_TABLE.get(name)) is not None:
        walk.clause(clause, part, below, scope)
    elif name in OF_PLUGINS:
        walk.skip(below)
    else:
        walk.unknown_clause(name, "query", below, QUERIES_TABLE, QUERY_SYNONYMS, _where(walk, name))


def _where(walk: Walk, name: str) -> str:
    """Return a hint for callers who wrote a field's name where the query's name belongs."""
    return " It is the name of a field: it stands inside a query." if walk.is_known(name) else ""


def read_queries(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read a list of queries, or one query."""
    if value is None:
        return  # as Elasticsearch has it
    if not isinstance(value, list):
        read_query(walk, value, path, scope, slot)
        return
    for number, one in enumerate(value):
        walk.read(_QUERY, one, pointer(path, number), scope)


_QUERY = Slot("query")


def read_weak_queries(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read queries each of which may match nothing: alternatives, exclusions, and queries that only affect scores."""
    read_queries(walk, value, path, scope.weak(), slot)


def read_joined_query(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read a query on parents or children, which are whole documents."""
    read_query(walk, value, path, Scope(None, scope.is_weak), slot)


# -- queries whose key is a field's name


def check_keyed(walk: Walk, clause: Clause, given: dict[str, Any], name: str, path: str, scope: Scope) -> None:
    """Check a clause that has a field's name as its key: the field, the keys of the long form, and the value."""
    keyed, part, below = clause.keyed, given[name], pointer(path, name)
    assert keyed is not None
    value, options = part, {}
    if isinstance(part, dict) and keyed.inner is not None:
        options = part
        if not _long_form(walk, clause, keyed, part, below, scope):
            return
        value = part.get(keyed.value) if keyed.value else None
    elif isinstance(part, list) and keyed.inner is not None:
        walk.wrong_shape(below, "One value belongs here, not a list: use terms for several.", name)
        return
    elif not keyed.has_short_form:
        walk.wrong_shape(below, "An object belongs here.", name)
        return

    def accepts(field: KnownField) -> bool:
        return _accepts(keyed.check, field, value, options)

    if walk.field(name, keyed.place, below, scope, accepts=accepts):
        _VALUE_CHECKS[keyed.check](walk, name, value, options, below, scope)
        is_equality = keyed.check in ("term", "match") and keyed.place is not places.MATCH_BOOL_PREFIX
        if is_equality and not options.get("fuzziness"):
            at = pointer(below, keyed.value) if options and keyed.value else below
            walk.note_value(name, value, at, ignores_case=options.get("case_insensitive") in (True, "true"))


def _long_form(walk: Walk, clause: Clause, keyed: Keyed, part: dict[str, Any], path: str, scope: Scope) -> bool:
    """Read the long form, `{"value": …, "boost": 2}`. Return whether the value is there."""
    assert keyed.inner is not None
    before = len(walk.findings)
    keys = {**keyed.inner, keyed.value: Slot("any")} if keyed.value else dict(keyed.inner)
    inner = Clause(keys, synonyms=clause.synonyms)
    walk.keys(inner, part, path, scope)
    if keyed.value and part.get(keyed.value) is None and not _old_value(part):
        if len(walk.findings) == before:
            walk.say(Code.EMPTY_CLAUSE, path, f"{keyed.value} has to be given.")
        return False
    if keyed.value and isinstance(part.get(keyed.value), list | dict) and keyed.value != "terms":
        walk.wrong_shape(pointer(path, keyed.value), "One value belongs here.")
        return False
    return True


def _old_value(part: dict[str, Any]) -> bool:
    return "term" in part or "wildcard" in part


def _accepts(check: str, field: KnownField, value: Any, options: dict[str, Any]) -> bool:
    """Return whether a field could be the one that was meant, given the value that stands there."""
    if check == "range":
        bounds = {name: options[name] for name in _BOUNDS if name in options}
        complaint = check_bounds(field, bounds, _text(options.get("format")))
        return complaint is None or complaint[1].code is Code.NUMBER_ON_DATE
    if check in ("term", "match"):
        found = check_term(field, value) if check == "term" else check_analyzed(field, value)
        return found is None or not found.is_refused
    if check == "terms" and isinstance(value, list):
        return all((found := check_term(field, one)) is None or not found.is_refused for one in value[:5])
    return True


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _value_any(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    """Accept any value."""


def _value_term(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    ignores_case = options.get("case_insensitive") in (True, "true")
    below = pointer(path, "value") if options else path
    walk.value(name, below, scope, lambda field: check_term(field, value, case_insensitive=ignores_case))


def _value_match(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    if options.get("lenient") not in (True, "true"):
        walk.value(name, path, scope, lambda field: check_analyzed(field, value))


def _value_pattern(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    ignores_case = options.get("case_insensitive") in (True, "true")
    if isinstance(value, str):
        walk.value(
            name,
            path,
            scope,
            lambda field: (
                check_term(field, value, case_insensitive=ignores_case) if looks_analyzed_away(field, value) else None
            ),
        )


_LITERAL = re.compile(r"[\w\s]+")
_LONG_WORD = re.compile(r"\S{3,}")


def _value_regexp(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    """Check a regular expression only if it has no special characters: then it matches just one
    text, as a value does.
    """
    if isinstance(value, str) and _LITERAL.fullmatch(value):
        _value_pattern(walk, name, value, options, path, scope)


def _value_fuzzy(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    """Check a fuzzy value of several words: an edit distance of two can't turn one word into several."""
    if isinstance(value, str) and len(_LONG_WORD.findall(value)) > 1:
        _value_pattern(walk, name, value, options, path, scope)


def _value_range(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    bounds = {bound: options[bound] for bound in _BOUNDS if bound in options}
    if not options:
        walk.say(Code.EMPTY_CLAUSE, path, "A bound has to be given.", Severity.WARNING, name)
        return
    if any(one.field is not None and one.field.type == KEYED for one in walk.variants(name)) and not _two_sided(bounds):
        detail = f"[{shortened(name)}] is a key of a flattened object: a range has to have both bounds."
        walk.say(Code.FLATTENED_MISUSE, path, detail, Severity.ERROR, name)
        return
    walk.conflict(name, path)
    given = _text(options.get("format"))
    wrong: list[str] = []

    def check(field: KnownField) -> Any:
        found = check_bounds(field, bounds, given)
        if found is not None:
            wrong.append(found[0])
        return None if found is None else found[1]

    # Which bound is wrong is known only after a check. So the bounds are checked once to find the path, and then again
    # to report the finding.
    for variant in walk.variants(name):
        assert variant.field is not None
        check(variant.field)
    below = pointer(path, wrong[0]) if wrong else path
    walk.value(name, below, scope, check)


def _two_sided(bounds: dict[str, Any]) -> bool:
    given = {name for name, bound in bounds.items() if bound is not None}
    return bool(given & {"gt", "gte", "from"}) and bool(given & {"lt", "lte", "to"})


def _value_terms(walk: Walk, name: str, value: Any, options: dict[str, Any], path: str, scope: Scope) -> None:
    if not isinstance(value, list):
        return
    for number, one in enumerate(value[:MAX_CHECKED_TERMS]):
        if not walk.value(name, pointer(path, number), scope, lambda field, one=one: check_term(field, one)):  # type: ignore[misc]
            return


_VALUE_CHECKS: dict[str, Callable[[Walk, str, Any, dict[str, Any], str, Scope], None]] = {
    "any": _value_any,
    "term": _value_term,
    "match": _value_match,
    "pattern": _value_pattern,
    "regexp": _value_regexp,
    "fuzzy": _value_fuzzy,
    "range": _value_range,
    "terms": _value_terms,
}


def check_terms(walk: Walk, clause: Clause, given: dict[str, Any], name: str, path: str, scope: Scope) -> None:
    """Check `terms`: a list of values, or where to look them up."""
    part, below = given[name], pointer(path, name)
    if isinstance(part, dict):
        walk.clause(_LOOKUP, part, below, scope)
    elif not isinstance(part, list):
        walk.wrong_shape(below, "A list of values belongs here: use term for one.", name)
        return
    elif None in part:
        walk.say(
            Code.EMPTY_CLAUSE, pointer(below, part.index(None)), "null can't be searched for.", Severity.ERROR, name
        )
        return

    def accepts(field: KnownField) -> bool:
        return _accepts("terms", field, part, {})

    if walk.field(name, places.TERMS, below, scope, accepts=accepts):
        _value_terms(walk, name, part, {}, below, scope)
        for number, one in enumerate(part if isinstance(part, list) else ()):
            walk.note_value(name, one, pointer(below, number))


_LOOKUP = Clause({name: Slot("any") for name in ("index", "id", "path", "routing", "query")})


def check_beside(walk: Walk, clause: Clause, given: dict[str, Any], name: str, path: str, scope: Scope) -> None:
    """Check a field whose options stand beside it, as those of geographic queries do."""
    assert clause.keyed is not None
    suffix = next((one for one in _GEO_SUFFIXES if name.endswith(one)), None)
    real = name.removesuffix(suffix) if suffix and not walk.is_known(name) else name
    is_forgiven = given.get("ignore_unmapped") in (True, "true")
    walk.field(real, clause.keyed.place, pointer(path, name), scope, is_forgiven=is_forgiven)


# -- what rows can't say


def also_nested(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `nested`: its path, and its query on the objects there."""
    inner = nested_scope(walk, value, path, scope, is_loud=True)
    _inner_hits_name(walk, value, path)
    if inner is None:
        return
    if value.get("inner_hits") is not None:
        walk.read(_INNER_HITS, value["inner_hits"], pointer(path, "inner_hits"), inner)
    walk.misplaced.append(set())
    walk.read(_QUERY, value["query"], pointer(path, "query"), inner)
    elsewhere = walk.misplaced.pop()
    if elsewhere:
        meant = tuple(sorted(one for one in elsewhere if one))
        where = f"in [{', '.join(meant)}]" if meant else "in no nested object"
        walk.say(
            Code.NESTED_WRONG,
            pointer(path, "path"),
            f"The query looks at objects of [{shortened(value['path'])}], but its fields are {where}.",
            Severity.WARNING if scope.is_weak else Severity.ERROR,
            value["path"],
            meant,
        )


_INNER_HITS = Slot("inner_hits")


def nested_scope(walk: Walk, value: dict[str, Any], path: str, scope: Scope, *, is_loud: bool) -> Scope | None:
    """Check a `path` of nested objects. Return the scope of the clauses inside; None where nothing can be said of
    them.
    """
    name = value.get("path")
    below = pointer(path, "path")
    if not isinstance(name, str):
        walk.wrong_shape(below, "The path of a nested object belongs here.")
        return None
    known = [variant.field for variant in walk.variants(name) if variant.field is not None]
    if any(field.type == "nested" for field in known):
        return Scope(name, scope.is_weak)
    if value.get("ignore_unmapped") in (True, "true") or not walk.known.groups:
        return None
    meant = walk.suggester.suggest(name, _NESTED, scope)
    code, what = (Code.NOT_NESTED, "isn't a nested object") if known else (Code.UNKNOWN_FIELD, "isn't mapped")
    can_match = not is_loud and (scope.is_weak or walk.known.can_grow_at(name))
    severity = Severity.WARNING if can_match else Severity.ERROR
    walk.say(code, below, f"[{shortened(name)}] {what}.", severity, name, meant)
    return None


_NESTED = Place("nested object", frozenset({"nested"}), takes_objects=True, ignores_nesting=True)


def _inner_hits_name(walk: Walk, value: dict[str, Any], path: str) -> None:
    hits = value.get("inner_hits")
    if not isinstance(hits, dict):
        return
    name = hits.get("name", value.get("path"))
    if isinstance(name, str):
        if name in walk.inner_hits:
            detail = f"Inner hits named [{shortened(name)}] are there already: give each a name."
            walk.say(Code.BAD_COMBINATION, pointer(path, "inner_hits"), detail)
        walk.inner_hits.add(name)


def also_query_string(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `query_string`: the fields that its text names."""
    default = value.get("default_field")
    if isinstance(default, str):
        walk.field(default, places.QUERY_STRING, pointer(path, "default_field"), scope)
    text = value.get("query")
    if not isinstance(text, str) or value.get("escape") in (True, "true"):
        return
    parsed = parse(text)
    below = pointer(path, "query")
    if parsed.mistake is not None:
        walk.say(Code.QUERY_STRING_SYNTAX, below, parsed.mistake)
        return
    for named in parsed.named:
        if walk.field(named.field, places.QUERY_STRING, below, scope.weak()):
            _query_string_values(walk, named, below, scope)


def _query_string_values(walk: Walk, named: Named, path: str, scope: Scope) -> None:
    values = [one for one in named.values if one not in ("*", "")]
    if not values:
        return

    def check(field: KnownField) -> Complaint | None:
        if field.type in TEXTS or field.type == "keyword":
            return None
        for one in values:
            bound = check_bounds(field, {"gte": one}, None) if named.bounds else None
            found = bound[1] if bound is not None else None if named.bounds else check_term(field, one)
            # A date may be given to the day or the month only; such a term means the whole day or month.
            if found is not None and not (field.type in places.DATES and is_date(one, "strict_date_optional_time")):
                return found
        return None

    walk.value(named.field, path, scope, check, is_quiet=True)


def also_knn(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `knn`: the number of dimensions, and the number of candidates."""
    k, candidates = value.get("k"), value.get("num_candidates")
    if isinstance(k, int) and isinstance(candidates, int) and k > candidates:
        detail = f"num_candidates ({candidates}) has to be at least k ({k})."
        walk.say(Code.BAD_COMBINATION, pointer(path, "num_candidates"), detail)
    name, vector = value.get("field"), value.get("query_vector")
    if not isinstance(name, str) or not isinstance(vector, list):
        return
    for variant in walk.variants(name):
        dims = variant.field.definition.get("dims") if variant.field else None
        is_bytes = variant.field is not None and variant.field.definition.get("element_type") == "bit"
        if isinstance(dims, int) and not is_bytes and len(vector) != dims:
            detail = f"[{shortened(name)}] has {dims} dimensions, the vector {len(vector)}."
            walk.say(Code.BAD_VALUE, pointer(path, "query_vector"), detail, Severity.ERROR, name)
            return


def also_multi_match(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `multi_match`: its fields, to which different rules apply depending on its type."""
    if (listed := value.get("fields")) is None:
        return
    place = places.MULTI_PHRASE_PREFIX if value.get("type") == "phrase_prefix" else places.MULTI_MATCH
    below = pointer(path, "fields")
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        name = one.rpartition("^")[0] or one if isinstance(one, str) else ""
        if "*" not in name or place is places.MULTI_MATCH or not walk.finds(name):
            continue
        # If a pattern matches fields that the query doesn't take, the node refuses them.
        for field in walk.known.matching(name)[:MAX_REACHED]:
            if field.type in places.JUDGED and field.type not in place.takes:
                walk.field(field.path, place, pointer(below, number), scope)
                return
    before = len(walk.findings)
    walk.read(Slot("fields", place), listed, below, scope)
    if len(walk.findings) == before and value.get("lenient") not in (True, "true") and isinstance(listed, list):
        _multi_match_values(walk, value["query"], listed, path, scope)


def _multi_match_values(walk: Walk, query: Any, listed: list[Any], path: str, scope: Scope) -> None:
    """Check the value for each field: if one field can't have it, the node refuses the query for all of them."""
    for number, one in enumerate(listed[:MAX_REACHED]):
        name = one.rpartition("^")[0] or one if isinstance(one, str) else ""
        if name and "*" not in name:
            below = pointer(pointer(path, "fields"), number)
            walk.value(name, below, scope.weak(), lambda field: check_analyzed(field, query))


MAX_REACHED = 50


def also_value_factor(walk: Walk, value: Any, path: str, scope: Scope) -> None:
    """Check `field_value_factor`: its field has to exist, unless `missing` says which value to take instead."""
    is_forgiven = value.get("missing") is not None
    walk.field(value["field"], places.FIELD_VALUE_FACTOR, pointer(path, "field"), scope.weak(), is_forgiven=is_forgiven)


def read_interval_rules(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the rules within a rule of `intervals`."""
    for number, rule in enumerate(value if isinstance(value, list) else []):
        walk.clause(_RULE, rule, pointer(path, number), scope)


_RULE = Clause(INTERVAL_RULES)


def read_knn(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the vector searches of a body: one or several."""
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        walk.clause(KNN_SEARCH, one, pointer(path, number) if isinstance(value, list) else path, scope)


def read_retriever(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read one retriever: an object with one key, which is the retriever's name."""
    if not isinstance(value, dict) or len(value) != 1:
        walk.wrong_shape(path, "One retriever belongs here.")
        return
    name, part = next(iter(value.items()))
    if (clause := RETRIEVERS.get(name)) is None:
        walk.unknown_clause(name, "retriever", pointer(path, name), RETRIEVERS)
        return
    walk.clause(clause, part, pointer(path, name), scope)


def read_retrievers(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read the retrievers within a retriever. Each may stand in an object together with its weight. It may be intended
    that one of them finds nothing.
    """
    for number, one in enumerate(value if isinstance(value, list) else []):
        below = pointer(path, number)
        if isinstance(one, dict) and "retriever" in one:
            one, below = one["retriever"], pointer(below, "retriever")
        walk.read(Slot("retriever"), one, below, scope.weak())


READERS: dict[str, Reader] = {
    "query": read_query,
    "queries": read_queries,
    "negated": read_weak_queries,
    "alternatives": read_weak_queries,
    "scoring_query": read_weak_queries,
    "joined_query": read_joined_query,
    "interval_rules": read_interval_rules,
    "knn": read_knn,
    "retriever": read_retriever,
    "retrievers": read_retrievers,
}
ALSO: dict[str, Also] = {
    "nested_query": also_nested,
    "query_string": also_query_string,
    "knn": also_knn,
    "multi_match": also_multi_match,
    "value_factor": also_value_factor,
}
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("any", "term", "match", "pattern", "regexp", "fuzzy", "range"), check_keyed),
    "terms": check_terms,
    "beside": check_beside,
}
