"""The demand model: it notes who asks for what, learns, and says how likely a family is to be asked for soon. Pure; it
uses only the times that it is given.
"""

from dataclasses import dataclass

from cacheapp.demand.features import (
    DAY_SECONDS,
    FOLLOWS_SECONDS,
    HORIZON_SECONDS,
    Profile,
    decayed,
    expected_now,
    features,
    hour_number,
    profile,
)
from cacheapp.demand.regression import learn, probability
from cacheapp.demand.state import (
    HOURS,
    KEPT_DAYS,
    KEPT_SECONDS,
    MAX_FAMILIES,
    MAX_NAME_CHARACTERS,
    MAX_SUCCESSORS,
    MAX_VISITS,
    DemandState,
    Example,
    FamilyDemand,
    keep_families,
)

BREAK_SECONDS = 600.0
"""An ask is a new visit if the family wasn't asked for during this time."""
EXAMPLE_SECONDS = HORIZON_SECONDS + 300.0
"""The time from one example of a family to the next. It is a little more than an hour, so that examples don't overlap,
and begin at ever different minutes of the hour.
"""
FADING = 0.95
"""With each visit, the counts of earlier visits are multiplied by this."""
LEAST_COUNTED = 0.2
UNSCORED_EXAMPLES = 100
"""The first examples don't count for the model's score, because it has learnt too little by then."""
ROUNDED = 4
"""How many decimals are kept."""


@dataclass(frozen=True, slots=True)
class Asks:
    """Asks for one family, within a minute or so.

    Args:
        first_at, last_at: When the first and the last one came, by the clock of the store, in seconds.
        persons, agents: How many of them were by people and by agents; the others are by programs.
        calls: How many calls it takes to gather the family's values.
    """

    family: str
    first_at: float
    last_at: float
    count: int = 1
    persons: int = 0
    agents: int = 0
    calls: int = 1


