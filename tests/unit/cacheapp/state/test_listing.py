"""Pages of names: complete, in order, filtered, and stable between pages."""

import base64
import json
import re
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.errors import IllegalName
from cacheapp.state.listing import Kind, Listed, NameFilter, NamePages, State, name_page
from cacheapp.state.names import Selection, matches
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.errors import BadRequest
from tests.support.snapshots import changed

LETTERS = st.text("ab-", min_size=1, max_size=6)
choosing = partial(NameFilter, visible=ALL_VISIBLE)
"""A filter of somebody who sees everything."""


def snapshot(*names: str) -> Snapshot:
    entries = {name: IndexEntry(None, "h", 90.0, Source.MEMORY) for name in names}
    return changed(Snapshot(), entries, {"h": b"{}"})


def all_names(listing: NamePages, known: Snapshot, pattern: str, limit: int) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = name_page(listing.sorted_names(known), known, 100.0, choosing(pattern), limit=limit, cursor=cursor)
        assert len(page.names) <= limit
        names += [listed.name for listed in page.names]
        cursor = page.next_cursor
        if cursor is None:
            return names


@given(st.sets(LETTERS, max_size=20), st.from_regex(r"[ab*][ab*-]{0,4}", fullmatch=True), st.integers(1, 7))
def test_pages_are_complete(names: set[str], pattern: str, limit: int) -> None:
    """All pages together are exactly the matching names, in order, each once."""
    expected = sorted(name for name in names if matches(name, pattern))
    assert all_names(NamePages(), snapshot(*names), pattern, limit) == expected


@given(LETTERS, st.text("ab-*", max_size=8))
def test_patterns_mean_what_they_say(name: str, pattern: str) -> None:
    """`*` stands for any characters, everything else for itself: as a regular expression would say it."""
    assert matches(name, pattern) == bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name))


@given(st.sets(LETTERS, max_size=20), st.integers(1, 7))
def test_pages_show_what_is_visible(names: set[str], limit: int) -> None:
    """All pages together have the visible names alone; no cursor names another one."""
    visible = Visible(("a*", "*b"))
    listing, known, found, cursor = NamePages(), snapshot(*names), list[str](), None
    while True:
        page = name_page(
            listing.sorted_names(known), known, 100.0, NameFilter("*", visible=visible), limit=limit, cursor=cursor
        )
        found += [listed.name for listed in page.names]
        if (cursor := page.next_cursor) is None:
            break
        assert base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode() == found[-1]
    assert found == sorted(filter(visible.covers, names))


def test_many_stars_are_quick() -> None:
    """A pattern made to backtrack is answered at once."""
    assert not matches("a" * 255, "a*" * 127 + "b")


def test_kinds() -> None:
    """Indices, aliases and data streams are told apart; each is as old as the oldest thing that it stands for."""
    known = changed(
        snapshot("a", "b"),
        {},
        {},
        aliases={"x": ("a", "b"), "d": ("a",)},
        aliases_at=95.0,
        data_streams=frozenset({"d"}),
    )
    page = name_page(NamePages().sorted_names(known), known, 100.0, choosing("*"), limit=10, cursor=None)
    assert page.names == (
        Listed("a", Kind.INDEX, "h", ("a",), (), 10.0),
        Listed("b", Kind.INDEX, "h", ("b",), (), 10.0),
        Listed("d", Kind.DATA_STREAM, None, ("a",), (), 10.0),
        Listed("x", Kind.ALIAS, None, ("a", "b"), (), 10.0),
    )


def test_names_of_a_new_snapshot() -> None:
    """A listing follows the snapshot that it is given."""
    listing = NamePages()
    assert all_names(listing, snapshot("a"), "*", 5) == ["a"]
    assert all_names(listing, snapshot("a", "b"), "*", 5) == ["a", "b"]


@pytest.mark.parametrize("cursor", ["?", "é", "a", "_w", "===="])
def test_foreign_cursors(cursor: str) -> None:
    """A cursor that isn't ours is said to be so."""
    with pytest.raises(BadRequest, match="next_cursor"):
        name_page(NamePages().sorted_names(snapshot("a")), snapshot("a"), 0.0, choosing("*"), limit=5, cursor=cursor)


@pytest.mark.parametrize("pattern", ["", "-a", "a b", "a," * 5000])
def test_illegal_patterns(pattern: str) -> None:
    """What is no expression of names is refused, as everywhere."""
    with pytest.raises(IllegalName):
        name_page(NamePages().sorted_names(snapshot("a")), snapshot("a"), 0.0, choosing(pattern), limit=5, cursor=None)


