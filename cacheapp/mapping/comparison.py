"""Compare the fields of two sets of mappings, such as those of two aliases. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cacheapp.mapping.diff import parameters_of
from cacheapp.mapping.tree import nodes, parse

MAX_LISTED_FIELDS = 1_000
"""How many fields are listed of each kind of difference; the total is given beside."""


@dataclass(frozen=True, slots=True)
class ListedField:
    """A field of one side alone, with the types that it has there."""

    name: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetypedField:
    """A field of both sides, whose types differ; several on a side where its indices disagree."""

    name: str
    a: tuple[str, ...]
    b: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlteredField:
    """A field of the same types on both sides, and the parameters in which it differs."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """What `b` has and `a` lacks (`added`), the reverse (`removed`), and what both have otherwise. `conflicts_a`,
    `conflicts_b`: fields on whose type the indices of one side disagree.

    Of each the first `MAX_LISTED_FIELDS` by name, and how many there are.
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
"""Of each field, by path: its type and parameters in each mapping that has it."""


def compare(a: Sequence[bytes], b: Sequence[bytes]) -> Differences:
    """Compare the fields that some mappings (JSON) have together with those of others, multi-fields and runtime fields
    included.
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
    """The values of a parameter, where indices disagree several; empty: it isn't set."""
    return {
        msgspec.json.encode(definition[parameter], order="deterministic") if parameter in definition else b""
        for definition in definitions
    }


def _listed(side: _Definitions, names: Iterable[str]) -> list[ListedField]:
    return [ListedField(name, _types(side[name])) for name in sorted(names)]
