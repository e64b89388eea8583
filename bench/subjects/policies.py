"""Policies of warming ahead, written as scores: a score for each family at each step of a replay. A policy warms
families whose score is at least its threshold.

Each policy knows the asks before the step; the oracle knows those after it.
"""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.subjects.traces import AGENT, DAY, HOUR, PERSON, Trace
from bench.subjects.warming import ALWAYS, NEVER, STEP_SECONDS
from cacheapp.demand.demand import Asks, Demand
from cacheapp.demand.features import weekday
from cacheapp.demand.state import DemandState

UNKNOWN = -1e18
CHANCES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.4, 0.5, 0.7)
PERIODS_HOURS = (0.5, 1, 2, 4, 8, 12, 16, 24, 36, 48, 72, 168)
HALF_LIVES_HOURS = (3.0, 24.0, 72.0)
FOLLOWS_SECONDS = 1_800.0


@dataclass(frozen=True)
class Choice:
    """A policy with one setting of its parameters, as scores: the scores of all families at the first step, then those
    at the second step, and so on. Of the families that were ever asked for, those are warmed whose score is at least
    `threshold`.

    `scores` None: the families have no scores, and `threshold` is `NEVER` (none is warmed) or `ALWAYS` (all are).
    """

    policy: str
    setting: str
    scores: "array[float] | None"
    threshold: float


def steps(trace: Trace) -> Iterator[tuple[int, float, list[tuple[float, int, int]]]]:
    """Yield each step: its number, its time, and the asks since the step before, as in `Trace.asks`."""
    asks, place = trace.asks, 0
    for step in range(steps_total(trace)):
        now = trace.start + step * STEP_SECONDS
        first = place
        while place < len(asks) and asks[place][0] < now:
            place += 1
        yield step, now, list(asks[first:place])


def steps_total(trace: Trace) -> int:
    return math.ceil((trace.end - trace.start) / STEP_SECONDS)


def never(_: Trace) -> list[Choice]:
    """Never warm ahead: values are only gathered on demand."""
    return [Choice("never", "", None, NEVER)]


def always(_: Trace) -> list[Choice]:
    """Keep everything warm that was ever asked for."""
    return [Choice("always", "", None, ALWAYS)]


def last_asked(trace: Trace) -> list[Choice]:
    """Warm what was asked for within the last T hours, for each T of `PERIODS_HOURS`."""
    count = len(trace.names)
    asked_at, scores = [UNKNOWN] * count, array("d")
    for _, now, asks in steps(trace):
        for at, number, _ in asks:
            asked_at[number] = at
        scores.extend([at - now for at in asked_at])
    return [Choice("last-asked", f"T = {hours:g} h", scores, -hours * HOUR) for hours in PERIODS_HOURS]


def ewma(trace: Trace) -> list[Choice]:
    """Warm what is likely to be asked for within an hour at its usual rate, by counts that lose weight with time."""
    choices = []
    for half_life in HALF_LIVES_HOURS:
        per_step = 0.5 ** (STEP_SECONDS / (half_life * HOUR))
        hourly = math.log(2) / half_life
        rates, scores = [0.0] * len(trace.names), array("d")
        for _, _, asks in steps(trace):
            rates = [rate * per_step for rate in rates]
            for _, number, _ in asks:
                rates[number] += hourly
            scores.extend([1 - math.exp(-rate) for rate in rates])
        choices += [
            Choice("EWMA", f"half-life {half_life:g} h, from {chance:.0%}", scores, chance) for chance in CHANCES
        ]
    return choices


