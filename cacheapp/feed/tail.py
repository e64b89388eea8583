"""The latest changes of the history in memory, from which all subscribers of a process are told."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cacheapp.change_log import Outline
from cacheapp.feed.events import event
from cacheapp.feed.interest import Interest
from cacheapp.shown_changes import ShownChange, Stretch, as_seen

KEPT_CHANGES: Final = 256
"""Of a change with hundreds of fields this is some 40 kB: 10 MB in all, at the worst."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownChange:
    """One change, and the events that were written of it: one for each way in which callers see it."""

    outline: Outline
    change: ShownChange
    history: str
    _events: dict[tuple[str | None, str | None], bytes] = field(default_factory=dict)

    def event_for(self, interest: Interest) -> bytes | None:
        """The event that tells it; None: it isn't wanted."""
        if not interest.takes(self.outline):
            return None
        seen = as_seen(self.change, self.outline.names, interest.visible)
        what = seen.family, seen.compared_with  # all in which what callers see of it may differ
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
        """The same with the changes that were read after it. None: they don't follow, as this is another history, or
        was set back.
        """
        if stretch.head.name != self.history or stretch.head.last_id < self.last_id:
            return None
        if stretch.after > self.last_id:
            return tail_of(stretch)  # there were more of them than are kept
        changes = (*self.changes, *_known(stretch, self.last_id))
        kept = changes[-KEPT_CHANGES:]
        after = self.after if len(kept) == len(changes) else changes[-KEPT_CHANGES - 1].outline.id
        return Tail(self.history, after, stretch.last_id, kept)

    def told_to(self, interest: Interest, after: int) -> Iterator[bytes]:
        """The events of the changes after an id, which is not before `self.after`, that are wanted."""
        first = bisect_right(self.changes, after, key=lambda known: known.outline.id)
        for known in self.changes[first:]:
            if (found := known.event_for(interest)) is not None:
                yield found


def tail_of(stretch: Stretch) -> Tail:
    """The changes that were read first."""
    return Tail(stretch.head.name, stretch.after, stretch.last_id, tuple(_known(stretch, stretch.after)))


def _known(stretch: Stretch, after: int) -> Iterator[KnownChange]:
    for outline, change in stretch.changes:
        if outline.id > after:
            yield KnownChange(outline, change, stretch.head.name)
