"""Walk through a search along the tables: the walk itself, and the readers that all parts share."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cacheapp.queries.field_checks import Outcome, Scope, Suggester, is_forked, judge
from cacheapp.queries.findings import MAX_FINDINGS, AskedValue, Code, Finding, Severity, pointer, shortened
from cacheapp.queries.known_fields import METADATA, KnownField, KnownFields, Variant, runtime_fields
from cacheapp.queries.places import Place
from cacheapp.queries.slots import Clause, Slot
from cacheapp.queries.suggestions import Names, nearest
from cacheapp.queries.values import Complaint

MAX_DEPTH = 60
"""How many levels of clauses are read. Elasticsearch's own limit is 30 levels of queries."""
MAX_READINGS = 20_000
"""How many parts of a search are read, to bound the time; further parts are not checked."""
MAX_NOT_CHECKED = 20
MAX_USED = 50
MAX_ASKED_VALUES = 100
MAX_PATTERNS = 20
MAX_STARS = 5
"""How many stars a name may have to be compared with all fields. At most `MAX_PATTERNS` names with stars are
compared.
"""

Reader = Callable[["Walk", Any, str, Scope, Slot], None]
"""Reads the value that stands under one key. Called with the walk, the value, its JSON Pointer, what the clause around
it looks at, and the row of the table that is about the key.
"""
Also = Callable[["Walk", Any, str, Scope], None]
"""Makes the further checks of a clause, after its keys are read. Called with the walk, the clause as it stands in the
search, its JSON Pointer, and what it looks at.
"""
Check = Callable[["Walk", Clause, dict[str, Any], str, str, Scope], None]
"""Checks a clause that has a field's name as a key. Called with the walk, the row of the clause, the clause as it
stands in the search, the field's name, the JSON Pointer of the clause, and what it looks at.
"""


