"""Indices are put into families, and the cluster is described by a line for each, within its budget."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheapp.describe import families as module
from cacheapp.describe.families import FamilyIndex, describe_families, families_about, families_of, summary_of
from cacheapp.describe.tokens import count_tokens
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible


def snapshot(indices: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]], *streams: str) -> Snapshot:
    """Indices with the hashes of their mappings."""
    entries = {name: IndexEntry(None, mapping_hash, 0.0, Source.MEMORY) for name, mapping_hash in indices.items()}
    return Snapshot(indices=entries, aliases=aliases, data_streams=frozenset(streams))


def names(found: Snapshot) -> dict[str, tuple[str, int]]:
    return {family.name: (family.kind, family.indices_total) for family in families_of(found, ALL_VISIBLE)}


def test_a_data_stream_comes_before_an_alias() -> None:
    """And an alias before the name; of several aliases that of most indices."""
    indices = {".ds-logs-1": "l", ".ds-logs-2": "l", "web-1": "w", "web-2": "w", "shop-1": "s", "shop-2": "s"}
    aliases = {
        "logs": (".ds-logs-1", ".ds-logs-2"),
        "all-logs": (".ds-logs-1", ".ds-logs-2"),
        "web": ("web-1", "web-2"),
        "web-write": ("web-2",),
    }
    assert names(snapshot(indices, aliases, "logs")) == {
        "logs": ("data stream", 2),
        "web": ("alias", 2),
        "shop*": ("indices", 2),
    }


def test_trailing_dates_and_numbers_make_a_family() -> None:
    """Days, weeks, rollovers; one index alone keeps its name; a name that is a number too; hidden ones are left out."""
    days = [
        "logs-2026.01.01",
        "logs-2026.01.02-000007",
        "logs-2026-w03",
        "logs20260101",
        "metrics-v2",
        "2026",
        ".tasks-1",
    ]
    assert names(snapshot(dict.fromkeys(days, "h"), {})) == {
        "logs*": ("indices", 4),
        "metrics-v2": ("indices", 1),
        "2026": ("indices", 1),
    }


def test_families_of_what_is_visible() -> None:
    """An alias in the scope with all of its indices, and indices by themselves; an alias out of it isn't told, though
    it may stand for an index in it, and beginnings are made of visible names.
    """
    indices = dict.fromkeys(["logs-1", "logs-2", "logsecret-1", "shared", "vault-1"], "h")
    aliases = {"logs-all": ("shared", "logs-2"), "vault-all": ("logs-1", "vault-1", "shared")}
    visible = Visible(("logs-*",))
    found = {one.name: (one.kind, one.indices_total) for one in families_of(snapshot(indices, aliases), visible)}
    assert found == {"logs-all": ("alias", 2), "logs-1": ("indices", 1)}
    assert families_of(snapshot(indices, aliases), Visible(("orders",))) == ()


def mapping(**fields: str) -> bytes:
    return json.dumps({"properties": {name: {"type": kind} for name, kind in fields.items()}}).encode()


ORDERS = mapping(order_id="keyword", customer="keyword", total="double")
SENSORS = mapping(sensor="keyword", temp_c="double", humidity="double")


def two_families() -> FamilyIndex:
    found = snapshot({"a-1": "orders", "a-2": "orders", "b": "sensors", "cars": "unread"}, {})
    return FamilyIndex(families_of(found, ALL_VISIBLE), {"orders": summary_of(ORDERS), "sensors": summary_of(SENSORS)})


def test_a_question_ranks_families() -> None:
    """By the fields of their mappings, and by their names; others by the number of indices."""
    index = two_families()
    order = [
        [index.families[n].name for n in index.ranked(q)] for q in ("How warm was it?", "best buyers", "any cars?", "")
    ]
    assert order == [["b", "a*", "cars"], ["a*", "b", "cars"], ["cars", "a*", "b"], ["a*", "b", "cars"]]


def test_each_family_has_a_line() -> None:
    """What is known of it: indices, fields and some of their names; of a mapping that isn't in memory, nothing."""
    said = describe_families(two_families(), 1_000, "temperature")
    assert said.text.splitlines() == [
        "3 families of indices",
        "b: 3 fields — temp_c, humidity, sensor",
        "a*: 2 indices, 3 fields — total, order_id, customer",
        "cars",
    ]
    assert [family.name for family in said.shown] == ["b", "a*", "cars"]


