"""The rows of the seed's table: what the original claims, and what was measured before and after. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.texts import number, quantity

TIMES_LESS, TIMES_MORE, POINTS, PERCENT_LESS = "x less", "x more", "points", "% less"
"""Units of an improvement: before ÷ after, after ÷ before, the difference of two percentages, and how many percent of
before are gone.
"""


@dataclass(frozen=True)
class Claim:
    """What the original promises. It is met by an `after` within the bounds that is so much better than `before`, in
    the unit of the row.
    """

    text: str
    improvement: float
    at_most: float = math.inf
    at_least: float = -math.inf

    def met(self, after: float, improvement: float) -> bool:
        return self.at_least <= after <= self.at_most and improvement >= self.improvement


CLAIMS = {
    "health": Claim("2000 → 50 ms", 40, at_most=50),
    "connections": Claim("20 → 50", 2.5, at_least=50),
    "reliability": Claim("70 → 95 %", 25, at_least=95),
    "duplicates": Claim("0 → 100 %", 100, at_least=100),
    "memory": Claim("15 % less", 15),
}


@dataclass(frozen=True)
class SeedRow:
    """One figure before and after. None: not measured. `samples`: how many there were before and after, and of what, in
    `rounds` that alternate. `claim`: a key of `CLAIMS`, or None.
    """

    metric: str
    unit: str
    before: float | None
    after: float | None
    gain_unit: str
    samples: tuple[int, int]
    samples_of: str
    rounds: int
    claim: str | None = None
    note: str = ""

    @property
    def gain(self) -> float | None:
        return gain(self.before, self.after, self.gain_unit)

    @property
    def met(self) -> bool | None:
        """None: nothing was claimed. What was not measured is not met."""
        if self.claim is None:
            return None
        return self.after is not None and self.gain is not None and CLAIMS[self.claim].met(self.after, self.gain)

    def as_json(self) -> dict[str, Any]:
        text = None if self.claim is None else CLAIMS[self.claim].text
        return {**asdict(self), "claim": text, "gain": self.gain, "met": self.met}


def gain(before: float | None, after: float | None, unit: str) -> float | None:
    """None where it can't be told: not measured, or a ratio to 0."""
    if before is None or after is None:
        return None
    if unit == POINTS:
        return after - before
    over, under = (before, after) if unit == TIMES_LESS else (after, before)
    if not under:
        return None
    return (1 - over / under) * 100 if unit == PERCENT_LESS else over / under


def percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def print_seed(rows: Sequence[SeedRow]) -> None:
    print(f"\n{'metric':<52}{'before':>12}{'after':>12}{'improved':>14}  {'claimed':<14}{'met?':<8}samples")
    for row in rows:
        before, after = (quantity(value, row.unit) for value in (row.before, row.after))
        improved = f"{number(row.gain)} {row.gain_unit}"
        claim = CLAIMS[row.claim].text if row.claim else ""
        met = {None: "", True: "met", False: "MISSED"}[row.met]
        samples = f"{row.samples[0]} / {row.samples[1]} {row.samples_of}, {row.rounds} rounds"
        note = f"; {row.note}" if row.note else ""
        print(f"{row.metric:<52}{before:>12}{after:>12}{improved:>14}  {claim:<14}{met:<8}{samples}{note}")
