"""Figures about the mapping cache: how old its entries are, and which of the latest reads took longest."""

import heapq
from bisect import bisect_left
from collections import deque

from cacheapp.reports import NamedSeconds
from cacheapp.state.snapshot import Snapshot

STALEST = 5


class Ages:
    """The ages of the entries of a snapshot. They are sorted once, and kept for the snapshot asked for last."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._confirmed_at: list[float] = []
        self._stalest: list[tuple[float, str]] = []

    def oldest_seconds(self, snapshot: Snapshot, now: float) -> float | None:
        """Return the age of the oldest entry; None if there are no entries."""
        confirmed_at = self._sorted(snapshot)
        return now - max(snapshot.confirmed_at, confirmed_at[0]) if confirmed_at else None

    def older_than(self, snapshot: Snapshot, seconds: float, now: float) -> int:
        """Return how many entries are older than `seconds`."""
        if now - snapshot.confirmed_at <= seconds:
            return 0
        return bisect_left(self._sorted(snapshot), now - seconds)

    def stalest(self, snapshot: Snapshot, now: float) -> tuple[NamedSeconds, ...]:
        """Return the indices that were confirmed the longest ago, the oldest first, with their ages."""
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


KEPT = 200
SHOWN = 5


class SlowReads:
    """The durations of the last `KEPT` reads of single names."""

    def __init__(self) -> None:
        self._reads: deque[NamedSeconds] = deque(maxlen=KEPT)

    def note(self, name: str, seconds: float) -> None:
        """Note that a read of `name` ended, successfully or not."""
        self._reads.append(NamedSeconds(name, seconds))

    def slowest(self) -> tuple[NamedSeconds, ...]:
        """Return the slowest reads, the slowest first, with only the slowest one of each name."""
        longest: dict[str, float] = {}
        for read in self._reads:
            longest[read.name] = max(read.seconds, longest.get(read.name, 0.0))
        found = heapq.nlargest(SHOWN, longest.items(), key=lambda item: item[1])
        return tuple(NamedSeconds(name, seconds) for name, seconds in found)
