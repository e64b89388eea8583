"""Mappings for tests, and schemas of them."""

import json
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cacheapp.mapping.schema import json_schema
from cacheapp.mapping.tree import OBJECT_TYPES
from cacheapp.mapping.value_schemas import VALUE_SCHEMAS


def body(mapping: Any) -> bytes:
    return json.dumps(mapping).encode()


def schema_of(*mappings: Any, name: str = "index") -> dict[str, Any]:
    """Return the schema for `mappings`, which are those of the indices a, b, c …"""
    schema = json_schema(name, {chr(ord("a") + number): body(mapping) for number, mapping in enumerate(mappings)})
    Draft202012Validator.check_schema(schema)
    return schema


def takes(definition: Any, value: Any) -> bool:
    """Return whether `value` is valid in a field with that definition."""
    schema = schema_of({"dynamic": "strict", "properties": {"f": definition}})
    return Draft202012Validator(schema).is_valid({"f": value})


def valid(schema: dict[str, Any], document: Any) -> bool:
    return Draft202012Validator(schema).is_valid(document)


def fields(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


def deep(levels: int) -> dict[str, Any]:
    mapping: dict[str, Any] = fields(leaf={"type": "long"})
    for _ in range(levels):
        mapping = fields(o=mapping)
    return mapping


STRANGE = [
    b"",
    b"[]",
    b"null",
    b"{",
    b'"\xff"',
    b'{"properties":[]}',
    b'{"properties":{"a":1,"b":null}}',
    b'{"runtime":5}',
]
"""Bodies that aren't mappings, or that have nothing that could be a field."""

values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.sampled_from(["true", "long", "object", "yyyy", "x.y"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b.c", "type"]), inner, max_size=2)
    ),
    max_leaves=4,
)
parameters = st.dictionaries(
    st.sampled_from(
        [
            *("format", "coerce", "ignore_malformed", "dims", "element_type", "value", "script", "meta", "path"),
            *("dynamic", "enabled", "subobjects", "priority", "index", "doc_values", "fields", "runtime"),
        ]
    ),
    values,
    max_size=4,
)
names = st.sampled_from(["a", "b", "c", "a.b", "a.b.c", "é/~ %", ""])
kinds = st.fixed_dictionaries({}, optional={"type": st.sampled_from([*VALUE_SCHEMAS, *OBJECT_TYPES, "unheard_of"])})
strange_mappings = st.recursive(
    st.builds(lambda kind, rest: {**rest, **kind}, kinds, parameters),
    lambda inner: st.builds(
        lambda kind, rest, properties, runtime: {**rest, **kind, "properties": properties, "runtime": runtime},
        kinds,
        parameters,
        st.dictionaries(names, inner, max_size=3),
        st.dictionaries(names, kinds, max_size=2),
    ),
    max_leaves=12,
)
