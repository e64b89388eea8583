"""How field values are shown: in lists of fields, in descriptions within their budget, and on pages."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.describe.description import HeldValues, describe
from cacheapp.describe.fields import FieldIndex
from cacheapp.describe.tokens import count_tokens
from cacheapp.mapping.fields import field_list, fields_of
from cacheapp.values.family_values import FieldValues, ValueCount
from cacheapp.values.known import KnownOfName
from cacheapp.values.shown import about, add_values, brief, brief_values, held_values

MAPPING = json.dumps(
    {
        "properties": {
            "status": {"type": "keyword", "fields": {"low": {"type": "keyword"}}},
            "gift": {"type": "boolean"},
            "total": {"type": "long"},
            "sent": {"type": "date"},
            "note": {"type": "text"},
        }
    }
).encode()
FIELDS = fields_of(MAPPING)


def listed(*values: str, more: bool = False) -> FieldValues:
    return FieldValues("keyword", 1, tuple(ValueCount(value, 2) for value in values), more)


VALUES = {
    "status": listed("open", "closed"),
    "gift": FieldValues("boolean", 0, (ValueCount(True, 3), ValueCount(False, 1))),
    "total": FieldValues("long", 2, min=0, max=48_000),
    "sent": FieldValues("date", 4, min="2024-01-01T00:00:00Z", max="2026-11-29T10:20:30Z"),
    "note": listed("gone"),
}
KNOWN = KnownOfName("orders", 7_300.0, 4, True, VALUES, 0)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (VALUES["status"], "values open, closed"),
        (VALUES["gift"], "values true, false"),
        (VALUES["total"], "from 0 to 48,000"),
        (VALUES["sent"], "from 2024-01-01 to 2026-11-29T10:20:30Z"),
        (FieldValues("double", 0, min=0.125, max=1e9), "from 0.125 to 1e+09"),
        (listed(*"abcdefgh"), "values a, b, c, d, e, f, 2 more"),
        (listed("a", "b", more=True), "values a, b, …"),
        (listed("x" * 79, "long"), f"values {'x' * 79}, 1 more"),
        (listed("in transit", "a,b"), 'values "in transit", "a,b"'),
        (listed(), ""),
        (FieldValues("date", 4), ""),
    ],
)
def test_in_few_words(values: FieldValues, text: str) -> None:
    """The first values and how many more; ranges; what has signs in it in quotes."""
    assert brief(values) == text


def test_in_lists_of_fields() -> None:
    """Each field with its own, null where none are known or its type has changed; what all have in common once."""
    shown = json.loads(add_values(field_list(FIELDS), KNOWN))
    assert shown["values"] == {
        "family": "orders",
        "age_seconds": 7_300.0,
        "sample_documents": 4,
        "is_whole": True,
        "fields_left_out": 0,
    }
    of = {field["name"]: field["values"] for field in shown["fields"]}
    assert of["note"] is of["status.low"] is None
    assert of["status"]["missing_percent"] == 25.0
    assert of["status"]["values"][0] == {"value": "open", "documents": 2}
    assert (of["sent"]["missing_percent"], of["sent"]["values"]) == (100.0, None)
    unknown = json.loads(add_values(field_list(FIELDS), None))
    assert unknown["values"] is None
    assert {field["values"] for field in unknown["fields"]} == {None}


def test_on_pages() -> None:
    """Of fields whose type is still the same; with how far they can be trusted."""
    assert set(brief_values(KNOWN, FIELDS)) == {"status", "gift", "total", "sent"}
    assert about(KNOWN) == "of all 4 documents of orders, 2 h 1 min old"
    assert about(KnownOfName("x", 60.0, 1, False, {}, 0)) == "of a sample of 1 document of x, 1 min old"


def test_in_descriptions() -> None:
    """Behind the names, with their age and sample above; in the JSON too."""
    found = describe("orders", FieldIndex(FIELDS, 1), 1_000, "", {}, held_values(KNOWN))
    assert found.text == (
        "orders: 5 fields\n"
        "# values: 3 h old, of 4 documents\n"
        "boolean gift(values true, false); text note; date sent(from 2024-01-01 to 2026-11-29T10:20:30Z); "
        "keyword status(.low keyword, values open, closed); long total(from 0 to 48,000)"
    )
    assert found.values is not None
    assert (found.values.fields_total, found.values.sample_documents, found.values.is_whole) == (4, 4, True)
    plain = describe("orders", FieldIndex(FIELDS, 1), 1_000)
    assert plain.values is None
    assert found.shown_total == plain.shown_total


@pytest.mark.parametrize(
    ("age_seconds", "said"),
    [(0.2, "1 s"), (34.6, "35 s"), (60.0, "1 min"), (61.0, "2 min"), (3_600.0, "1 h"), (3_601.0, "2 h")],
)
def test_their_age_in_descriptions(age_seconds: float, said: str) -> None:
    """In seconds below a minute, then in minutes, then in hours; never younger than they are."""
    held = held_values(replace(KNOWN, age_seconds=age_seconds))
    text = describe("orders", FieldIndex(FIELDS, 1), 1_000, "", {}, held).text
    assert text.splitlines()[1] == f"# values: {said} old, of 4 documents"


WIDE = FieldIndex(
    fields_of(json.dumps({"properties": {f"field_{number}": {"type": "keyword"} for number in range(300)}}).encode()),
    1,
)


@given(
    budget=st.integers(50, 3_000),
    values=st.dictionaries(st.integers(0, 299), st.lists(st.text(max_size=30), max_size=8), max_size=40),
    age_seconds=st.floats(0, 90_000),
)
def test_never_above_the_budget(budget: int, values: dict[int, list[str]], age_seconds: float) -> None:
    """Whatever the values are; and fields keep most of it."""
    known = {f"field_{number}": listed(*texts) for number, texts in values.items()}
    held = held_values(KnownOfName("x", age_seconds, 9, False, known, 0))
    found = describe("x", WIDE, budget, "field 7", {}, held)
    assert found.tokens == count_tokens(found.text) <= budget
    plain = describe("x", WIDE, budget, "field 7")
    assert found.shown_total >= 0.6 * plain.shown_total


def test_no_room_for_any() -> None:
    """Then the description is what it is without."""
    held = HeldValues({"field_1": ("keyword", "values " + "x, " * 400)}, 60.0, 9, True)
    assert describe("x", WIDE, 60, "", {}, held) == describe("x", WIDE, 60)


def test_uses_raise_fields() -> None:
    """What searches ask for is shown before what they don't; unknown names count for nothing."""
    found = describe("x", WIDE, 60, "", {"field_299": 1.0, "absent": 1.0})
    assert "field_299" in found.text
    assert "field_299" not in describe("x", WIDE, 60).text
