"""Things that are kept within a number of bytes: what wasn't asked for the longest goes first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KeptByBytes(Generic[K, V]):
    """Values by key, of at most `max_bytes` together, as their owner estimates; the last one stays in any case."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.kept_bytes = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: K) -> V | None:
        """The value, which now is the last one to go; None: it isn't kept."""
        if (kept := self._kept.get(key)) is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def keep(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value in the place of an earlier one."""
        if key in self._kept:
            self.kept_bytes -= self._kept.pop(key)[1]
        self._kept[key] = value, size_bytes
        self.kept_bytes += size_bytes
        while self.kept_bytes > self.max_bytes and len(self._kept) > 1:
            _, (_, dropped_bytes) = self._kept.popitem(last=False)
            self.kept_bytes -= dropped_bytes
            self.dropped_total += 1
