"""Traces, which say who asks for which name when: made-up ones of several shapes, and ones from files.

A trace has no answers, only asks. All times are seconds since 1970; hours and weekdays are those of UTC.
"""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

from cacheapp.demand.features import weekday
from cacheapp.state.families import stem_of

HOUR, DAY = 3_600.0, 86_400.0
DAYS = 14
START = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
"""The start of made-up traces, a Monday."""
FAMILIES = 30
PROGRAM, PERSON, AGENT = 0, 1, 2
KINDS = {"program": PROGRAM, "person": PERSON, "agent": AGENT}
UNKNOWN_KIND = "kinds of caller that aren't known, which count as program"
MAX_NAMES = 1_000
MAX_DAYS = 60
FORMATS = (
    "a time, a name and the kind of caller (program, person or agent), with commas, tabs or blanks between; "
    "the time as 2026-11-02T08:15:00Z (with Z, an offset, or none: UTC), or as seconds or milliseconds since 1970"
)


@dataclass(frozen=True)
class Trace:
    """Asks in the order of their times.

    Args:
        names: The names of the families.
        asks: The time of each ask, the number of its family, and the kind of caller.
        calls: How many calls it takes to gather the values of each family.
        changes: When the mappings of which family change.
        start, end: The time that the trace covers.
        remarks: What was left out of a file, for people.
    """

    names: Sequence[str]
    asks: Sequence[tuple[float, int, int]]
    calls: Sequence[int]
    start: float
    end: float
    changes: Sequence[tuple[float, int]] = ()
    remarks: Sequence[str] = field(default=())


class BadTrace(Exception):
    """A file can't be replayed; the text says why, and which line is wrong."""


