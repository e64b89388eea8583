"""The search that asks for values: which fields, which indices, and what its answer says."""

import json
from typing import Any

import pytest

from cacheapp.mapping.fields import Field, fields_of
from cacheapp.values.family_values import MAX_VALUES, FieldValues, ValueCount, can_be_asked, iso_date
from cacheapp.values.question import (
    MAX_FIELDS,
    MAX_NAMES_BYTES,
    MIN_INDEX_DOCUMENTS,
    SAMPLE_DOCUMENTS,
    fields_to_ask,
    indices_to_ask,
    read_answer,
    search_body,
    search_target,
)

KINDS: dict[str, Any] = {
    "status": {"type": "keyword"},
    "gift": {"type": "boolean"},
    "total": {"type": "long"},
    "share": {"type": "float"},
    "sent": {"type": "date"},
    "fixed": {"type": "constant_keyword"},
    "tag": {"type": "keyword", "fields": {"low": {"type": "keyword"}}},
}
NEVER: dict[str, Any] = {
    "note": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "host": {"type": "ip"},
    "place": {"type": "geo_point"},
    "flat": {"type": "flattened"},
    "bare": {"type": "keyword", "doc_values": False},
    "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    "other": {"type": "alias", "path": "status"},
    "password": {"type": "keyword"},
}
MAPPING = json.dumps(
    {"properties": {**KINDS, **NEVER}, "runtime": {"hour": {"type": "long", "script": {"source": "emit(1)"}}}}
).encode()
ALL = fields_of(MAPPING)


def chosen(*wanted: str, private: tuple[str, ...] = ()) -> list[str]:
    return [field.name for field in fields_to_ask(ALL, private, wanted)[0]]


def test_which_fields_are_asked_for() -> None:
    """Keywords, booleans, numbers and dates that aggregations can read; no texts nor what is made of them, nothing
    nested, computed, private, or under a second name.
    """
    assert set(chosen()) == {*KINDS, "tag.low"}
    assert "status" not in chosen(private=("stat*",))


def test_a_field_of_two_types_is_not_asked_for() -> None:
    """What its values are depends on the index."""
    forked = Field("status", ("keyword", "long"), True, True, 2)
    assert not can_be_asked(forked, {"status": forked})


def test_the_first_by_rank() -> None:
    """Those that searches ask for, then those near the top; beyond the bound they are counted."""
    assert chosen("total", "status")[:2] == ["total", "status"]
    many = [Field(f"f{number:03}", ("keyword",), True, True, 1) for number in range(MAX_FIELDS + 7)]
    asked, left_out = fields_to_ask(many, (), ["f106"])
    assert (len(asked), left_out, asked[0].name) == (MAX_FIELDS, 7, "f106")


def test_as_many_indices_as_an_address_has_room_for() -> None:
    """The last by name; they are named one by one, encoded."""
    names = [f"logs-2026.{number:05}" for number in range(1_000)]
    asked = indices_to_ask(names)
    assert asked == tuple(names[-len(asked) :])
    assert MAX_NAMES_BYTES - 20 < len(",".join(asked)) <= MAX_NAMES_BYTES
    assert search_target(("a", "ä")).startswith("/a,%C3%A4/_search?ignore_unavailable=true&")
    assert indices_to_ask(()) == ()


def test_the_search_is_bounded() -> None:
    """In documents, time and what it answers; nothing but aggregations."""
    body = json.loads(search_body([field for field in ALL if field.name in ("status", "total")], 10))
    assert (body["size"], body["track_total_hits"], body["timeout"]) == (0, False, "2000ms")
    assert body["terminate_after"] == SAMPLE_DOCUMENTS // 10
    assert body["aggs"]["v0"]["terms"]["size"] == MAX_VALUES
    assert set(body["aggs"]) == {"documents", "m0", "v0", "m1", "l1", "h1"}
    assert json.loads(search_body([], 10_000))["terminate_after"] == MIN_INDEX_DOCUMENTS


