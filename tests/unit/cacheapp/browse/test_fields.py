"""Fields as a tree and as what a search finds: complete, in order, bounded."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheapp.browse.fields import (
    SHOWN_CONFLICTS,
    SHOWN_FIELDS,
    Branch,
    Piece,
    Search,
    draw_tree,
    find,
    show_fields,
    split_at_words,
)
from cacheapp.mapping.fields import Field, fields
from esassistant.errors import BadRequest
from tests.support.mappings import body, strange_mappings

SHOP = {
    "properties": {
        "order-id": {"type": "keyword"},
        "order": {
            "properties": {
                "id": {"type": "long"},
                "note": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
            }
        },
        "placed": {"type": "date", "format": "epoch_millis", "meta": {"unit": "ms"}},
        "when": {"type": "alias", "path": "placed"},
    },
    "runtime": {"day": {"type": "keyword"}},
}


def listed(*mappings: object) -> tuple[Field, ...]:
    """The fields over `mappings`, each of an index of its own."""
    return fields({f"i{number}": body(mapping) for number, mapping in enumerate(mappings)})


def drawn(branches: tuple[Branch, ...]) -> list[str]:
    """The tree as indented lines, drawn as the page does: by what opens and closes."""
    lines, depth = [], 0
    for branch in branches:
        lines.append("  " * depth + "".join(piece.text for piece in branch.shown.label))
        depth += 1 if branch.opens else -len(branch.closes)
    assert depth == 0
    return lines


def test_a_tree() -> None:
    """Objects before what is in them, multi-fields below their field, names that only look alike beside each other."""
    branches = draw_tree(listed(SHOP), 1).rows
    assert drawn(branches) == [
        "day",
        "order",
        "  id",
        "  note",
        "    raw",
        "order-id",
        "placed",
        "when",
    ]
    assert [branch.below_total for branch in branches] == [0, 3, 0, 1, 0, 0, 0, 0]


def test_conflicts_below() -> None:
    """An object, which may be closed, says how many of the fields below it are in conflict."""
    other = {"properties": {"order": {"properties": {"id": {"type": "keyword"}, "note": {"type": "text"}}}}}
    branches = draw_tree(listed(SHOP, other), 2).rows
    assert {one.shown.field.name for one in branches if one.shown.is_in_conflict} == {"order.id"}
    assert {one.shown.field.name: one.conflicts_below_total for one in branches if one.below_total} == {
        "order": 1,
        "order.note": 0,
    }


def test_what_is_said_of_a_field() -> None:
    """What sort of field it is, and what else there is to know, in words."""
    said = {branch.shown.field.name: branch.shown for branch in draw_tree(listed(SHOP, {}), 2).rows}
    half = "in 1 of 2 indices"
    assert said["order"].notes == (half,)
    assert said["order.note"].notes == (half, "not aggregatable")
    assert said["order.note.raw"].marks == ("multi-field",)
    assert said["day"].marks == ("runtime",)
    assert said["when"].marks == ("alias",)
    assert said["when"].notes == ("stands for placed", half, "format epoch_millis", "unit: ms")


@given(strange_mappings, st.integers(1, 8))
def test_a_tree_is_bounded_and_sound(mapping: object, limit: int) -> None:
    """Never more rows than permitted, no field twice, all where there is room, each below what it belongs to."""
    everything = listed(mapping)
    branches = draw_tree(everything, 1, limit).rows
    drawn(branches)
    names = [branch.shown.field.name for branch in branches]
    assert len(names) == len(set(names)) <= limit
    assert len(draw_tree(everything, 1, 1000).rows) == len(everything)


@given(strange_mappings, st.integers(1, 3))
def test_a_tree_has_no_end(mapping: object, limit: int) -> None:
    """Asked part by part, as the page does, the tree gives each field once, however few rows a part has."""
    everything = listed(mapping)
    assume(all(field.name for field in everything))  # Elasticsearch refuses empty names
    seen: list[str] = []
    parts = [("", "")]
    while parts:
        tree = draw_tree(everything, 1, limit, under=(part := parts.pop())[0], after=part[1])
        seen += [branch.shown.field.name for branch in tree.rows]
        parts += [(branch.shown.field.name, "") for branch in tree.rows if branch.is_lazy]
        if tree.next_after:
            assert tree.left_total > 0
            parts.append((tree.under, tree.next_after))
    assert sorted(seen) == [field.name for field in everything]


def test_a_part_of_a_tree() -> None:
    """What is below one field, by the rest of the names; of a field that isn't there nothing is."""
    everything = listed(SHOP)
    tree = draw_tree(everything, 1, under="order")
    assert (drawn(tree.rows), tree.total, tree.next_after) == (["id", "note", "  raw"], 3, "")
    assert drawn(draw_tree(everything, 1, under="order.note").rows) == ["raw"]
    assert draw_tree(everything, 1, under="nowhere").rows == ()
    first = draw_tree(everything, 1, limit=2)
    assert (drawn(first.rows), first.next_after, first.left_total) == (["day", "order"], "order", 3)
    assert drawn(draw_tree(everything, 1, after=first.next_after).rows) == ["order-id", "placed", "when"]


