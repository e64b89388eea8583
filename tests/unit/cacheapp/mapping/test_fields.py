"""The flat list of fields, and the search in it. That it agrees with `_field_caps` is held by
tests/integration/test_schema_on_cluster.py.
"""

import json
import time
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.mapping.fields import CAPABILITIES, Field, TypeIndices, fields, limited_count, search
from cacheapp.mapping.tree import MAX_DEPTH, MAX_NAMED_INDICES
from cacheapp.mapping.value_schemas import VALUE_SCHEMAS
from tests.support.mappings import STRANGE, body, deep, strange_mappings


def listed(*mappings: Any) -> dict[str, Field]:
    """The fields over `mappings`, which are those of indices a, b, c …"""
    found = fields({chr(ord("a") + number): body(mapping) for number, mapping in enumerate(mappings)})
    return {field.name: field for field in found}


def named(*names: str) -> list[Field]:
    return [Field(name, ("keyword",), True, True, 1) for name in names]


def test_every_field_has_an_entry() -> None:
    """Objects, fields in them, multi-fields, nested fields, aliases and runtime fields are listed, sorted by name."""
    found = listed(
        {
            "runtime": {"day": {"type": "keyword"}, "far.off": {"type": "long"}},
            "properties": {
                "name": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
                "o": {"properties": {"x": {"type": "date", "format": "yyyy", "meta": {"unit": "y"}}}},
                "n": {"type": "nested", "properties": {"x": {"type": "ip"}, "m": {"type": "nested"}}},
                "also": {"type": "alias", "path": "o.x"},
            },
        }
    )
    assert list(found.values()) == [
        Field("also", ("date",), True, True, 1, alias_of="o.x", format="yyyy", meta={"unit": "y"}),
        Field("day", ("keyword",), True, True, 1, runtime=True),
        Field("far", ("object",), False, False, 1),
        Field("far.off", ("long",), True, True, 1, runtime=True),
        Field("n", ("nested",), False, False, 1),
        Field("n.m", ("nested",), False, False, 1, nested_path="n"),
        Field("n.x", ("ip",), True, True, 1, nested_path="n"),
        Field("name", ("text",), True, False, 1),
        Field("name.raw", ("keyword",), True, True, 1, multi_field_of="name"),
        Field("o", ("object",), False, False, 1),
        Field("o.x", ("date",), True, True, 1, format="yyyy", meta={"unit": "y"}),
    ]


def test_innermost_nested_object() -> None:
    """`nested_path` is that of the innermost nested object, plain objects between don't matter; aliases take it
    over.
    """
    inner = {"type": "nested", "properties": {"o": {"properties": {"x": {"type": "ip", "fields": {"k": {}}}}}}}
    found = listed(
        {
            "properties": {
                "n": {"type": "nested", "properties": {"m": inner}},
                "al": {"type": "alias", "path": "n.m.o.x"},
            }
        }
    )
    assert [found[name].nested_path for name in ("n.m", "n.m.o", "n.m.o.x", "n.m.o.x.k", "al")] == ["n", *["n.m"] * 4]


def test_alias_of_a_multi_field() -> None:
    """An alias has type and abilities of its target, but isn't itself a multi-field."""
    found = listed(
        {
            "properties": {
                "t": {"type": "text", "fields": {"k": {"type": "keyword"}}},
                "al": {"type": "alias", "path": "t.k"},
            }
        }
    )
    assert found["al"] == Field("al", ("keyword",), True, True, 1, alias_of="t.k")


def test_alias_without_target() -> None:
    """Of an alias that leads nowhere nothing is known."""
    assert listed({"properties": {"al": {"type": "alias", "path": "x"}}})["al"] == Field(
        "al", ("alias",), None, None, 1, alias_of="x"
    )
    assert listed({"properties": {"al": {"type": "alias"}}})["al"].alias_of is None


def test_runtime_fields_shadow() -> None:
    """A runtime field stands for the mapped one of its name; one of a composite is listed by itself, a lookup isn't
    searched.
    """
    composite = {"type": "composite", "fields": {"x": {"type": "ip"}}}
    runtime = {"f": {"type": "long"}, "c": composite, "l": {"type": "lookup"}}
    found = listed({"runtime": runtime, "properties": {"f": {"type": "keyword", "index": False}}})
    assert (found["f"].types, found["f"].runtime) == (("long",), True)
    assert (found["c.x"].types, found["c.x"].runtime) == (("ip",), True)
    assert found["c"].types == ("object",)
    assert (found["l"].searchable, found["l"].aggregatable) == (False, False)


