"""What the demand model remembers, and how that is written: one value of the store, for the whole deployment. Pure.

Times are seconds since 1970 by the clock of the store. Hours and days are those of UTC.
"""

import math
from collections.abc import Iterator

import msgspec

from cacheapp.demand.regression import FIRST_SQUARES, MAX_WEIGHT
from cacheapp.state.clusters import ClusterId
from esassistant.shared_values import MAX_VALUE_BYTES

VERSION = 1
"""Of what is written. What has another version is not read: the model begins anew."""
MAX_FAMILIES = 400
KEPT_SECONDS = 15 * 86_400.0
"""A family that was not asked for that long is forgotten."""
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
"""What the model looks at, in the order of its weights; cacheapp/demand/features.py makes them."""
FIRST_WEIGHTS = (-2.5, 1.5, -0.5, 0.3, 0.5, 0.5, 1.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0)
"""Before anything is learnt: what was asked for lately, or at this hour, is likely to be asked for."""


class Example(msgspec.Struct, array_like=True):
    """What was known of a family at a moment, until it turns out whether it is asked for within the horizon."""

    at: float
    features: list[float]
    is_asked: bool = False


class FamilyDemand(msgspec.Struct, array_like=True):
    """What is remembered of one family.

    Args:
        asked_at: When it was asked for last.
        first_at: When it was first asked for.
        counts_at: As of when the next three are.
        last_minutes, last_hours, last_day: How often it was asked for, with half-lives of 10 min, 2 h and 1 day.
        hours: Of today and each of the 14 days before, the hours in which it was asked for, as bits.
        persons, agents: The share of asks by each, from 0 to 1; the others are programs.
        visits, visit_at, gap: How often it was asked for after a break, less with time; when last; and seconds between.
        successors: How many of these visits were followed by one of another family soon.
        changes: How often its mappings changed, with a half-life of a day, as of `counts_at`.
        hashed: Of its mappings, to know a change by.
        calls: What gathering its values costs.
        example: What the model is to learn from next.
        values: What became of its field values.
        shadow: Until when its values would be warm: by demand alone, by the rule, by the model.
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
        gathered_at: When they were gathered last; 0: never.
        is_ahead: Before anybody asked for them.
        is_used: Somebody asked for the family while they were warm.
        wanted_at: Since when they are to be gathered ahead, and aren't; 0: they aren't to be.
        is_asked: Somebody asked for the family since they went cold.
        useful, in_vain, late, missed: How often each, since the family is known.
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
    """What a policy costs and achieves: calls to the cluster, asks, and those of them that found warm values."""

    calls: int = 0
    asks: int = 0
    warm: int = 0


class DemandState(msgspec.Struct):
    """All that is remembered.

    Args:
        version: `VERSION`.
        cluster: Whose families these are.
        began_at: When it began; 0: it hasn't.
        hour: The number of the hour, since 1970, up to which `hours` are.
        weights, squares: Of the regression.
        examples: How many it has learnt from; `asked`: in how many of them the family was asked for.
        squared_error: The sum of the squared errors of what it expected, over the examples after the first 100.
        base_error: The same of expecting what is usual.
        visits: Families that were asked for after a break in the last minutes, and when.
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
    """What was read is damaged, of another version, or no state at all."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DemandState)


def encoded(state: DemandState) -> bytes:
    """Write a state as JSON of at most `MAX_VALUE_BYTES`; families that don't fit are dropped from it."""
    while len(raw := _encoder.encode(state)) > MAX_VALUE_BYTES:
        keep_families(state, len(state.families) * 9 // 10)
    return raw


def decoded(raw: bytes, now: float) -> DemandState:
    """Read what `encoded` wrote. Raises `UnusableState`."""
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
    """Forget families beyond `most`: those that were asked for in the fewest hours, of these the longest ago. Whoever
    goes through all names once drives out none that are asked for day by day.
    """
    if len(state.families) > most:
        families = state.families
        ranked = sorted(families, key=lambda name: (_hours_asked(families[name]), families[name].asked_at, name))
        for name in ranked[: len(families) - most]:
            del families[name]


def _hours_asked(family: FamilyDemand) -> int:
    return sum(hours.bit_count() for hours in family.hours)


def _is_sane(state: DemandState, now: float) -> Iterator[bool]:
    """Checks, each of which has to hold. A clock that was set back by more than an hour makes all times wrong."""
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
