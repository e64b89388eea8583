"""Lines say each field's whole path, and are as short as they can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.describe.entries import Entry
from cacheapp.describe.tokens import count_tokens
from cacheapp.describe.writing import lines_of, tokens_of


def text_of(*shown: Entry, noted: frozenset[str] | None = None) -> str:
    return "".join(piece.text for line in lines_of(shown) for piece in line.pieces(noted))


def test_equal_types_share_their_name() -> None:
    """The top level comes first, without a beginning."""
    text = text_of(Entry("b.x", "ip"), Entry("a", "keyword"), Entry("c", "long"), Entry("d", "keyword", "(.text)"))
    assert text == "\nkeyword a d(.text); long c\nb.: ip x"


def test_small_objects_stand_in_the_line_around_them() -> None:
    """An object with few fields pays for no line of its own; one with many does."""
    small = text_of(Entry("a.b.c.d", "long"), Entry("a.b.e", "long"))
    assert small == "\na.: long b.e b.c.d"
    many = text_of(Entry("a.x", "long"), *(Entry(f"a.object.name{n}", "long") for n in range(9)))
    assert many == f"\na.: long x\na.object.: long {' '.join(f'name{n}' for n in range(9))}"


def test_an_object_of_objects_has_no_line() -> None:
    """Where all that is in it stands elsewhere, it isn't written."""
    assert (
        text_of(*(Entry(f"a.b.name{n}", "long") for n in range(9)))
        == f"\na.b.: long {' '.join(f'name{n}' for n in range(9))}"
    )


def test_a_nested_object_has_its_own_line() -> None:
    """Whatever it costs: queries have to name it."""
    text = text_of(Entry("a.n.x", "ip", nested_path="a.n"), Entry("a.y", "ip"))
    assert text == "\na.: ip y\na.n. (nested): ip x"


def test_notes_follow_their_line() -> None:
    """All of them, or those that are wanted."""
    shown = Entry("a.x", "ip", note="whose"), Entry("a.y", "ip", note="other")
    assert text_of(*shown) == "\na.: ip x y\n  x — whose\n  y — other"
    assert text_of(*shown, noted=frozenset(["a.y"])) == "\na.: ip x y\n  y — other"


@pytest.mark.parametrize("dots", [1, 1000])
def test_any_depth_is_written(dots: int) -> None:
    """No recursion, whatever the name."""
    path = ".".join(["a"] * (dots + 1))
    assert text_of(Entry(path, "long")).endswith("long " + path.partition(".")[2])


PATHS = st.lists(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=5).map(".".join), unique=True)


@given(PATHS)
def test_no_field_is_lost(paths: list[str]) -> None:
    """Each path can be read from the lines, once; what pieces cost is what the text costs at least."""
    lines = lines_of([Entry(path, "long") for path in paths])
    assert sorted(entry.path for line in lines for entry in line.entries) == sorted(paths)
    assert all(entry.path.startswith(f"{line.prefix}.") for line in lines if line.prefix for entry in line.entries)
    pieces = [piece.text for line in lines for piece in line.pieces(None)]
    assert count_tokens("".join(pieces)) <= tokens_of(pieces) + 1
