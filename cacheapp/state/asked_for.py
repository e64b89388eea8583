"""What was asked for lately, so that refresh ahead can make it anew."""

from collections import OrderedDict
from typing import Generic, TypeVar

from esassistant.clock import Clock, monotonic

LATELY_SECONDS = 86_400.0
MAX_ASKED_FOR = 10_000
"""How many pairs of a kind and a name are remembered."""

K = TypeVar("K")


class AskedFor(Generic[K]):
    """Remembers which kinds of things were asked for, of which names, and when last. If there are too many, the oldest
    are forgotten.
    """

    def __init__(
        self, clock: Clock = monotonic, *, lately_seconds: float = LATELY_SECONDS, max_kept: int = MAX_ASKED_FOR
    ) -> None:
        self._clock = clock
        self._lately_seconds = lately_seconds
        self._max_kept = max_kept
        self._asked_at: OrderedDict[tuple[K, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked_at)

    def note(self, kind: K, name: str) -> None:
        """Note that `kind` of `name` is asked for now."""
        key = kind, name
        self._asked_at[key] = self._clock()
        self._asked_at.move_to_end(key)
        if len(self._asked_at) > self._max_kept:
            self._asked_at.popitem(last=False)

    def lately(self) -> list[tuple[K, str]]:
        """Return what was asked for lately, the newest first, and forget the rest."""
        since = self._clock() - self._lately_seconds
        while self._asked_at and next(iter(self._asked_at.values())) < since:
            self._asked_at.popitem(last=False)
        return list(reversed(self._asked_at))
