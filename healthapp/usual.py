"""How long a kind of call usually takes: the median over its minutes of one day. Pure; kept over restarts as JSON.

A minute is kept as the place of its median in `durations.BOUNDS`. These places are counted by hour, so a day of one
kind takes only some hundred bytes.
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
"""A minute with fewer calls says nothing about what is usual."""
SLOW_MINUTES: Final = 60
"""After this many slow minutes in a row, their duration becomes the usual one."""
TIMES_USUAL: Final = 5.0
UNKNOWN_SLOW_SECONDS: Final = 2.0
"""From here on a call is slow if nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The minutes of one kind of call.

    Attributes:
        hours: For each hour since 1970, how many minutes had which median.
        slow: The latest slow minutes in a row. They are kept apart, so that trouble doesn't become usual bit by bit.
        changed_at: When slow minutes last became usual, in seconds since 1970. None: never.
        changed_from: What was usual before that.
    """

    hours: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    slow: tuple[int, ...] = ()
    changed_at: float | None = None
    changed_from: float | None = None

    def seconds(self, now: float) -> float | None:
        """Return what is usual at the time `now`, in seconds since 1970; None if too few minutes are known."""
        counts = _together(_kept(self.hours, now))
        return None if sum(counts.values()) < ENOUGH_MINUTES else median_seconds(counts)

    def with_minute(self, counts: Mapping[int, int], now: float, slow_from: float) -> "Usual":
        """Return these minutes with one more, which has just ended.

        1. A minute that isn't slow is counted. It ends a row of slow minutes, which are forgotten.
        2. A slow minute is kept apart until there are `SLOW_MINUTES` in a row.
        3. Then only these slow minutes count as usual.

        Args:
            counts: The answered calls of the minute by duration.
            now: In seconds since 1970.
            slow_from: From how many seconds on a call of this kind was slow in that minute.
        """
        place = median_place(counts)
        assert place is not None
        if BOUNDS[place] < slow_from:
            return replace(self, hours=_with(_kept(self.hours, now), now, (place,)), slow=())
        if len(self.slow) + 1 < SLOW_MINUTES:
            return replace(self, slow=(*self.slow, place))
        return Usual(_with({}, now, (*self.slow, place)), (), now, self.seconds(now))


def slow_from(usual_seconds: float | None, least_seconds: float = LONG_SECONDS) -> float:
    """Return from how many seconds on a call is slow. `usual_seconds`: None if what is usual isn't known."""
    return UNKNOWN_SLOW_SECONDS if usual_seconds is None else max(least_seconds, TIMES_USUAL * usual_seconds)


def _hour(now: float) -> int:
    return int(now // HOUR_SECONDS)


def _kept(hours: Mapping[int, Mapping[int, int]], now: float) -> dict[int, Mapping[int, int]]:
    """Return the hours of the last day, without hours that lie in the future because the clock was set back."""
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
