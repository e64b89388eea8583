"""What changed between mappings."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cacheapp.mapping.diff import MAX_NAMED_FIELDS, FieldChanges, Retyped, field_changes

TYPES = ("long", "keyword", "text")


def mapping(**fields: Any) -> bytes:
    properties = {name: {"type": field} if isinstance(field, str) else field for name, field in fields.items()}
    return json.dumps({"properties": properties}).encode()


def test_fields_of_all_kinds() -> None:
    """Fields in objects, multi-fields and runtime fields are compared by their full names: types, then parameters."""
    before = mapping(
        a="long",
        gone="ip",
        o={"properties": {"x": "no definition", "y": {"type": "long"}}},
        t={"type": "text", "fields": {"raw": {"type": "keyword"}}},
    )
    after = json.dumps(
        {
            "runtime": {"day": {"type": "keyword"}},
            "properties": {
                "a": {"type": "keyword"},
                "o": {"properties": {"y": {"type": "long"}, "z": {"type": "ip"}}},
                "t": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 5}}},
            },
        }
    ).encode()
    assert field_changes(before, after) == FieldChanges(
        added=("day", "o.z"),
        removed=("gone",),
        retyped=(Retyped("a", "long", "keyword"),),
        altered=("t.raw",),
        added_total=2,
        removed_total=1,
        retyped_total=1,
        altered_total=1,
    )


def test_what_is_not_a_field_is_a_parameter() -> None:
    """Where no fields can be, what looks like fields belongs to the parameters of the field that holds it."""
    before, after = ({"properties": {"x": {"type": kind}}} for kind in ("long", "ip"))
    chains = [
        {"type": "text", "fields": {"m": {"type": "text", "fields": one["properties"]}}} for one in (before, after)
    ]
    changes = field_changes(
        mapping(k={"type": "unheard_of", **before}, t=chains[0]),
        mapping(k={"type": "unheard_of", **after}, t=chains[1]),
    )
    assert changes == FieldChanges(altered=("k", "t.m"), altered_total=2)


def test_lists_are_bounded() -> None:
    """The first names are listed, and all counted."""
    changes = field_changes(b"{}", mapping(**{f"f{number:03}": "long" for number in range(MAX_NAMED_FIELDS + 50)}))
    assert (len(changes.added), changes.added_total) == (MAX_NAMED_FIELDS, MAX_NAMED_FIELDS + 50)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(TYPES)),
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(TYPES)),
)
def test_each_difference_is_reported_once(before: dict[str, str], after: dict[str, str]) -> None:
    """Added, removed and retyped fields together are exactly those that differ; the way back is the reverse."""
    there, back = field_changes(mapping(**before), mapping(**after)), field_changes(mapping(**after), mapping(**before))
    differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert {*there.added, *there.removed, *(one.name for one in there.retyped)} == differing
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.altered == ()
