"""The walk over a mapping: each field once per place, with what stands around it; on any JSON it ends and never
raises.
"""

import pytest
from hypothesis import given

from cacheapp.mapping.fields import field_count, fields
from cacheapp.mapping.tree import MAX_DEPTH, Node, nodes, parse
from tests.support.mappings import STRANGE, body, deep, strange_mappings


def walked(**mapping: object) -> dict[str, Node]:
    return {node.path: node for node in nodes(mapping)}


def test_what_stands_around_a_field() -> None:
    """A field knows its depth, the innermost nested object around it, and of which field it is a multi-field."""
    found = walked(
        properties={
            "order": {
                "properties": {
                    "items": {
                        "type": "nested",
                        "properties": {"name": {"type": "text", "fields": {"raw": {"type": "keyword"}}}},
                    }
                }
            }
        }
    )
    assert list(found) == ["order", "order.items", "order.items.name", "order.items.name.raw"]
    assert [node.depth for node in found.values()] == [0, 1, 2, 2]
    assert [node.nested_path for node in found.values()] == [None, None, "order.items", "order.items"]
    assert [node.multi_field_of for node in found.values()] == [None, None, None, "order.items.name"]
    assert found["order"].type == "object"


def test_passthrough_objects_innermost_first() -> None:
    """A field knows the passthrough objects around it."""
    inner = {"type": "passthrough", "properties": {"f": {"type": "keyword"}}}
    found = walked(properties={"a": {"type": "passthrough", "properties": {"b": inner}}})
    assert [node.path for node in found["a.b.f"].passthrough] == ["a.b", "a"]
    assert found["a"].passthrough == ()


def test_runtime_fields_come_last() -> None:
    """A runtime field has no place in the tree; one of a composite stands beside it."""
    composite = {"type": "composite", "fields": {"x": {"type": "long"}}}
    found = walked(runtime={"r": {"type": "date"}, "c": composite}, properties={"p": {"type": "ip"}})
    assert list(found) == ["p", "r", "c", "c.x"]
    assert [node.is_runtime for node in found.values()] == [False, True, True, True]


def test_the_depth_is_bounded() -> None:
    """Objects beyond the bound are not entered."""
    depths = [node.depth for node in nodes(deep(MAX_DEPTH + 20))]
    assert max(depths) == MAX_DEPTH


@pytest.mark.parametrize("raw", STRANGE)
def test_what_is_no_mapping_has_no_fields(raw: bytes) -> None:
    """Whatever stands in the place of a mapping, the walk ends and finds nothing."""
    assert list(nodes(parse(raw))) == []


@given(strange_mappings)
def test_the_list_and_the_count_follow_the_walk(mapping: dict[str, object]) -> None:
    """The list of fields has every node but composites, which nobody can search, and the count is that of the list."""
    raw = body(mapping)
    listed = {field.name for field in fields({"index": raw})}
    usable = {node.path for node in nodes(parse(raw)) if not (node.is_runtime and node.type == "composite")}
    assert usable <= listed
    assert field_count(raw) == len(listed)
