"""Which changes a caller wants, and after which of them. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from cacheapp.change_log import Outline
from cacheapp.shown_changes import is_chosen
from cacheapp.state.changes import ChangeKind
from cacheapp.state.choice import EVERY_NAME, NameChoice
from cacheapp.state.expressions import parse
from cacheapp.state.visible import Visible
from esassistant.errors import BadRequest, Forbidden

MAX_CHANGE_ID: Final = 999_999_999
_POSITION = re.compile(r"(\d{1,9})(?:-(\S{1,32}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interest:
    """Which changes a caller wants, and what exists for it. `kinds` empty: all. A gap is told whatever is wanted."""

    visible: Visible
    chosen_by: NameChoice = EVERY_NAME
    kinds: frozenset[ChangeKind] = frozenset()

    def takes(self, change: Outline) -> bool:
        """Whether a change is wanted."""
        is_wanted = not self.kinds or change.kind in self.kinds or change.kind == ChangeKind.GAP.value
        return is_wanted and is_chosen(change, self.visible, self.chosen_by)


def interest_of(pattern: str | None, kinds: str | None, visible: Visible) -> Interest:
    """Read what a caller asks for who sees these names.

    Raises:
        Forbidden: It sees some of the names, and gives no pattern.
        BadRequest: There is no such kind, or the pattern is none.
    """
    if pattern is None and not visible.everything:
        raise Forbidden(
            "Without a pattern this is of all names, and needs a token that sees all: send pattern= with names or "
            f"patterns of yours, such as pattern={visible.patterns[0]}."
        )
    return Interest(visible, EVERY_NAME if pattern is None else NameChoice(parse(pattern)), _kinds(kinds))


def _kinds(given: str | None) -> frozenset[ChangeKind]:
    try:
        return frozenset() if given is None else frozenset(map(ChangeKind, given.split(",")))
    except ValueError:
        raise BadRequest(f"Use kind= with one or more of {','.join(ChangeKind)}, with commas between.") from None


@dataclass(frozen=True, slots=True)
class Position:
    """The change after which a caller goes on: its id, and the name of its history; None: it didn't say which."""

    id: int
    history: str | None = None

    def __str__(self) -> str:
        return str(self.id) if self.history is None else f"{self.id}-{self.history}"


def position_of(since: str | None, last_event_id: str | None) -> Position | None:
    """Where a caller goes on: after the last event that it got, as who reconnects says, else after `since`; None: it
    says neither. Raises `BadRequest`.

    >>> str(position_of("7", None))
    '7'
    >>> str(position_of("7", "1042-6d1c0b8a2f3e4d5c"))
    '1042-6d1c0b8a2f3e4d5c'
    """
    if last_event_id:
        found = _POSITION.fullmatch(last_event_id)
        if found is None:
            raise BadRequest("Send in Last-Event-ID the id of an event of this address, or the id of a change.")
        return Position(int(found[1]), found[2])
    return None if since is None else Position(change_id(since))


def change_id(given: str) -> int:
    """Read `since`. Raises `BadRequest`."""
    # `int` refuses thousands of digits with an error of its own.
    if not given.isascii() or not given.isdigit() or len(given) > len(str(MAX_CHANGE_ID)):
        raise BadRequest(f"Use since= with a whole number from 0 to {MAX_CHANGE_ID}.")
    return int(given)
