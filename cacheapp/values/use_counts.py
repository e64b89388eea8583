"""The use counts of a process: counted in searches, exchanged through the store, and read by descriptions."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from cacheapp.reports import FieldUsesReport
from cacheapp.state.clusters import ClusterId
from cacheapp.state.families import INDICES
from cacheapp.state.family_names import FamilyNames
from cacheapp.state.snapshot import Snapshot
from cacheapp.state.visible import Visible
from cacheapp.values.uses import KEPT_SECONDS, NO_USES, SHARED, PendingUses, added, shares_of
from esassistant.resource import Handle
from esassistant.shared_values import SharedValues

MAX_PENDING = 1_000
"""How many different searches (by their name and their fields) are counted between two exchanges."""


class UseCounts:
    """Counts uses. One per process, owned by the registry; belongs to its loop. `exchange` is called by a background
    task.
    """

    def __init__(
        self,
        store: SharedValues,
        snapshot: Callable[[], Snapshot],
        cluster: Callable[[], ClusterId],
        *,
        on_search: Callable[[str], None] = lambda _: None,
        max_pending: int = MAX_PENDING,
    ) -> None:
        """Make one. `on_search`: is called with each name that is searched."""
        self._store, self._snapshot, self._cluster = store, snapshot, cluster
        self._families = FamilyNames()
        self._pending = PendingUses(max_pending)
        self._uses = NO_USES
        self._on_search = on_search

    def note(self, name: str, fields: tuple[str, ...]) -> None:
        """Count a search of a name that uses some fields. Takes about a microsecond, because it is called in each
        search.
        """
        self._pending.note(name, fields)
        self._on_search(name)

    def of(self, names: Sequence[str], snapshot: Snapshot, visible: Visible) -> dict[str, float]:
        """Return how much the fields of the names' family are used, each from 0 to 1. Empty if the caller may not see
        all of the family, because the counts tell what others search for.
        """
        if not self._uses.families or (family := self._families.find_one(names, snapshot)) is None:
            return {}
        if family.kind != INDICES and not visible.covers(family.name):
            return {}
        if family.kind == INDICES and not all(map(visible.covers, family.indices)):
            return {}
        return shares_of(self._uses.families.get(family.name))

    def most_used(self, family: str) -> list[str]:
        """Return the fields of a family, the most used first."""
        uses = shares_of(self._uses.families.get(family))
        return sorted(uses, key=lambda field: (-uses[field], field))

    async def exchange(self) -> None:
        """Share what was counted since the last time, and take over all that is shared. Raise `StoreUnavailable` if the
        store fails; then the counts since the last time are lost, which a ranking can bear.
        """
        snapshot = self._snapshot()
        counts: dict[str, Counter[str]] = {}
        for (name, fields), number in self._pending.take().items():
            if (family := self._families.find(name, snapshot)) is not None:
                counts.setdefault(family.name, Counter()).update(dict.fromkeys(fields, number))
        change = partial(added, cluster=self._cluster(), counts=counts)
        self._uses = await self._store.change((SHARED,), change, KEPT_SECONDS)

    def report(self) -> FieldUsesReport:
        families = self._uses.families
        return FieldUsesReport(
            families=len(families),
            fields=sum(len(uses.fields) for uses in families.values()),
            counted_total=self._pending.counted_total,
            uncounted_total=self._pending.uncounted_total,
        )


USE_COUNTS: Handle[UseCounts] = Handle("field_uses")
