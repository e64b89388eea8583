"""The lines of a bench: what was measured, with the value of before and the goal, and how they are printed."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.texts import number, quantity, verdict, without_empty

TIMES_LESS, TIMES_MORE, POINTS, PERCENT_LESS = "x less", "x more", "points", "% less"
"""The units of an improvement: before ÷ after, after ÷ before, the difference of two percentages, and the decrease in
percent of before.
"""
HEAD = ("metric", "before:", "median:", "lowest … highest:", "improved:", "goal", "met?", "samples:", "note")


@dataclass(frozen=True)
class Goal:
    """The bounds that a value has to be within, and how much better than before it has to be.

    Args:
        at_least: The lower bound.
        at_most: The upper bound.
        improvement: The least improvement, in the unit in which the line gives it.
        text: How the original promises it; if empty, the bound is written.
        judged: Whether the line is judged. If not, the bound is only shown, such as what can be reached at most.
    """

    at_least: float = -math.inf
    at_most: float = math.inf
    improvement: float = -math.inf
    text: str = ""
    judged: bool = True

    def met(self, value: float | None, gain: float | None) -> bool | None:
        """Return whether the goal is met; None if it isn't judged. A value that wasn't measured doesn't meet it."""
        if not self.judged:
            return None
        if value is None or not self.at_least <= value <= self.at_most:
            return False
        return self.improvement == -math.inf or (gain is not None and gain >= self.improvement)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if math.isfinite(self.at_least) else f"≤ {self.at_most:g}"
        return self.text or bound


CLAIMS = {
    "health": Goal(text="2000 → 50 ms", improvement=40, at_most=50),
    "connections": Goal(text="20 → 50", improvement=2.5, at_least=50),
    "reliability": Goal(text="70 → 95 %", improvement=25, at_least=95),
    "duplicates": Goal(text="0 → 100 %", improvement=100, at_least=100),
    "memory": Goal(text="15 % less", improvement=15),
}
"""The claims of the original."""


@dataclass(frozen=True)
class Before:
    """The values of the original, measured in turn with those of a line. `samples`: their number, `samples_of`: what
    they are.
    """

    values: Sequence[float | None]
    samples: int
    samples_of: str
    gain_unit: str

    @property
    def value(self) -> float | None:
        return _median(self.values)

    def gain(self, after: float | None) -> float | None:
        """Return how much better `after` is. None: one of them wasn't measured, or the ratio would be to 0."""
        before = self.value
        if before is None or after is None:
            return None
        if self.gain_unit == POINTS:
            return after - before
        over, under = (before, after) if self.gain_unit == TIMES_LESS else (after, before)
        if not under:
            return None
        return (1 - over / under) * 100 if self.gain_unit == PERCENT_LESS else over / under


@dataclass(frozen=True)
class Line:
    """One line of a bench.

    Args:
        metric: What was measured.
        values: One value per round, of which the median counts, or one value of all rounds. None: not measured.
        unit: The unit of the values.
        samples: The number of samples behind all values together, such as requests.
        goal: The goal, if there is one.
        note: A remark.
        before: The values of before, if there are any.
        rounds: The number of rounds, if there isn't one value per round.
    """

    metric: str
    values: Sequence[float | None]
    unit: str
    samples: int
    goal: Goal | None = None
    note: str = ""
    before: Before | None = None
    rounds: int | None = None

    @property
    def value(self) -> float | None:
        return _median(self.values)

    @property
    def spread(self) -> tuple[float, float] | None:
        """The values of the lowest and the highest round; None if there aren't several."""
        known = _known(self.values)
        return (min(known), max(known)) if len(known) > 1 else None

    @property
    def gain(self) -> float | None:
        return None if self.before is None else self.before.gain(self.value)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is no goal, or if it isn't judged."""
        return None if self.goal is None else self.goal.met(self.value, self.gain)

    def as_json(self) -> dict[str, Any]:
        lowest, highest = self.spread or (None, None)
        found: dict[str, Any] = {
            "metric": self.metric,
            "value": self.value,
            "unit": self.unit,
            "lowest": lowest,
            "highest": highest,
            "rounds": self.rounds or len(self.values),
            "samples": self.samples,
            "goal": str(self.goal or ""),
            "met": self.met,
            "note": self.note,
        }
        if (before := self.before) is not None:
            found["before"] = {
                "value": before.value,
                "samples": before.samples,
                "samples_of": before.samples_of,
                "gain": self.gain,
                "gain_unit": before.gain_unit,
            }
        return found


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return statistics.median(known) if known else None


def milliseconds(
    metric: str, seconds: Sequence[float], samples: int | None = None, goal: Goal | None = None, note: str = ""
) -> Line:
    """Return a line in milliseconds from seconds, one value per round. `samples`: as many as there are values, unless
    given.
    """
    values = [each * 1000 for each in seconds]
    return Line(metric, values, "ms", len(values) if samples is None else samples, goal, note)


def ratio(
    metric: str, over: Sequence[float], under: Sequence[float], samples: int, goal: Goal | None = None, note: str = ""
) -> Line:
    """Return a line with the ratios of values of the same round, so that a slow phase of the machine affects both
    values.
    """
    return Line(metric, [a / b for a, b in zip(over, under, strict=True)], "x", samples, goal, note)


def percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def print_lines(lines: Sequence[Line]) -> None:
    """Print the lines as a table, without columns that are empty in all lines."""
    head, rows = without_empty(HEAD, [_cells(line) for line in lines])
    printed = [[title.removesuffix(":") for title in head], *rows]
    widths = [max(map(len, column)) for column in zip(*printed, strict=True)]
    sides = [">" if title.endswith(":") else "<" for title in head]
    print()
    for row in printed:
        cells = zip(row, sides, widths, strict=True)
        print("  ".join(f"{cell:{side}{width}}" for cell, side, width in cells).rstrip())


def _cells(line: Line) -> list[str]:
    low, high = line.spread or (None, None)
    before = line.before
    counted = f"{line.samples}" if before is None else f"{before.samples} / {line.samples} {before.samples_of}"
    return [
        line.metric,
        "" if before is None else quantity(before.value, line.unit),
        quantity(line.value, line.unit),
        "" if low is None else f"{number(low)} … {number(high)}",
        "" if before is None else f"{number(line.gain)} {before.gain_unit}",
        str(line.goal or ""),
        verdict(line.met).strip("*"),
        counted,
        line.note,
    ]
