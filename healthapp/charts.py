"""Line charts, drawn on the server: what templates need to write them as SVG. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 600.0, 120.0
"""Of the plot, in the chart's own units."""
NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One curve: `path` is the `d` of an SVG path, with gaps where there is no data. `now`, `highest`: as text."""

    name: str
    style: str
    path: str
    now: str
    highest: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of several lines over one time; `top` is the value at its upper edge. `summary` says in words what it
    shows.
    """

    title: str
    lines: tuple[ChartLine, ...]
    top: str
    first_at: datetime | None
    last_at: datetime | None
    summary: str


Values = Sequence[float | None]
Format = Callable[[float], str]


def chart(
    title: str,
    times: Sequence[datetime],
    lines: Sequence[tuple[str, str, Values]],
    shown: Format,
    top: float | None = None,
) -> Chart:
    """`lines`: name, style and a value for each of `times`. `top`: the upper edge; None: a round number that fits."""
    known = [value for _, _, values in lines for value in values if value is not None]
    edge = top if top is not None else nice_top(max(known, default=0.0))
    drawn = tuple(
        ChartLine(name, style, _path(times, values, edge), _last(values, shown), _highest(values, shown))
        for name, style, values in lines
    )
    summary = "; ".join(f"{line.name}: now {line.now}, at most {line.highest}" for line in drawn)
    return Chart(title, drawn, shown(edge), times[0] if times else None, times[-1] if times else None, summary)


def nice_top(highest: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50 … that isn't below `highest`; 1 for nothing worth drawing."""
    if highest < NOTHING:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= highest * (1 - 1e-9))


def _path(times: Sequence[datetime], values: Values, top: float) -> str:
    if len(times) < 2:
        return ""
    length = (times[-1] - times[0]).total_seconds() or 1.0
    parts: list[str] = []
    pen_is_down = False
    for at, value in zip(times, values, strict=True):
        if value is None:
            pen_is_down = False
            continue
        x = WIDTH * (at - times[0]).total_seconds() / length
        y = HEIGHT * (1 - min(1.0, max(0.0, value / top)))
        parts.append(f"{'L' if pen_is_down else 'M'}{x:.1f} {y:.1f}")
        pen_is_down = True
    return " ".join(parts)


def _last(values: Values, shown: Format) -> str:
    last = values[-1] if values else None
    return "no data" if last is None else shown(last)


def _highest(values: Values, shown: Format) -> str:
    known = [value for value in values if value is not None]
    return shown(max(known)) if known else "no data"
