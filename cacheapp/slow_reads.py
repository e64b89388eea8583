"""Which of the latest reads of the cluster took longest."""

import heapq
from collections import deque

from cacheapp.stats import NamedSeconds

KEPT = 200
SHOWN = 5


class SlowReads:
    """Of the last `KEPT` reads of single names."""

    def __init__(self) -> None:
        self._reads: deque[NamedSeconds] = deque(maxlen=KEPT)

    def note(self, name: str, seconds: float) -> None:
        """A read of `name` ended, however."""
        self._reads.append(NamedSeconds(name, seconds))

    def slowest(self) -> tuple[NamedSeconds, ...]:
        """The slowest first; of several reads of one name the slowest."""
        longest: dict[str, float] = {}
        for read in self._reads:
            longest[read.name] = max(read.seconds, longest.get(read.name, 0.0))
        found = heapq.nlargest(SHOWN, longest.items(), key=lambda item: item[1])
        return tuple(NamedSeconds(name, seconds) for name, seconds in found)