def test_fields_of_passthrough_objects() -> None:
    """They are listed without the object's name too, the highest priority first, unless a mapped field has the name."""

    def passthrough(priority: Any, *names: str) -> dict[str, Any]:
        inner = {name: {"type": "keyword"} for name in names}
        return {"type": "passthrough", "priority": priority, "properties": inner}

    found = listed(
        {
            "properties": {
                "low": passthrough(1, "x", "own"),
                "high": passthrough(5, "x", "a.b"),
                "no": passthrough("?", "x"),
                "own": {"type": "ip"},
            }
        }
    )
    assert found["x"].alias_of == "high.x"
    assert found["x"].types == ("keyword",)
    assert found["a.b"].alias_of == "high.a.b"
    assert found["a"].types == ("object",)
    assert found["own"].types == ("ip",)


@pytest.mark.parametrize(
    ("definition", "searchable", "aggregatable"),
    [
        ({"type": "keyword", "index": False}, True, True),
        ({"type": "keyword", "index": False, "doc_values": False}, False, False),
        ({"type": "long", "doc_values": False}, True, False),
        ({"type": "long", "index": "false", "doc_values": "false"}, False, False),
        ({"type": "date_range", "index": False}, False, True),
        ({"type": "text", "fielddata": True}, True, True),
        ({"type": "text", "index": False}, False, False),
        ({"type": "binary"}, False, False),
        ({"type": "binary", "doc_values": True}, False, True),
        ({"type": "dense_vector", "index": False}, False, False),
        ({"type": "completion"}, True, False),
        ({"type": "wildcard"}, True, True),
        ({"type": "histogram"}, False, True),
        ({"type": "percolator"}, False, False),
        ({"type": "unheard_of"}, None, None),
        ({"type": 5}, False, False),
    ],
)
def test_searchable_and_aggregatable(
    definition: dict[str, Any], searchable: bool | None, aggregatable: bool | None
) -> None:
    """They follow from the type, `index`, `doc_values` and `fielddata`; of types that aren't known nothing does."""
    field = listed({"properties": {"f": definition}})["f"]
    assert (field.searchable, field.aggregatable) == (searchable, aggregatable)


def test_both_tables_know_the_same_types() -> None:
    """Each type whose values are known has known abilities, and the other way round; an alias has those of its
    target.
    """
    assert {*VALUE_SCHEMAS, "object", "nested", "passthrough"} == {*CAPABILITIES, "alias"}


def test_conflicts() -> None:
    """A field of several types names them and their indices; where indices disagree, abilities aren't said."""
    found = listed(
        {"properties": {"x": {"type": "long"}, "y": {"type": "keyword", "meta": {"v": "1"}}}},
        {"properties": {"x": {"type": "text"}, "y": {"type": "keyword", "doc_values": False, "meta": {"v": "2"}}}},
        {"properties": {"x": {"type": "long"}}},
    )
    assert found["x"] == Field(
        "x",
        ("long", "text"),
        True,
        None,
        3,
        conflict=(TypeIndices("long", 2, ("a", "c")), TypeIndices("text", 1, ("b",))),
    )
    assert found["y"] == Field("y", ("keyword",), True, None, 2, meta={"v": "2"}, meta_conflict={"v": ("1", "2")})


def test_conflicts_within_a_type() -> None:
    """Formats and values of meta that differ are listed, each a conflict of its own; what is missing in some indices is
    none of meta, and is the default of a format.
    """
    found = listed(
        {"properties": {"at": {"type": "date", "meta": {"unit": "ms", "owner": "web"}}, "same": {"type": "date"}}},
        {"properties": {"at": {"type": "date", "format": "epoch_millis", "meta": {"unit": "ns"}}}},
        {"properties": {"at": {"type": "keyword"}, "same": {"type": "date"}}},
    )
    assert found["at"].format_conflict == (None, "epoch_millis")
    assert found["at"].meta_conflict == {"unit": ("ms", "ns")}
    assert (found["same"].format_conflict, found["same"].meta_conflict) == ((), {})


def test_nested_in_some() -> None:
    """A path that is nested in some indices and an object in others is a conflict; so is the place of what is in it."""
    inner = {"properties": {"sku": {"type": "keyword"}}}
    found = listed({"properties": {"items": {"type": "nested", **inner}}}, {"properties": {"items": inner}})
    assert [one.type for one in found["items"].conflict] == ["nested", "object"]
    sku = found["items.sku"]
    assert (sku.types, sku.conflict, sku.nested_path_conflict) == (("keyword",), (), (None, "items"))