def test_what_is_near_the_root_comes_first() -> None:
    """Where there isn't room for all, the objects themselves are shown before what is in them, and say what is
    below.
    """
    wide = {f"o{number}": {"properties": {f"f{n}": {"type": "long"} for n in range(4)}} for number in range(3)}
    branches = draw_tree(listed({"properties": wide}), 1, limit=8).rows
    assert drawn(branches) == ["o0", "  f0", "  f1", "  f2", "  f3", "o1", "o2"]
    assert [(branch.opens, branch.below_total) for branch in branches if branch.below_total] == [
        (True, 4),
        (False, 4),
        (False, 4),
    ]


def test_ten_thousand_fields() -> None:
    """So many rows at first, of the tree as of a search, and where the others are."""
    properties = {f"field_{number:05}": {"type": "long"} for number in range(10_000)}
    everything = listed({"properties": properties})
    shown = show_fields(everything, Search(), 1)
    assert shown.tree is not None
    assert (len(shown.tree.rows), shown.tree.left_total, shown.is_open) == (SHOWN_FIELDS, 10_000 - SHOWN_FIELDS, False)
    searched = show_fields(everything, Search("field_01"), 1)
    assert (len(searched.found), searched.found_total, searched.left_out) == (SHOWN_FIELDS, 1_000, 1_000 - SHOWN_FIELDS)
    last = show_fields(everything, Search("field_01", start=900), 1)
    assert (last.found[0].field.name, last.first, last.next_start, last.left_out) == ("field_01900", 901, 1_000, 0)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Search("id"), ["order.id", "order-id"]),
        (Search("ORDER id"), ["order.id", "order-id"]),
        (Search("keyword"), ["day", "order-id", "order.note.raw"]),
        (Search("note keyword"), ["order.note.raw"]),
        (Search("raw text"), []),
        (Search(type="date"), ["placed", "when"]),
        (Search("w", "date"), ["when"]),
        (Search("nothing"), []),
    ],
)
def test_searches(wanted: Search, names: list[str]) -> None:
    """Words in the path, as the API ranks them, then words in the type; one type alone; both."""
    assert [one.name for one in find(listed(SHOP), wanted)] == names


def test_what_is_shown_of_a_search() -> None:
    """The whole path, with what was searched for apart, and how many there are of each type."""
    shown = show_fields(listed(SHOP), Search("note"), 1)
    assert (shown.found_total, shown.tree, shown.left_out) == (2, None, 0)
    assert shown.found[0].label == (Piece("order."), Piece("note", is_hit=True))
    assert dict(shown.types) == {"date": 2, "keyword": 3, "long": 1, "object": 1, "text": 1}


def test_pieces() -> None:
    """Each place of each word, whatever the case; of two words at one place the longer; no word is a pattern."""
    assert split_at_words("Host.host_id", ("host", "host_id")) == (
        Piece("Host", is_hit=True),
        Piece("."),
        Piece("host_id", is_hit=True),
    )
    assert split_at_words("a.b", (".*",)) == (Piece("a.b"),)
    assert split_at_words("", ("a",)) == ()


def test_long_searches_are_refused() -> None:
    """A search is bounded, its words and its type."""
    for q, kind in (("a" * 201, ""), ("", "a" * 201)):
        with pytest.raises(BadRequest, match="200"):
            Search(q, kind)
    assert not Search("  ").narrows


def test_conflicts_are_bounded() -> None:
    """A hundred conflicts at most, and how many there are."""
    one = {f"f{number}": {"type": "long"} for number in range(SHOWN_CONFLICTS + 7)}
    other = {name: {"type": "ip"} for name in one}
    shown = show_fields(listed({"properties": one}, {"properties": other}), Search(), 2)
    assert (len(shown.conflicts), shown.conflicts_total) == (SHOWN_CONFLICTS, SHOWN_CONFLICTS + 7)


def test_every_sort_of_conflict() -> None:
    """Indices may disagree on the type, the format, `meta` and the nested object: each is said, and can be searched
    for.
    """
    one = {
        "type": {"type": "long"},
        "when": {"type": "date", "format": "epoch_millis"},
        "unit": {"type": "long", "meta": {"unit": "ms"}},
        "box": {"type": "nested", "properties": {"in": {"type": "long"}}},
        "same": {"type": "ip"},
    }
    other = {
        "type": {"type": "ip"},
        "when": {"type": "date"},
        "unit": {"type": "long", "meta": {"unit": "s"}},
        "box": {"properties": {"in": {"type": "long"}}},
        "same": {"type": "ip"},
    }
    everything = listed({"properties": one}, {"properties": other})
    shown = show_fields(everything, Search(conflict=True), 2)
    assert {field.field.name: field.notes for field in shown.found} == {
        "box": (),
        "box.in": ("in different nested objects: none or box",),
        "type": (),
        "unit": ("unit differs: ms or s",),
        "when": ("formats differ: the default or epoch_millis",),
    }
    assert all(field.is_in_conflict for field in shown.found)
    assert Search(conflict=True).filters == {"conflict": "true"}
