"""Reading mappings: what the schema and the list of fields share. Pure, and never raises on a strange mapping: what has
not the shape of a mapping counts as absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Any

import msgspec

Definition = Mapping[str, Any]
"""A mapping, or the part of one that defines a field: `{"type": "keyword", …}` or `{"properties": {…}}`."""

MAX_DEPTH = 100
"""Objects within objects; Elasticsearch's own limit is 20 unless an index raises it. What is deeper is left out."""

MAX_NAMED_INDICES = 10
"""How many indices are named where there may be thousands; the total is given beside."""

OBJECT_TYPES = frozenset({"object", "nested", "passthrough"})


@dataclass(frozen=True, slots=True)
class Indices:
    """How many indices, and the first of them by name."""

    total: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """One distinct mapping and the indices that have it."""

    mapping: Definition
    indices: Indices


def bodies(mappings: Mapping[str, bytes]) -> list[Body]:
    """The distinct mappings among `mappings` (index name → JSON), each parsed once, ordered by their first index. What
    isn't a JSON object counts as an empty mapping.
    """
    names: dict[bytes, list[str]] = {}
    for name in sorted(mappings):
        names.setdefault(mappings[name], []).append(name)
    return [
        Body(_decoded(body), Indices(len(having), tuple(having[:MAX_NAMED_INDICES]))) for body, having in names.items()
    ]


def together(indices: Iterable[Indices]) -> Indices:
    """Several disjoint sets of indices as one."""
    parts = list(indices)
    first = nsmallest(MAX_NAMED_INDICES, chain.from_iterable(part.names for part in parts))
    return Indices(sum(part.total for part in parts), tuple(first))


def definitions(definition: Definition, within: str = "properties") -> dict[str, Definition]:
    """The fields that `definition` holds under `properties`, `fields` or `runtime`."""
    found = definition.get(within)
    if not isinstance(found, dict):
        return {}
    return {name: field for name, field in found.items() if isinstance(field, dict)}


def type_of(definition: Definition) -> str:
    """The type as the mapping names it; an object names none."""
    named = definition.get("type", "object")
    return named if isinstance(named, str) else "object"


def is_set(definition: Definition, parameter: str, *, default: bool) -> bool:
    """A boolean parameter; Elasticsearch takes and may render `"false"` for `false`."""
    value = definition.get(parameter, default)
    return value not in (False, "false") if default else value in (True, "true")


def _decoded(body: bytes) -> Definition:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
