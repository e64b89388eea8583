"""The JSON Schema (draft 2020-12) of the documents that an index, an alias or a data stream accepts.

What Elasticsearch accepts is valid here. Any field takes a value, an array of values, arrays within arrays, and mostly
null. So the schema of a type refers to itself under `items`. What is valid here is mostly accepted by Elasticsearch,
with these exceptions, in which the schema is wider:

* values, where value_schemas.py says so, and those of fields with `ignore_malformed`, which take anything;
* dotted names (`"a.b": 1` for `{"a": {"b": 1}}`): they are accepted where `a` takes objects, but not looked into;
* arrays: some types refuse null or arrays within them (completion), some take one value (join, rank_feature);
* several indices: each field is checked against the mappings that have it, so a document may follow one index in one
  field and another index in the next;
* runtime fields: they are `readOnly` and take anything, since Elasticsearch ignores what documents hold there.

The schema can't know what the mapping doesn't say: `index.mapping.ignore_malformed` in the settings (documents that
Elasticsearch accepts only because of it are invalid here), ingest pipelines, and limits on the number of fields or the
length of a keyword. Also, a `long` written as 9223372036854775808.0 is invalid here, although Elasticsearch rounds and
accepts it.

The schema has these keywords besides the standard ones:

* `x-elasticsearch` of a field is its definition in the mapping, without `properties`. It includes multi-fields, which
  documents never hold, and `copy_to`. Where indices agree on the type and differ in other parameters, it has those of
  the last index by name, which is mostly the newest.
* `x-elasticsearch` of the whole schema has `indices` (the total and the first names) and `conflicts`: the fields whose
  type differs, with the indices of each type. That list is bounded; `conflicts_total` counts all of them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from cacheapp.mapping.tree import (
    MAX_DEPTH,
    OBJECT_TYPES,
    Definition,
    Indices,
    bodies,
    definitions,
    is_set,
    type_of,
    united,
)
from cacheapp.mapping.value_schemas import Schema, escaped, value_schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"
EXTENSION = "x-elasticsearch"
MAX_CONFLICTS = 100


def json_schema(name: str, mappings: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the schema of documents in the indices of `mappings` (index name → JSON of its mapping), titled `name`.

    Never raises: what cannot be read as a mapping counts as an empty one.
    """
    distinct = bodies(mappings)
    writer = _Writer()
    document = writer.document(_parts([body.mapping for body in distinct]))
    indices = [body.indices for body in distinct]
    return {
        "$schema": DRAFT,
        "title": name,
        **document,
        "$defs": writer.shared,
        EXTENSION: _extension(writer.conflicts, indices),
    }


