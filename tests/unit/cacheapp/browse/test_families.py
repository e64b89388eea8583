"""Families in the list of names and in the search: one row whatever they have, and what differs is named."""

from collections.abc import Mapping
from functools import partial

import pytest

from cacheapp.browse.families import MAX_LISTED_BYTES, SHOWN_ODD, FamilyRow, list_families, odd_members
from cacheapp.browse.filters import PAGE, NameFilter, NameState, Sort, Times
from cacheapp.browse.found import SHOWN_FAMILIES, FoundName, find_names
from cacheapp.mapping.fields import FieldCounts
from cacheapp.shown_changes import RecentOfIndex
from cacheapp.state.expressions import Expression, resolve
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source, mapping_hash
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.clock import now_utc
from tests.support.fakes import A_MAPPING, B_MAPPING, C_MAPPING
from tests.support.snapshots import changed

TIMES = Times(now=100.0, ttl=10.0, max_stale=50.0)
choosing = partial(NameFilter, visible=ALL_VISIBLE)
"""A filter of somebody who sees everything."""


def snapshot(indices: Mapping[str, bytes], aliases: Mapping[str, tuple[str, ...]] | None = None) -> Snapshot:
    """Indices with these mappings; `data` is a data stream."""
    entries = {name: IndexEntry(None, mapping_hash(own), 95.0, Source.MEMORY) for name, own in indices.items()}
    bodies = {mapping_hash(own): own for own in indices.values()}
    return changed(Snapshot(), entries, bodies, aliases=aliases, aliases_at=100.0, data_streams=frozenset({"data"}))


def listed(known: Snapshot, wanted: NameFilter = choosing()) -> dict[str, FamilyRow]:  # noqa: B008  (frozen)
    return {row.name: row for row in list_families(known, FieldCounts(), wanted, TIMES, {}).rows}


def found(known: Snapshot, q: str, visible: Visible = ALL_VISIBLE) -> dict[str, FoundName]:
    return {one.name: one for one in find_names(known, q, visible).found}


FIFTY = {f"web-{number:02}": A_MAPPING for number in range(1, 51)}


def test_fifty_equal_members_are_one_row() -> None:
    """A family says how many members it has, and that they are equal; an index that is alone is one itself."""
    rows = listed(snapshot({**FIFTY, "orders": B_MAPPING, ".secret": C_MAPPING}))
    assert list(rows) == ["orders", "web*", ".secret"]
    web = rows["web*"]
    assert (web.kind, web.indices_total, web.mappings_total, web.odd_total) == ("indices", 50, 1, 0)
    assert (web.fields_total, web.state, web.age_seconds, web.asked_by) == (1, NameState.FRESH, 5.0, "web*")
    assert (rows["orders"].kind, rows["orders"].asked_by) == ("index", "orders")


def test_which_member_differs() -> None:
    """Those whose mapping isn't that of most are named, the latest first; of two halves the later is the usual one."""
    known = snapshot({**FIFTY, "web-07": B_MAPPING, "web-9": C_MAPPING})
    row = listed(known)["web*"]
    assert (row.mappings_total, row.odd, row.odd_total) == (3, ("web-9", "web-07"), 2)
    assert row.usual == mapping_hash(A_MAPPING)
    half = snapshot({"a-9": A_MAPPING, "a-10": B_MAPPING})
    assert odd_members(half, half.indices) == (2, mapping_hash(B_MAPPING), ["a-9"])
    many = snapshot({**FIFTY, **{f"web-{number}": B_MAPPING for number in range(100, 120)}})
    assert (len(listed(many)["web*"].odd), listed(many)["web*"].odd_total) == (SHOWN_ODD, 20)


