"""The minutes of an hour: what callers of the whole deployment got in each, as the store keeps them. Pure.

Each process adds what it counted in a minute to what the others have. How long calls took is counted in steps of 15 %,
so that an hour has at most some 200 kB, mostly a tenth of that.
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
"""So many of `durations.BOUNDS` are one step here."""
SHARED: Final = "callers-by-minute"
"""The name of the shared value."""
LEVELS: Final = tuple(Health)


@dataclass(frozen=True, slots=True)
class Counts:
    """One kind of call in one minute. `times`: the answered ones by how long they took, in steps."""

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
        """The seconds below which such a share of the answered calls took; None: there were none."""
        total, seen = sum(self.times.values()), 0
        for step in sorted(self.times):
            seen += self.times[step]
            if seen >= share * total:
                return BOUNDS[min(STEP * step + STEP - 1, len(BOUNDS) - 1)]
        return None


@dataclass(frozen=True, slots=True)
class Minute:
    """What callers got in one minute, of as many `processes` as told of it. `level`: the worst that the verdict was in
    it, by its place in `LEVELS`.
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
"""By the number of the minute since 1970."""


def together(hours: Iterable[Hour]) -> dict[int, Minute]:
    """Several parts of one hour as one."""
    found: dict[int, Minute] = {}
    for hour in hours:
        for number, minute in hour.items():
            found[number] = found[number] + minute if number in found else minute
    return found


def kept(hour: Hour, now: int) -> dict[int, Minute]:
    """Return the minutes of the last hour up to `now`, in order, without those that a wrong clock put in the future."""
    return {number: hour[number] for number in sorted(hour) if now - KEPT_MINUTES <= number <= now}


def add_to_shared(values: Values, now_milliseconds: int, *, added: Hour) -> tuple[Values, dict[int, Minute]]:
    """Add minutes to the shared ones; returns what is shared from now on. For `SharedValues.change`."""
    shared = kept(together((read(values.get(SHARED, b"")), added)), now_milliseconds // 60_000)
    if not added:
        return {}, shared
    encoded = msgspec.json.encode(shared)
    if len(encoded) > MAX_VALUE_BYTES:  # by numbers that somebody has edited
        shared = {number: replace(minute, requests=Counts(), searches=Counts()) for number, minute in shared.items()}
        encoded = msgspec.json.encode(shared)
    return {SHARED: encoded}, shared


def read(value: bytes) -> Hour:
    """What is shared; nothing where that is nothing that this service writes."""
    try:
        return msgspec.json.decode(value, type=dict[int, Minute]) if value else {}
    except msgspec.MsgspecError:
        return {}
