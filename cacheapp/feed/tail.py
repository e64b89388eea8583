"""The latest changes of the history, kept in memory for all subscribers of a process."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cacheapp.change_log import Outline
from cacheapp.feed.events import event
from cacheapp.feed.interest import Interest
from cacheapp.shown_changes import ShownChange, Stretch, as_seen

KEPT_CHANGES: Final = 256
"""How many changes the tail has. One with hundreds of fields takes some 40 kB: 10 MB in all, at worst."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownChange:
    """One change, and the events made of it: one for each form in which different callers see it."""

    outline: Outline
    change: ShownChange
    history: str
    _events: dict[tuple[str | None, str | None], bytes] = field(default_factory=dict)

    def event_for(self, interest: Interest) -> bytes | None:
        """Return the event for a caller; None if it doesn't want the change."""
        if not interest.takes(self.outline):
            return None
        seen = as_seen(self.change, self.outline.names, interest.visible)
        what = seen.family, seen.compared_with  # callers see the change alike except for these two
        if (found := self._events.get(what)) is None:
            found = self._events[what] = event(seen, self.history)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """All changes of a history after the id `after`, up to `last_id`."""

    history: str
    after: int
    last_id: int
    changes: tuple[KnownChange, ...]

    def followed_by(self, stretch: Stretch) -> "Tail | None":
        """Return the tail with the changes that were read after it. None if these are from another history, or if the
        history was set back.
        """
        if stretch.head.name != self.history or stretch.head.last_id < self.last_id:
            return None
        if stretch.after > self.last_id:
            return tail_of(stretch)  # there are more new changes than are kept
        changes = (*self.changes, *_known(stretch, self.last_id))
        kept = changes[-KEPT_CHANGES:]
        after = self.after if len(kept) == len(changes) else changes[-KEPT_CHANGES - 1].outline.id
        return Tail(self.history, after, stretch.last_id, kept)

    def told_to(self, interest: Interest, after: int) -> Iterator[bytes]:
        """Yield the events that a caller wants of the changes after an id. The id must not be before `self.after`."""
        first = bisect_right(self.changes, after, key=lambda known: known.outline.id)
        for known in self.changes[first:]:
            if (found := known.event_for(interest)) is not None:
                yield found


def tail_of(stretch: Stretch) -> Tail:
    """Return a tail of the changes that were read first."""
    return Tail(stretch.head.name, stretch.after, stretch.last_id, tuple(_known(stretch, stretch.after)))


def _known(stretch: Stretch, after: int) -> Iterator[KnownChange]:
    for outline, change in stretch.changes:
        if outline.id > after:
            yield KnownChange(outline, change, stretch.head.name)
