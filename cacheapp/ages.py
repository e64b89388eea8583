"""How old the entries of a snapshot are; sorted once for each snapshot, so that asking costs next to nothing."""

import heapq
from bisect import bisect_left

from cacheapp.state.snapshot import Snapshot
from cacheapp.stats import NamedSeconds

STALEST = 5


class Ages:
    """Of the snapshot asked for last."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._confirmed_at: list[float] = []
        self._stalest: list[tuple[float, str]] = []

    def oldest_seconds(self, snapshot: Snapshot, now: float) -> float | None:
        """The age of the oldest entry; None without any."""
        confirmed_at = self._sorted(snapshot)
        return now - max(snapshot.confirmed_at, confirmed_at[0]) if confirmed_at else None

    def older_than(self, snapshot: Snapshot, seconds: float, now: float) -> int:
        """How many entries are older than that."""
        if now - snapshot.confirmed_at <= seconds:
            return 0
        return bisect_left(self._sorted(snapshot), now - seconds)

    def stalest(self, snapshot: Snapshot, now: float) -> tuple[NamedSeconds, ...]:
        """The indices that were confirmed the longest ago, oldest first."""
        self._sorted(snapshot)
        return tuple(
            NamedSeconds(name, now - max(snapshot.confirmed_at, confirmed_at)) for confirmed_at, name in self._stalest
        )

    def _sorted(self, snapshot: Snapshot) -> list[float]:
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._confirmed_at = sorted(entry.confirmed_at for entry in snapshot.indices.values())
            by_age = ((entry.confirmed_at, name) for name, entry in snapshot.indices.items())
            self._stalest = heapq.nsmallest(STALEST, by_age)
        return self._confirmed_at
