"""How the report writes numbers and Markdown. Pure."""

import math
import re
from collections.abc import Iterable, Sequence

from esassistant.units import as_duration

NO_BREAK = "\u00a0"
TIMES = "\u00d7"
UNITS = {"x": TIMES}
"""Units whose sign in prose is another than in JSON."""
NOT_MEASURED = "not measured"


def finite(value: object) -> float | None:
    """The number that `value` is; None: it is none, or nothing that can be shown (NaN, infinite)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number(value: object) -> str:
    """Three significant digits, or all before the point; thousands apart."""
    known = finite(value)
    if known is None:
        return NOT_MEASURED
    rounded = float(f"{known:.3g}")
    if abs(rounded) >= 100 or known == int(known):
        return f"{known:,.0f}".replace(",", NO_BREAK)
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{known:.{min(digits, 6)}f}"


def percentage(value: object) -> str:
    """Rounded down to two decimals: only all is 100 %."""
    known = finite(value)
    if known is None:
        return NOT_MEASURED
    return f"{math.floor(known * 100) / 100:g}{NO_BREAK}%"


def quantity(value: object, unit: str) -> str:
    """A number with its unit."""
    if finite(value) is None:
        return NOT_MEASURED
    if unit == "%":
        return percentage(value)
    if not unit:
        return number(value)
    return f"{number(value)}{'' if unit.startswith('/') else NO_BREAK}{UNITS.get(unit, unit)}"


def verdict(met: object) -> str:
    """`met`, as a row of a bench has it."""
    return {True: "met", False: "**MISSED**"}.get(met, "") if isinstance(met, bool) else ""


def escape(text: object) -> str:
    """For a cell of a table: what `text` says is not Markdown, nor HTML."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", plain)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown: text from elsewhere has to be escaped. A trailing `:` of a title aligns its column right."""
    titles = [title.removesuffix(":") for title in head]
    marks = ["--:" if title.endswith(":") else "---" for title in head]
    lines = [titles, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def without_empty(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which no row has anything."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    return [head[column] for column in kept], [[row[column] for column in kept] for row in rows]


def duration(seconds: object) -> str:
    known = finite(seconds)
    return NOT_MEASURED if known is None else as_duration(known)
