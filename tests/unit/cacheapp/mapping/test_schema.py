"""The JSON Schema of documents: its shape, objects, unions over indices, and mappings that are strange or large. What a
real node accepts is held by tests/integration/test_schema_on_cluster.py.
"""

import json
import time
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cacheapp.mapping.schema import MAX_CONFLICTS, json_schema
from cacheapp.mapping.tree import MAX_DEPTH, MAX_NAMED_INDICES
from tests.support.mappings import STRANGE, body, deep, fields, names, schema_of, strange_mappings, takes, valid, values


def test_shape() -> None:
    """The whole of a small schema: head, shared value schemas, annotations with multi-fields, runtime fields."""
    schema = schema_of(
        {
            "dynamic": "strict",
            "runtime": {"day": {"type": "keyword"}, "o.hour": {"type": "long"}},
            "properties": {
                "name": {"type": "text", "copy_to": "all", "fields": {"raw": {"type": "keyword", "ignore_above": 9}}},
                "o": {"properties": {"n": {"type": "nested", "dynamic": "false"}}},
                "ok": {"type": "boolean", "null_value": False},
            },
        },
        name="shop",
    )
    values = ["string", "number", "boolean", "null", "array"]
    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shop",
        "type": "object",
        "properties": {
            "_doc_count": {
                "type": ["integer", "array"],
                "minimum": 1,
                "items": {"type": "integer", "minimum": 1},
            },
            "day": {"readOnly": True, "x-elasticsearch": {"type": "keyword", "runtime": True}},
            "name": {
                "$ref": "#/$defs/text",
                "x-elasticsearch": {
                    "type": "text",
                    "copy_to": "all",
                    "fields": {"raw": {"type": "keyword", "ignore_above": 9}},
                },
            },
            "o": {
                "type": ["object", "array", "null"],
                "items": {"$ref": "#/properties/o"},
                "properties": {
                    "hour": {"readOnly": True, "x-elasticsearch": {"type": "long", "runtime": True}},
                    "n": {
                        "type": ["array", "object", "null"],
                        "items": {"$ref": "#/properties/o/properties/n"},
                        "properties": {},
                        "x-elasticsearch": {"type": "nested", "dynamic": "false"},
                    },
                },
                "patternProperties": {r"^(hour|n)\.": True},
                "additionalProperties": False,
                "x-elasticsearch": {"type": "object"},
            },
            "ok": {"$ref": "#/$defs/boolean", "x-elasticsearch": {"type": "boolean", "null_value": False}},
        },
        "patternProperties": {r"^(day|o)\.": True},
        "additionalProperties": False,
        "$defs": {
            "text": {"type": values, "items": {"$ref": "#/$defs/text"}},
            "boolean": {
                "type": ["boolean", "string", "null", "array"],
                "pattern": "^(true|false)?$",
                "items": {"$ref": "#/$defs/boolean"},
            },
        },
        "x-elasticsearch": {
            "indices": {"indices_total": 1, "indices": ["a"]},
            "conflicts": {},
            "conflicts_total": 0,
        },
    }


def test_same_types_share_a_schema() -> None:
    """Fields of one type share their schema; where its parameters matter, there are several."""
    schema = schema_of(fields(a={"type": "long"}, b={"type": "long"}, c={"type": "long", "coerce": False}))
    assert [schema["properties"][name]["$ref"] for name in "abc"] == ["#/$defs/long", "#/$defs/long", "#/$defs/long-2"]


def test_open_unless_strict() -> None:
    """Fields that aren't mapped are valid unless `dynamic` is strict, which objects inherit and may override."""
    for dynamic in ("true", True, "false", False, "runtime", None, 5):
        assert valid(schema_of({"dynamic": dynamic, **fields(a={"type": "long"})}), {"new": {"x": 1}, "a.b": 1})
    strict = schema_of({"dynamic": "strict", **fields(o=fields(), p={"dynamic": "true", **fields()})})
    assert not valid(strict, {"new": 1})
    assert not valid(strict, {"o": {"new": 1}})
    assert valid(strict, {"p": {"new": 1}, "o.x": 1})
    assert not valid(strict, {"ox": 1})


def test_passthrough_opens_the_root() -> None:
    """The fields of a passthrough object may be given without its name, under strict too."""
    schema = schema_of({"dynamic": "strict", **fields(p={"type": "passthrough", **fields(x={"type": "long"})})})
    assert valid(schema, {"x": 1})
    assert not valid(schema, {"p": {"y": 1}})


def test_disabled_takes_anything() -> None:
    """An object that isn't enabled takes any value; a mapping that isn't, any document."""
    assert takes({"type": "object", "enabled": False}, ["x", {"y": 1}])
    assert valid(schema_of({"enabled": False}), {"x": [{}]})
    assert not valid(schema_of({"enabled": False}), [])


