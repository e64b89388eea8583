"""Names that were added or removed outside of this process's passes: by reads of single names, and by what others
published.
"""

from collections.abc import Callable, Iterable

from cacheapp.state.merge import MAX_ABSENT
from cacheapp.state.snapshot import Snapshot
from esassistant.clock import Clock, monotonic

UNLISTED_SECONDS = 3600.0
"""How long to remember that a name can be read but is never listed, as restricted indices are."""


class ReadNames:
    """Notes names that were added or removed outside of passes. One per mapping cache; used only on its event loop.

    A pass may conclude that nothing has changed since the last full pass only if no name was added or removed in
    another way meanwhile. Otherwise, if one wrong answer had removed a name, each pass would confirm that it is gone.
    """

    def __init__(self, clock: Clock = monotonic, *, max_names: int = MAX_ABSENT) -> None:
        self._clock = clock
        self._max_names = max_names
        self._added_at: dict[str, float] = {}
        self._unlisted_until: dict[str, float] = {}
        self.changes_total = 0
        """How often names were added or removed. Names that are never listed don't count."""

    def note_read(self, before: Snapshot, after: Snapshot, names: Iterable[str], asked_at: float) -> None:
        """Note which names a read added or removed. `names`: an alias with its indices, or one index; `asked_at`: when
        it was asked for.
        """
        for name in self._changed(before, after, names):
            if name in after.indices or name in after.aliases:
                _keep(self._added_at, name, asked_at, self._max_names)

    def note_published(self, before: Snapshot, after: Snapshot) -> None:
        """Note which names were added or removed by a state that another process published."""
        names = (before.indices.keys() ^ after.indices.keys()) | before.aliases.keys() | after.aliases.keys()
        self._changed(before, after, names)

    def note_listing(self, is_listed: Callable[[str], bool], listed_at: float) -> None:
        """Note which names that were read before `listed_at` are missing in that listing."""
        for name in [name for name, asked_at in self._added_at.items() if asked_at <= listed_at]:
            del self._added_at[name]
            if not is_listed(name):
                _keep(self._unlisted_until, name, self._clock() + UNLISTED_SECONDS, self._max_names)

    def _changed(self, before: Snapshot, after: Snapshot, names: Iterable[str]) -> list[str]:
        now = self._clock()
        changed = [
            name
            for name in names
            if (name in before.indices) != (name in after.indices)
            or before.aliases.get(name) != after.aliases.get(name)
        ]
        changed = [name for name in changed if self._unlisted_until.get(name, now) <= now]
        self.changes_total += bool(changed)
        return changed


def _keep(moments: dict[str, float], name: str, moment: float, max_names: int) -> None:
    """Set the moment of a name. If there are too many names, forget the one that was set first."""
    moments.pop(name, None)
    while len(moments) >= max_names:
        del moments[next(iter(moments))]
    moments[name] = moment
