"""Line charts, drawn on the server: what templates need to write them as SVG. Pure."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 360.0, 130.0
"""Of the whole drawing, in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 44.0, 354.0, 6.0, 112.0
"""The edges of the plot in it."""
TICK_MINUTES = 15
NOTHING = 1e-9

Values = Sequence[float | None]
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """What a curve is drawn of: a value for each moment of the chart; None: there is none."""

    name: str
    style: str
    values: Values


@dataclass(frozen=True, slots=True)
class Curve:
    """One drawn line: `path` is the `d` of an SVG path, with gaps where there is no data. `now`, `highest`: as text."""

    name: str
    style: str
    path: str
    now: str
    highest: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid, at `place`, with its text."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """The part of the plot that belongs to one moment, from `x`, and what it says. `at` names the moment."""

    x: float
    width: float
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Moments in a row that were alike: `kind` is `degraded`, `unhealthy`, or `silent` for those without any data."""

    kind: str
    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of several curves over one time. `summary` says in words what it shows."""

    title: str
    curves: tuple[Curve, ...]
    across: tuple[Tick, ...]
    down: tuple[Tick, ...]
    slots: tuple[Slot, ...]
    marks: tuple[Mark, ...]
    summary: str


def chart(
    title: str,
    times: Sequence[datetime],
    lines: Sequence[Line],
    shown: Format,
    top: float | None = None,
    marks: Sequence[Mark] = (),
) -> Chart:
    """Draw a chart.

    Args:
        times: when each moment begins; they are equally far apart.
        shown: writes a value with its unit.
        top: the value at the upper edge; None: a round number that fits.
        marks: what lies behind the curves, by `marks_of` the same times.
    """
    known = [value for line in lines for value in line.values if value is not None]
    edge = top if top is not None else nice_top(max(known, default=0.0))
    curves = tuple(
        Curve(line.name, line.style, _path(line.values, edge), _last(line, shown), _highest(line, shown))
        for line in lines
    )
    return Chart(
        title,
        curves,
        tuple(Tick(_y(part * edge, edge), shown(part * edge)) for part in (0.0, 0.5, 1.0)),
        tuple(_time_ticks(times)),
        tuple(_slots(times, lines, shown)),
        tuple(marks),
        "; ".join(f"{curve.name}: now {curve.now}, at most {curve.highest}" for curve in curves),
    )


def marks_of(times: Sequence[datetime], kinds: Sequence[str], texts: Mapping[str, str]) -> Iterator[Mark]:
    """A mark for each row of moments of one kind; none for those of the kind "". `texts`: what a kind is called."""
    for kind, row in itertools.groupby(range(len(times)), key=lambda index: kinds[index]):
        if kind:
            indices = list(row)
            left, right = (_x(index, len(times)) for index in (indices[0], indices[-1] + 1))
            yield Mark(
                kind, left, right - left, f"{texts[kind]} from {times[indices[0]]:%H:%M} UTC, {len(indices)} min"
            )


def nice_top(highest: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50 … that isn't below `highest`; 1 for nothing worth drawing."""
    if highest < NOTHING:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= highest * (1 - 1e-9))


def _x(index: float, count: int) -> float:
    """The place of a moment, the left edge of its slot; half of one further is its middle."""
    return LEFT + (RIGHT - LEFT) * index / max(1, count)


def _y(value: float, top: float) -> float:
    return TOP + (BOTTOM - TOP) * (1 - min(1.0, max(0.0, value / top)))


def _path(values: Values, top: float) -> str:
    parts: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        is_begin = index == 0 or values[index - 1] is None
        parts.append(f"{'M' if is_begin else 'L'}{_x(index + 0.5, len(values)):.1f} {_y(value, top):.1f}")
        if is_begin and (index + 1 == len(values) or values[index + 1] is None):
            parts.append("h0")  # alone: a dot, by the round end of the line
    return " ".join(parts)


def _time_ticks(times: Sequence[datetime]) -> Iterator[Tick]:
    """The quarters of an hour; where there is none, the first moment."""
    found = [index for index, at in enumerate(times) if at.minute % TICK_MINUTES == 0]
    for index in found or range(min(1, len(times))):
        yield Tick(_x(index, len(times)), f"{times[index]:%H:%M}")


def _slots(times: Sequence[datetime], lines: Sequence[Line], shown: Format) -> Iterator[Slot]:
    width = _x(1, len(times)) - LEFT
    for index, at in enumerate(times):
        values = [(line.name, line.values[index]) for line in lines]
        told = [f"{name} {shown(value)}" for name, value in values if value is not None]
        moment = f"{at:%H:%M}"
        yield Slot(_x(index, len(times)), width, moment, f"{moment} UTC: {', '.join(told) or 'no data'}")


def _last(line: Line, shown: Format) -> str:
    last = line.values[-1] if line.values else None
    return "no data" if last is None else shown(last)


def _highest(line: Line, shown: Format) -> str:
    known = [value for value in line.values if value is not None]
    return shown(max(known)) if known else "no data"
