"""Which recorded changes an expression chooses."""

import pytest

from cacheapp.state.choice import EVERY_NAME, NameChoice
from cacheapp.state.expressions import parse


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