def a_cluster() -> Snapshot:
    """Open and closed indices of two mappings, a hidden one, an alias and data streams."""
    known = changed(
        snapshot("logs-1", "logs-2", "shop", ".kibana", "secret"),
        {"orders": IndexEntry(None, "other", 50.0, Source.MEMORY)},
        {"other": b"{}"},
        aliases={"logs": ("logs-1", "logs-2"), "old": ("logs-2",), "stream": (".kibana",)},
        aliases_at=95.0,
        data_streams=frozenset({"stream"}),
    )
    return replace(known, closed=frozenset({"logs-2"}), hidden=frozenset({"secret"}))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (choosing(), [".kibana", "logs", "logs-1", "logs-2", "old", "orders", "secret", "shop", "stream"]),
        (choosing("*"), ["logs", "logs-1", "logs-2", "old", "orders", "shop", "stream"]),
        (choosing(".*,secret"), [".kibana", "secret"]),
        (choosing("logs*,-*-1,shop"), ["logs", "logs-2", "shop"]),
        (choosing("nothing"), []),
        (choosing(kind=Kind.ALIAS), ["logs", "old"]),
        (choosing(kind=Kind.DATA_STREAM), ["stream"]),
        (choosing("*", kind=Kind.INDEX, state=State.OPEN), ["logs-1", "orders", "shop"]),
        (choosing(state=State.CLOSED), ["logs-2", "old"]),
        (choosing(state=State.STALE), ["orders"]),
        (choosing(mapping_hashes={"other"}), ["orders"]),
        (choosing(mapping_hashes=frozenset()), []),
        (NameFilter("*", visible=Visible(("logs*", ".k*"))), ["logs", "logs-1", "logs-2"]),
    ],
)
def test_filters(wanted: NameFilter, names: list[str]) -> None:
    """Each filter gives its names, alone and with others, on pages of one as on one page."""
    for limit in (1, 100):
        listing, found, cursor = NamePages(), [], None
        while True:
            page = name_page(
                listing.sorted_names(a_cluster()), a_cluster(), 100.0, wanted, limit=limit, cursor=cursor, ttl=20.0
            )
            found += [listed.name for listed in page.names]
            if (cursor := page.next_cursor) is None:
                break
        assert found == names


def test_closed_indices_are_marked() -> None:
    """Of an alias it is said which of its indices are closed."""
    page = name_page(NamePages().sorted_names(a_cluster()), a_cluster(), 100.0, choosing("logs"), limit=5, cursor=None)
    assert [listed.closed_indices for listed in page.names] == [("logs-2",)]


def test_selection() -> None:
    """An index is selected when it matches an include and no exclude."""
    selection = Selection(("logs-*", "shop"), ("*-old",))
    assert [name for name in ("logs-1", "logs-old", "shop", "other") if selection.covers(name)] == ["logs-1", "shop"]
    assert Selection().covers("anything")


def test_the_first_page_is_made_once_a_second() -> None:
    """It is given as it is for a second, with ages that are never understated, and made anew then, or with another
    snapshot.
    """
    listing, known = NamePages(), snapshot("a", "b")
    first = listing.first(known, 100.0)
    assert [(name["name"], name["age_seconds"]) for name in json.loads(first.body)["names"]] == [
        ("a", 11.0),
        ("b", 11.0),
    ]
    assert listing.first(known, 100.999) is first
    later = listing.first(known, 101.0)
    assert later.etag != first.etag
    renewed = replace(known, confirmed_at=101.0)
    assert [name["age_seconds"] for name in json.loads(listing.first(renewed, 101.5).body)["names"]] == [1.5, 1.5]


def test_names_are_sorted_once() -> None:
    """As long as the names are the same, whatever their ages and mappings; with a new one, or one less, anew."""
    listing, known = NamePages(), snapshot("b", "a")
    sorted_names = []
    for each in (known, replace(known, confirmed_at=100.0), snapshot("b", "a"), snapshot("a", "b", "c"), snapshot("a")):
        page = name_page(listing.sorted_names(each), each, 100.0, choosing("*"), limit=10, cursor=None)
        assert [listed.name for listed in page.names] == sorted(each.indices)
        sorted_names.append(listing._names)
    assert [names is sorted_names[0] for names in sorted_names] == [True, True, True, False, False]
    aliased = changed(snapshot("a"), {}, {}, aliases={"x": ("a",)}, aliases_at=95.0)
    assert [
        listed.name
        for listed in name_page(
            listing.sorted_names(aliased), aliased, 100.0, choosing("*"), limit=9, cursor=None
        ).names
    ] == [
        "a",
        "x",
    ]
