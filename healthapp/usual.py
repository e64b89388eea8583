"""What a kind of call usually takes: the median of its minutes of a day. Pure; kept over restarts as JSON.

A minute is kept as the place of its median in `durations.BOUNDS`, counted by hour: a day of one kind is some hundred
bytes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from esassistant.durations import BOUNDS
from esassistant.windows import LONG_SECONDS, median_place, median_seconds

HOUR_SECONDS: Final = 3_600
HOURS: Final = 24
ENOUGH_MINUTES: Final = 10
ENOUGH_CALLS: Final = 10
"""A minute with fewer calls says nothing of what is usual."""
SLOW_MINUTES: Final = 60
"""After so many slow minutes in a row that is what is usual."""
TIMES_USUAL: Final = 5.0
UNKNOWN_SLOW_SECONDS: Final = 2.0
"""Where nothing is known yet, slow begins here."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The minutes of one kind of call. `hours`: by hour since 1970, how many minutes had which median. `slow`: the
    slow minutes in a row up to now, which wait apart: an hour of trouble must not become usual bit by bit.

    `changed_at`: when the latest slow hour became what is usual, in seconds since 1970; `changed_from`: what was usual
    before. None: it never did.
    """

    hours: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    slow: tuple[int, ...] = ()
    changed_at: float | None = None
    changed_from: float | None = None

    def seconds(self, now: float) -> float | None:
        """What is usual at this moment, in seconds since 1970; None: too few minutes are known."""
        counts = _together(_kept(self.hours, now))
        return None if sum(counts.values()) < ENOUGH_MINUTES else median_seconds(counts)

    def with_minute(self, counts: Mapping[int, int], now: float, slow_from: float) -> "Usual":
        """Add the minute that has just ended, with its answered calls by how long they took. `slow_from`: from how many
        seconds a call of this kind was slow in it.

        1. A minute that isn't slow is counted, and ends a row of slow ones, which are forgotten.
        2. A slow one waits, until there are `SLOW_MINUTES` in a row.
        3. Then they alone are what is usual.
        """
        place = median_place(counts)
        assert place is not None
        if BOUNDS[place] < slow_from:
            return replace(self, hours=_with(_kept(self.hours, now), now, (place,)), slow=())
        if len(self.slow) + 1 < SLOW_MINUTES:
            return replace(self, slow=(*self.slow, place))
        return Usual(_with({}, now, (*self.slow, place)), (), now, self.seconds(now))


def slow_from(usual_seconds: float | None, least_seconds: float = LONG_SECONDS) -> float:
    """From how many seconds on a call is slow, where so much is usual; None: it isn't known."""
    return UNKNOWN_SLOW_SECONDS if usual_seconds is None else max(least_seconds, TIMES_USUAL * usual_seconds)


def _hour(now: float) -> int:
    return int(now // HOUR_SECONDS)


def _kept(hours: Mapping[int, Mapping[int, int]], now: float) -> dict[int, Mapping[int, int]]:
    """Those of the last day; none that a clock set back has made future."""
    return {hour: counts for hour, counts in hours.items() if _hour(now) - HOURS < hour <= _hour(now)}


def _with(hours: Mapping[int, Mapping[int, int]], now: float, places: tuple[int, ...]) -> dict[int, Mapping[int, int]]:
    added = Counter(hours.get(_hour(now), {}))
    added.update(places)
    return {**hours, _hour(now): dict(added)}


def _together(hours: Mapping[int, Mapping[int, int]]) -> Counter[int]:
    together: Counter[int] = Counter()
    for counts in hours.values():
        together.update(counts)
    return together
