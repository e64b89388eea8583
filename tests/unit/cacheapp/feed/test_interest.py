"""What a caller wants of the feed, and where it goes on."""

import pytest

from cacheapp.change_log import Outline
from cacheapp.errors import IllegalName
from cacheapp.feed.interest import MAX_CHANGE_ID, Interest, Position, interest_of, position_of
from cacheapp.state.changes import ChangeKind
from cacheapp.state.visible import ALL_VISIBLE, Visible
from esassistant.errors import BadRequest, Forbidden

LOGS = Visible(("logs-*",))


def outline(index: str = "logs-1", kind: str = "changed", names: tuple[str, ...] = ()) -> Outline:
    return Outline(1, index, kind, names)


@pytest.mark.parametrize(
    ("pattern", "kinds", "visible", "change", "takes"),
    [
        (None, None, ALL_VISIBLE, outline("any"), True),
        ("orders*", None, ALL_VISIBLE, outline("logs-1"), False),
        ("orders*", None, ALL_VISIBLE, outline("logs-1", names=("orders",)), True),
        ("logs-*", "created", ALL_VISIBLE, outline(), False),
        ("logs-*", "created,changed", ALL_VISIBLE, outline(), True),
        ("nothing", "created", LOGS, outline("*", "gap"), True),
        ("*", None, LOGS, outline("vault"), False),
        ("vault", None, LOGS, outline("vault", names=("logs-all",)), True),
        ("vault-alias", None, LOGS, outline("logs-1", names=("vault-alias",)), False),
        ("*", None, LOGS, outline("*", "gap"), True),
    ],
)
def test_what_is_wanted(pattern: str | None, kinds: str | None, visible: Visible, change: Outline, takes: bool) -> None:
    """By name, alias of that time and kind, within the scope; a gap in any case."""
    assert interest_of(pattern, kinds, visible).takes(change) == takes


def test_the_same_interest_is_one() -> None:
    """Of those who want the same, what they are told is made once."""
    one, two = (interest_of("logs-*,-logs-old-*", "gap", LOGS) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert one != interest_of("logs-*", "gap", LOGS)
    assert one != Interest(LOGS, kinds=frozenset({ChangeKind.GAP}))


def test_what_is_refused() -> None:
    """Everything, to who sees some; kinds and names that are none, naming those that are."""
    with pytest.raises(Forbidden, match=r"pattern=logs-\*"):
        interest_of(None, None, LOGS)
    with pytest.raises(BadRequest, match="created,changed"):
        interest_of(None, "made", ALL_VISIBLE)
    with pytest.raises(IllegalName):
        interest_of("a,,b", None, ALL_VISIBLE)


@pytest.mark.parametrize(
    ("since", "last_event_id", "position"),
    [
        (None, None, None),
        (None, "", None),
        ("0", None, Position(0)),
        ("7", "", Position(7)),
        ("7", "12", Position(12)),
        ("7", "12-6d1c", Position(12, "6d1c")),
        (str(MAX_CHANGE_ID), None, Position(MAX_CHANGE_ID)),
    ],
)
def test_where_it_goes_on(since: str | None, last_event_id: str | None, position: Position | None) -> None:
    """After the last event, which whoever reconnects says beside an address that stays the same; else after `since`."""
    assert position_of(since, last_event_id) == position


@pytest.mark.parametrize(
    ("since", "last_event_id"),
    [
        ("-1", None),
        ("x", None),
        ("", None),
        ("\u0661", None),
        (str(MAX_CHANGE_ID + 1), None),
        ("9" * 5000, None),
        ("7", "x"),
        (None, "12-"),
        (None, "12-6d 1c"),
        (None, "1" * 10),
        (None, "12-" + "a" * 33),
    ],
)
def test_positions_that_are_none(since: str | None, last_event_id: str | None) -> None:
    """They are refused with what to send."""
    with pytest.raises(BadRequest):
        position_of(since, last_event_id)


def test_a_position_is_told_as_it_is_read() -> None:
    """What an event has as its id leads behind that event."""
    assert position_of(None, str(Position(5, "abc"))) == Position(5, "abc")
    assert str(Position(5)) == "5"