class Walk:
    """One validation of a search: goes through the body, and collects what it finds."""

    def __init__(
        self,
        known: KnownFields,
        names: Callable[[], Names],
        readers: Mapping[str, Reader],
        also: Mapping[str, Also],
        checks: Mapping[str, Check],
    ) -> None:
        self._all_known, self._all_names = known, names
        self._readers, self._also, self._checks = readers, also, checks
        self.findings: list[Finding] = []
        self.not_checked: list[str] = []
        self.used: dict[str, None] = {}
        """The mapped fields that the search names, each once, in the order of the search. (The values are always
        None.)
        """
        self.asked_values: list[AskedValue] = []
        self._readings = 0
        self._patterns = 0
        self._depth = 0
        self.misplaced: list[set[str | None]] = []
        """A stack with an entry for each `nested` query around: the nested paths of the fields in it that are outside
        its own path.
        """
        self.inner_hits: set[str] = set()
        self.define({})

    def define(self, mappings: Any) -> None:
        """Take in the fields that the search defines itself; they hide mapped ones."""
        self.runtime = runtime_fields(mappings)
        self.known = self._all_known.with_runtime(self.runtime) if self.runtime else self._all_known
        self.suggester = Suggester(self.known, self._all_names, self.runtime)

    # -- what is said

    def say(
        self,
        code: Code,
        path: str,
        detail: str,
        severity: Severity = Severity.ERROR,
        field: str | None = None,
        did_you_mean: Iterable[str] = (),
    ) -> None:
        if not self._is_full:
            name = None if field is None else shortened(field)
            self.findings.append(Finding(path, code, severity, name, tuple(did_you_mean), detail))

    @property
    def _is_full(self) -> bool:
        """Whether there are as many findings as are given. Then nothing is compared with names any more, because a body
        may have ten thousand wrong ones.
        """
        return len(self.findings) >= MAX_FINDINGS

    def skip(self, path: str) -> None:
        """Note that the part at `path` isn't checked."""
        if len(self.not_checked) < MAX_NOT_CHECKED:
            self.not_checked.append(path)

    def unknown_key(self, key: str, clause: Clause, path: str) -> None:
        if self._is_full:
            return
        meant = nearest(key, clause.keys, clause.synonyms)
        self.say(
            Code.UNKNOWN_KEY,
            pointer(path, key),
            f"[{shortened(key)}] isn't known here.",
            self._severity_of(meant),
            key if not clause.keyed else None,
            meant,
        )

    def unknown_clause(
        self,
        name: str,
        kind: str,
        path: str,
        among: Iterable[str],
        synonyms: Mapping[str, tuple[str, ...]] | None = None,
        hint: str = "",
    ) -> None:
        """Report a clause whose name isn't `among` the known ones. `synonyms`: other words for these."""
        if self._is_full:
            return
        meant = nearest(name, among, synonyms)
        detail = f"There is no {kind} named [{shortened(name)}].{hint}"
        self.say(Code.UNKNOWN_CLAUSE, path, detail, self._severity_of(meant), name, meant)

    def _severity_of(self, meant: tuple[str, ...]) -> Severity:
        """Return the severity for a name that isn't in the tables: an error if it is like one of them (`meant`);
        otherwise a warning, because a later version of Elasticsearch may have it.
        """
        return Severity.ERROR if meant else Severity.WARNING

    def wrong_shape(self, path: str, detail: str, field: str | None = None) -> None:
        self.say(Code.WRONG_SHAPE, path, detail, Severity.ERROR, field)

    # -- reading

    def read(self, slot: Slot, value: Any, path: str, scope: Scope) -> None:
        """Read the value of a key, with the reader of its slot."""
        self._readings += 1
        if self._readings > MAX_READINGS or self._depth >= MAX_DEPTH:
            self.skip(path)
            return
        self._depth += 1
        self._readers[slot.reader](self, value, path, scope, slot)
        self._depth -= 1

    def clause(self, clause: Clause, value: Any, path: str, scope: Scope) -> None:
        """Read an object: check its keys, and that the required ones are there."""
        if not isinstance(value, dict):
            self.wrong_shape(path, "An object belongs here.")
            return
        if clause.keyed is not None:
            self._keyed(clause, value, path, scope)
            return
        before = len(self.findings)
        self.keys(clause, value, path, scope)
        is_complete = all(value.get(name) is not None for name in clause.required)
        if not is_complete and len(self.findings) == before:
            missing = [name for name in clause.required if value.get(name) is None]
            code = Code.WRONG_SHAPE if value else Code.EMPTY_CLAUSE
            self.say(code, path, f"{', '.join(missing)} has to be given.")
        if clause.also is not None and is_complete:
            self._also[clause.also](self, value, path, scope)

    def keys(self, clause: Clause, value: dict[str, Any], path: str, scope: Scope) -> None:
        """Read the keys of an object, each by its slot."""
        for key, part in value.items():
            slot = clause.keys.get(key)
            if slot is not None:
                if slot.reader != "any":
                    self.read(slot, part, pointer(path, key), scope)
            elif not clause.is_open:
                self.unknown_key(key, clause, path)

    def _keyed(self, clause: Clause, value: dict[str, Any], path: str, scope: Scope) -> None:
        """Read an object that has a field's name as a key, and perhaps options beside it."""
        keyed = clause.keyed
        assert keyed is not None
        named = [key for key in value if key not in clause.keys]
        self.keys(clause, {key: part for key, part in value.items() if key in clause.keys}, path, scope)
        if len(named) > 1 and clause.keys and self._tell_options_apart(clause, named, path):
            named = [key for key in named if self.is_known(key)]
        if not named:
            self.say(Code.EMPTY_CLAUSE, path, "The name of a field belongs here.")
        elif len(named) > 1:
            self.wrong_shape(path, f"One field belongs here, not {len(named)}: {{field: …}}. Combine several by bool.")
        else:
            self._checks[keyed.check](self, clause, value, named[0], path, scope)

    def _tell_options_apart(self, clause: Clause, named: list[str], path: str) -> bool:
        """If exactly one of several names is that of a field, report the others as unknown options. Return whether that
        is so.
        """
        known = [key for key in named if self.is_known(key)]
        if len(known) != 1:
            return False
        for key in named:
            if key not in known:
                self.unknown_key(key, clause, path)
        return True

    # -- fields

    def is_known(self, name: str) -> bool:
        """Return whether a name is that of a field in any of the indices."""
        return any(variant.field is not None for variant in self.known.find(name))

    def finds(self, name: str) -> bool:
        """Return whether a field has this name, or matches this pattern. Also return False for a pattern with more than
        `MAX_STARS` stars, and after the first `MAX_PATTERNS` patterns.
        """
        if "*" not in name:
            return self.is_known(name)
        self._patterns += 1
        return self._patterns <= MAX_PATTERNS and name.count("*") <= MAX_STARS and self.known.has_any(name)

    def variants(self, name: str) -> list[Variant]:
        """Return what a field is in each distinct mapping that has it."""
        return [variant for variant in self.known.find(name) if variant.field is not None]

    def field(
        self,
        name: Any,
        place: Place,
        path: str,
        scope: Scope,
        *,
        is_forgiven: bool = False,
        accepts: Callable[[KnownField], bool] | None = None,
    ) -> bool:
        """Check a field's name. Return whether the field's value can be checked too."""
        if not isinstance(name, str):
            self.wrong_shape(path, "The name of a field belongs here.")
            return False
        if name in METADATA or not self.known.groups:
            return False
        if "*" in name:
            self._pattern(name, place, path, scope)
            return False
        outcome = judge(self.known, place, name, scope, is_forgiven=is_forgiven)
        if outcome is None:
            is_known = self.is_known(name)
            if is_known and name not in self.runtime and len(self.used) < MAX_USED:
                self.used[name] = None
            return is_known
        if self._is_misplaced(outcome, name, scope):
            return False
        meant: tuple[str, ...] = ()
        if outcome.code not in (Code.NESTED_MISSING, Code.TYPE_CONFLICT):
            meant = self.suggester.suggest(name, place, scope, accepts)
        self.say(outcome.code, path, outcome.detail, outcome.severity, name, meant)
        return False

    def _is_misplaced(self, outcome: Outcome, name: str, scope: Scope) -> bool:
        """Note a field that isn't in the nested object that the clause looks at. The `nested` query reports it, if all
        of its fields are outside.
        """
        if outcome.code is not Code.NESTED_WRONG or not self.misplaced or scope.nested is None:
            return False
        self.misplaced[-1] |= {variant.field.nested_path for variant in self.variants(name) if variant.field}
        return True

    def _pattern(self, name: str, place: Place, path: str, scope: Scope) -> None:
        self._patterns += 1
        if not place.takes_patterns:
            return
        if self._patterns > MAX_PATTERNS or name.count("*") > MAX_STARS:
            self.skip(path)
            return
        if self.known.has_any(name):
            return
        meant = (
            [f"{one}.*" for one in self.suggester.suggest(name.rstrip(".*"), _OBJECTS, scope)]
            if name.endswith(".*")
            else []
        )
        outcome = judge(self.known, place, name, scope)
        if outcome is not None:
            self.say(Code.UNKNOWN_FIELD, path, f"No field matches [{shortened(name)}].", Severity.WARNING, name, meant)

    def value(
        self,
        name: str,
        path: str,
        scope: Scope,
        check: Callable[[KnownField], Complaint | None],
        *,
        is_quiet: bool = False,
    ) -> bool:
        """Check a value against what the field is in each index. Return whether there is nothing to report.

        `check` tells what is wrong with the value for one field. `is_quiet`: the node ignores values that it can't
        read, so that this is no error.
        """
        found = [(variant, check(variant.field)) for variant in self.variants(name) if variant.field is not None]
        wrong = [complaint for _, complaint in found if complaint is not None]
        if not wrong:
            return True
        first = wrong[0]
        total = sum(variant.indices_total for variant, _ in found)
        is_everywhere = len(wrong) == len(found) and total == self.known.indices_total
        is_sure = first.code in (Code.BAD_VALUE, Code.OUT_OF_RANGE) and is_everywhere and not is_quiet
        is_error = is_sure and (first.is_refused or not scope.is_weak)
        meant: tuple[str, ...] = ()
        if first.code is Code.TERM_ON_TEXT and not self._is_full:
            field = found[0][0].field
            assert field is not None
            meant = self._keyword_beside(field)
        detail = self._told(first, next(variant for variant, one in found if one is first), found)
        self.say(first.code, path, detail, Severity.ERROR if is_error else Severity.WARNING, name, meant)
        return False

    def _told(self, complaint: Complaint, wrong: Variant, found: list[tuple[Variant, Complaint | None]]) -> str:
        """Return the text of a complaint, with the number of indices that it holds for unless that is all."""
        assert wrong.field is not None
        kind, detail = wrong.field.type, complaint.detail
        total = self.known.indices_total
        so_typed = sum(one.indices_total for one, _ in found if one.field is not None and one.field.type == kind)
        if so_typed < total:
            share = f" in {so_typed} of {total} indices."
            told = f"the field is {kind}."
            return f"{detail[:-1]}{share}" if detail.endswith(told) else f"{detail} The field is {kind}{share}"
        so_wrong = sum(one.indices_total for one, problem in found if problem is not None)
        return detail if so_wrong == total else f"{detail} So it is in {so_wrong} of {total} indices."

    def note_value(self, name: str, value: Any, path: str, *, ignores_case: bool = False) -> None:
        """Note the value that a keyword field has to equal, unless a normalizer changes what the field keeps."""
        if not isinstance(value, str) or len(self.asked_values) >= MAX_ASKED_VALUES or name in self.runtime:
            return
        fields = [variant.field for variant in self.variants(name) if variant.field is not None]
        if all(field.type == "keyword" and field.definition.get("normalizer") is None for field in fields):
            self.asked_values.append(AskedValue(path, name, fields[0].target or name, value, ignores_case))

    def _keyword_beside(self, field: KnownField) -> tuple[str, ...]:
        fields = self.known.all_fields
        root = field.multi_field_of or field.target or field.path
        beside = [one.path for one in fields.values() if one.multi_field_of == root and one.type == "keyword"]
        if (base := fields.get(root)) is not None and base.type == "keyword":
            beside.insert(0, root)
        return tuple(beside[:3])

    def conflict(self, name: str, path: str) -> None:
        """Warn of a field whose kinds of values differ among the indices."""
        if (shares := is_forked(self.known, name)) is not None:
            self.say(
                Code.TYPE_CONFLICT,
                path,
                f"[{shortened(name)}] is {shares}: it is compared as what it is in each.",
                Severity.WARNING,
                name,
            )


