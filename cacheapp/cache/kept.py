"""Things that are kept within a number of bytes, as long as they are used. What has been unused the longest is dropped
first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

from esassistant.clock import Clock, monotonic

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

UNUSED_SECONDS: Final = 300.0
"""How long a value is kept unused, at least; it is dropped when the next one is kept. Mappings change, and nothing asks
for what was made of their earlier states: without this, that would fill all the room before it makes way.
"""


class KeptByBytes(Generic[K, V]):
    """Values by key, at most `max_bytes` together, as their owner estimates, and at most `max_values`. The value that
    was kept last stays in any case.
    """

    def __init__(self, max_bytes: int, *, max_values: int | None = None, clock: Clock = monotonic) -> None:
        self.max_bytes = max_bytes
        self._max_values = max_values
        self._clock = clock
        # Sorted by `used_at`: value, bytes, and when it was last used.
        self._kept: OrderedDict[K, tuple[V, int, float]] = OrderedDict()
        self.kept_bytes = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._kept)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield keys and values. That doesn't count as using them."""
        return ((key, kept[0]) for key, kept in self._kept.items())

    def find(self, key: K) -> V | None:
        """Return the value, and make it the last one to be dropped; None if it isn't kept."""
        if (kept := self._kept.get(key)) is None:
            return None
        self._kept[key] = kept[0], kept[1], self._clock()
        self._kept.move_to_end(key)
        return kept[0]

    def keep(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value; it replaces an earlier one with the same key. Drop those for which there is no room, or that
        have been unused for too long.
        """
        if key in self._kept:
            self.kept_bytes -= self._kept.pop(key)[1]
        self._kept[key] = value, size_bytes, self._clock()
        self.kept_bytes += size_bytes
        while len(self._kept) > 1 and self._drops_one():
            _, (_, dropped_bytes, _) = self._kept.popitem(last=False)
            self.kept_bytes -= dropped_bytes
            self.dropped_total += 1

    def _drops_one(self) -> bool:
        if self.kept_bytes > self.max_bytes or (self._max_values is not None and len(self) > self._max_values):
            return True
        _, _, used_at = next(iter(self._kept.values()))
        return self._clock() - used_at > UNUSED_SECONDS
