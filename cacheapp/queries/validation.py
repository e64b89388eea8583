"""Validate a search body against the mappings of a name: the entry point of this package. Pure, without any call."""

from collections.abc import Mapping
from typing import Any

from cacheapp.queries import aggregation_walk, body_walk, query_walk, walk
from cacheapp.queries.body_table import BODY
from cacheapp.queries.field_checks import Scope
from cacheapp.queries.findings import Code, Severity, Verdict, pointer
from cacheapp.queries.known_fields import KnownFields, known_fields
from cacheapp.queries.query_table import QUERIES_TABLE
from cacheapp.queries.slots import Slot
from cacheapp.queries.suggestions import Names
from cacheapp.queries.walk import Walk

_READERS = {**walk.READERS, **query_walk.READERS, **body_walk.READERS, **aggregation_walk.READERS}
_ALSO = {**query_walk.ALSO, **aggregation_walk.ALSO}


def read_runtime_mappings(own: Walk, value: Any, path: str, scope: Scope, slot: Slot) -> None:
    """Note that the scripts of fields that the search defines itself aren't checked, and report what isn't an object.
    The fields themselves are taken in before any part is read (`validate`).
    """
    if isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, dict) and one.get("script") is not None:
                own.skip(pointer(pointer(path, name), "script"))
    elif value is not None:
        own.wrong_shape(path, "An object with the names of fields belongs here.")


_READERS["runtime_mappings"] = read_runtime_mappings


KNOWN_READERS, KNOWN_ALSO, KNOWN_CHECKS = frozenset(_READERS), frozenset(_ALSO), frozenset(query_walk.CHECKS)
"""The names that the tables may use: of readers, of further checks, and of checks of values."""


class Prepared:
    """The fields of a name, prepared for validations. Made once for each state of its mappings; immutable."""

    def __init__(self, known: KnownFields) -> None:
        self.known = known
        self._names: Names | None = None

    @classmethod
    def of(cls, mappings: Mapping[str, bytes]) -> "Prepared":
        """Prepare the mappings of a name (index name → JSON). Takes as long as parsing them, so it is called in a
        thread.
        """
        prepared = cls(known_fields(mappings))
        prepared.names()
        return prepared

    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self.known.all_fields.values())
        return self._names


def validate(prepared: Prepared, body: Any) -> Verdict:
    """Validate a search body.

    Args:
        prepared: The fields of the name to be searched.
        body: The body, parsed.
    """
    own = Walk(prepared.known, prepared.names, _READERS, _ALSO, query_walk.CHECKS)
    if not isinstance(body, dict):
        own.wrong_shape("", "A search is a JSON object.")
        return _verdict(own)
    own.define(body.get("runtime_mappings"))
    _misplaced_queries(own, body)
    own.keys(
        BODY, {key: part for key, part in body.items() if key in BODY.keys or key not in QUERIES_TABLE}, "", Scope()
    )
    for key in ("aggs", "aggregations"):
        if key in body:
            aggregation_walk.check_deferred(own, body[key], f"/{key}")
    body_walk.check_search_after(own, body)
    return _verdict(own)


def _misplaced_queries(own: Walk, body: dict[str, Any]) -> None:
    """Report queries that stand beside `query` instead of in it."""
    for key in body:
        if key in QUERIES_TABLE and key not in BODY.keys:
            detail = f'{key} is a query: it stands inside query, as {{"query": {{"{key}": …}}}}.'
            own.say(Code.WRONG_SHAPE, pointer("", key), detail, Severity.ERROR, key, ("query",))


def _verdict(own: Walk) -> Verdict:
    is_valid = all(finding.severity is not Severity.ERROR for finding in own.findings)
    return Verdict(is_valid, tuple(own.findings), tuple(own.not_checked), tuple(own.used), tuple(own.asked_values))
