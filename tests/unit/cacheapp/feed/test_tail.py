"""The latest changes in memory."""

import json
from datetime import UTC, datetime

from cacheapp.change_log import Head, Outline
from cacheapp.feed.interest import Interest, interest_of
from cacheapp.feed.tail import KEPT_CHANGES, Tail, tail_of
from cacheapp.shown_changes import ShownChange, Stretch
from cacheapp.state.visible import ALL_VISIBLE, Visible

AT = datetime(2026, 1, 1, tzinfo=UTC)
ALL = Interest(ALL_VISIBLE)


def stretch(after: int, *numbers: int, last_id: int | None = None, name: str = "h") -> Stretch:
    """Changes of `i1`, `i2` and so on, which belong to `logs-all` and are of a family."""
    changes = tuple((Outline(number, f"i{number}", "created", ("logs-all",)), shown(number)) for number in numbers)
    end = max([after, *numbers]) if last_id is None else last_id
    return Stretch(Head(name, end, "u"), after, end, changes)


def shown(number: int) -> ShownChange:
    return ShownChange(number, f"i{number}", AT, "created", "vault", True, "i0", ["a"], [], [], [], 1, 0, 0, 0, "p")


def told(tail: Tail, after: int, interest: Interest = ALL) -> list[int]:
    return [data(text)["id"] for text in tail.told_to(interest, after)]


def data(text: bytes) -> dict[str, int]:
    found: dict[str, int] = json.loads(text.split(b"\n")[1].removeprefix(b"data: "))
    return found


def test_what_follows() -> None:
    """Changes are told once each, in order, after any id; holes of rows that somebody deleted don't matter."""
    tail = tail_of(stretch(0, 1, 2))
    assert (tail.after, tail.last_id) == (0, 2)
    following = tail.followed_by(stretch(2, 3, 6, last_id=7))
    assert following is not None
    assert (following.after, following.last_id) == (0, 7)
    assert [told(following, after) for after in (0, 2, 4, 6, 7)] == [[1, 2, 3, 6], [3, 6], [6], [], []]
    # The same once more, as two may ask at once.
    again = following.followed_by(stretch(2, 3, 6, last_id=7))
    assert again is not None
    assert told(again, 0) == [1, 2, 3, 6]


def test_few_are_kept() -> None:
    """The oldest go; what is asked for after an older one is not here any more."""
    tail = tail_of(stretch(0, *range(1, KEPT_CHANGES + 1))).followed_by(stretch(KEPT_CHANGES, KEPT_CHANGES + 1))
    assert tail is not None
    assert (tail.after, tail.last_id, len(tail.changes)) == (1, KEPT_CHANGES + 1, KEPT_CHANGES)
    assert told(tail, tail.after)[:2] == [2, 3]


def test_too_many_at_once() -> None:
    """Where more happened than is read at once the tail begins anew, behind what it had."""
    tail = tail_of(stretch(0, 1)).followed_by(stretch(500, 501, last_id=501))
    assert tail is not None
    assert (tail.after, tail.last_id, told(tail, 500)) == (500, 501, [501])


def test_another_history() -> None:
    """Another one, or the same set back, doesn't follow: ids would mean something else."""
    tail = tail_of(stretch(0, 1, 2, 3))
    assert tail.followed_by(stretch(0, 1, name="other")) is None
    assert tail.followed_by(stretch(0, 1, 2)) is None


def test_each_sees_what_exists_for_it() -> None:
    """Equal for equals: an event is written once for all who see the same of it."""
    tail = tail_of(stretch(0, 1))
    wide, narrow, other = (
        ALL,
        interest_of("*", None, Visible(("logs-*",))),
        interest_of("*", None, Visible(("logs-all",))),
    )
    [everything], [less], [same] = (list(tail.told_to(interest, 0)) for interest in (wide, narrow, other))
    assert data(everything) | {"family": "vault", "compared_with": "i0"} == data(everything)
    assert data(less) | {"family": "logs-all", "compared_with": None, "compared": False, "added": []} == data(less)
    assert less is same
    assert told(tail, 0, interest_of("*", None, Visible(("vault",)))) == []
