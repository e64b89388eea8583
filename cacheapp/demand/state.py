"""What the demand model remembers, and how it is encoded: one value of the store, for the whole deployment. Pure.

Times are seconds since 1970 by the clock of the store. Hours and days are in UTC.
"""

import math
from collections.abc import Iterator

import msgspec

from cacheapp.demand.regression import FIRST_SQUARES, MAX_WEIGHT
from cacheapp.state.clusters import ClusterId
from esassistant.shared_values import MAX_VALUE_BYTES

VERSION = 1
"""The version of the encoded state. A state of another version is not read, and the model begins anew."""
MAX_FAMILIES = 400
KEPT_SECONDS = 15 * 86_400.0
"""A family is forgotten if it was not asked for during this time."""
KEPT_DAYS = 14
MAX_SUCCESSORS = 4
MAX_VISITS = 32
MAX_NAME_CHARACTERS = 255
HOURS = 24
MOST_COUNTED = 1e9
MAX_FEATURE = 100.0

FEATURES = (
    *("always", "recency", "long_ago", "last_minutes", "last_hours", "last_day"),
    *("hour_of_day", "hour_of_such_days", "hour_of_week", "weekend"),
    *("follows", "rhythm", "changes", "persons", "agents"),
)
"""The features, in the order of their weights; cacheapp/demand/features.py computes them."""
FIRST_WEIGHTS = (-2.5, 1.5, -0.5, 0.3, 0.5, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0)
"""The weights before anything is learnt: what was asked for lately, or at this hour, is likely to be asked for."""


class Example(msgspec.Struct, array_like=True):
    """The features of a family at a moment, kept until it turns out whether it is asked for within the horizon."""

    at: float
    features: list[float]
    is_asked: bool = False


class FamilyDemand(msgspec.Struct, array_like=True):
    """What is remembered of one family.

    Args:
        asked_at: When it was last asked for.
        first_at: When it was first asked for.
        counts_at: The time up to which the next three counts are reduced.
        last_minutes, last_hours, last_day: How often it was asked for, with half-lives of 10 min, 2 h and 1 day.
        hours: For today and each of the 14 days before, the hours in which it was asked for, as bits.
        persons, agents: The share of asks by people and by agents, from 0 to 1; the others are by programs.
        visits, visit_at, gap: How many visits there were (fading with each), when the last was, and the usual seconds
            between two.
        successors: By family, how often a visit of this family was soon followed by one of that family.
        changes: How often its mappings changed, with a half-life of a day, as of `counts_at`.
        hashed: A hash of its mappings, by which a change is noticed.
        calls: How many calls it takes to gather its values.
        example: The example that the model learns from next.
        values: What became of its field values.
        shadow: Until when its values would be warm under each policy: demand alone, the rule, the model.
    """

    asked_at: float
    first_at: float
    counts_at: float
    last_minutes: float = 0.0
    last_hours: float = 0.0
    last_day: float = 0.0
    hours: list[int] = msgspec.field(default_factory=lambda: [0])
    persons: float = 0.0
    agents: float = 0.0
    visits: float = 0.0
    visit_at: float = 0.0
    gap: float = 0.0
    successors: dict[str, float] = {}
    changes: float = 0.0
    hashed: str = ""
    calls: int = 1
    example: Example | None = None
    values: "ValuesState | None" = None
    shadow: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])


class ValuesState(msgspec.Struct, array_like=True):
    """What became of a family's field values.

    Args:
        gathered_at: When they were last gathered; 0: never.
        is_ahead: They were gathered before anybody asked for them.
        is_used: Somebody asked for the family while they were warm.
        wanted_at: Since when they have been due to be gathered ahead; 0: they aren't due.
        is_asked: Somebody asked for the family after they went cold.
        useful, in_vain, late, missed: How often each fate came about, since the family is known.
    """

    gathered_at: float = 0.0
    is_ahead: bool = False
    is_used: bool = False
    wanted_at: float = 0.0
    is_asked: bool = False
    useful: int = 0
    in_vain: int = 0
    late: int = 0
    missed: int = 0


class Tally(msgspec.Struct, array_like=True):
    """What a policy costs and achieves: calls to the cluster, asks, and how many of these found warm values."""

    calls: int = 0
    asks: int = 0
    warm: int = 0


