"""Compare the fields of two sets of mappings, such as those of two aliases. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cacheapp.mapping.diff import parameters_of
from cacheapp.mapping.tree import nodes, parse

MAX_LISTED_FIELDS = 1_000
"""How many fields are listed for each kind of difference at most. The total number is given in a member of its own."""


@dataclass(frozen=True, slots=True)
class ListedField:
    """A field of one side alone, with the types that it has there."""

    name: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetypedField:
    """A field that both sides have, with different types. A side has several types where its indices disagree."""

    name: str
    a: tuple[str, ...]
    b: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlteredField:
    """A field that has the same types on both sides, and the parameters in which it differs."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """The differences between the fields of two sides, `a` and `b`.

    Each list has the first `MAX_LISTED_FIELDS` fields by name; its `…_total` counts all of them.

    Args:
        added: The fields that only `b` has.
        removed: The fields that only `a` has.
        retyped: The fields that both sides have, with different types.
        altered: The fields that both sides have, with the same types and different parameters.
        conflicts_a: The fields on whose type the indices of `a` disagree.
        conflicts_b: The fields on whose type the indices of `b` disagree.
    """

    added: tuple[ListedField, ...]
    removed: tuple[ListedField, ...]
    retyped: tuple[RetypedField, ...]
    altered: tuple[AlteredField, ...]
    conflicts_a: tuple[ListedField, ...]
    conflicts_b: tuple[ListedField, ...]
    added_total: int
    removed_total: int
    retyped_total: int
    altered_total: int
    conflicts_a_total: int
    conflicts_b_total: int


_Definitions = dict[str, tuple[Mapping[str, Any], ...]]
"""Path of a field → its type and parameters in each mapping that has the field."""


def compare(a: Sequence[bytes], b: Sequence[bytes]) -> Differences:
    """Compare the fields of two sets of mappings (JSON), multi-fields and runtime fields included. A set counts as one
    side: its mappings' fields are taken together.
    """
    of_a, of_b = _definitions(a), _definitions(b)
    both = sorted(of_a.keys() & of_b.keys())
    retyped = [
        RetypedField(name, _types(of_a[name]), _types(of_b[name]))
        for name in both
        if _types(of_a[name]) != _types(of_b[name])
    ]
    differing = {one.name for one in retyped}
    altered = [
        AlteredField(name, parameters)
        for name in both
        if name not in differing and (parameters := _differing_parameters(of_a[name], of_b[name]))
    ]
    added, removed = _listed(of_b, of_b.keys() - of_a.keys()), _listed(of_a, of_a.keys() - of_b.keys())
    conflicts_a, conflicts_b = (
        _listed(side, (name for name, definitions in side.items() if len(_types(definitions)) > 1))
        for side in (of_a, of_b)
    )
    return Differences(
        tuple(added[:MAX_LISTED_FIELDS]),
        tuple(removed[:MAX_LISTED_FIELDS]),
        tuple(retyped[:MAX_LISTED_FIELDS]),
        tuple(altered[:MAX_LISTED_FIELDS]),
        tuple(conflicts_a[:MAX_LISTED_FIELDS]),
        tuple(conflicts_b[:MAX_LISTED_FIELDS]),
        len(added),
        len(removed),
        len(retyped),
        len(altered),
        len(conflicts_a),
        len(conflicts_b),
    )


def _definitions(mappings: Iterable[bytes]) -> _Definitions:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for mapping in mappings:
        for node in nodes(parse(mapping)):
            definition = {**parameters_of(node), "type": node.type}
            having = found.setdefault(node.path, [])
            if definition not in having:
                having.append(definition)
    return {name: tuple(having) for name, having in found.items()}


def _types(definitions: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted({definition["type"] for definition in definitions}))


def _differing_parameters(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    names = {name for definition in (*a, *b) for name in definition}
    return tuple(sorted(name for name in names if _values(a, name) != _values(b, name)))


def _values(definitions: Iterable[Mapping[str, Any]], parameter: str) -> set[bytes]:
    """Return the distinct values of a parameter, as JSON; `b""` stands for a definition that doesn't set it."""
    return {
        msgspec.json.encode(definition[parameter], order="deterministic") if parameter in definition else b""
        for definition in definitions
    }


def _listed(side: _Definitions, names: Iterable[str]) -> list[ListedField]:
    return [ListedField(name, _types(side[name])) for name in sorted(names)]
