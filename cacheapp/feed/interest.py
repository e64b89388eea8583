"""Which changes a caller wants, and from which position on. Pure."""

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
    """Which changes a caller wants, and which names exist for it. `kinds` empty: changes of all kinds. Gaps are always
    sent.
    """

    visible: Visible
    chosen_by: NameChoice = EVERY_NAME
    kinds: frozenset[ChangeKind] = frozenset()

    def takes(self, change: Outline) -> bool:
        """Return whether a change is wanted."""
        is_wanted = not self.kinds or change.kind in self.kinds or change.kind == ChangeKind.GAP.value
        return is_wanted and is_chosen(change, self.visible, self.chosen_by)


def interest_of(pattern: str | None, kinds: str | None, visible: Visible) -> Interest:
    """Return which changes a caller asks for. `visible`: the names that exist for it.

    Raises:
        Forbidden: It sees only some of the names, and gives no pattern.
        BadRequest: There is no such kind, or the pattern isn't valid.
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
    """The change after which a caller goes on: its id, and the name of its history; None: the caller didn't give a
    name.
    """

    id: int
    history: str | None = None

    def __str__(self) -> str:
        return str(self.id) if self.history is None else f"{self.id}-{self.history}"


def position_of(since: str | None, last_event_id: str | None) -> Position | None:
    """Return where a caller goes on: after the last event that it got, which a reconnecting client sends, otherwise
    after `since`; None if it gives neither. Raise `BadRequest` if what it gives is no id.

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
    """Return the number in `since`. Raise `BadRequest` if it is anything else than the id of a change."""
    # Checked first, because `int` raises another error for thousands of digits.
    if not given.isascii() or not given.isdigit() or len(given) > len(str(MAX_CHANGE_ID)):
        raise BadRequest(f"Use since= with a whole number from 0 to {MAX_CHANGE_ID}.")
    return int(given)
