"""Writes numbers with units, and moments, for people. Pure."""

from datetime import datetime, timedelta

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
TIME_ALONE = timedelta(hours=12)
"""A moment that is at most so far from now is shown with its time alone, even if midnight lies between."""


def as_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `3.2 ms`, `42 s`, `3 min 5 s`, `2 h 10 min`, `5 d 3 h`."""
    if seconds < 10:
        return as_seconds(max(0.0, seconds))
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts)


def as_seconds(seconds: float) -> str:
    """Return a duration in seconds or milliseconds alone, as in settings: `20 ms`, `0.35 s`, `12.5 s`, `1800 s`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def as_bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def as_rate(per_second: float) -> str:
    return f"{per_second:.3g}/s" if per_second < 999.5 else f"{per_second:,.0f}/s"


def as_percent(percent: float) -> str:
    return f"{percent:.3g} %"


def as_count(count: float) -> str:
    return f"{count:.0f}"


def as_ago(seconds: float) -> str:
    """Return how long ago something was, in its largest unit: `just now`, `42 s ago`, `3 min ago`; `in 2 h` for the
    future. site.js uses the same words.
    """
    rest = abs(int(seconds))
    if rest < 2:
        return "just now"
    unit, length = next((unit, length) for unit, length in UNITS if rest >= length)
    text = f"{rest // length} {unit}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def clock_time(at: datetime, now: datetime) -> str:
    """Return a moment as text: the time alone if it is close to `now`, else with the date."""
    return f"{at:%H:%M:%S} UTC" if abs(now - at) < TIME_ALONE else f"{at:%Y-%m-%d %H:%M} UTC"