_OBJECTS = Place("object", takes_objects=True, takes_patterns=True)


# -- the readers that all parts share


def read_any(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Accept any value."""


def read_flag(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if value is not None and not isinstance(value, bool) and value not in ("true", "false", ""):
        walk.wrong_shape(path, "true or false belongs here.")


def read_number(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            walk.wrong_shape(path, "A number belongs here.")
    elif isinstance(value, bool | dict | list):
        walk.wrong_shape(path, "A number belongs here.")


def read_text(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if isinstance(value, dict | list):
        walk.wrong_shape(path, "A text belongs here.")


def read_not_checked(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    if value not in ({}, None):
        walk.skip(path)


def read_object(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    assert slot.clause is not None
    walk.clause(slot.clause, value, path, scope)


def read_objects(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read a list of objects, or one object. A text stands for an object that has only a field."""
    assert slot.clause is not None
    if not isinstance(value, list):
        read_object(walk, value, path, scope, slot)
        return
    for number, one in enumerate(value):
        walk.clause(slot.clause, one, pointer(path, number), scope)


def read_field(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    assert slot.place is not None
    walk.field(value, slot.place, path, scope)


def read_fields(walk: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Read names of fields, with boosts: `["title^2", "body"]`. Several names count as alternatives."""
    assert slot.place is not None
    listed = value if isinstance(value, list) else [value]
    inner = scope.weak() if len(listed) > 1 else scope
    names = [one.rpartition("^")[0] or one if isinstance(one, str) and "^" in one else one for one in listed]
    finds_some = any(isinstance(name, str) and walk.finds(name) for name in names)
    for number, name in enumerate(names):
        if finds_some and isinstance(name, str) and "*" in name:
            continue  # one of several patterns may match nothing
        walk.field(name, slot.place, pointer(path, number) if isinstance(value, list) else path, inner)


READERS: dict[str, Reader] = {
    "any": read_any,
    "flag": read_flag,
    "number": read_number,
    "whole": read_number,
    "text": read_text,
    "not_checked": read_not_checked,
    "object": read_object,
    "objects": read_objects,
    "field": read_field,
    "fields": read_fields,
}