Conflicts = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Path of a field whose type differs → type → the mappings that have it, by their positions among the distinct ones."""


@dataclass(frozen=True, slots=True)
class WrittenSchema:
    """The part of a schema that depends on the distinct mappings alone, whichever indices have these mappings.

    Args:
        members: The schema's members as JSON, without those that depend on the indices and the title.
        conflicts: The first conflicts by path.
        conflicts_total: How many conflicts there are.
    """

    members: bytes
    conflicts: Conflicts
    conflicts_total: int


def written_schema(mappings: Sequence[Definition]) -> WrittenSchema:
    """Return the schema of distinct mappings, which are ordered by the first index that has each."""
    writer = _Writer()
    document = writer.document(_parts(mappings))
    members = _encoded({**document, "$defs": writer.shared})[1:-1]
    return WrittenSchema(members, dict(sorted(writer.conflicts.items())[:MAX_CONFLICTS]), len(writer.conflicts))


def schema_text(name: str, written: WrittenSchema, indices: Sequence[Indices]) -> bytes:
    """Return the JSON of the schema titled `name`. It is the same schema as that of `json_schema`.

    Args:
        name: The title.
        written: What `written_schema` made of the distinct mappings.
        indices: The indices that have each of these mappings, in the same order.
    """
    extension = _extension(written.conflicts, indices, written.conflicts_total)
    head = msgspec.json.encode({"$schema": DRAFT, "title": name})[:-1]
    return b"%b,%b,%b:%b}" % (
        head,
        written.members,
        msgspec.json.encode(EXTENSION),
        msgspec.json.encode(extension),
    )


def _extension(conflicts: Conflicts, indices: Sequence[Indices], conflicts_total: int | None = None) -> Schema:
    shown = sorted(conflicts.items())[:MAX_CONFLICTS]
    return {
        "indices": _totals(indices),
        "conflicts": {
            path: {kind: _totals(indices[place] for place in places) for kind, places in by_type.items()}
            for path, by_type in shown
        },
        "conflicts_total": len(conflicts) if conflicts_total is None else conflicts_total,
    }


def _encoded(schema: Schema) -> bytes:
    """Encode a schema member by member, because one call that encodes thousands of fields would block the event
    loop.
    """
    members = (
        b"%b:%b" % (msgspec.json.encode(keyword), _properties(value) if keyword == "properties" else _whole(value))
        for keyword, value in schema.items()
    )
    return b"{%b}" % b",".join(members)


def _properties(properties: Schema) -> bytes:
    fields = (
        b"%b:%b" % (msgspec.json.encode(name), _encoded(field) if "properties" in field else _whole(field))
        for name, field in properties.items()
    )
    return b"{%b}" % b",".join(fields)


_whole = msgspec.json.Encoder().encode


def _parts(mappings: Sequence[Definition]) -> list["_Part"]:
    return [
        _Part(mapping, place, mapping.get("dynamic"), definitions(mapping, "runtime"))
        for place, mapping in enumerate(mappings)
    ]


@dataclass(frozen=True, slots=True)
class _Part:
    """One field as one distinct mapping defines it. `place` is the position of that mapping among the distinct ones.

    `runtime` has the runtime fields below this field, by the rest of their names.
    """

    definition: Definition
    place: int
    dynamic: object
    runtime: Mapping[str, Definition]
    is_runtime: bool = False

    @property
    def is_object(self) -> bool:
        return not self.is_runtime and type_of(self.definition) in OBJECT_TYPES

    @property
    def enabled(self) -> bool:
        return is_set(self.definition, "enabled", default=True)

    @property
    def flat(self) -> bool:
        """Whether objects in documents are only another way to write dotted names."""
        return not is_set(self.definition, "subobjects", default=True)

    def fields(self) -> Iterator[tuple[str, "_Part"]]:
        own = definitions(self.definition)
        below: dict[str, dict[str, Definition]] = {}
        for runtime_name, runtime in self.runtime.items():
            name, dot, rest = runtime_name.partition(".")
            if dot and name in own and type_of(own[name]) in OBJECT_TYPES:
                below.setdefault(name, {})[rest] = runtime
            elif runtime_name not in own:
                yield runtime_name, _Part(runtime, self.place, None, {}, is_runtime=True)
        for name, definition in own.items():
            dynamic = definition.get("dynamic", self.dynamic)
            yield name, _Part(definition, self.place, dynamic, below.get(name, {}))


@dataclass(frozen=True, slots=True)
class _Option:
    """One of the alternative schemas of a field, which has several where indices differ. `takes_objects`: dotted names
    may lead into it.
    """

    schema: Schema
    type: str
    places: list[int]
    takes_objects: bool


class _Writer:
    """Writes one schema, and collects the conflicts and the schemas of values that fields share."""

    def __init__(self) -> None:
        self.shared: dict[str, Schema] = {}
        self.conflicts: dict[str, dict[str, tuple[int, ...]]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._of_type: Counter[str] = Counter()
        self._passthrough = False

    def document(self, parts: Sequence[_Part]) -> Schema:
        if not all(part.enabled for part in parts):
            return {"type": "object"}
        keywords = self._members(parts, "", "#", 0)
        if self._passthrough:
            # The fields of a passthrough object may also be given at the root.
            keywords.pop("additionalProperties", None)
        elif "additionalProperties" in keywords:
            count = {"type": "integer", "minimum": 1}
            keywords["properties"]["_doc_count"] = {**count, "type": ["integer", "array"], "items": count}
        return {"type": "object", **keywords}

    def _members(self, parts: Sequence[_Part], path: str, pointer: str, depth: int) -> Schema:
        """Return the keywords about the members of an object. `pointer` is the object's own place in the schema."""
        by_name: dict[str, list[_Part]] = {}
        for part in parts:
            for name, field in part.fields():
                by_name.setdefault(name, []).append(field)
        closed = bool(parts) and all(part.dynamic == "strict" for part in parts)
        flat = any(part.flat for part in parts)
        prefixes = _dotted_prefixes(by_name) if flat else frozenset()
        properties: Schema = {}
        entered = []
        for name, fields in sorted(by_name.items()):
            options = self._options(fields, path + name, f"{pointer}/properties/{_in_pointer(name)}", depth + 1)
            alternatives = [option.schema for option in options]
            if any(option.takes_objects for option in options):
                entered.append(escaped(name))
            elif flat and (not closed or name in prefixes):
                alternatives.append({"type": ["object", "array"]})
            properties[name] = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
        keywords: Schema = {"properties": properties}
        if closed:
            if entered:
                keywords["patternProperties"] = {rf"^({'|'.join(entered)})\.": True}
            keywords["additionalProperties"] = False
        return keywords

    def _options(self, parts: Sequence[_Part], path: str, pointer: str, depth: int) -> list[_Option]:
        """Return the alternatives for the field at `path`, and note a conflict of its types."""
        values: dict[tuple[str, str | None], list[_Part]] = {}
        objects: dict[str, list[_Part]] = {}
        for part in parts:
            kind = type_of(part.definition)
            if part.is_object:
                objects.setdefault(kind, []).append(part)
            else:
                values.setdefault((kind, self._shared_name(kind, part)), []).append(part)
        options = [self._value(kind, shared, same) for (kind, shared), same in values.items()]
        several = len(values) + len(objects) > 1
        for kind, same in objects.items():
            own_pointer = f"{pointer}/anyOf/{len(options)}" if several else pointer
            options.append(self._object(kind, same, path, own_pointer, depth))
        by_type: dict[str, list[int]] = {}
        for option in options:
            by_type.setdefault(option.type, []).extend(option.places)
        if len(by_type) > 1:
            self.conflicts[path] = {kind: tuple(places) for kind, places in sorted(by_type.items())}
        return options

    def _value(self, kind: str, shared: str | None, parts: Sequence[_Part]) -> _Option:
        schema: Schema = {} if shared is None else {"$ref": f"#/$defs/{shared}"}
        if parts[-1].is_runtime:
            schema["readOnly"] = True
        schema[EXTENSION] = _annotation(kind, parts)
        takes_objects = shared is None or "object" in self.shared[shared]["type"]
        return _Option(schema, kind, [part.place for part in parts], takes_objects)

    def _object(self, kind: str, parts: Sequence[_Part], path: str, pointer: str, depth: int) -> _Option:
        self._passthrough |= kind == "passthrough"
        schema: Schema = {}
        if depth <= MAX_DEPTH and all(part.enabled for part in parts):
            schema["type"] = ["array", "object", "null"] if kind == "nested" else ["object", "array", "null"]
            schema["items"] = {"$ref": pointer}
            schema |= self._members(parts, f"{path}.", pointer, depth)
        schema[EXTENSION] = _annotation(kind, parts)
        return _Option(schema, kind, [part.place for part in parts], takes_objects=True)

    def _shared_name(self, kind: str, part: _Part) -> str | None:
        """Put the schema of a field's values into `$defs`, unless it is there already.

        Returns:
            The name of the schema in `$defs`: the type, with a number where a type has several schemas. None if the
            field takes any value.
        """
        schema = {} if part.is_runtime else value_schema(part.definition)
        if not schema:
            return None
        key = (kind, json.dumps(schema))
        if key not in self._names:
            self._of_type[kind] += 1
            name = kind if self._of_type[kind] == 1 else f"{kind}-{self._of_type[kind]}"
            self._names[key] = name
            self.shared[name] = _or_array(schema, f"#/$defs/{name}")
        return self._names[key]


