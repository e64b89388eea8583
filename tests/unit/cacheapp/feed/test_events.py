"""The text of the feed is that of the standard for server-sent events."""

import json
from datetime import UTC, datetime

import pytest

from cacheapp.feed.events import PIECE_BYTES, comment, event, in_pieces, moved, opening
from cacheapp.feed.interest import Position
from cacheapp.shown_changes import ShownChange


def change(number: int = 7, field: str = "a") -> ShownChange:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ShownChange(
        number, "i", at, "changed", None, True, None, [field], [], [], [], 1, 0, 0, 0, "p"
    )  # one added field


def test_an_event() -> None:
    """Its id has the history's name; its data is one line, whatever fields are named; it has no name."""
    text = event(change(field="a\nb\r\u2028\x85c"), "6d1c")
    first, second, *rest = text.decode().split("\n")
    assert first == "id: 7-6d1c"
    assert rest == ["", ""]
    assert "\r" not in second
    data = json.loads(second.removeprefix("data: "))
    assert (data["id"], data["kind"], data["added"]) == (7, "changed", ["a\nb\r\u2028\x85c"])


def test_what_is_no_event() -> None:
    """Comments, also of several lines, and a place without data."""
    assert comment("down:\nnow\r\n") == b": down: now\n"
    assert comment("") == b": \n"
    assert moved(Position(9, "h")) == b"id: 9-h\n\n"
    assert opening(Position(9, "h"), 1500, "history h") == b": history h\nretry: 1500\nid: 9-h\n\n"


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [([], []), ([1, 2], [3]), ([PIECE_BYTES, 1], [PIECE_BYTES, 1]), ([PIECE_BYTES - 1, 2, 3], [PIECE_BYTES + 1, 3])],
)
def test_pieces(sizes: list[int], pieces: list[int]) -> None:
    """No more is given to a connection at once than it holds; nothing is nothing."""
    assert [len(piece) for piece in in_pieces(b"x" * size for size in sizes)] == pieces
