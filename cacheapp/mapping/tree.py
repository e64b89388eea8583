"""Read mappings: the common part of the schema, the list of fields and the comparison. Pure. Never raises on a
malformed mapping: what does not have the shape of a mapping counts as absent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import Any

import msgspec

Definition = Mapping[str, Any]
"""A mapping, or the part of one that defines a field: `{"type": "keyword", …}` or `{"properties": {…}}`."""

MAX_DEPTH = 100
"""How many levels of objects are read, and how many dots a name may have. Each dot stands for an object, so a name of
many dots would take quadratic time. Elasticsearch's own limit is 20 levels, unless an index raises it or has no
subobjects.
"""
MAX_PATH_DOTS = 200
"""How many dots a whole path may have: names with dots may stand in many levels of objects."""

MAX_NAMED_INDICES = 10
"""How many indices are named at most where there may be thousands. The total number is given in a member of its own."""

OBJECT_TYPES = frozenset({"object", "nested", "passthrough"})
COMPOSITE = "composite"
"""The type of a runtime field whose script computes several fields; their definitions stand under its `fields`."""


@dataclass(frozen=True, slots=True)
class Indices:
    """How many indices there are, and the first of them by name."""

    total: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """One distinct mapping and the indices that have it."""

    mapping: Definition
    indices: Indices


class FieldNode(msgspec.Struct, frozen=True, gc=False):
    """One field of a mapping, with its place.

    It is a `Struct`, because thousands are made at once, and a `Struct` is the quickest to make. It is never part of a
    reference cycle, so the garbage collector needn't visit it.

    Args:
        path: The full dotted name.
        definition: What the mapping says of the field, the fields below it included.
        type: The type as the mapping names it; "object" where it names none.
        nested_path: The path of the innermost nested object around the field.
        depth: How many objects are around the field.
        passthrough: The passthrough objects around the field, the innermost first.
        multi_field_of: The path of the field whose values a multi-field indexes once more; None for other fields.
        is_runtime: Whether a script computes the field.
    """

    path: str
    definition: Definition
    type: str
    nested_path: str | None = None
    depth: int = 0
    passthrough: tuple["FieldNode", ...] = ()
    multi_field_of: str | None = None
    is_runtime: bool = False


def nodes(mapping: Definition) -> Iterator[FieldNode]:
    """Yield the fields of a mapping: objects, the fields in them, multi-fields and runtime fields.

    A field comes before its multi-fields, and these come before the fields below it. Runtime fields come last. One path
    may come several times: `{"a": {"properties": {"b": …}}, "a.b": …}`, or once as a mapped field and once as a runtime
    field. The fields of a composite runtime field are nodes besides the node of that field. Only those places are read
    where Elasticsearch has fields: `properties` of object types, down to `MAX_DEPTH`, and `fields` of mapped fields
    that are not multi-fields themselves.
    """
    yield from _mapped(mapping, "", None, 0, ())
    for path, definition in definitions(mapping, "runtime").items():
        kind = type_of(definition)
        yield FieldNode(path, definition, kind, is_runtime=True)
        if kind == COMPOSITE:
            for name, part in definitions(definition, "fields").items():
                yield FieldNode(f"{path}.{name}", part, type_of(part), is_runtime=True)


def _mapped(
    around: Definition, prefix: str, nested_path: str | None, depth: int, passthrough: tuple[FieldNode, ...]
) -> Iterator[FieldNode]:
    for name, definition in definitions(around).items():
        path, kind = prefix + name, type_of(definition)
        if path.count(".") > MAX_PATH_DOTS:
            continue
        node = FieldNode(path, definition, kind, nested_path, depth, passthrough)
        yield node
        if "fields" in definition:  # Most fields have none; then it's quicker not to call.
            for multi_name, multi in definitions(definition, "fields").items():
                yield FieldNode(f"{path}.{multi_name}", multi, type_of(multi), nested_path, depth, passthrough, path)
        if kind in OBJECT_TYPES and depth < MAX_DEPTH:
            nested_path_below = path if kind == "nested" else nested_path
            passthrough_below = (node, *passthrough) if kind == "passthrough" else passthrough
            yield from _mapped(definition, f"{path}.", nested_path_below, depth + 1, passthrough_below)


def bodies(mappings: Mapping[str, bytes]) -> list[Body]:
    """Parse each distinct mapping among `mappings` (index name → JSON) once.

    Returns:
        The mappings, ordered by their first index. What is not a JSON object counts as an empty mapping.
    """
    names: dict[bytes, list[str]] = {}
    for name in sorted(mappings):
        names.setdefault(mappings[name], []).append(name)
    return [Body(parse(body), counted(indices)) for body, indices in names.items()]


def counted(names: Sequence[str]) -> Indices:
    """Return how many names are given, with the first of them."""
    return Indices(len(names), tuple(names[:MAX_NAMED_INDICES]))


PIECE_BYTES = 65_536
"""How many bytes are parsed in one call. Other tasks have to wait for that call, which takes about a millisecond."""
PIECED_DEPTH = 8
"""Objects at this depth are parsed in one call, whatever their size: parsing in pieces reads each level once more."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse(body: bytes) -> Definition:
    """Parse one mapping. Anything but a JSON object counts as an empty mapping."""
    try:
        mapping = _parsed(body, PIECED_DEPTH)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return mapping if isinstance(mapping, dict) else {}


def _parsed(value: bytes | msgspec.Raw, depth: int) -> Any:
    """Parse a value; parse a large object member by member."""
    if depth and len(memoryview(value)) > PIECE_BYTES:
        with suppress(msgspec.ValidationError):  # no object
            return {name: _parsed(member, depth - 1) for name, member in _members.decode(value).items()}
    return msgspec.json.decode(value)


def united(indices: Iterable[Indices]) -> Indices:
    """Return the union of disjoint sets of indices."""
    parts = list(indices)
    first = nsmallest(MAX_NAMED_INDICES, chain.from_iterable(part.names for part in parts))
    return Indices(sum(part.total for part in parts), tuple(first))


def definitions(definition: Definition, within: str = "properties") -> dict[str, Definition]:
    """Return the definitions of fields that `definition` has under `within` (`properties`, `fields` or `runtime`), by
    name.
    """
    found = definition.get(within)
    if not isinstance(found, dict):
        return {}
    return {name: field for name, field in found.items() if isinstance(field, dict) and name.count(".") <= MAX_DEPTH}


def type_of(definition: Definition) -> str:
    """Return the type as the mapping names it; "object" if it names none."""
    named = definition.get("type", "object")
    return named if isinstance(named, str) else "object"


def is_set(definition: Definition, parameter: str, *, default: bool) -> bool:
    """Return the value of a boolean parameter. Elasticsearch takes `"false"` for `false`, and may render it so."""
    value = definition.get(parameter, default)
    return value not in (False, "false") if default else value in (True, "true")
