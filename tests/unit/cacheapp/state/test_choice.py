"""Which recorded changes an expression chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.state.choice import EVERY_NAME, NameChoice
from cacheapp.state.expressions import Part, parse
from cacheapp.state.names import matcher


@pytest.mark.parametrize(
    ("text", "names", "is_chosen"),
    [
        ("logs-*", ["logs-1"], True),
        ("logs-*", ["orders"], False),
        ("orders,logs-*", ["orders"], True),
        ("logs-*,-logs-old-*", ["logs-old-1"], False),
        ("logs-*,-logs-old-*,logs-old-1", ["logs-old-1"], True),
        ("*", [".hidden"], False),
        (".h*", [".hidden"], True),
        (".hidden", [".hidden"], True),
        ("logs", [".ds-logs-1", "logs"], True),
        ("*,-logs", [".ds-logs-1", "logs"], False),
    ],
)
def test_what_is_chosen(text: str, names: list[str], is_chosen: bool) -> None:
    """From left to right, by one of the names; with a dot by a pattern with a dot, as in addresses."""
    assert NameChoice(parse(text)).covers(names) is is_chosen


def test_without_parts_all_are_chosen() -> None:
    """Hidden ones too."""
    assert EVERY_NAME.covers([".hidden"])


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(["a", "b", ".a", "ab", "a*", "*b", "*", ".*"])), min_size=1, max_size=8
    ),
    st.lists(st.sampled_from(["a", "b", ".a", "ab", "abb", ".b"]), max_size=3),
)
def test_the_last_that_stands_for_a_name_decides(asked: list[tuple[bool, str]], names: list[str]) -> None:
    """However the names are looked up, it is as if the parts were read from left to right."""
    parts = tuple(Part(text, matcher(text), is_excluded) for is_excluded, text in asked)
    wanted = False
    for part in parts:
        is_shown = [name for name in names if part.text[0] == "." or "*" not in part.text or name[0] != "."]
        if any(part.matches(name) for name in is_shown):
            wanted = not part.is_excluded
    assert NameChoice(parts).covers(names) is wanted
