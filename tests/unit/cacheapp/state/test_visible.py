"""Which names a caller may see."""

import pytest

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


def test_everything_is_visible_only_by_the_pattern_of_all_names() -> None:
    """Operational routes ask for this: a pattern that happens to match all present names isn't it."""
    assert ALL_VISIBLE.everything
    assert not Visible(("a*", "logs-*")).everything
