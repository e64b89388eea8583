"""Judge a field's name where it stands in a search: does the field exist, in all indices, and can this place use it?"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from cacheapp.queries.findings import Code, Severity, shortened
from cacheapp.queries.known_fields import KEYED, KnownField, KnownFields, MappingFields, Variant
from cacheapp.queries.places import DATES, GEO, JUDGED, KEYWORDS, NUMBERS, STRINGS, TEXTS, Access, Place
from cacheapp.queries.suggestions import Names, nearest
from cacheapp.queries.synonyms import ENDINGS

_EXISTING = TEXTS | KEYWORDS | NUMBERS | DATES | {"boolean", "ip", "geo_point", "binary"}
"""Types whose fields an `exists` query can't see if they are neither indexed nor have doc values."""
_FAMILIES = {
    **dict.fromkeys(NUMBERS, "numbers"),
    **dict.fromkeys(DATES, "dates"),
    **dict.fromkeys(STRINGS, "texts"),
    **dict.fromkeys(("ip", "boolean"), "others"),
    **dict.fromkeys(GEO, "places"),
}


class Scope(NamedTuple):
    """What a clause looks at.

    Args:
        nested: The path of the nested object whose documents the clause looks at; None: whole documents.
        is_weak: Whether the caller may mean the clause to match nothing: in `must_not`, in one of several alternatives,
            or where it only affects scores.
    """

    nested: str | None = None
    is_weak: bool = False

    def weak(self) -> "Scope":
        return self if self.is_weak else Scope(self.nested, True)


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a field in the indices of one mapping. `is_loud`: the node answers 400."""

    code: Code
    is_loud: bool
    detail: str


class Outcome(msgspec.Struct, frozen=True):
    """What to report of a field."""

    code: Code
    severity: Severity
    detail: str


def judge(known: KnownFields, place: Place, name: str, scope: Scope, *, is_forgiven: bool = False) -> Outcome | None:
    """Judge a field's name in a place, over all indices. Return None if there is nothing to report.

    The first rule that applies decides:

    1. No index maps the field: it is unknown. (`is_forgiven`: the search itself says what to do then, so nothing is
       reported.)
    2. It is wrong in every index that maps it: that problem is reported. It is an error if the node refuses it in all
       indices, or if nothing can match; otherwise a warning.
    3. It is wrong in some indices, or it isn't mapped in some and the node refuses that: a warning.
    4. It isn't mapped in some indices, where the clause just finds nothing: nothing is reported, as that may well be
       meant.
    """
    variants = known.find(name)
    there = [variant for variant in variants if variant.field is not None]
    if not there:
        return None if is_forgiven else _unknown(known, place, name, scope)
    problems = [problem(place, variant, scope) for variant in there]
    wrong = [one for one in problems if one is not None]
    if not wrong:
        if len(there) < len(variants) and place.is_loud and not is_forgiven:
            return _partly(Code.UNKNOWN_FIELD, there, known, name)
        return None
    first = wrong[0]
    if len(wrong) < len(problems):
        return _conflict(there, problems, known, name, first)
    is_everywhere = len(there) == len(variants)
    can_match_later = not is_everywhere and known.can_grow_at(name)
    is_weak = (scope.is_weak or place.is_weak or first.code is Code.FLATTENED_MISUSE) and not first.is_loud
    is_sure = is_everywhere if first.is_loud else not can_match_later
    return Outcome(first.code, Severity.ERROR if is_sure and not is_weak else Severity.WARNING, first.detail)


def problem(place: Place, variant: Variant, scope: Scope) -> Problem | None:
    """Return what is wrong with a field of one mapping in a place; None if nothing is."""
    field = variant.field
    assert field is not None
    if field.is_object:
        return _object(place, variant.mapping, field, scope)
    kind = _read_as(place, field)
    if kind in JUDGED and kind not in place.takes:
        return _misfit(place, field)
    if field.is_runtime and not place.takes_runtime:
        return Problem(Code.TYPE_MISFIT, True, f"{_quoted(field)} is computed by a script: no {place.name} takes that.")
    if not place.ignores_nesting and not _is_seen(place, variant.mapping, field, scope):
        return _nesting(place, field, scope)
    if field.type == KEYED and field.path.endswith(".keyword"):
        detail = f"{_quoted(field)}: keys of a flattened object have no multi-fields."
        return Problem(Code.FLATTENED_MISUSE, False, detail)
    if place.access is Access.DOC_VALUES and not field.has_doc_values:
        return _without_doc_values(place, field)
    if place.is_weak and place.takes_objects and place.access is Access.INDEX:
        return _existence(field)
    if place.access is Access.INDEX and not field.is_searchable:
        return Problem(
            Code.NOT_SEARCHABLE, True, f"{_quoted(field)} isn't indexed, so that no query can search it ({field.type})."
        )
    return None


def _read_as(place: Place, field: KnownField) -> str:
    """Return the type that a field has for a place: a text with `fielddata` gives its words as a keyword does."""
    has_words = field.type in TEXTS and place.access is Access.DOC_VALUES and field.has_doc_values
    return "keyword" if has_words else field.type


def _is_seen(place: Place, mapping: MappingFields, field: KnownField, scope: Scope) -> bool:
    """Return whether a place sees the field. A sort has to name the nested object, even where its values are copied to
    the outside.
    """
    if place.needs_nested:
        return field.nested_path == scope.nested or field.is_runtime
    return mapping.is_visible(field, scope.nested)


def is_forked(known: KnownFields, name: str) -> str | None:
    """Describe a field whose kinds of values differ among the indices, so that ranges and sorts mean different things
    there; None for any other field.
    """
    families: dict[str, int] = {}
    types: dict[str, int] = {}
    for variant in known.find(name):
        if variant.field is not None and variant.field.type in _FAMILIES:
            family = _FAMILIES[variant.field.type]
            families[family] = families.get(family, 0) + variant.indices_total
            types[variant.field.type] = types.get(variant.field.type, 0) + variant.indices_total
    return _shares(types, known.indices_total) if len(families) > 1 else None


def _shares(types: dict[str, int], total: int) -> str:
    return ", ".join(f"{name} in {count}" for name, count in types.items()) + f" of {total} indices"


def _quoted(field: KnownField) -> str:
    return f"[{shortened(field.path)}]"


def _unknown(known: KnownFields, place: Place, name: str, scope: Scope) -> Outcome | None:
    if place.shows_source and any(mapping.may_hide(name) for mapping, _ in known.groups):
        return None
    if any(mapping.is_disabled(name) for mapping, _ in known.groups):
        detail = (
            f"[{shortened(name)}] lies in an object with enabled: false, which Elasticsearch keeps but never looks at."
        )
        code = Code.DISABLED_OBJECT
    else:
        detail = f"No field is named [{shortened(name)}]."
        code = Code.UNKNOWN_FIELD
    if place.is_loud:
        return Outcome(code, Severity.ERROR, f"{detail} Elasticsearch refuses a {place.name} on it.")
    can_match = scope.is_weak or place.is_weak or place.access is Access.SOURCE or known.can_grow_at(name)
    return Outcome(code, Severity.WARNING if can_match else Severity.ERROR, f"{detail} Nothing is found by it.")


def _partly(code: Code, there: list[Variant], known: KnownFields, name: str) -> Outcome:
    total = sum(variant.indices_total for variant in there)
    return Outcome(
        code,
        Severity.WARNING,
        f"[{shortened(name)}] is mapped in {total} of {known.indices_total} indices; the others refuse the search, and"
        " their shards fail.",
    )


def _conflict(
    there: list[Variant], problems: list[Problem | None], known: KnownFields, name: str, first: Problem
) -> Outcome:
    types: dict[str, int] = {}
    for variant in there:
        assert variant.field is not None
        types[variant.field.type] = types.get(variant.field.type, 0) + variant.indices_total
    wrong = sum(variant.indices_total for variant, found in zip(there, problems, strict=True) if found is not None)
    code = Code.TYPE_CONFLICT if len(types) > 1 else first.code
    detail = f"[{shortened(name)}] is {_shares(types, known.indices_total)}; wrong in {wrong}: {first.detail}"
    return Outcome(code, Severity.WARNING, detail)


def _object(place: Place, mapping: MappingFields, field: KnownField, scope: Scope) -> Problem | None:
    if not place.takes_objects:
        return Problem(
            Code.OBJECT_AS_FIELD, place.is_loud, f"{_quoted(field)} is an object: name one of the fields in it."
        )
    is_existence = place.access is Access.INDEX and not place.ignores_nesting
    if is_existence and mapping.is_disabled(field.path):
        detail = f"{_quoted(field)} is an object with enabled: false, which never seems to exist."
        return Problem(Code.DISABLED_OBJECT, False, detail)
    if not is_existence or field.type != "nested" or field.path == scope.nested:
        return None
    inside = msgspec.structs.replace(field, type="", nested_path=field.path)
    return None if mapping.is_visible(inside, scope.nested) else _nesting(place, inside, scope)


def _misfit(place: Place, field: KnownField) -> Problem:
    detail = f"{_quoted(field)} is {field.type}: a {place.name} doesn't take that."
    if field.type == KEYED:
        return Problem(
            Code.FLATTENED_MISUSE, True, f"{_quoted(field)} is a key of a flattened object: no {place.name}."
        )
    if field.type in TEXTS and place.access is Access.DOC_VALUES and place.takes & KEYWORDS:
        return _needs_whole_values(place, field)
    return Problem(Code.TYPE_MISFIT, not place.misfit_is_silent, detail)


def _nesting(place: Place, field: KnownField, scope: Scope) -> Problem:
    is_sort = place.needs_nested
    if scope.nested is None:
        by = "a nested sort" if is_sort else "a nested query or aggregation"
        detail = f"{_quoted(field)} is in the nested object [{field.nested_path}]: only {by} with this path sees it."
        return Problem(Code.NESTED_MISSING, is_sort, detail)
    where = f"in the nested object [{field.nested_path}]" if field.nested_path else "in no nested object"
    detail = f"{_quoted(field)} is {where}, but the clause looks at [{shortened(scope.nested)}]."
    return Problem(Code.NESTED_WRONG, is_sort, detail)


def _needs_whole_values(place: Place, field: KnownField) -> Problem:
    needed = f"a {place.name} needs whole values, as of a keyword"
    detail = f"{_quoted(field)} is {field.type}, made for search by words: {needed}."
    return Problem(Code.TEXT_NEEDS_KEYWORD, True, detail)


def _without_doc_values(place: Place, field: KnownField) -> Problem:
    if field.type in TEXTS:
        return _needs_whole_values(place, field)
    return Problem(Code.NO_DOC_VALUES, True, f"{_quoted(field)} has no doc values, which a {place.name} needs.")


def _existence(field: KnownField) -> Problem | None:
    if field.type not in _EXISTING or field.is_searchable or field.has_doc_values:
        return None
    if field.definition.get("store") in (True, "true"):
        return None
    return Problem(
        Code.NOT_SEARCHABLE, False, f"{_quoted(field)} is neither indexed nor has doc values: it never seems to exist."
    )


class Suggester:
    """Suggests fields for wrong names. The number of comparisons is bounded, because each takes a while."""

    MAX_COMPARISONS = 8

    def __init__(self, known: KnownFields, names: Callable[[], Names], runtime: dict[str, KnownField]) -> None:
        self._known = known
        self._names = names
        self._runtime = runtime
        self._kept: dict[tuple[str, str, str | None], tuple[str, ...]] = {}

    def suggest(
        self, name: str, place: Place, scope: Scope, accepts: Callable[[KnownField], bool] | None = None
    ) -> tuple[str, ...]:
        """Return the fields that were probably meant by `name` in a place. `accepts` tells whether a field could have
        the value that stands there.
        """
        key = (name, place.name, scope.nested)
        if key not in self._kept:
            if len(self._kept) >= self.MAX_COMPARISONS:
                return ()
            self._kept[key] = self._suggested(name, place, scope, accepts)
        return self._kept[key]

    def _suggested(
        self, name: str, place: Place, scope: Scope, accepts: Callable[[KnownField], bool] | None
    ) -> tuple[str, ...]:
        def wanted(field: KnownField) -> float:
            fit = self._fit(field, place, scope)
            return fit if fit <= 0 or accepts is None or accepts(field) else 0.0

        found = list(self._related(name, wanted)) or self._below_flattened(name)
        if len(found) < 3:
            runtime = Names(self._runtime.values()).like(name, wanted) if self._runtime else ()
            found += [one for one in (*runtime, *self._names().like(name, wanted)) if one not in found]
        if not found and place.takes != JUDGED and not place.takes & KEYWORDS:
            found = list(self._names().fitting(wanted, name))
        return tuple(found[:3])

    def _related(self, name: str, wanted: Callable[[KnownField], float]) -> list[str]:
        """Return related fields that the place can take: the multi-fields of a field, the field that a multi-field
        belongs to, or the fields in an object.
        """
        fields = self._known.all_fields
        field = fields.get(name)
        head, _, last = name.rpartition(".")
        base = fields.get(head)
        if field is None and base is not None and not base.is_object:
            # `status.keyword`, where `status` is itself a keyword: the multi-field doesn't exist.
            if last.lower() not in ENDINGS:
                return []
            beside = [one.path for one in fields.values() if one.multi_field_of == head and wanted(one) > 0]
            return [head, *beside] if wanted(base) > 0 else beside
        if field is None:
            keyed = self._known.find(name)[0].field if self._known.groups else None
            return [head] if keyed is not None and keyed.type == KEYED and last == "keyword" else []
        if field.is_object:
            inside = [one for path, one in fields.items() if path.startswith(f"{name}.") and wanted(one) > 0]
            return [one.path for one in sorted(inside, key=lambda one: _telling(one, name, wanted(one)))[:3]]
        root = field.multi_field_of or field.target or name
        related = [
            one
            for one in fields.values()
            if root in (one.multi_field_of, one.path) and one.path != name and wanted(one) > 0
        ]
        return [one.path for one in related]

    def _below_flattened(self, name: str) -> list[str]:
        """Return the name of a key of a flattened object, if the name of that object was misspelt."""
        flattened = self._known.flattened
        for place in [place for place, sign in enumerate(name) if sign == "."][:3] if flattened else ():
            if name[:place] not in flattened and (found := nearest(name[:place], flattened)):
                return [f"{found[0]}{name[place:]}"]
        return []

    def _fit(self, field: KnownField, place: Place, scope: Scope) -> float:
        if field.is_object:
            is_taken = place.takes_objects and (place.takes == JUDGED or field.type in place.takes)
            return 0.8 if is_taken else 0.0
        if field.type in JUDGED and field.type not in place.takes:
            return 0.0
        if field.type not in JUDGED and len(place.takes) < 6 and field.type not in place.takes:
            return 0.0
        if place.access is Access.DOC_VALUES and not field.has_doc_values:
            return 0.0
        if place.access is Access.INDEX and not field.is_searchable:
            return 0.0
        fit = 1.0 if not place.prefers or field.type in place.prefers else 0.85
        if not place.ignores_nesting and not self._is_visible(field, scope):
            fit *= 0.55
        return fit * (0.93 if field.multi_field_of or field.target else 1.0)

    def _is_visible(self, field: KnownField, scope: Scope) -> bool:
        return any(
            mapping.is_visible(field, scope.nested) for mapping, _ in self._known.groups if field.path in mapping.fields
        )


_TELLING = ("name", "id", "title", "original", "path", "key", "code", "value", "sku", "type", "email")


def _telling(field: KnownField, around: str, fit: float) -> tuple[float, int, int, str]:
    """Return the sort key for the fields of an object: those that tell best what the object is come first."""
    rest = field.path[len(around) + 1 :]
    last = rest.partition(".")[0].lower()
    order = _TELLING.index(last) if last in _TELLING else len(_TELLING)
    return (-fit, rest.count("."), order, field.path)
