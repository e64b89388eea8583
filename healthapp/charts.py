"""Line charts that are drawn on the server, in the form that the templates write as SVG. Pure."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 360.0, 130.0
"""The size of the whole drawing, in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 44.0, 354.0, 6.0, 112.0
"""The edges of the plot inside the drawing."""
LIFT = 1.5
"""How far above the lower edge a curve stays at least, so that a curve of zeros isn't hidden by the axis."""
TICK_MINUTES = 15
NOTHING = 1e-9

Values = Sequence[float | None]
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """The values of one curve, one for each moment of the chart; None where there is no data."""

    name: str
    style: str
    values: Values


@dataclass(frozen=True, slots=True)
class Curve:
    """One drawn line. `path`: the `d` of an SVG path, with gaps where there is no data. `now`, `highest`: values as
    text.
    """

    name: str
    style: str
    path: str
    now: str
    highest: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid, at `place`, with its label."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """The part of the plot that belongs to one moment, beginning at `x`. `at`: the moment; `text`: its values."""

    x: float
    width: float
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Several moments in a row of the same `kind`: `degraded`, `unhealthy`, or `silent` if nothing is known of them."""

    kind: str
    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Several curves over the same time. `summary` says in words what they show."""

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
        times: When each moment begins; the moments have equal distances.
        lines: The curves to draw.
        shown: Writes a value with its unit.
        top: The value at the upper edge. None: a round number that fits.
        marks: Areas behind the curves, made by `marks_of` for the same times.
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
    """Yield a mark for each row of moments of the same kind, except for the kind "". `texts`: the names
    of the kinds.
    """
    for kind, row in itertools.groupby(range(len(times)), key=lambda index: kinds[index]):
        if kind:
            indices = list(row)
            left, right = (_x(index, len(times)) for index in (indices[0], indices[-1] + 1))
            yield Mark(
                kind, left, right - left, f"{texts[kind]} from {times[indices[0]]:%H:%M} UTC, {len(indices)} min"
            )


def nice_top(highest: float) -> float:
    """Return the least of 1, 2, 5, 10, 20, 50 … that isn't below `highest`, or 1 if `highest` is practically 0."""
    if highest < NOTHING:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= highest * (1 - 1e-9))


def _x(index: float, count: int) -> float:
    """Return the left edge of the slot of a moment. Its middle is at `index` + 0.5."""
    return LEFT + (RIGHT - LEFT) * index / max(1, count)


def _y(value: float, top: float) -> float:
    return TOP + (BOTTOM - TOP) * (1 - min(1.0, max(0.0, value / top)))


def _path(values: Values, top: float) -> str:
    parts: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        is_begin = index == 0 or values[index - 1] is None
        parts.append(
            f"{'M' if is_begin else 'L'}{_x(index + 0.5, len(values)):.1f} {min(_y(value, top), BOTTOM - LIFT):.1f}"
        )
        if is_begin and (index + 1 == len(values) or values[index + 1] is None):
            parts.append("h0")  # a single value becomes a dot, as the line has round ends
    return " ".join(parts)


def _time_ticks(times: Sequence[datetime]) -> Iterator[Tick]:
    """Yield a tick for each quarter of an hour; if there is none, one for the first moment."""
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
