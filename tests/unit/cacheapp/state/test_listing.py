"""Pages of names: complete, in order, filtered, and stable between pages."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.state.listing import Listed, NamePages
from cacheapp.state.names import Selection, matches
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from esassistant.errors import BadRequest
from tests.support.snapshots import changed

LETTERS = st.text("ab-", min_size=1, max_size=6)


def snapshot(*names: str) -> Snapshot:
    entries = {name: IndexEntry(None, "h", 90.0, Source.MEMORY) for name in names}
    return changed(Snapshot(), entries, {"h": b"{}"})


def all_names(listing: NamePages, known: Snapshot, pattern: str, limit: int) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = listing.page(known, 100.0, pattern=pattern, limit=limit, cursor=cursor)
        assert len(page.names) <= limit
        names += [listed.name for listed in page.names]
        cursor = page.next_cursor
        if cursor is None:
            return names


@given(st.sets(LETTERS, max_size=20), st.text("ab-*", max_size=5), st.integers(1, 7))
def test_pages_are_complete(names: set[str], pattern: str, limit: int) -> None:
    """All pages together are exactly the matching names, in order, each once."""
    expected = sorted(name for name in names if matches(name, pattern))
    assert all_names(NamePages(), snapshot(*names), pattern, limit) == expected


@given(LETTERS, st.text("ab-*", max_size=8))
def test_patterns_mean_what_they_say(name: str, pattern: str) -> None:
    """`*` stands for any characters, everything else for itself: as a regular expression would say it."""
    assert matches(name, pattern) == bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name))


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
    page = NamePages().page(known, 100.0, pattern="*", limit=10, cursor=None)
    assert page.names == (
        Listed("a", "index", "h", ("a",), 10.0),
        Listed("b", "index", "h", ("b",), 10.0),
        Listed("d", "data_stream", None, ("a",), 10.0),
        Listed("x", "alias", None, ("a", "b"), 10.0),
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
        NamePages().page(snapshot("a"), 0.0, pattern="*", limit=5, cursor=cursor)


def test_long_patterns() -> None:
    """A pattern is bounded."""
    with pytest.raises(BadRequest, match="255"):
        NamePages().page(snapshot("a"), 0.0, pattern="a" * 256, limit=5, cursor=None)


def test_selection() -> None:
    """An index is selected when it matches an include and no exclude."""
    selection = Selection(("logs-*", "shop"), ("*-old",))
    assert [name for name in ("logs-1", "logs-old", "shop", "other") if selection.covers(name)] == ["logs-1", "shop"]
    assert Selection().covers("anything")