def test_indices_are_bounded() -> None:
    """A conflict over many indices names the first of each type, and counts all."""
    kinds = ("ip", "long")
    mappings = {f"i{n:03}": body({"properties": {"x": {"type": kinds[n % 2]}}}) for n in range(100)}
    (field,) = fields(mappings)
    assert field.indices_total == 100
    assert [(one.type, one.indices_total, len(one.indices)) for one in field.conflict] == [
        ("ip", 50, MAX_NAMED_INDICES),
        ("long", 50, MAX_NAMED_INDICES),
    ]
    assert field.conflict[1].indices[:2] == ("i001", "i003")


def test_each_distinct_mapping_is_parsed_once() -> None:
    """A thousand indices with nine mappings are nine mappings to parse."""
    distinct = [body({"properties": {f"f{number}": {"type": "ip"}}}) for number in range(9)]
    with mock.patch("cacheapp.mapping.tree.msgspec.json.decode", wraps=msgspec.json.decode) as decode:
        listed = fields({f"i{number}": distinct[number % 9] for number in range(1000)})
    assert decode.call_count == 9
    assert len(listed) == 9


def test_many_fields_take_time_in_proportion() -> None:
    """Ten times the fields take about ten times as long, not a hundred times."""

    def seconds(count: int) -> float:
        passed = {"type": "passthrough", "properties": {f"a.b.c{n}": {"type": "ip"} for n in range(count)}}
        mappings = {"a": body({"properties": {"p": passed, **{f"f{n}": {"type": "ip"} for n in range(count)}}})}
        start = time.perf_counter()
        fields(mappings)
        return time.perf_counter() - start

    assert min(seconds(3_000) for _ in range(3)) < 40 * min(seconds(300) for _ in range(3))


def test_depth_is_bounded() -> None:
    """Fields as deep as the limit are listed, deeper ones aren't, which is said of the object that holds them."""
    assert any(name.endswith("leaf") for name in listed(deep(MAX_DEPTH)))
    beyond = listed(deep(MAX_DEPTH + 1))
    assert not any(name.endswith("leaf") for name in beyond)
    assert [one.too_deep for one in beyond.values()] == [False] * (len(beyond) - 1) + [True]
    assert not any(one.too_deep for one in listed(deep(MAX_DEPTH)).values())


@pytest.mark.parametrize("mapping", STRANGE)
def test_strange_mappings_have_no_fields(mapping: bytes) -> None:
    """What isn't a mapping is like one without fields."""
    assert fields({"a": mapping}) == ()


@settings(max_examples=50)
@given(st.lists(strange_mappings, max_size=3))
def test_any_mapping_has_a_list(mappings: list[dict[str, Any]]) -> None:
    """Whatever the mappings, the list is sorted, names are unique, and it can be sent."""
    found = fields({f"i{number}": body(mapping) for number, mapping in enumerate(mappings)})
    names = [field.name for field in found]
    assert names == sorted(set(names))
    assert len(json.loads(msgspec.json.encode(found))) == len(found)
    for field in found:
        assert 1 <= field.indices_total <= len(mappings)
        assert bool(field.conflict) == (len(field.types) > 1)


def test_search_ranks() -> None:
    """First the whole name or last part, then beginnings of them, then the rest; the order within is kept."""
    among = named("http.status_code", "bystatus", "b.status", "status", "a.xstatus", "statuses")
    ranked = [field.name for field in search(among, "Status")]
    assert ranked == ["b.status", "status", "http.status_code", "statuses", "bystatus", "a.xstatus"]


def test_search_needs_every_word() -> None:
    """All words must occur in the dotted name, in any order and case; without a word everything is found."""
    among = named("http.status", "http.method", "HTTP.Status.raw")
    assert [field.name for field in search(among, "status HTTP")] == ["http.status", "HTTP.Status.raw"]
    assert [field.name for field in search(among, "http.st")] == ["http.status", "HTTP.Status.raw"]
    assert search(among, " ") == tuple(among)
    assert search(among, "nothing") == ()


@given(st.lists(st.text("ab.", max_size=6)), st.text("ab. ", max_size=5))
def test_search_finds_what_contains_the_words(names: list[str], q: str) -> None:
    """The result is exactly what contains each word, each as often as it was given."""
    expected = sorted(name for name in names if all(word in name for word in q.split()))
    assert sorted(field.name for field in search(named(*names), q)) == expected


def test_what_the_limit_of_fields_counts() -> None:
    """Objects, fields, aliases, multi-fields and runtime fields, a composite one once."""
    mapping = {
        "properties": {
            "o": {"properties": {"a": {"type": "long"}, "b": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}},
            "same": {"type": "alias", "path": "o.a"},
        },
        "runtime": {
            "r": {"type": "long"},
            "c": {"type": "composite", "fields": {"x": {"type": "long"}, "y": {"type": "long"}}},
        },
    }
    assert limited_count(body(mapping)) == 7
    assert [limited_count(strange) for strange in STRANGE] == [0] * len(STRANGE)
