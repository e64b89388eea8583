"""The figures of bench/http.py: medians of rounds with their spread, goals, and how they are printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.load import Load


@dataclass(frozen=True)
class Goal:
    """`least` False: the figure may be at most `limit`."""

    limit: float
    least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One figure: a value per round, of which the median counts. `samples`: what they rest on together, such as
    requests.
    """

    metric: str
    values: Sequence[float]
    unit: str
    samples: int
    goal: Goal | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.goal.met(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": self.value,
            "lowest": min(self.values),
            "highest": max(self.values),
            "unit": self.unit,
            "rounds": len(self.values),
            "samples": self.samples,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "note": self.note,
        }


def ratio(metric: str, over: Sequence[float], under: Sequence[float], samples: int, goal: Goal | None = None) -> Row:
    """Of what was measured in the same round, so that what slowed the machine down for a while slowed both."""
    return Row(metric, [a / b for a, b in zip(over, under, strict=True)], "x", samples, goal)


def requests(*series: Sequence[Load]) -> int:
    return sum(load.requests for loads in series for load in loads)


def doubts(loads: Sequence[Load]) -> str:
    """What speaks against what was measured; "": nothing."""
    unexpected, errors = sum(load.unexpected for load in loads), sum(load.errors for load in loads)
    found = []
    if unexpected:
        found.append(f"{unexpected} answers neither 2xx nor 304")
    if errors:
        found.append(f"{errors} errors")
    if any(load.saturated for load in loads):
        found.append(f"the generator took {max(load.cpu_share for load in loads):.0%} of a processor")
    return ", ".join(found)


def print_rows(rows: Sequence[Row]) -> None:
    print(f"\n{'metric':<42}{'median':>9} {'lowest … highest':>20} {'unit':<5}{'samples':>8}  {'goal':<7}")
    for row in rows:
        spread = f"{_short(min(row.values))} … {_short(max(row.values))}" if len(row.values) > 1 else ""
        end = {None: "", True: "met", False: "MISSED"}[row.met]
        goal = "" if row.goal is None else str(row.goal)
        line = f"{row.metric:<42}{_short(row.value):>9} {spread:>20} {row.unit:<5}{row.samples:>8}  {goal:<7} {end:<7}{row.note}"
        print(line.rstrip())


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