class DemandState(msgspec.Struct):
    """All that is remembered.

    Args:
        version: `VERSION`.
        cluster: The cluster whose families these are.
        began_at: When learning began; 0: it hasn't.
        hour: The number of the present hour since 1970, up to which `hours` of the families reach.
        weights, squares: Those of the regression.
        examples: How many examples it has learnt from; `asked`: in how many of them the family was asked for.
        squared_error: The sum of the squared errors of its predictions, without the first 100 examples.
        base_error: The same for always predicting the usual rate.
        visits: The families that were visited in the last minutes, and when.
        shadow: What each policy would have cost and achieved: demand alone, the rule, the model.
    """

    version: int = VERSION
    cluster: ClusterId = ClusterId("", "")
    began_at: float = 0.0
    advanced_at: float = 0.0
    hour: int = 0
    weights: list[float] = msgspec.field(default_factory=lambda: list(FIRST_WEIGHTS))
    squares: list[float] = msgspec.field(default_factory=lambda: [FIRST_SQUARES] * len(FEATURES))
    examples: int = 0
    asked: int = 0
    scored: int = 0
    squared_error: float = 0.0
    base_error: float = 0.0
    visits: list[tuple[str, float]] = []
    families: dict[str, FamilyDemand] = {}
    shadow: list[Tally] = msgspec.field(default_factory=lambda: [Tally(), Tally(), Tally()])


class UnusableState(Exception):
    """The encoded state is damaged, of another version, or no state at all."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DemandState)


def encoded(state: DemandState) -> bytes:
    """Return a state as JSON of at most `MAX_VALUE_BYTES`. Families that don't fit are dropped from the state."""
    while len(raw := _encoder.encode(state)) > MAX_VALUE_BYTES:
        keep_families(state, len(state.families) * 9 // 10)
    return raw


def decoded(raw: bytes, now: float) -> DemandState:
    """Return the state that `encoded` wrote. Raise `UnusableState` if it is damaged, or of another version."""
    try:
        state = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableState(type(error).__name__) from None
    if state.version != VERSION:
        raise UnusableState(f"version {state.version}")
    if not all(_is_sane(state, now)):
        raise UnusableState("values that can't be")
    return state


def keep_families(state: DemandState, most: int) -> None:
    """Forget the families beyond `most`: those that were asked for in the fewest hours, and of these the ones that were
    asked for the longest ago. So somebody who goes through all names once doesn't drive out families that are asked for
    every day.
    """
    if len(state.families) > most:
        families = state.families
        ranked = sorted(families, key=lambda name: (_hours_asked(families[name]), families[name].asked_at, name))
        for name in ranked[: len(families) - most]:
            del families[name]


def _hours_asked(family: FamilyDemand) -> int:
    return sum(hours.bit_count() for hours in family.hours)


def _is_sane(state: DemandState, now: float) -> Iterator[bool]:
    """Yield checks of a state, each of which has to hold. A clock that was set back by more than an hour fails them."""
    latest = now + 3_600.0
    yield len(state.weights) == len(state.squares) == len(FEATURES)
    yield all(abs(weight) <= MAX_WEIGHT for weight in state.weights)
    yield all(FIRST_SQUARES <= square < math.inf for square in state.squares)
    yield len(state.families) <= MAX_FAMILIES and len(state.visits) <= MAX_VISITS and len(state.shadow) == 3
    yield 0 <= state.began_at <= latest and 0 <= state.advanced_at <= latest and 0 <= state.hour <= latest / 3_600
    yield min(state.examples, state.asked, state.scored) >= 0 and min(state.squared_error, state.base_error) >= 0
    yield all(_is_sane_family(family, latest) for family in state.families.values())


def _is_sane_family(family: FamilyDemand, latest: float) -> bool:
    counts = (family.last_minutes, family.last_hours, family.last_day, family.changes, family.visits, family.gap)
    return (
        0 <= family.first_at <= family.asked_at <= latest
        and 0 <= family.counts_at <= latest
        and all(0 <= count < MOST_COUNTED for count in counts)
        and 0 <= family.persons <= 1
        and 0 <= family.agents <= 1
        and 0 < len(family.hours) <= KEPT_DAYS + 1
        and all(0 <= hours < 1 << HOURS for hours in family.hours)
        and len(family.successors) <= MAX_SUCCESSORS
        and 1 <= family.calls <= 2
        and len(family.shadow) == 3
        and (family.example is None or _is_sane_example(family.example))
    )


def _is_sane_example(example: Example) -> bool:
    features = example.features
    return len(features) == len(FEATURES) and all(abs(feature) <= MAX_FEATURE for feature in features)
