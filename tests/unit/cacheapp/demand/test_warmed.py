"""What became of field values: each fate, counted once; and what each policy would have done."""

from collections import Counter

import pytest

from cacheapp.demand.demand import Asks
from cacheapp.demand.policy import RULE_SECONDS, WARM_SECONDS
from cacheapp.demand.state import DemandState, FamilyDemand
from cacheapp.demand.warmed import Fate, note_asks, note_gathered, note_time, shadow_asks, shadow_time
from tests.support.demand import MONDAY


class World:
    """A family, what becomes of its values, and the time."""

    def __init__(self) -> None:
        self.family = FamilyDemand(MONDAY, MONDAY, MONDAY)
        self.fates: Counter[Fate] = Counter()
        self.now = MONDAY

    def after(self, seconds: float) -> "World":
        self.now += seconds
        return self

    def ask(self) -> None:
        note_asks(self.family, Asks("a", self.now, self.now), self.fates)

    def gather(self) -> None:
        note_gathered(self.family, self.now, self.fates)

    def pass_time(self, *, wanted: bool) -> None:
        note_time(self.family, self.now, wanted, self.fates)


@pytest.fixture
def world() -> World:
    return World()


def test_useful(world: World) -> None:
    """Gathered ahead and asked for while warm, however often: once."""
    world.gather()
    for _ in range(3):
        world.after(60).ask()
    world.after(WARM_SECONDS).pass_time(wanted=False)
    assert world.fates == {Fate.USEFUL: 1}


@pytest.mark.parametrize("ends", ["by time", "by being gathered again"])
def test_in_vain(world: World, ends: str) -> None:
    """Gathered ahead and not asked for before it went cold; once, however often time passes."""
    world.gather()
    world.after(WARM_SECONDS / 2).pass_time(wanted=False)
    assert world.fates == {}
    world.after(WARM_SECONDS)
    for _ in range(2):
        world.gather() if ends == "by being gathered again" else world.pass_time(wanted=True)
    assert world.fates == {Fate.IN_VAIN: 1}


def test_late(world: World) -> None:
    """Asked for while it was to be gathered; only the first ask counts, and what is gathered then isn't ahead."""
    world.pass_time(wanted=True)
    world.after(30).pass_time(wanted=True)
    world.after(30).ask()
    world.after(1).ask()
    world.after(5).gather()
    world.after(5).ask()
    world.after(WARM_SECONDS).pass_time(wanted=False)
    assert world.fates == {Fate.LATE: 1}


def test_missed(world: World) -> None:
    """Asked for while cold and not expected: never gathered, or gone cold, or expected only before."""
    world.ask()
    world.after(5).gather()
    world.after(WARM_SECONDS + 1).pass_time(wanted=True)
    world.after(60).pass_time(wanted=False)
    world.after(60).ask()
    assert world.fates == {Fate.MISSED: 2}
    values = world.family.values
    assert values is not None
    assert (values.missed, values.late, values.useful, values.in_vain) == (2, 0, 0, 0)


def test_what_is_known_already_changes_nothing(world: World) -> None:
    """The same values are told with each exchange."""
    world.gather()
    world.ask()
    world.gather()
    world.after(WARM_SECONDS + 60).pass_time(wanted=False)
    assert world.fates == {Fate.USEFUL: 1}


def test_shadow_of_asks() -> None:
    """The first ask of cold values is a call under each policy; those that follow find them warm."""
    state, family = DemandState(), FamilyDemand(MONDAY, MONDAY, MONDAY, calls=2)
    shadow_asks(state, family, Asks("a", MONDAY, MONDAY + 60, 3, calls=2))
    shadow_asks(state, family, Asks("a", MONDAY + WARM_SECONDS - 1, MONDAY + WARM_SECONDS - 1))
    shadow_asks(state, family, Asks("a", MONDAY + WARM_SECONDS, MONDAY + WARM_SECONDS))
    assert [(tally.calls, tally.asks, tally.warm) for tally in state.shadow] == [(3, 5, 3)] * 3


def test_shadow_of_time() -> None:
    """On demand alone nothing is gathered; by the rule each time it goes cold, for a day; by the model when it is
    likely.
    """
    state, family = DemandState(), FamilyDemand(MONDAY, MONDAY, MONDAY)
    shadow_asks(state, family, Asks("a", MONDAY, MONDAY))
    for minute in range(3 * 24 * 60):
        now = MONDAY + minute * 60
        shadow_time(state, family, now, 0.9 if now == MONDAY + 2 * RULE_SECONDS else 0.1)
    off, rule, model = (tally.calls for tally in state.shadow)
    assert (off, rule, model) == (1, 1 + 4, 1 + 1)
