"""The figures of a bench: goals, how they are printed, and where they are kept for `python -m bench`."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.client import Load
from bench.report.texts import number, quantity


@dataclass(frozen=True)
class Figure:
    """One line of the table. `met` None: there is no goal."""

    metric: str
    value: float
    unit: str
    samples: int
    goal: str = ""
    met: bool | None = None
    lowest: float | None = None
    highest: float | None = None
    note: str = ""


def of_rounds(metric: str, values: Sequence[float], unit: str, goal: str = "") -> Figure:
    """The median of rounds, with their spread."""
    return Figure(metric, statistics.median(values), unit, len(values), goal, lowest=min(values), highest=max(values))


def milliseconds(metric: str, seconds: Sequence[float]) -> Figure:
    """The median of rounds."""
    return of_rounds(metric, [each * 1000 for each in seconds], "ms")


def at_most(metric: str, value: float, unit: str, samples: int, goal: float) -> Figure:
    return Figure(metric, value, unit, samples, f"≤ {goal:g}", value <= goal)


def at_least(metric: str, value: float, unit: str, samples: int, goal: float) -> Figure:
    return Figure(metric, value, unit, samples, f"≥ {goal:g}", value >= goal)


def print_figures(figures: Sequence[Figure]) -> None:
    width = max(len(figure.metric) for figure in figures) + 2
    print(f"\n{'metric':<{width}}{'value':>10} {'unit':<4}{'samples':>8}  {'goal':<8} met?")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        print(
            f"{figure.metric:<{width}}{figure.value:>10.4g} {figure.unit:<4}{figure.samples:>8}  {figure.goal:<8} {met:<4}"
            f"{figure.note}".rstrip()
        )


def save(path: Path, figures: Sequence[Figure], **facts: Any) -> None:
    """Keep figures, and what else there is to know of the run, as JSON."""
    save_results(path, {**facts, "figures": [asdict(figure) for figure in figures]})


def save_results(path: Path, results: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False))


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
