"""Which recorded changes an expression chooses."""

import gc
import time
import tracemalloc

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


def test_two_that_are_read_alike_are_one() -> None:
    """Equal lists are equal, whoever read them; what is left out makes a difference."""
    one, two = (NameChoice(parse("a*,b,-ab,c")) for _ in range(2))
    assert (one, hash(one)) == (two, hash(two))
    assert one != NameChoice(parse("a*,b,ab,c"))
    assert [one.names(name) for name in ("b", "ab", "a*", "d")] == [True, True, False, False]


def test_what_many_patterns_cost() -> None:
    """Thousands of names are compared with fifty of them; and the garbage collector has hardly more to look through for
    each of 900 followers.
    """
    parts = parse(",".join(f"n{number}-*" for number in range(50)))
    gc.collect()
    before = len(gc.get_objects())
    choices = [NameChoice(parts) for _ in range(100)]
    gc.collect()
    assert len(gc.get_objects()) - before < 10 * len(choices)
    started_at = time.thread_time()
    assert not any(choices[0].covers((f"logs-{number}",)) for number in range(20_000))
    assert time.thread_time() - started_at < 0.25


def test_what_a_long_list_costs() -> None:
    """The names of a list are kept once, with their places: each of 900 followers may have one."""
    text = ",".join(f"{number:03x}" for number in range(1_999))
    parse(text)
    tracemalloc.start()
    try:
        choice = NameChoice(parse(text))
        # Python keeps up to 2 000 tuples of two that are freed, to use them again, and tracemalloc counts those. What
        # ran before decides how many are new. A whole collection frees them.
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert choice.covers(["7ce"])
    assert kept < 150 * 1_999


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
