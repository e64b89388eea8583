"""Counts over the last seconds: pure policy with an injected clock."""

from collections import deque
from dataclasses import dataclass

from esassistant.clock import Clock

SLICES = 10


@dataclass(slots=True)
class _Slice:
    number: int
    calls: int = 0
    marked: int = 0


class SlidingWindow:
    """Counts the calls of the last `seconds`, and how many of them were marked (failed, or tried again).

    It has ten slices, so that it covers `seconds` and up to a tenth more, in constant memory.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._slice_seconds = seconds / SLICES
        self._clock = clock
        self._slices: deque[_Slice] = deque()

    def add(self, calls: int = 0, marked: int = 0) -> None:
        number = int(self._clock() / self._slice_seconds)
        if not self._slices or self._slices[-1].number != number:
            self._drop_old(number)
            self._slices.append(_Slice(number))
        newest = self._slices[-1]
        newest.calls += calls
        newest.marked += marked

    def counts(self) -> tuple[int, int]:
        """Return the number of calls, and how many of them were marked."""
        self._drop_old(int(self._clock() / self._slice_seconds))
        return sum(found.calls for found in self._slices), sum(found.marked for found in self._slices)

    def clear(self) -> None:
        self._slices.clear()

    def _drop_old(self, number: int) -> None:
        while self._slices and self._slices[0].number <= number - SLICES - 1:
            self._slices.popleft()
