"""In which fields two sets of mappings differ."""

import json
from typing import Any

from cacheapp.mapping.comparison import (
    MAX_LISTED_FIELDS,
    AlteredField,
    ListedField,
    RetypedField,
    compare,
)


def mapping(**fields: Any) -> bytes:
    properties = {name: {"type": field} if isinstance(field, str) else field for name, field in fields.items()}
    return json.dumps({"properties": properties}).encode()


def test_two_mappings() -> None:
    """Fields of one side alone, of another type, and with other parameters, which are named; multi-fields too."""
    a = mapping(
        same="long",
        gone="ip",
        other="long",
        text={"type": "text", "analyzer": "a", "fields": {"k": {"type": "keyword"}}},
    )
    b = mapping(same="long", new="ip", other="keyword", text={"type": "text", "analyzer": "b", "store": True})
    found = compare([a], [b])
    assert found.added == (ListedField("new", ("ip",)),)
    assert found.removed == (ListedField("gone", ("ip",)), ListedField("text.k", ("keyword",)))
    assert found.retyped == (RetypedField("other", ("long",), ("keyword",)),)
    assert found.altered == (AlteredField("text", ("analyzer", "store")),)
    assert (found.added_total, found.removed_total, found.retyped_total, found.altered_total) == (1, 2, 1, 1)
    assert found.conflicts_a == found.conflicts_b == ()


def test_several_mappings_of_a_side() -> None:
    """A side has the fields of all its indices; where these disagree on a type all are given, and it is said."""
    a, b = [mapping(x="long"), mapping(x="keyword", y="ip")], [mapping(x="keyword", y="ip")]
    found = compare(a, b)
    assert found.retyped == (RetypedField("x", ("keyword", "long"), ("keyword",)),)
    assert (found.conflicts_a, found.conflicts_a_total) == ((ListedField("x", ("keyword", "long")),), 1)
    assert (found.added, found.removed, found.conflicts_b) == ((), (), ())
    assert compare(a, a).retyped == ()


def test_parameters_on_which_a_side_disagrees() -> None:
    """What only some of a side's indices set is a difference from a side that sets it throughout."""
    plain, set_ = mapping(x="keyword"), mapping(x={"type": "keyword", "ignore_above": 9})
    assert compare([plain, set_], [set_]).altered == (AlteredField("x", ("ignore_above",)),)
    assert compare([plain, set_], [set_, plain]).altered == ()


def test_lists_are_bounded() -> None:
    """The first names are listed, and all counted."""
    found = compare([b"{}"], [mapping(**{f"f{number:04}": "long" for number in range(MAX_LISTED_FIELDS + 5)})])
    assert (len(found.added), found.added_total) == (MAX_LISTED_FIELDS, MAX_LISTED_FIELDS + 5)
