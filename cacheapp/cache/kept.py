"""Things that are kept within a number of bytes; what has been unused the longest is dropped first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KeptByBytes(Generic[K, V]):
    """Values by key, at most `max_bytes` together, as their owner estimates. The value that was kept last stays in any
    case.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.kept_bytes = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: K) -> V | None:
        """Return the value, and make it the last one to be dropped; None if it isn't kept."""
        if (kept := self._kept.get(key)) is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def keep(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value; it replaces an earlier one with the same key."""
        if key in self._kept:
            self.kept_bytes -= self._kept.pop(key)[1]
        self._kept[key] = value, size_bytes
        self.kept_bytes += size_bytes
        while self.kept_bytes > self.max_bytes and len(self._kept) > 1:
            _, (_, dropped_bytes) = self._kept.popitem(last=False)
            self.kept_bytes -= dropped_bytes
            self.dropped_total += 1
