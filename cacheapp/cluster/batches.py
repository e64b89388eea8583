"""How many names go into one request for mappings. Pure policy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cacheapp.state.names import encode_name

MAX_TARGET_BYTES = 3_800
"""How many bytes of names one request has at most: Elasticsearch refuses a request line of more than 4,096 bytes."""
MAX_BODY_BYTES = 2_000_000
"""Batches get smaller when answers are larger than this. Parsing an answer of this size takes a few milliseconds,
during which the event loop waits.
"""
MAX_FIELDS = 30_000
"""How many fields the mappings of one request have at most, as far as that is known before. At 50 bytes each they make
about three quarters of `MAX_BODY_BYTES`. So a few large mappings don't shrink the batches of small ones.
"""
SLOW_SECONDS = 0.4
"""An answer that takes longer than this counts as slow: four batches are in flight, and others wait behind them."""
MAX_BATCH_SIZE = 1_000


class BatchSize:
    """How many names to ask for in the next request. Lives for one pass.

    The size doubles until the first answer that is slow or large (slow start). From then on each such answer halves it,
    and each other answer adds an eighth of the highest size so far (additive increase, multiplicative decrease; Chiu
    and Jain, 1989). Several requests are in flight, so answers to earlier, larger requests still arrive after the size
    was halved. A slow answer to one of these sets the size to at most half of that request's names, and doesn't halve
    the size once more.
    """

    def __init__(self, initial: int, *, adaptive: bool) -> None:
        self.size = self._initial = initial
        self._adaptive = adaptive and initial > 1
        self._doubling = True
        self._highest = initial

    def answered(self, names: int, seconds: float, body_bytes: int, asked_size: int | None = None) -> None:
        """Note that a request for `names` names was answered after `seconds` with `body_bytes`.

        `asked_size`: the size when it was sent, if the request had fewer names because of large mappings. Then its
        number of names says nothing about the right size.
        """
        if not self._adaptive:
            return
        if body_bytes > MAX_BODY_BYTES:
            # With sizes, unlike times, it is known how many names would have fitted.
            self._shrink_to(names * MAX_BODY_BYTES // body_bytes)
        elif seconds > SLOW_SECONDS:
            # Not below the initial size: if every answer is slow, more requests only make things slower.
            floor = min(self.size, self._initial)
            self._shrink_to(max(floor, min(self.size, (asked_size or names) // 2)))
        elif self._doubling and names >= self.size:  # a short last batch says nothing about the size
            self._grow_to(self.size * 2)
        elif not self._doubling and 2 * names >= self.size:  # but one that was sent before the size grew does
            self._grow_to(self.size + max(1, self._highest // 8))

    def failed(self, names: int) -> None:
        """Note that a request for `names` names failed. Smaller requests have a better chance."""
        if self._adaptive:
            self._shrink_to(min(self.size, names // 2))

    def _grow_to(self, size: int) -> None:
        self.size = min(MAX_BATCH_SIZE, size)
        self._highest = max(self._highest, self.size)

    def _shrink_to(self, size: int) -> None:
        self._doubling = False
        self.size = max(1, size)


@dataclass(slots=True)
class Batches:
    """Names still to be asked for, taken in batches of varying size; each name is taken once. `field_counts`, as far as
    they are known, keep answers from getting too large.
    """

    _names: list[str]
    _field_counts: Mapping[str, int] = field(default_factory=dict)
    _position: int = 0

    @classmethod
    def from_names(cls, names: Iterable[str], field_counts: Mapping[str, int] | None = None) -> "Batches":
        return cls(list(names), field_counts or {})

    def take(self, size: int, max_bytes: int = MAX_TARGET_BYTES, max_fields: int = MAX_FIELDS) -> list[str]:
        """Return the next names: at most `size` names, `max_bytes` encoded bytes and `max_fields` fields, but at least
        one name. Empty when none is left.
        """
        start = self._position
        taken_bytes = taken_fields = 0
        while self._position < len(self._names) and self._position - start < size:
            name = self._names[self._position]
            taken_bytes += len(encode_name(name)) + 1
            taken_fields += self._field_counts.get(name, 0)
            if (taken_bytes > max_bytes or taken_fields > max_fields) and self._position > start:
                break
            self._position += 1
        return self._names[start : self._position]