class Demand:
    """The model, over a state that it changes. Times must be given in order, as far as they are known."""

    def __init__(self, state: DemandState) -> None:
        self.state = state
        self._profiles: dict[str, tuple[int, Profile, Profile]] = {}
        self._expected: tuple[float, dict[str, float]] | None = None

    def note(self, asks: Asks) -> FamilyDemand | None:
        """Note that a family was asked for, and return what is known of it now; None if its name is too long to
        keep.
        """
        state, at = self.state, asks.first_at
        if len(asks.family) > MAX_NAME_CHARACTERS:
            return None
        self.roll(asks.last_at)
        family = state.families.get(asks.family)
        if family is None:
            family = FamilyDemand(at, at, at)
            state.families[asks.family] = family
            self._note_visit(asks.family, family, at)
        elif at - family.asked_at >= BREAK_SECONDS:
            self._note_visit(asks.family, family, at)
        family.calls = asks.calls
        self._count(family, asks)
        example = family.example
        if example is not None and asks.last_at > example.at and at <= example.at + HORIZON_SECONDS:
            example.is_asked = True
        family.asked_at = max(family.asked_at, asks.last_at)
        for hour in range(hour_number(at), hour_number(asks.last_at) + 1):
            back = state.hour // HOURS - hour // HOURS
            if 0 <= back < len(family.hours):
                family.hours[back] |= 1 << hour % HOURS
        self._expected = None
        return family

    def note_mappings(self, name: str, hashed: str) -> None:
        """Note a hash of a known family's mappings. If it differs from the last one, the mappings have changed."""
        family = self.state.families.get(name)
        if family is not None and family.hashed != hashed:
            family.changes = round(family.changes + bool(family.hashed), ROUNDED)
            family.hashed = hashed

    def roll(self, now: float) -> None:
        """Begin a new hour, and a new day, if `now` is in a later one."""
        state, hour = self.state, hour_number(now)
        if hour <= state.hour:
            return
        days = min(hour // HOURS - state.hour // HOURS, KEPT_DAYS + 1) if state.hour else 0
        state.hour = hour
        if days:
            for family in state.families.values():
                family.hours = ([0] * days + family.hours)[: KEPT_DAYS + 1]

    def advance(self, now: float) -> None:
        """Learn from the examples whose time is over, begin new ones, and forget families that were not asked for in 15
        days.
        """
        state = self.state
        self.roll(now)
        state.began_at = state.began_at or now
        state.advanced_at = max(now, state.advanced_at)
        since = now - KEPT_SECONDS
        for name in [name for name, family in state.families.items() if family.asked_at < since]:
            del state.families[name]
        keep_families(state, MAX_FAMILIES)
        state.visits = [visit for visit in state.visits if now - visit[1] <= FOLLOWS_SECONDS]
        for name, family in state.families.items():
            example = family.example
            if example is not None and now - example.at >= EXAMPLE_SECONDS:
                self._learn(example)
                example = None
            if example is None:
                seen = [round(feature, ROUNDED) for feature in self.features(name, family, now)]
                family.example = Example(now, seen)

    def chance(self, name: str, now: float) -> float:
        """Return how likely a known family is to be asked for within the horizon, from 0 to 1."""
        return probability(self.state.weights, self.features(name, self.state.families[name], now))

    def features(self, name: str, family: FamilyDemand, now: float) -> list[float]:
        """Return the features of a family, which are the inputs of the model."""
        hour = hour_number(now)
        kept = self._profiles.get(name)
        if kept is None or kept[0] != hour:
            today = self.state.hour // HOURS
            kept = hour, profile(family, hour, today), profile(family, hour + 1, today)
            self._profiles[name] = kept
        if self._expected is None or self._expected[0] != now:
            self._expected = now, expected_now(self.state, now)
        return features(family, kept[1:], now, self._expected[1], name)

    def _count(self, family: FamilyDemand, asks: Asks) -> None:
        """Add asks to the family's counts, after reducing these by the time that has passed."""
        minutes, hours, day = decayed(family, asks.first_at)
        family.last_minutes = round(minutes + asks.count, ROUNDED)
        family.last_hours = round(hours + asks.count, ROUNDED)
        family.last_day = round(day + asks.count, ROUNDED)
        passed = max(0.0, asks.first_at - family.counts_at)
        family.changes = round(family.changes * 0.5 ** (passed / DAY_SECONDS), ROUNDED)
        share = asks.count / family.last_day
        family.persons = round(family.persons + share * (asks.persons / asks.count - family.persons), ROUNDED)
        family.agents = round(family.agents + share * (asks.agents / asks.count - family.agents), ROUNDED)
        family.counts_at = max(family.counts_at, asks.first_at)

    def _note_visit(self, name: str, family: FamilyDemand, at: float) -> None:
        """Note that a family is asked for after a break. It counts as a successor of the families visited a moment
        ago.
        """
        state = self.state
        if family.visits:
            gap = max(BREAK_SECONDS, at - family.visit_at)
            family.gap = round(family.gap ** (1 - 0.3) * gap**0.3 if family.gap else gap, ROUNDED)
        family.visit_at = at
        family.visits = round(family.visits * FADING + 1, ROUNDED)
        family.successors = {
            other: round(count * FADING, ROUNDED)
            for other, count in family.successors.items()
            if count * FADING >= LEAST_COUNTED
        }
        for other, other_at in state.visits:
            before = state.families.get(other)
            if before is None or other == name or not 0 <= at - other_at <= FOLLOWS_SECONDS:
                continue
            successors = before.successors
            if name not in successors and len(successors) >= MAX_SUCCESSORS:
                del successors[min(successors, key=lambda one: (successors[one], one))]
            successors[name] = round(successors.get(name, 0.0) + 1, ROUNDED)
        state.visits = [*(visit for visit in state.visits if visit[0] != name), (name, at)][-MAX_VISITS:]

    def _learn(self, example: Example) -> None:
        state = self.state
        usual = (state.asked + 1) / (state.examples + 2)
        expected = learn(state.weights, state.squares, example.features, example.is_asked)
        state.examples += 1
        state.asked += example.is_asked
        if state.examples > UNSCORED_EXAMPLES:
            state.scored += 1
            state.squared_error += (expected - example.is_asked) ** 2
            state.base_error += (usual - example.is_asked) ** 2