def _or_array(schema: Schema, pointer: str) -> Schema:
    """Return the schema of a value, extended to arrays of values at any depth; unchanged if its type has rules of its
    own for arrays.
    """
    if "array" in schema["type"]:
        return schema
    return {**schema, "type": [*schema["type"], "array"], "items": {"$ref": pointer}}


def _annotation(kind: str, parts: Iterable[_Part]) -> Schema:
    annotation: Schema = {"type": kind}
    multi_fields: Schema = {}
    for part in parts:
        annotation |= {name: value for name, value in part.definition.items() if name not in ("type", "properties")}
        multi_fields |= definitions(part.definition, "fields")
        if part.is_runtime:
            annotation["runtime"] = True
    if multi_fields:
        annotation["fields"] = multi_fields
    return annotation


def _totals(indices: Iterable[Indices]) -> Schema:
    union = united(indices)
    return {"indices_total": union.total, "indices": list(union.names)}


def _dotted_prefixes(names: Iterable[str]) -> frozenset[str]:
    """Return the parts of names before a dot: `a` and `a.b` for `a.b.c`."""
    return frozenset(name[:place] for name in names for place, character in enumerate(name) if character == ".")


def _in_pointer(name: str) -> str:
    """Escape `name` as a part of a JSON pointer in the fragment of a URI."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")