def test_a_summary_says_what_the_mapping_is_about() -> None:
    """`_meta` is shown, and its words are found."""
    body = b'{"_meta":{"description":"Parcels on their way"},"properties":{"x":{"type":"long"}}}'
    summary = summary_of(body)
    assert (summary.about, summary.fields.first(()), summary.fields_total) == ("Parcels on their way", ["x"], 1)
    assert "parcel" in summary.words
    assert summary.size_bytes > 1_000


def test_what_is_asked_for_comes_first() -> None:
    """In a family's line, whatever counts without a question, and where names have only some of the room."""
    known = {name: {"type": "keyword"} for name in ("status", "total", "message", "title", "price", "tags", "sku")}
    orders = {f"name_{letter}": {"type": "keyword"} for letter in "abcdefgh"}
    customer = {"properties": {"id": {"type": "keyword"}, "name": {"type": "text"}, "zip": {"type": "keyword"}}}
    body = json.dumps({"properties": {**known, **orders, "customer": customer}}).encode()
    index = FamilyIndex(families_of(snapshot({"orders": "o", "b": "s"}, {}), ALL_VISIBLE), {"o": summary_of(body)})
    line = describe_families(index, 1_000, "customer name").text.splitlines()[1]
    assert line.startswith("orders: 18 fields — customer.name, ")
    assert line.count(",") == 11
    assert (
        describe_families(index, 40, "customer name")
        .text.splitlines()[1]
        .startswith("orders: 18 fields — customer.name")
    )
    assert "customer.name" not in describe_families(index, 1_000, "").text
    assert "customer.name" not in describe_families(index, 1_000, "zebra").text


def test_what_a_question_matches() -> None:
    """It is said how many families have anything to do with it."""
    families = families_of(snapshot({"orders": "orders", "things": "sensors"}, {}), ALL_VISIBLE)
    index = FamilyIndex(families, {"orders": summary_of(ORDERS), "sensors": summary_of(SENSORS)})
    assert [describe_families(index, 500, question).matching_total for question in ("orders", "zebra", "")] == [1, 0, 0]


def test_families_about_a_question() -> None:
    """Those that have to do with it, the nearest first, with the fields that do; at most so many."""
    index = two_families()
    first, *_ = families_about(index, "How warm was it?", 10)
    assert (first.family.name, first.fields_total, first.fields[0]) == ("b", 3, "temp_c")
    unread, *_ = families_about(index, "any cars?", 10)
    assert (unread.family.name, unread.fields_total, unread.fields) == ("cars", None, ())
    assert families_about(index, "zebra", 10) == ()
    assert len(families_about(index, "buyers temperature", 1)) == 1


def test_names_come_before_all_else() -> None:
    """Where the budget is small, every family is named before anything is said of one; what has no room is counted."""
    indices = {f"family-{chr(97 + n // 26)}{chr(97 + n % 26)}": "orders" for n in range(100)}
    index = FamilyIndex(families_of(snapshot(indices, {}), ALL_VISIBLE), {"orders": summary_of(ORDERS)})
    assert len(describe_families(index, 600).shown) == 100
    few = describe_families(index, 100)
    assert 5 < len(few.shown) < 100
    assert few.text.endswith(f"# {100 - len(few.shown)} more")
    assert describe_families(FamilyIndex((), {}), 50).text == "0 families of indices"


NAMES = st.lists(st.text(min_size=1, max_size=40), max_size=60, unique=True)


@settings(deadline=None)
@given(NAMES, st.integers(50, 5_000), st.text(max_size=40))
def test_no_budget_is_exceeded(found: list[str], budget_tokens: int, question: str) -> None:
    """Whatever the names."""
    index = FamilyIndex(families_of(snapshot(dict.fromkeys(found, "s"), {}), ALL_VISIBLE), {"s": summary_of(SENSORS)})
    said = describe_families(index, budget_tokens, question)
    assert said.tokens == count_tokens(said.text) <= budget_tokens
    assert len(said.shown) <= said.families_total


def test_a_whole_that_costs_more_than_its_parts_loses_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a text count more than the sum of its pieces, fewer families are shown: no budget is exceeded."""
    plain = describe_families(two_families(), 60)
    monkeypatch.setattr(module, "count_tokens", lambda text: count_tokens(text) + 40)
    said = describe_families(two_families(), 60)
    assert said.tokens <= 60
    assert len(said.shown) < len(plain.shown) == 3
    assert said.text.endswith(f"# {3 - len(said.shown)} more")
