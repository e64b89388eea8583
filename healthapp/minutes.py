"""The minutes of the last hour: what callers of the whole deployment got in each, in the form kept in the store. Pure.

Each process adds its counts of a minute to those of the others. Durations are counted in steps of 15 %, so that an hour
has at most about 200 kB, and mostly a tenth of that.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from esassistant.durations import BOUNDS
from esassistant.resource import Health
from esassistant.shared_values import MAX_VALUE_BYTES, Values
from esassistant.windows import MinuteCounts

KEPT_MINUTES: Final = 60
STEP: Final = 3
"""This many buckets of `durations.BOUNDS` form one step here."""
SHARED: Final = "callers-by-minute"
"""The name of the shared value."""
LEVELS: Final = tuple(Health)


@dataclass(frozen=True, slots=True)
class Counts:
    """One kind of call in one minute. `bad`: calls without an answer, `parts`: calls with an incomplete one; `times`:
    the number of answered calls by duration, in steps.
    """

    calls: int = 0
    bad: int = 0
    parts: int = 0
    times: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, minute: MinuteCounts) -> "Counts":
        times: Counter[int] = Counter()
        for place, number in minute.times.items():
            times[place // STEP] += number
        return cls(minute.calls, minute.bad, minute.parts, dict(times))

    def __add__(self, other: "Counts") -> "Counts":
        times = Counter(self.times)
        times.update(other.times)
        return Counts(self.calls + other.calls, self.bad + other.bad, self.parts + other.parts, dict(times))

    def quantile(self, share: float) -> float | None:
        """Return the duration in seconds that this share of the answered calls didn't exceed; None if no call was
        answered.
        """
        total, seen = sum(self.times.values()), 0
        for step in sorted(self.times):
            seen += self.times[step]
            if seen >= share * total:
                return BOUNDS[min(STEP * step + STEP - 1, len(BOUNDS) - 1)]
        return None


@dataclass(frozen=True, slots=True)
class Minute:
    """What callers got in one minute. `processes`: how many processes reported on it. `level`: the worst level of the
    verdict in it, as a place in `LEVELS`.
    """

    processes: int = 0
    level: int = 0
    requests: Counts = field(default_factory=Counts)
    searches: Counts = field(default_factory=Counts)
    pings: Counts = field(default_factory=Counts)

    def __add__(self, other: "Minute") -> "Minute":
        return Minute(
            self.processes + other.processes,
            min(max(self.level, other.level), len(LEVELS) - 1),
            self.requests + other.requests,
            self.searches + other.searches,
            self.pings + other.pings,
        )


Hour = Mapping[int, Minute]
"""Minutes by their numbers since 1970."""


def together(hours: Iterable[Hour]) -> dict[int, Minute]:
    """Return several parts of an hour, added up."""
    found: dict[int, Minute] = {}
    for hour in hours:
        for number, minute in hour.items():
            found[number] = found[number] + minute if number in found else minute
    return found


def kept(hour: Hour, now: int) -> dict[int, Minute]:
    """Return the minutes of the last hour up to `now`, in order, without those that a wrong clock put in the future."""
    return {number: hour[number] for number in sorted(hour) if now - KEPT_MINUTES <= number <= now}


def add_to_shared(values: Values, now_milliseconds: int, *, added: Hour) -> tuple[Values, dict[int, Minute]]:
    """Add minutes to the shared ones, and return the values to replace and all shared minutes. For
    `SharedValues.change`.
    """
    shared = kept(together((read(values.get(SHARED, b"")), added)), now_milliseconds // 60_000)
    if not added:
        return {}, shared
    encoded = msgspec.json.encode(shared)
    if len(encoded) > MAX_VALUE_BYTES:  # that takes numbers that somebody has edited
        shared = {number: replace(minute, requests=Counts(), searches=Counts()) for number, minute in shared.items()}
        encoded = msgspec.json.encode(shared)
    return {SHARED: encoded}, shared


def read(value: bytes) -> Hour:
    """Return the shared minutes, or nothing if the value was not written by this service."""
    try:
        return msgspec.json.decode(value, type=dict[int, Minute]) if value else {}
    except msgspec.MsgspecError:
        return {}
