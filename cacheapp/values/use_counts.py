"""The use counts of a process: counted in searches, exchanged by way of the store, and read by descriptions."""

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
"""So many searches that differ in their name or their fields are counted between two exchanges."""


class UseCounts:
    """One per process, owned by the registry; belongs to its loop. `exchange` is called by a background task."""

    def __init__(
        self,
        store: SharedValues,
        snapshot: Callable[[], Snapshot],
        cluster: Callable[[], ClusterId],
        *,
        on_search: Callable[[str], None] = lambda _: None,
        max_pending: int = MAX_PENDING,
    ) -> None:
        """`on_search` is called with each name that is searched."""
        self._store, self._snapshot, self._cluster = store, snapshot, cluster
        self._families = FamilyNames()
        self._pending = PendingUses(max_pending)
        self._uses = NO_USES
        self._on_search = on_search

    def note(self, name: str, fields: tuple[str, ...]) -> None:
        """Count that a search of a name asks for some fields. Takes about a microsecond: it is done in each search."""
        self._pending.note(name, fields)
        self._on_search(name)

    def of(self, names: Sequence[str], snapshot: Snapshot, visible: Visible) -> dict[str, float]:
        """How much the fields of the names' family are used, each from 0 to 1; empty where not all of it is visible:
        others' searches are nobody's business.
        """
        if not self._uses.families or (family := self._families.find_one(names, snapshot)) is None:
            return {}
        if family.kind != INDICES and not visible.covers(family.name):
            return {}
        if family.kind == INDICES and not all(map(visible.covers, family.indices)):
            return {}
        return shares_of(self._uses.families.get(family.name))

    def most_used(self, family: str) -> list[str]:
        """The fields of a family that are used most."""
        uses = shares_of(self._uses.families.get(family))
        return sorted(uses, key=lambda field: (-uses[field], field))

    async def exchange(self) -> None:
        """Share what was counted since the last time, and take over all that is shared. Raises `StoreUnavailable`;
        what was counted until then is lost, which a rank can bear.
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
