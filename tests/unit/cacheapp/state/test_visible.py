"""Which names a caller may see."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.errors import IllegalName, MappingNotFound
from cacheapp.state.names import matches
from cacheapp.state.visible import ALL_VISIBLE, Visible


@pytest.mark.parametrize(
    ("patterns", "name", "covered"),
    [
        (("logs-*",), "logs-web", True),
        (("logs-*",), "orders", False),
        (("logs-*", "orders"), "orders", True),
        (("*",), "orders", True),
        ((), "orders", False),
    ],
)
def test_a_name_is_visible_where_a_pattern_matches_it(patterns: tuple[str, ...], name: str, covered: bool) -> None:
    """One matching pattern is enough; without any, nothing is visible."""
    assert Visible(patterns).covers(name) is covered


def test_hundreds_of_patterns() -> None:
    """Thousands of names are compared with the patterns of a token for one answer."""
    visible = Visible((*(f"zz{number}-*" for number in range(200)), "a*c", "exact"))
    started_at = time.thread_time()
    assert [name for number in range(20_000) if visible.covers(name := f"logs-{number}")] == []
    assert time.thread_time() - started_at < 1
    assert all(map(visible.covers, ("zz7-1", "abc", "exact", "zz199-")))
    assert not any(map(visible.covers, ("zz7", "abcd", "exactly", "zz200-1", "")))


def test_everything_is_visible_only_by_the_pattern_of_all_names() -> None:
    """Operational routes ask for this: a pattern that happens to match all present names isn't it."""
    assert ALL_VISIBLE.everything
    assert not Visible(("a*", "logs-*")).everything


def test_what_is_said_of_what_is_not_visible() -> None:
    """The same as of what isn't there, or can't be a name: whether it is there plays no part."""
    Visible(("logs-*",)).check("logs-web")
    with pytest.raises(MappingNotFound, match="no index, alias or data stream named 'orders'"):
        Visible(("logs-*",)).check("orders")
    for illegal in ("Orders", "or/ders", "", "logs-" + "x" * 251):
        with pytest.raises(IllegalName):
            Visible(("logs-*",)).check(illegal)


@given(st.text("ab*", min_size=1, max_size=6), st.text("ab*", min_size=1, max_size=6), st.text("ab", max_size=8))
def test_a_covered_pattern_stands_for_covered_names(pattern: str, scope: str, name: str) -> None:
    """A pattern that a scope covers as if it were a name gives no name that the scope doesn't cover: searches rely on
    it.
    """
    if Visible((scope,)).covers(pattern) and matches(name, pattern):
        assert Visible((scope,)).covers(name)