def office(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield asks, as in `Trace.asks`, of people at work: Monday to Friday from 8 to 18, fewer at noon, few at other
    times.
    """
    for number in range(count):
        an_hour = 5.0 / (number + 1) ** 0.8

        def rate(at: float, an_hour: float = an_hour) -> float:
            return an_hour * office_share(at)

        yield from _arrivals(rng, number, rate, an_hour, persons=0.7)


def office_share(at: float, shift_hours: float = 0.0) -> float:
    """Return the demand as a share of that at the busiest hour."""
    day, hour = weekday(int(at // DAY)), (at % DAY) / HOUR - shift_hours
    if day >= 5 or not 8 <= hour < 18:
        return 0.01
    return 0.5 if 12 <= hour < 13 else 1.0


def dashboards(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield asks of programs at intervals: some all the time, some while an office is open, and some that are opened
    now and then.
    """
    for number in range(count):
        interval = rng.choice((900.0, 1_800.0, 3_600.0))
        kind = rng.random()
        for day in range(DAYS):
            begin, end = START + day * DAY, START + (day + 1) * DAY
            if kind >= 0.3:
                if kind < 0.8 and weekday(int(begin // DAY)) >= 5:
                    continue
                if kind >= 0.8 and rng.random() < 0.7:
                    continue
                opened = 7 * HOUR + rng.gauss(0, 900) if kind < 0.8 else rng.uniform(6, 16) * HOUR
                begin, end = begin + opened, begin + opened + (12 * HOUR if kind < 0.8 else rng.uniform(1, 6) * HOUR)
            at = begin + rng.uniform(0, interval)
            while at < end:
                yield at, number, PROGRAM
                at += interval


def batch(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield asks of a nightly job that goes through families in one order, of another job on Sundays, and of a few
    people by day.
    """
    weekly = count // 4
    for day in range(DAYS):
        begin = START + day * DAY
        if rng.random() < 0.95:
            yield from _chain(rng, range(weekly, count), begin + 1.5 * HOUR + rng.gauss(0, 600))
        if weekday(int(begin // DAY)) == 6:
            yield from _chain(rng, range(weekly), begin + 4 * HOUR + rng.gauss(0, 600))
    for number in range(count):
        yield from _arrivals(rng, number, lambda at: 0.1 * office_share(at), 0.1, persons=1.0)


def launches(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield asks for families that appear one after the other, are often asked for at first, and less from day to
    day.
    """
    for number in range(count):
        launched = _launched(number, count)
        half_life = rng.uniform(8, 40) * HOUR

        def rate(at: float, launched: float = launched, half_life: float = half_life) -> float:
            if at < launched:
                return 0.0
            fading = math.pow(0.5, (at - launched) / half_life)
            return 8.0 * fading * (0.15 + 0.85 * office_share(at)) + 0.02

        yield from _arrivals(rng, number, rate, 8.1, persons=0.5)


def drift(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield asks whose most frequent families change from day to day, and whose working hours move by 20 minutes a
    day.
    """
    for number in range(count):
        logs = [rng.gauss(-1.0, 1.2)]
        for _ in range(DAYS - 1):
            logs.append(-1.0 + 0.8 * (logs[-1] + 1.0) + rng.gauss(0, 0.8))
        rates = [min(8.0, math.exp(log)) for log in logs]

        def rate(at: float, rates: list[float] = rates) -> float:
            day = int((at - START) // DAY)
            return rates[day] * office_share(at, day / 3)

        yield from _arrivals(rng, number, rate, max(rates), persons=0.6)


def mixed(rng: random.Random, count: int = FAMILIES) -> Iterator[tuple[float, int, int]]:
    """Yield a mix of all these shapes, each with a fifth of the families."""
    for place, shape in enumerate((office, dashboards, batch, launches, drift)):
        own = range(place * count // 5, (place + 1) * count // 5)
        for at, number, kind in shape(rng, len(own)):
            yield at, own[number], kind


SHAPES: dict[str, Callable[[random.Random], Iterator[tuple[float, int, int]]]] = {
    "office hours": office,
    "dashboards": dashboards,
    "nightly batch": batch,
    "launches": launches,
    "drift": drift,
    "mixed": mixed,
}


def made(shape: str, seed: int) -> Trace:
    """Return a trace of a shape: 14 days from a Monday. Every other family is an alias, which costs two calls."""
    rng = random.Random(f"{shape} {seed}")
    end = START + DAYS * DAY
    asks = sorted(ask for ask in SHAPES[shape](rng) if START <= ask[0] < end)
    changes: list[tuple[float, int]] = []
    if shape == "launches":
        changes = sorted((_launched(number, FAMILIES) - HOUR, number) for number in range(FAMILIES))
    names = [f"family-{number:02}" for number in range(FAMILIES)]
    return Trace(names, asks, [1 + number % 2 for number in range(FAMILIES)], START, end, changes)


def _launched(number: int, count: int) -> float:
    """Return when a family appears. The first third exists from the start; the others appear in working hours, spread
    over the 14 days.
    """
    if number < count // 3:
        return START - DAY * (number + 1)
    days = [day for day in range(DAYS) if day % 7 < 5]
    return START + days[number % len(days)] * DAY + (9 + number % 7) * HOUR


def _arrivals(
    rng: random.Random, number: int, rate: Callable[[float], float], highest: float, *, persons: float
) -> Iterator[tuple[float, int, int]]:
    """Yield a Poisson process of `rate` asks an hour, by thinning (Lewis and Shedler, 1979)."""
    at, end = START, START + DAYS * DAY
    while True:
        at += rng.expovariate(highest) * HOUR
        if at >= end:
            return
        if rng.random() * highest < rate(at):
            kind = PERSON if rng.random() < persons else rng.choice((PROGRAM, AGENT))
            yield at, number, kind


def _chain(rng: random.Random, numbers: Iterable[int], at: float) -> Iterator[tuple[float, int, int]]:
    for number in numbers:
        at += rng.uniform(30, 180)
        for _ in range(rng.randint(1, 4)):
            yield at + rng.uniform(0, 60), number, PROGRAM


_LOGGED = re.compile(r"/(?:api/mappings|api/indices|browse)/([^/]+)(?:/[a-z]+)?/?")
_BLANKS = re.compile(r"\s+")


def read(lines: Iterable[str]) -> Trace:
    """Read a trace from lines as described in `FORMATS`, or from those of this project's access log (JSON). Raise
    `BadTrace` if a line can't be read, or if the asks cover less than two hours.
    """
    found: list[tuple[float, str, int]] = []
    left_out: Counter[str] = Counter()
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#") or (number == 1 and line.lower().startswith("time")):
            continue
        try:
            ask = _logged(line, left_out) if line.startswith("{") else _told(line, left_out)
        except ValueError as error:
            raise BadTrace(f"line {number}: {error}. A line has {FORMATS}.") from None
        if ask is not None:
            found.append(ask)
    if len(found) < 2 or max(found)[0] - min(found)[0] < 2 * HOUR:
        raise BadTrace(f"{len(found)} asks over less than two hours: there is nothing to learn from and judge by.")
    return _trace(sorted(found), left_out)


def _trace(found: list[tuple[float, str, int]], left_out: Counter[str]) -> Trace:
    start = found[0][0] // HOUR * HOUR
    end = found[-1][0] + 1
    if end - start > MAX_DAYS * DAY:
        start = (end - MAX_DAYS * DAY) // HOUR * HOUR
        before = len(found)
        found = [ask for ask in found if ask[0] >= start]
        left_out[f"asks before the last {MAX_DAYS} days"] += before - len(found)
    counts = Counter(name for _, name, _ in found)
    names = sorted(name for name, _ in counts.most_common(MAX_NAMES))
    numbers = {name: number for number, name in enumerate(names)}
    if len(counts) > MAX_NAMES:
        left_out[f"names but for the {MAX_NAMES} most asked for"] += len(counts) - MAX_NAMES
    asks = [(at, numbers[name], kind) for at, name, kind in found if name in numbers]
    strange = left_out.pop(UNKNOWN_KIND, 0)
    remarks = [f"{strange} asks by {UNKNOWN_KIND}"] if strange else []
    remarks += [f"left out: {count} {what}" for what, count in left_out.items() if count]
    return Trace(names, asks, [1] * len(names), start, end, (), remarks)


def _told(line: str, left_out: Counter[str]) -> tuple[float, str, int]:
    """Read a line with a time, a name and a kind of caller; return these, the time in seconds since 1970. Count an
    unknown kind in `left_out`. Raise `ValueError` if it is no such line.
    """
    if "," in line:
        parts = [part.strip() for part in line.split(",")]
    elif "\t" in line:
        parts = [part.strip() for part in line.split("\t")]
    else:
        parts = _BLANKS.split(line)
        if len(parts) == 4 and ":" in parts[1]:
            parts = [f"{parts[0]}T{parts[1]}", *parts[2:]]
    if not 2 <= len(parts) <= 3:
        raise ValueError(f"{len(parts)} parts in place of three")
    at, name = _time(parts[0]), parts[1]
    if not name:
        raise ValueError("no name")
    kind = parts[2].lower() if len(parts) == 3 else ""
    if kind not in KINDS:
        left_out[UNKNOWN_KIND] += bool(kind)
    return at, name, KINDS.get(kind, PROGRAM)


def _time(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no time") from None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not 0 <= number < 1e14:
        raise ValueError(f"{text[:40]!r} is no time since 1970")
    return number / 1000 if number >= 1e11 else number


def _logged(line: str, left_out: Counter[str]) -> tuple[float, str, int] | None:
    """Read a line of the access log. Return None if it isn't about one name, or if the request was refused. Raise
    `ValueError` if the line is no line of that log.
    """
    try:
        logged = json.loads(line)
        at, path, status = _time(str(logged["time"])), str(logged["path"]), logged["status"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError("JSON that is no line of the access log") from None
    match = _LOGGED.fullmatch(path.partition("?")[0])
    name = unquote(match[1]) if match else ""
    if not name or "," in name or "*" in name:
        left_out["requests that aren't about one name"] += 1
        return None
    if not isinstance(status, int) or not (200 <= status < 300 or status == 304):
        left_out["requests that weren't answered"] += 1
        return None
    return at, stem_of(name), PERSON if path.startswith("/browse/") else PROGRAM