def test_what_asks_for_a_family() -> None:
    """What a row leads to stands for its members and for no others, as long as an address has room."""
    few = {f"logs-{number}": A_MAPPING for number in (1, 2)}
    known = snapshot({**few, "logs-app-1": B_MAPPING, "logs-app-2": B_MAPPING, "x-1": A_MAPPING}, {"data": ("x-1",)})
    rows = listed(known)
    assert {name: row.asked_by for name, row in rows.items()} == {
        "data": "data",
        "logs*": "logs-1,logs-2",
        "logs-app*": "logs-app*",
    }
    for name in ("logs*", "logs-app*"):
        asked_by = rows[name].asked_by
        assert len(resolve(known, Expression(asked_by, ALL_VISIBLE)).indices) == rows[name].indices_total
    many = {f"logs-{number:04}": A_MAPPING for number in range(MAX_LISTED_BYTES // 5)}
    assert listed(snapshot({**many, "logs-app-1": B_MAPPING}))["logs*"].asked_by == "logs*"


def test_links_are_made_of_visible_names() -> None:
    """What a link asks for doesn't change with names that its reader doesn't see."""
    mine = {f"payroll-{number}": A_MAPPING for number in (1, 2)}
    alone, beside = snapshot(mine), snapshot({**mine, "payroll-old-1": B_MAPPING}, {"payroll-all": ("payroll-1",)})
    visible = Visible(("payroll-1", "payroll-2"))
    for known in (alone, beside):
        assert listed(known, NameFilter(visible=visible))["payroll*"].asked_by == "payroll*"
        assert found(known, "payroll", visible)["payroll*"].asked_by == "payroll*"
    everything = snapshot({**mine, "payroll-old-1": B_MAPPING})
    assert listed(everything)["payroll*"].asked_by == "payroll-1,payroll-2"


def test_filters() -> None:
    """A family is listed whole for its own name, and with those of its members that match for theirs."""
    known = changed(snapshot({**FIFTY, "orders": B_MAPPING}), {}, {}, closed=frozenset({"web-50"}))
    assert listed(known, choosing("WEB"))["web*"].chosen_total == 50
    row = listed(known, choosing("b-5"))["web*"]
    assert (row.chosen_total, row.indices_total, row.closed_total) == (1, 50, 1)
    assert listed(known, choosing(mapping=mapping_hash(B_MAPPING))).keys() == {"orders"}
    assert listed(known, choosing(of="orders,web-01")).keys() == {"orders", "web*"}
    assert listed(known, choosing(state=NameState.STALE)) == {}
    assert listed(known, NameFilter(visible=Visible(("web-0*",))))["web*"].indices_total == 9


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (Sort.NAME, ["a", "b", "c"]),
        (Sort.FIELDS, ["c", "a", "b"]),
        (Sort.AGE, ["b", "a", "c"]),
        (Sort.CHANGES, ["b", "a", "c"]),
    ],
)
def test_orders(sort: Sort, names: list[str]) -> None:
    """By name; the most fields, the greatest age, the most changes of late first."""
    wide = b'{"properties":{"x":{"type":"long"},"y":{"type":"long"}}}'
    known = snapshot({"a": A_MAPPING, "b": A_MAPPING, "c": wide})
    older = {"b": IndexEntry(None, mapping_hash(A_MAPPING), 20.0, Source.MEMORY)}
    changes = {"b": RecentOfIndex(2, now_utc())}
    page = list_families(changed(known, older, {}), FieldCounts(), choosing(sort=sort), TIMES, changes)
    assert [row.name for row in page.rows] == names


def test_pages() -> None:
    """All pages together are all families, and each counts all indices."""
    known = snapshot({f"{chr(97 + number % 26)}{chr(97 + number // 26)}x-1": A_MAPPING for number in range(PAGE + 1)})
    first = list_families(known, FieldCounts(), choosing(), TIMES, {})
    rest = list_families(known, FieldCounts(), choosing(start=PAGE), TIMES, {})
    assert (len(first.rows), first.next_cursor, len(rest.rows), rest.next_cursor) == (PAGE, str(PAGE), 1, "")
    assert (first.total, first.indices_total) == (PAGE + 1, PAGE + 1)


def test_finding_names() -> None:
    """Each word is in the name, whatever the case; a star is one; the nearest comes first, and members are counted."""
    known = snapshot({**FIFTY, "web": B_MAPPING, "other-web-1": C_MAPPING, "x": A_MAPPING}, {"webs": ("x", "web-01")})
    assert list(found(known, "WEB")) == ["web*", "webs", "other-web-1"]
    row = found(known, "web-4*")["web*"]
    assert (row.matching_total, row.matching[0], row.indices_total, row.mappings_total) == (10, "web-40", 50, 2)
    assert list(found(known, "web other")) == ["other-web-1"]
    assert found(known, "  ") == {}
    many = snapshot({f"a{chr(97 + number)}x": A_MAPPING for number in range(SHOWN_FAMILIES + 1)})
    everything = find_names(many, "a", ALL_VISIBLE)
    assert (len(everything.found), everything.total) == (SHOWN_FAMILIES, SHOWN_FAMILIES + 1)


def test_near_names() -> None:
    """Where nothing has the words, names like them are suggested, of those alone that are visible."""
    known = snapshot({"orders": A_MAPPING, "ordners": B_MAPPING})
    assert find_names(known, "ordes", ALL_VISIBLE).near[0] == "orders"
    assert find_names(known, "ordes", Visible(("ordn*",))).near == ("ordners",)


def test_an_alias_beside_a_family_is_found_too() -> None:
    """An index belongs to one family, but is reached by each of its aliases."""
    known = snapshot({"x-1": A_MAPPING, "x-2": A_MAPPING}, {"large": ("x-1", "x-2"), "small": ("x-1",)})
    assert (found(known, "small")["small"].kind, found(known, "small")["small"].indices_total) == ("alias", 1)
    assert found(known, "small", Visible(("large",))) == {}
