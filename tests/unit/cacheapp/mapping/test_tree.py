"""The walk over a mapping, on which the list of fields, their number and the comparison rest."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from cacheapp.mapping.diff import field_changes
from cacheapp.mapping.fields import field_count, fields
from cacheapp.mapping.tree import COMPOSITE, MAX_DEPTH, OBJECT_TYPES, PIECE_BYTES, FieldNode, nodes, parse
from tests.support.mappings import STRANGE, body, deep, strange_mappings

LONG = {"type": "long"}


def mapped_paths(mapping: Any, prefix: str = "") -> Iterator[str]:
    """The paths of mapped fields, found the plain way."""
    properties = mapping.get("properties")
    for name, definition in properties.items() if isinstance(properties, dict) else ():
        if isinstance(definition, dict):
            yield prefix + name
            multi_fields = definition.get("fields")
            if isinstance(multi_fields, dict):
                yield from (f"{prefix}{name}.{multi}" for multi, one in multi_fields.items() if isinstance(one, dict))
            kind = definition.get("type")
            if not isinstance(kind, str) or kind in OBJECT_TYPES:
                yield from mapped_paths(definition, f"{prefix}{name}.")


def test_every_kind_of_field() -> None:
    """A field comes before its multi-fields, those before what is below it; runtime fields come last."""
    text: dict[str, Any] = {"type": "text", "fields": {"raw": LONG}}
    nested: dict[str, Any] = {"type": "nested", "properties": {"t": text, "o": {"properties": {"x": LONG}}}}
    composite: dict[str, Any] = {"type": "composite", "fields": {"part": LONG}}
    found = list(nodes({"runtime": {"c": composite, "r": LONG}, "properties": {"n": nested, "x": LONG}}))
    assert found == [
        FieldNode("n", nested, "nested"),
        FieldNode("n.t", text, "text", "n", 1),
        FieldNode("n.t.raw", LONG, "long", "n", 1, multi_field_of="n.t"),
        FieldNode("n.o", {"properties": {"x": LONG}}, "object", "n", 1),
        FieldNode("n.o.x", LONG, "long", "n", 2),
        FieldNode("x", LONG, "long"),
        FieldNode("c", composite, "composite", is_runtime=True),
        FieldNode("c.part", LONG, "long", is_runtime=True),
        FieldNode("r", LONG, "long", is_runtime=True),
    ]


def test_passthrough_objects_around_a_field() -> None:
    """A field knows the passthrough objects around it, the innermost first; a multi-field of such an object is
    outside.
    """
    inner = {"type": "passthrough", "properties": {"x": LONG}}
    outer = {"type": "passthrough", "fields": {"m": LONG}, "properties": {"o": {"properties": {"inner": inner}}}}
    around = {
        node.path: [one.path for one in node.passthrough] for node in nodes({"properties": {"p": outer, "p.y": LONG}})
    }
    assert around == {
        "p": [],
        "p.m": [],
        "p.o": ["p"],
        "p.o.inner": ["p"],
        "p.o.inner.x": ["p.o.inner", "p"],
        "p.y": [],
    }


def test_innermost_nested_object() -> None:
    """A nested object is not within itself, and the innermost one counts for what is below."""
    inner = {"type": "nested", "properties": {"x": LONG}}
    found = nodes({"properties": {"n": {"type": "nested", "properties": {"m": inner, "y": LONG}}}})
    assert {node.path: node.nested_path for node in found} == {"n": None, "n.m": "n", "n.m.x": "n.m", "n.y": "n"}


def test_a_path_may_come_twice() -> None:
    """Dotted names and objects, mapped and runtime fields may have the same path: each is a node."""
    found = nodes({"properties": {"a": {"properties": {"b": LONG}}, "a.b": LONG}, "runtime": {"a.b": LONG}})
    assert [(node.path, node.is_runtime) for node in found if node.path == "a.b"] == [
        ("a.b", False),
        ("a.b", False),
        ("a.b", True),
    ]


@pytest.mark.parametrize(
    "mapping",
    [
        {"properties": {"f": {"type": "keyword", "properties": {"x": LONG}}}},
        {"properties": {"f": {"type": "object", "runtime": {"x": LONG}}}},
        {"properties": {"f": {"type": "object", "properties": {"x": 5}, "fields": [LONG]}}},
        {"runtime": {"f": {"type": "long", "fields": {"x": LONG}, "properties": {"x": LONG}}}},
        {"properties": {"f": LONG}, "fields": {"x": LONG}},
    ],
)
def test_what_holds_no_fields_is_not_entered(mapping: dict[str, Any]) -> None:
    """Only objects hold fields, only mapped fields and composite ones have `fields`, only the root runtime fields."""
    assert [node.path for node in nodes(mapping)] == ["f"]


def test_multi_fields_have_no_multi_fields() -> None:
    """Elasticsearch refuses a chain of multi-fields: the second is not a field."""
    chain = {"type": "text", "fields": {"m": {"type": "text", "fields": {"x": LONG}}}}
    assert [node.path for node in nodes({"properties": {"f": chain}})] == ["f", "f.m"]


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 400])
def test_depth_is_bounded(levels: int) -> None:
    """Fields as deep as the limit are visited, deeper ones are not."""
    depths = [node.depth for node in nodes(deep(levels))]
    assert depths == list(range(MAX_DEPTH + 1))


@pytest.mark.parametrize("mapping", [*STRANGE, b'{"properties":{"o":' * 50_000 + b"{}" + b"}}" * 50_000])
def test_strange_mappings_have_no_nodes(mapping: bytes) -> None:
    """What is not a mapping, or is too deep to be parsed, is like one without fields."""
    assert list(nodes(parse(mapping))) == []


@settings(max_examples=100)
@given(strange_mappings)
def test_any_mapping_can_be_walked(mapping: dict[str, Any]) -> None:
    """Whatever the mapping: the mapped fields are those found the plain way, and in the same order."""
    found = [node for node in nodes(mapping) if not node.is_runtime]
    assert [node.path for node in found] == list(mapped_paths(mapping))
    for node in found:
        assert node.nested_path is None or node.path.startswith(f"{node.nested_path}.")
        assert node.multi_field_of is None or node.path.startswith(f"{node.multi_field_of}.")


@settings(max_examples=100)
@given(strange_mappings)
def test_list_count_and_comparison_agree(mapping: dict[str, Any]) -> None:
    """The list has the paths of the walk, objects that other names imply, and short names; the comparison has them
    all.
    """
    found = list(nodes(mapping))
    paths = {node.path for node in found if node.type != COMPOSITE}
    listed = {field.name: field for field in fields({"i": body(mapping)})}
    assert paths <= listed.keys()
    for name in listed.keys() - paths:
        has_fields = any(other.startswith(f"{name}.") for other in listed)
        assert listed[name].alias_of in paths or (listed[name].types == ("object",) and has_fields)
    assert field_count(body(mapping)) == len(listed)
    assert field_changes(b"{}", body(mapping)).added_total == len({node.path for node in found})


def deep_and_large(depth: int) -> dict[str, Any]:
    """Objects in objects around something large."""
    return {"in": deep_and_large(depth - 1)} if depth else {"x": "y" * PIECE_BYTES}


@pytest.mark.parametrize(
    "mapping",
    [
        {f"field_{number}": {"type": "keyword"} for number in range(PIECE_BYTES // 20)},
        {"a": {"b": ["x" * PIECE_BYTES]}, "c": 1},
        {"a": {"b": {"c": {f"f{number}": {} for number in range(PIECE_BYTES // 6)}}}},
        {"deep": deep_and_large(12)},
    ],
    ids=["wide", "list", "nested", "deep"],
)
def test_a_large_mapping_is_parsed_in_pieces(mapping: dict[str, Any]) -> None:
    """As if it were parsed at once, whatever is large in it."""
    body = json.dumps(mapping).encode()
    assert len(body) > PIECE_BYTES
    assert parse(body) == mapping


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * PIECE_BYTES + b"1]",
        b'{"a":' + b" " * PIECE_BYTES,
        b'{"a":"\xff' + b"x" * PIECE_BYTES + b'"}',
    ],
    ids=["list", "cut", "bytes"],
)
def test_what_is_large_and_no_mapping(text: bytes) -> None:
    """Counts as an empty one, as what is small does."""
    assert parse(text) == {}


@pytest.mark.parametrize(
    "mapping",
    [
        {"properties": {"a." * 100_000 + "b": LONG, "c": LONG}},
        {"runtime": {"a." * 100_000 + "b": LONG}, "properties": {"c": LONG}},
        {"properties": {"c": LONG, "a" + ".a" * 100: {"properties": {"a" + ".a" * 100: {"properties": {"b": LONG}}}}}},
    ],
)
def test_names_of_many_dots_are_not_read(mapping: Any) -> None:
    """Each dot is an object of its own, so that a name of many would take quadratic time."""
    started_at = time.thread_time()
    listed = fields({"i": json.dumps(mapping).encode()})
    assert "c" in {field.name for field in listed}
    assert len(listed) <= 202
    assert time.thread_time() - started_at < 0.5