def seasonal(trace: Trace) -> list[Choice]:
    """Warm what was asked for within an hour of this time of day on most of the earlier days of the same kind (workdays
    or weekends). Newer days weigh more.
    """
    count, per_day = len(trace.names), round(DAY / STEP_SECONDS)
    within = round(HOUR / STEP_SECONDS)
    shares = [array("d", bytes(8 * count)) for _ in range(2 * per_day)]
    asked_in = [[False] * count for _ in range(within)]
    zero = int(trace.start // STEP_SECONDS)
    scores = array("d")
    for step, _, asks in steps(trace):
        latest = [False] * count
        for _, number, _ in asks:
            latest[number] = True
        asked_in = [*asked_in[1:], latest]
        if step >= within:  # what was asked for in the last hour counts for the slot of an hour ago
            slot = shares[_slot(zero + step - within, per_day)]
            for number in range(count):
                asked = any(some[number] for some in asked_in)
                slot[number] += 0.4 * (asked - slot[number])
        scores.extend(shares[_slot(zero + step, per_day)])
    return [Choice("seasonal", f"from {chance:.0%}", scores, chance) for chance in CHANCES]


def _slot(step: int, per_day: int) -> int:
    day, slot = divmod(step, per_day)
    return slot + (per_day if weekday(day) >= 5 else 0)


def markov(trace: Trace) -> list[Choice]:
    """Warm what usually follows within half an hour after what was asked for a moment ago. A second ask for the same
    family counts as following too.
    """
    count = len(trace.names)
    visits = [0.0] * count
    followed: list[dict[int, float]] = [{} for _ in range(count)]
    recent: list[tuple[float, int]] = []
    scores = array("d")
    for _, now, asks in steps(trace):
        for at, number, _ in asks:
            recent = [(then, other) for then, other in recent if at - then <= FOLLOWS_SECONDS]
            for _, other in recent:
                followed[other][number] = min(visits[other], followed[other].get(number, 0.0) + 1)
            visits[number] += 1
            recent = [(then, other) for then, other in recent if other != number]
            recent.append((at, number))
        row = [0.0] * count
        for then, other in recent:
            if now - then <= FOLLOWS_SECONDS:
                for number, times in followed[other].items():
                    row[number] = max(row[number], times / (visits[other] + 1))
        scores.extend(row)
    return [Choice("Markov", f"from {chance:.0%}", scores, chance) for chance in CHANCES]


def model(trace: Trace) -> list[Choice]:
    """Warm by the project's own model, which learns as it goes: what is likely enough, given the calls that it
    costs.
    """
    scores = array("d", model_chances(trace))
    return [Choice("model", f"from {chance:.0%} a call", scores, chance) for chance in CHANCES]


def model_chances(trace: Trace) -> Iterator[float]:
    """Yield the model's chance for each family at each step, divided by the calls that the family costs."""
    demand, names = Demand(DemandState()), trace.names
    changes, place = trace.changes, 0
    for _, now, asks in steps(trace):
        for one in batched_asks(trace, asks):
            demand.note(one)
        while place < len(changes) and changes[place][0] < now:
            demand.note_mappings(names[changes[place][1]], f"{place}")
            place += 1
        demand.advance(now)
        known = demand.state.families
        for number, name in enumerate(names):
            yield demand.chance(name, now) / trace.calls[number] if name in known else UNKNOWN


def batched_asks(trace: Trace, asks: Sequence[tuple[float, int, int]]) -> list[Asks]:
    """Return asks by family, in batches of a minute as processes exchange them. `asks`: for each its second, the number
    of its family, and the kind of caller (`PROGRAM`, `PERSON`, `AGENT`).
    """
    found: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for at, number, kind in asks:
        found.setdefault((int(at // 60), number), []).append((at, kind))
    return [
        Asks(
            trace.names[number],
            some[0][0],
            some[-1][0],
            len(some),
            sum(kind == PERSON for _, kind in some),
            sum(kind == AGENT for _, kind in some),
            trace.calls[number],
        )
        for (_, number), some in found.items()
    ]


def oracle(trace: Trace) -> list[Choice]:
    """Warm what will be asked for in the next twenty minutes, which no real policy can know."""
    count = len(trace.names)
    following = [math.inf] * count
    rows: list[list[float]] = []
    asks, place = trace.asks, len(trace.asks)
    for step in reversed(range(steps_total(trace))):
        now = trace.start + step * STEP_SECONDS
        while place and asks[place - 1][0] >= now:
            place -= 1
            following[asks[place][1]] = asks[place][0]
        rows.append([now - at for at in following])
    scores = array("d")
    for row in reversed(rows):
        scores.extend(row)
    return [Choice("oracle", "", scores, -2 * STEP_SECONDS)]


POLICIES: dict[str, Callable[[Trace], list[Choice]]] = {
    "never": never,
    "always": always,
    "last-asked": last_asked,
    "EWMA": ewma,
    "seasonal": seasonal,
    "Markov": markov,
    "model": model,
    "oracle": oracle,
}
RULES = ("last-asked", "EWMA", "seasonal", "Markov")
"""The policies that follow a rule."""
