"""The features of a family at a moment: numbers between 0 and about 2, the inputs of the model. Pure.

The demand at an hour of the day is taken from the days before: from all of them, from those like today (workdays or
weekends), and from the same weekday. In the course of an hour these features move evenly from the value of this hour to
that of the next, because the horizon reaches further and further into the next hour.
"""

import math
from collections.abc import Mapping

from cacheapp.demand.state import HOURS, KEPT_DAYS, DemandState, FamilyDemand

HOUR_SECONDS = 3_600.0
DAY_SECONDS = 86_400.0
HORIZON_SECONDS = HOUR_SECONDS
"""The model says how likely a family is to be asked for within this time."""
HALF_LIVES_SECONDS = (600.0, 7_200.0, DAY_SECONDS)
FOLLOWS_SECONDS = 900.0
"""A family follows another one if it is asked for at most this long after it."""
ALL_DAYS, SUCH_DAYS = 7, 5
"""How many of the days before count: of all days, and of days like today."""

Profile = tuple[float, float, float]
"""How likely demand is at an hour of the day: by all days, by days like it, and by the same weekday."""


def weekday(day: int) -> int:
    """Return the weekday of a day, counted since 1970: 0 is Monday."""
    return (day + 3) % 7


def hour_number(at: float) -> int:
    """Return the number of the hour since 1970."""
    return int(at // HOUR_SECONDS)


def was_asked(family: FamilyDemand, hour: int, today: int) -> bool:
    """Return whether a family was asked for in an hour, as far back as is remembered. `today`: the day that the first
    entry of `hours` is about.
    """
    back = today - hour // HOURS
    return 0 <= back < len(family.hours) and bool(family.hours[back] >> (hour % HOURS) & 1)


def profile(family: FamilyDemand, hour: int, today: int) -> Profile:
    """Return how often a family was asked for at this hour of earlier days. With few days to go by, the result is
    nearer to 0.
    """
    day = hour // HOURS
    is_weekend = weekday(day) >= 5
    first = hour_number(family.first_at)
    days = days_asked = such = such_asked = 0
    same = None
    for back in range(1, KEPT_DAYS + 1):
        before = hour - back * HOURS
        if before < first:
            break
        asked = was_asked(family, before, today)
        if back <= ALL_DAYS:
            days += 1
            days_asked += asked
        if back == 7:
            same = asked
        if such < SUCH_DAYS and (weekday(day - back) >= 5) is is_weekend:
            such += 1
            such_asked += asked
    of_all = days_asked / (days + 0.5)
    return of_all, such_asked / (such + 0.5) if such else of_all, of_all if same is None else float(same)


def rhythm(gap: float, since: float) -> float:
    """Return how well the next visit fits into the horizon if visits come every `gap` seconds and the last was `since`
    seconds ago: 1 if it is due within the horizon, less the further off or the longer overdue it is.
    """
    hours_left = (gap - since) / HOUR_SECONDS
    if hours_left > 1:
        return math.exp(1 - hours_left)
    return 1.0 if hours_left >= 0 else math.exp(max(-40.0, hours_left * HOUR_SECONDS / gap))


def expected_now(state: DemandState, now: float) -> dict[str, float]:
    """Return which families usually follow those that were asked for a moment ago, and how often they do, from 0 to
    1.
    """
    expected: dict[str, float] = {}
    for name, at in state.visits:
        family = state.families.get(name)
        if family is None or now - at > FOLLOWS_SECONDS:
            continue
        for successor, count in family.successors.items():
            there = state.families.get(successor)
            if there is not None and there.asked_at < at:
                expected[successor] = max(expected.get(successor, 0.0), min(1.0, count / (family.visits + 1)))
    return expected


def decayed(family: FamilyDemand, now: float) -> tuple[float, float, float]:
    """Return how often a family was asked for in the last minutes, hours and day, reduced by the time that has passed
    until `now`.
    """
    passed = max(0.0, now - family.counts_at)
    minutes, hours, day = (0.5 ** (passed / half_life) for half_life in HALF_LIVES_SECONDS)
    return family.last_minutes * minutes, family.last_hours * hours, family.last_day * day


def features(
    family: FamilyDemand, profiles: tuple[Profile, Profile], now: float, follows: Mapping[str, float], name: str
) -> list[float]:
    """Return the features of a family, in the order of `FEATURES`.

    Args:
        profiles: Those of this hour and of the next.
        follows: What `expected_now` returned.
    """
    since = max(0.0, now - family.asked_at)
    minutes, hours, day = decayed(family, now)
    part = now % HOUR_SECONDS / HOUR_SECONDS
    (all_now, such_now, week_now), (all_next, such_next, week_next) = profiles
    changes = family.changes * 0.5 ** (max(0.0, now - family.counts_at) / DAY_SECONDS)
    return [
        1.0,
        1.0 / (1.0 + since / HOUR_SECONDS),
        math.log1p(since / HOUR_SECONDS) / 5,
        math.log1p(minutes),
        math.log1p(hours) / 2,
        math.log1p(day) / 4,
        all_now + part * (all_next - all_now),
        such_now + part * (such_next - such_now),
        week_now + part * (week_next - week_now),
        1.0 if weekday(int(now // DAY_SECONDS)) >= 5 else 0.0,
        follows.get(name, 0.0),
        rhythm(family.gap, since) if family.gap else 0.0,
        math.log1p(changes),
        family.persons,
        family.agents,
    ]
