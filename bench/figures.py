"""The figures of a bench: goals, how they are printed, and where they are kept for `python -m bench`."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


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