def answer(aggregations: dict[str, Any], documents: int = 100, **members: Any) -> bytes:
    return json.dumps(
        {
            "_shards": {"total": 2, "successful": 2},
            "aggregations": {"documents": {"doc_count": documents}, **aggregations},
            **members,
        }
    ).encode()


def listed(*buckets: tuple[Any, int], others: int = 0, error: int = 0) -> dict[str, Any]:
    return {
        "buckets": [{"key": key, "doc_count": number} for key, number in buckets],
        "sum_other_doc_count": others,
        "doc_count_error_upper_bound": error,
    }


def of(kind: str, aggregations: dict[str, Any]) -> FieldValues | None:
    """What an answer says of one field of that type."""
    return read_answer(answer(aggregations), [Field("f", (kind,), True, True, 1)]).fields.get("f")


def test_values_are_read() -> None:
    """Keywords with counts, booleans as such, and whether there are more."""
    found = of("keyword", {"m0": {"doc_count": 3}, "v0": listed(("open", 9), ("closed", 2))})
    assert found == FieldValues("keyword", 3, (ValueCount("open", 9), ValueCount("closed", 2)))
    found = of("boolean", {"v0": listed((1, 9), (0, 2))})
    assert found == FieldValues("boolean", 0, (ValueCount(True, 9), ValueCount(False, 2)))
    for more in (listed(("open", 9), others=1), listed(("open", 9), error=1)):
        found = of("keyword", {"v0": more})
        assert found is not None
        assert found.more


def test_ranges_are_read() -> None:
    """Whole numbers as such, dates in UTC; null where no document has a value."""
    found = of("long", {"l0": {"value": 1.0}, "h0": {"value": 9.0}})
    assert found is not None
    assert (found.min, found.max, type(found.min)) == (1, 9, int)
    found = of("date", {"l0": {"value": 0.0}, "h0": {"value": 1.0e12}})
    assert found is not None
    assert (found.min, found.max) == ("1970-01-01T00:00:00Z", "2001-09-09T01:46:40Z")
    found = of("double", {"m0": {"doc_count": 100}, "l0": {"value": None}, "h0": {"value": None}})
    assert found == FieldValues("double", 100)
    assert iso_date(1e18) is None


def test_what_nobody_may_see_is_left_out() -> None:
    """A field with one private value; and one of which each document has its own."""
    assert of("keyword", {"v0": listed(("open", 9), ("ann@example.org", 1))}) is None
    assert of("keyword", {"v0": listed(("a", 1), ("b", 1), others=8)}) is None
    assert of("keyword", {"v0": listed(("a", 1), ("b", 1))}) is not None
    assert of("keyword", {}) is None


@pytest.mark.parametrize(
    ("members", "is_whole", "is_slow"),
    [
        ({}, True, False),
        ({"terminated_early": True}, False, False),
        ({"timed_out": True}, False, True),
        ({"_shards": {"total": 2, "successful": 1}}, False, False),
    ],
)
def test_whether_it_is_all(members: dict[str, Any], is_whole: bool, is_slow: bool) -> None:
    """An answer that stopped early, ran out of time or lacks shards is a sample."""
    found = read_answer(answer({}, **members), [])
    assert (found.sample_documents, found.is_whole, found.is_slow) == (100, is_whole, is_slow)


def test_of_nothing() -> None:
    """No documents, or no index to ask: no values. What is no answer raises."""
    fields = [Field("f", ("keyword",), True, True, 1)]
    assert read_answer(answer({"v0": listed()}, documents=0), fields).fields == {}
    assert read_answer(b'{"_shards":{"total":0,"successful":0}}', fields).sample_documents == 0
    for body in (b'{"_shards":{"total":1,"successful":1}}', b"<html>", b"[]"):
        with pytest.raises(ValueError):  # noqa: PT011  (whatever it says)
            read_answer(body, fields)
