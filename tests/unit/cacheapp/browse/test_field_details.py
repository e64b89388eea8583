"""One field: how it is defined in which indices, what belongs to it, what documents hold in it."""

from typing import Any

from cacheapp.browse.field_details import MAX_MAPPINGS, SHOWN_INDICES, FieldDetails, field_details
from cacheapp.mapping.fields import fields_of, merged_fields
from cacheapp.state.distinct import Distinct
from cacheapp.values.family_values import FieldValues, ValueCount
from cacheapp.values.known import KnownOfName
from tests.support.mappings import body

SHOP: dict[str, Any] = {
    "properties": {
        "name": {"type": "text", "analyzer": "english", "fields": {"raw": {"type": "keyword", "ignore_above": 20}}},
        "box": {"type": "nested", "dynamic": "strict", "properties": {"size": {"type": "long"}}},
        "short": {"type": "alias", "path": "name"},
    },
    "runtime": {"day.of": {"type": "keyword"}},
}


def details(path: str, *mappings: tuple[Any, tuple[str, ...]], known: KnownOfName | None = None) -> FieldDetails | None:
    """Of a field, in mappings with the indices that have them."""
    distinct = [Distinct(f"h{number}", body(mapping), indices) for number, (mapping, indices) in enumerate(mappings)]
    listed = merged_fields([fields_of(one.body) for one in distinct], [one.counted for one in distinct])
    return field_details(listed, distinct, path, known)


def of_shop(path: str, known: KnownOfName | None = None) -> FieldDetails:
    found = details(path, (SHOP, ("a",)), known=known)
    assert found is not None
    return found


def test_a_field_in_one_mapping() -> None:
    """Its parameters as the mapping has them, its multi-fields, and what stands for it."""
    found = of_shop("name")
    [definition] = found.definitions
    assert (definition.type, definition.parameters, definition.indices) == ("text", (("analyzer", "english"),), ("a",))
    assert [one.name for one in found.multi_fields] == ["name.raw"]
    assert [one.name for one in found.aliases] == ["short"]
    assert (found.is_object, found.below_total, found.values, found.shares) == (False, 0, None, ())
    assert of_shop("name.raw").definitions[0].parameters == (("ignore_above", "20"),)
    assert of_shop("short").definitions[0].parameters == (("path", "name"),)


def test_objects() -> None:
    """What is below is counted; one that only stands before dots is an object without parameters."""
    box = of_shop("box")
    assert (box.is_object, box.below_total) == (True, 1)
    assert box.definitions[0].parameters == (("dynamic", "strict"),)
    assert (of_shop("day").definitions[0].type, of_shop("day").definitions[0].parameters) == ("object", ())


def test_where_it_is_what() -> None:
    """Mappings that define it alike are one line, that of the most indices first, and last those that haven't it."""
    names = tuple(f"i{number:02}" for number in range(15))
    found = details(
        "when",
        ({"properties": {"when": {"type": "date"}}}, ("z",)),
        ({"properties": {"when": {"type": "date", "format": "epoch_millis"}, "b": {"type": "ip"}}}, names[:7]),
        ({"properties": {"when": {"format": "epoch_millis", "type": "date"}}}, names[7:]),
        ({"properties": {"other": {"type": "ip"}}}, ("without", "without too")),
    )
    assert found is not None
    assert [(one.type, dict(one.parameters), one.indices_total) for one in found.definitions] == [
        ("date", {"format": "epoch_millis"}, 15),
        ("date", {}, 1),
        ("", {}, 2),
    ]
    assert found.definitions[0].indices == names[:SHOWN_INDICES]
    assert found.field.format_conflict == (None, "epoch_millis")


def test_a_runtime_field_shadows() -> None:
    """Of a mapped and a runtime field of one name the runtime one is what searches see."""
    found = details("v", ({"properties": {"v": {"type": "long"}}, "runtime": {"v": {"type": "keyword"}}}, ("a",)))
    assert found is not None
    assert found.definitions[0].type == "keyword"


def test_many_mappings_are_bounded() -> None:
    """Those of the most indices are taken apart, and that is said."""
    mappings = [
        ({"properties": {"v": {"type": "long"}, f"f{n}": {"type": "ip"}}}, (f"i{n}",)) for n in range(MAX_MAPPINGS)
    ]
    found = details("v", *mappings, ({"properties": {"v": {"type": "ip"}}}, ("x", "y")))
    assert found is not None
    assert (found.looked_at_total, found.mappings_total) == (MAX_MAPPINGS, MAX_MAPPINGS + 1)
    assert {one.type: one.indices_total for one in found.definitions} == {"long": MAX_MAPPINGS - 1, "ip": 2}


def test_no_such_field() -> None:
    """A field that isn't there has no details."""
    assert details("nowhere", (SHOP, ("a",))) is None


def test_values() -> None:
    """Each value with its share of the sample; those of a type that the field no longer has are not its own."""
    held = FieldValues("keyword", 5, (ValueCount("red", 10), ValueCount("blue", 5)))
    known = KnownOfName("shop", 1.0, 20, is_whole=False, fields={"name.raw": held, "name": held}, fields_left_out=0)
    found = of_shop("name.raw", known)
    assert [(one.value, one.documents, one.share_percent) for one in found.shares] == [
        ("red", 10, 50.0),
        ("blue", 5, 25.0),
    ]
    assert found.values is not None
    assert (found.values.missing_percent, found.sample_documents) == (25.0, 20)
    assert of_shop("name", known).values is None
    ranged = KnownOfName(
        "shop", 1.0, 20, is_whole=False, fields={"box.size": FieldValues("long", 0, min=1, max=9)}, fields_left_out=0
    )
    assert (of_shop("box.size", ranged).shares, of_shop("box.size", ranged).values) != ((), None)
    flags = KnownOfName(
        "s", 1.0, 4, is_whole=True, fields={"on": FieldValues("boolean", 0, (ValueCount(True, 4),))}, fields_left_out=0
    )
    on = details("on", ({"properties": {"on": {"type": "boolean"}}}, ("a",)), known=flags)
    assert on is not None
    assert on.shares[0].value == "true"
