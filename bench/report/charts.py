"""Draw bar and dot charts as SVG, with a background of their own, so that they are readable on dark and light pages.
Pure.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from bench.report.texts import NO_BREAK, finite, quantity

WIDTH, LEFT, RIGHT = 760, 260, 100
"""The width of the chart, of the labels on the left, and of the values to the right of the bars."""
TOP, STEP, BAR, BOTTOM = 58, 30, 16, 34
PAPER, INK, FAINT, RULE = "#ffffff", "#1f2328", "#59636e", "#d1d9e0"
OURS, OTHERS = "#0b5cad", "#8c959f"
Place = Callable[[float], float]
FONT = "system-ui, Segoe UI, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Mark:
    """One row of a chart. `low` and `high`: those of its rounds, if there are several. `ours`: whether it is about this
    project.
    """

    label: str
    value: float
    ours: bool = False
    low: float | None = None
    high: float | None = None


def bars(title: str, marks: Sequence[Mark], unit: str) -> str | None:
    """Return a chart with bars from 0; None if there is nothing to show."""
    shown = [mark for mark in marks if finite(mark.value) is not None and mark.value >= 0]
    most = max((mark.high or mark.value for mark in shown), default=0.0)
    if not most:
        return None
    edge = _round_up(most)

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / edge

    ticks = [edge * part / 4 for part in range(5)]
    drawn = [_bar(mark, line, place) for line, mark in enumerate(shown)]
    return _svg(title, shown, unit, [(place(tick), tick) for tick in ticks], drawn)


def dots(title: str, marks: Sequence[Mark], unit: str) -> str | None:
    """Return a chart with dots on a logarithmic scale, which has no 0 for bars to begin at; None if there is nothing to
    show.
    """
    shown = [mark for mark in marks if finite(mark.value) is not None and mark.value > 0]
    if not shown:
        return None
    first = math.floor(math.log10(min(_least(mark) for mark in shown)))
    last = max(first + 1, math.ceil(math.log10(max(mark.high or mark.value for mark in shown))))

    def place(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - first) / (last - first)

    ticks = [10.0**power for power in range(first, last + 1)]
    drawn = [_dot(mark, line, place) for line, mark in enumerate(shown)]
    return _svg(f"{title} (logarithmic scale)", shown, unit, [(place(tick), tick) for tick in ticks], drawn)


def summary(marks: Sequence[Mark], unit: str) -> str:
    """Describe in words what a chart shows."""
    said = [f"{mark.label} {quantity(mark.value, unit)}" for mark in marks if finite(mark.value) is not None]
    return "; ".join(said).replace(NO_BREAK, " ")


def _least(mark: Mark) -> float:
    return mark.low if mark.low is not None and mark.low > 0 else mark.value


def _round_up(value: float) -> float:
    """Round up to a number whose quarters are round too."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def _height(line: int) -> float:
    return TOP + STEP * line + STEP / 2


def _bar(mark: Mark, line: int, place: Place) -> str:
    start, end, middle = place(0), place(mark.value), _height(line)
    colour = OURS if mark.ours else OTHERS
    bar = f'<rect x="{start:.1f}" y="{middle - BAR / 2:.1f}" width="{end - start:.1f}" height="{BAR}" fill="{colour}"/>'
    return bar + _spread(mark, middle, place)


def _dot(mark: Mark, line: int, place: Place) -> str:
    middle = _height(line)
    dot = f'<circle cx="{place(mark.value):.1f}" cy="{middle:.1f}" r="6" fill="{OURS if mark.ours else OTHERS}"/>'
    return dot + _spread(mark, middle, place)


def _spread(mark: Mark, middle: float, place: Place) -> str:
    """Draw the line from the lowest round to the highest."""
    if mark.low is None or mark.high is None or mark.low <= 0 or mark.low == mark.high:
        return ""
    low, high = place(mark.low), place(mark.high)
    return f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}" stroke="{INK}" stroke-width="1.5"/>'


def _svg(
    title: str, marks: Sequence[Mark], unit: str, ticks: Sequence[tuple[float, float]], drawn: Sequence[str]
) -> str:
    foot = TOP + STEP * len(marks)
    size = f'width="{WIDTH}" height="{foot + BOTTOM}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {foot + BOTTOM}" {size}',
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(summary(marks, unit))}</desc>',
        f'<rect {size} rx="6" fill="{PAPER}"/>',
        _text(20, 32, title, size=16, bold=True),
    ]
    for x, value in ticks:
        parts.append(f'<path d="M{x:.1f} {TOP - 4}V{foot}" stroke="{RULE}"/>')
        parts.append(_text(x, foot + 18, _tick(value, unit), anchor="middle", size=12, colour=FAINT))
    for line, (mark, shape) in enumerate(zip(marks, drawn, strict=True)):
        base = _height(line) + 4.5
        parts.append(_text(LEFT - 12, base, mark.label, anchor="end", bold=mark.ours))
        parts.append(shape)
        parts.append(_text(WIDTH - 16, base, quantity(mark.value, unit), anchor="end", bold=mark.ours))
    return "\n".join([*parts, "</svg>", ""])


def _tick(value: float, unit: str) -> str:
    shown = f"{value:,g}" if value < 1 else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
    return f"{shown.replace(',', NO_BREAK)}{'' if unit.startswith('/') else NO_BREAK}{unit}"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, bold: bool = False, colour: str = INK
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="{FONT}" font-size="{size}"{weight} fill="{colour}"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )
