"""Write numbers and Markdown in the style of the report. Pure."""

import math
import re
from collections.abc import Iterable, Sequence

from esassistant.units import as_duration

NO_BREAK = "\u00a0"
TIMES = "\u00d7"
UNITS = {"x": TIMES}
"""Units that are written with another sign in prose than in JSON."""
NOT_MEASURED = "not measured"


def finite(value: object) -> float | None:
    """Return a value as a number; None if it isn't a number, or one that can't be shown (NaN, infinite)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number(value: object) -> str:
    """Return a number with three significant digits, or with all digits before the point, and with separated
    thousands.
    """
    known = finite(value)
    if known is None:
        return NOT_MEASURED
    rounded = float(f"{known:.3g}")
    if abs(rounded) >= 100 or known == int(known):
        return f"{known:,.0f}".replace(",", NO_BREAK)
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{known:.{min(digits, 6)}f}"


def percentage(value: object) -> str:
    """Return a percentage, rounded down to two decimals, so that only all is 100 %."""
    known = finite(value)
    if known is None:
        return NOT_MEASURED
    return f"{math.floor(known * 100) / 100:g}{NO_BREAK}%"


def quantity(value: object, unit: str) -> str:
    """Return a number with its unit."""
    if finite(value) is None:
        return NOT_MEASURED
    if unit == "%":
        return percentage(value)
    if not unit:
        return number(value)
    return f"{number(value)}{'' if unit.startswith('/') else NO_BREAK}{UNITS.get(unit, unit)}"


def verdict(met: object) -> str:
    """Return how a document shows whether a goal is `met`: `met`, `**MISSED**`, or an empty text without a goal."""
    return {True: "met", False: "**MISSED**"}.get(met, "") if isinstance(met, bool) else ""


def escape(text: object) -> str:
    """Escape a text for a cell of a table, so that nothing in it counts as Markdown or HTML."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", plain)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Its cells are Markdown, so foreign text has to be escaped. A `:` at the end of a title aligns its
    column to the right.
    """
    titles = [title.removesuffix(":") for title in head]
    marks = ["--:" if title.endswith(":") else "---" for title in head]
    lines = [titles, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def without_empty(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return a table without the columns that are empty in all rows."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return [head[column] for column in kept], [[row[column] for column in kept] for row in rows]


def duration(seconds: object) -> str:
    known = finite(seconds)
    return NOT_MEASURED if known is None else as_duration(known)