def test_a_document_is_an_object() -> None:
    """Arrays and null are values of fields, never documents."""
    others: list[Any] = [[], None, "x"]
    assert not any(valid(schema_of({}), other) for other in others)


def test_flat_objects() -> None:
    """Below `subobjects: false` a field also takes objects: the rest of longer names, or new fields."""
    properties = {"m": {"type": "long"}, "m.n": {"type": "long"}, "k": {"type": "long"}, "f": {"type": "flattened"}}
    flat = {"subobjects": False, "properties": properties}
    assert valid(schema_of(flat), {"m": {"n": 1}, "k": {"z": 1}})
    strict = schema_of({**flat, "dynamic": "strict"})
    assert valid(strict, {"m": {"n": 1}, "f": {"z": 1}})
    assert not valid(strict, {"k": {"z": 1}})
    assert not valid(strict, {"m": "x"})


def test_names_are_escaped() -> None:
    """Any name works as a property, in a pattern and in a pointer."""
    for name in ("a/b", "a~b", "a%20b", "a b", "é", "a^$.*+?()[]{}|\\b", "", '"', "#"):
        schema = schema_of({"dynamic": "strict", **fields(**{name: fields(x={"type": "long"})})})
        assert valid(schema, {name: [[{"x": 1}]]})
        assert valid(schema, {f"{name}.x": 1})
        assert not valid(schema, {name: [[{"x": "no"}]]})
        assert not valid(schema, {f"-{name}.x": 1})


def test_conflicts_are_alternatives() -> None:
    """A field of several types takes what any of them takes, and is listed with the indices of each."""
    one: dict[str, Any] = fields(
        x={"type": "long"}, o=fields(y={"type": "ip"}), n={"type": "nested", **fields(z={"type": "ip"})}
    )
    two = fields(x={"type": "date"}, o={"type": "boolean"}, n=fields(z={"type": "ip"}))
    schema = schema_of(one, two)
    taken = [{"x": 1}, {"x": "2024"}, {"o": [{"y": "::1"}]}, {"o": True}, {"n": [[{"z": "::1"}]]}]
    refused = [{"x": "x"}, {"o": [{"y": 1}]}, {"o": "x"}, {"n": [{"z": 1}]}, {"n": "x"}]
    assert [valid(schema, document) for document in [*taken, *refused]] == [True] * 5 + [False] * 5
    a, b = ({"indices_total": 1, "indices": [name]} for name in "ab")
    assert schema["x-elasticsearch"]["conflicts"] == {
        "n": {"nested": a, "object": b},
        "o": {"boolean": b, "object": a},
        "x": {"date": b, "long": a},
    }
    assert schema["x-elasticsearch"]["conflicts_total"] == 3


def test_conflicts_within_objects() -> None:
    """A conflict deep inside is known by its dotted name."""
    schema = schema_of(fields(a=fields(b={"type": "ip"})), fields(a=fields(b={"type": "long"})))
    assert list(schema["x-elasticsearch"]["conflicts"]) == ["a.b"]


def test_different_parameters_are_no_conflict() -> None:
    """Indices that agree on the type have no conflict; their formats are alternatives, their parameters united."""
    one = {"type": "date", "format": "yyyy", "meta": {"unit": "y"}, "fields": {"k": {"type": "keyword"}}}
    two = {"type": "date", "format": "MM/dd", "fields": {"t": {"type": "text"}}}
    schema = schema_of(
        fields(x=one, y={"type": "text"}), fields(x=two, y={"type": "text", "fields": {"k": {"type": "ip"}}})
    )
    assert valid(schema, {"x": ["2024"]})
    assert valid(schema, {"x": "01/31"})
    assert not valid(schema, {"x": "x"})
    assert schema["x-elasticsearch"]["conflicts_total"] == 0
    assert schema["properties"]["y"]["x-elasticsearch"] == {"type": "text", "fields": {"k": {"type": "ip"}}}


def test_strict_only_if_all_are() -> None:
    """What one index refuses another may take."""
    assert valid(schema_of({"dynamic": "strict"}, {}), {"new": 1})
    assert not valid(schema_of({"dynamic": "strict"}, {"dynamic": "strict", **fields(x={"type": "ip"})}), {"new": 1})
    one_off = schema_of(fields(o={"type": "object", "enabled": False}), fields(o=fields(x={"type": "long"})))
    assert valid(one_off, {"o": "anything"})


def test_runtime_fields_take_anything() -> None:
    """Elasticsearch ignores what documents hold under a runtime field's name; a mapped field of that name is parsed."""
    schema = schema_of(
        {"dynamic": "strict", "runtime": {"r": {"type": "long"}, "x": {}, "p.q": {}}, **fields(x={"type": "ip"})}
    )
    assert valid(schema, {"r": {"a": 1}, "p.q": 5})
    assert not valid(schema, {"x": "no address"})
    assert not valid(schema, {"p": {"q": 5}})


def test_lists_are_bounded() -> None:
    """Conflicts and the names of indices are bounded, and counted in full."""
    many = MAX_CONFLICTS + 5
    one = body(fields(**{f"f{number}": {"type": "ip"} for number in range(many)}))
    two = body(fields(**{f"f{number}": {"type": "long"} for number in range(many)}))
    extension = json_schema("x", {f"i{number:02}": (one, two)[number % 2] for number in range(30)})["x-elasticsearch"]
    assert len(extension["conflicts"]) == MAX_CONFLICTS
    assert extension["conflicts_total"] == many
    assert extension["indices"] == {"indices_total": 30, "indices": [f"i{n:02}" for n in range(MAX_NAMED_INDICES)]}
    assert extension["conflicts"]["f0"]["ip"] == {"indices_total": 15, "indices": [f"i{n:02}" for n in range(0, 20, 2)]}


def test_no_index_at_all() -> None:
    """An alias without indices gives a schema of any object."""
    assert valid(json_schema("none", {}), {"x": 1})


def test_each_distinct_mapping_is_parsed_once() -> None:
    """A thousand indices with nine mappings are nine mappings to parse."""
    distinct = [body(fields(**{f"f{number}": {"type": "ip"}})) for number in range(9)]
    with mock.patch("cacheapp.mapping.tree.msgspec.json.decode", wraps=msgspec.json.decode) as decode:
        schema = json_schema("x", {f"i{number}": distinct[number % 9] for number in range(1000)})
    assert decode.call_count == 9
    assert len(schema["properties"]) == 9


def test_many_fields_take_time_in_proportion() -> None:
    """Ten times the fields take about ten times as long, not a hundred times."""

    def seconds(count: int) -> float:
        properties: dict[str, Any] = {f"f{n}": {"type": "constant_keyword", "value": str(n)} for n in range(count)}
        properties |= {f"o{n}": fields(**{f"a.b{n}": {"type": "long"}}) for n in range(count)}
        mappings = {"a": body({"subobjects": False, "dynamic": "strict", **fields(**properties)})}
        start = time.perf_counter()
        json_schema("x", mappings)
        return time.perf_counter() - start

    assert min(seconds(3_000) for _ in range(3)) < 40 * min(seconds(300) for _ in range(3))


def test_depth_is_bounded() -> None:
    """Objects as deep as the limit are described; what is deeper takes anything, and what can't be parsed is empty."""

    def document(levels: int, value: Any) -> Any:
        document: dict[str, Any] = {"leaf": value}
        for _ in range(levels):
            document = {"o": document}
        return document

    assert not valid(schema_of(deep(20)), document(20, "x"))
    assert '"leaf"' in json.dumps(json_schema("x", {"a": body(deep(MAX_DEPTH))}))
    assert '"leaf"' not in json.dumps(json_schema("x", {"a": body(deep(MAX_DEPTH + 1))}))
    too_deep = json_schema("x", {"a": b'{"properties":{"o":' * 50_000 + b"{}" + b"}}" * 50_000})
    assert too_deep["properties"] == {}


@pytest.mark.parametrize("mapping", STRANGE)
def test_strange_mappings_count_as_empty(mapping: bytes) -> None:
    """What isn't a mapping is like one without fields."""
    schema = json_schema("x", {"a": mapping})
    assert schema["properties"] == {}
    assert valid(schema, {"anything": 1})


@settings(max_examples=50)
@given(st.lists(strange_mappings, max_size=3))
def test_always_a_valid_schema(mappings: list[dict[str, Any]]) -> None:
    """Whatever the mappings, the schema is a valid one, it can be used, and it can be sent."""
    schema = schema_of(*mappings)
    assert msgspec.json.decode(msgspec.json.encode(schema)) == schema
    Draft202012Validator(schema).is_valid({"a": [{"b": 1, "a": [None]}], "a.b": {"c": "x"}})


@settings(max_examples=50)
@given(strange_mappings, strange_mappings, st.dictionaries(names, values, max_size=3))
def test_a_union_takes_what_its_indices_share(
    one: dict[str, Any], two: dict[str, Any], document: dict[str, Any]
) -> None:
    """What all indices take is valid for them together."""
    if valid(schema_of(one), document) and valid(schema_of(two), document):
        assert valid(schema_of(one, two), document)


@settings(max_examples=50)
@given(st.lists(strange_mappings, max_size=3))
def test_nothing_is_shared_with_the_caller(mappings: list[dict[str, Any]]) -> None:
    """Two calls give equal schemas that have no part in common: changing one changes no other."""
    given_ones = {f"i{number}": body(mapping) for number, mapping in enumerate(mappings)}
    first, second = json_schema("x", given_ones), json_schema("x", given_ones)
    before = json.dumps(second)
    _spoil(first)
    assert json.dumps(second) == before == json.dumps(json_schema("x", given_ones))


def _spoil(part: Any) -> None:
    for below in list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else ():
        _spoil(below)
    if isinstance(part, dict | list):
        part.clear()
