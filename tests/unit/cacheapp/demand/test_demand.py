"""The model takes in what it is told, learns by it, and forgets."""

import pytest

from cacheapp.demand.demand import BREAK_SECONDS, EXAMPLE_SECONDS, UNSCORED_EXAMPLES, Asks, Demand
from cacheapp.demand.state import KEPT_DAYS, KEPT_SECONDS, MAX_SUCCESSORS, MAX_VISITS, DemandState
from tests.support.demand import DAY, HOUR, MONDAY, asked_at, office_weeks

TODAY = MONDAY + 14 * DAY


def test_it_learns_when_a_family_is_asked_for() -> None:
    """After two weeks it expects people at nine on a Monday, nobody on Saturday or at night, and the nightly job."""
    demand = office_weeks()
    nine, ten_at_night, saturday = TODAY + 9 * HOUR, TODAY + 22 * HOUR, TODAY + 5 * DAY + 9 * HOUR
    assert demand.chance("office", nine) > 0.7
    assert demand.chance("office", ten_at_night) < 0.15
    assert demand.chance("office", saturday) < 0.15
    assert demand.chance("nightly", TODAY + 2 * HOUR) > 0.7
    assert demand.chance("nightly", TODAY + 12 * HOUR) < 0.15
    state = demand.state
    assert state.examples > UNSCORED_EXAMPLES
    assert state.squared_error < 0.75 * state.base_error
    assert 0 < state.asked < state.examples


def test_families_do_not_touch_each_other() -> None:
    """In whichever order families were asked for at the same moment, the same is expected of each."""
    found = []
    for names in (("a", "b", "c"), ("c", "a", "b")):
        demand = Demand(DemandState())
        for hour in range(48):
            for name in names:
                if hour % (2 + len(name) + ord(name) % 3) == 0:
                    demand.note(Asks(name, MONDAY + hour * HOUR, MONDAY + hour * HOUR + 30))
            demand.advance(MONDAY + hour * HOUR + 60)
        found.append({name: demand.chance(name, MONDAY + 48 * HOUR) for name in "abc"})
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_an_example_is_asked_within_the_hour_after_it() -> None:
    """Neither before it began nor when the hour is over; asks that last over its end count."""
    for first, last, expected in (
        (-60, 0, False),
        (0, 1, True),
        (HOUR, HOUR, True),
        (HOUR - 1, HOUR + 30, True),
        (HOUR + 1, HOUR + 1, False),
    ):
        demand = Demand(DemandState())
        asked_at(demand, "a", MONDAY - 600)
        demand.advance(MONDAY)
        demand.note(Asks("a", MONDAY + first, MONDAY + last))
        demand.advance(MONDAY + EXAMPLE_SECONDS)
        assert (demand.state.examples, demand.state.asked) == (1, expected), first


def test_examples_do_not_overlap() -> None:
    """One of a family at a time, however often time is told."""
    demand = Demand(DemandState())
    asked_at(demand, "a", MONDAY)
    for minute in range(24 * 60):
        demand.advance(MONDAY + minute * 60)
    assert demand.state.examples == 24 * 60 * 60 // EXAMPLE_SECONDS


def test_days_move_on() -> None:
    """Hours are of today first; after a week without anybody, or two years, nothing is left over."""
    demand = Demand(DemandState())
    asked_at(demand, "a", MONDAY + 5 * HOUR)
    assert demand.state.families["a"].hours == [1 << 5]
    demand.note(Asks("a", MONDAY + 23.99 * HOUR, MONDAY + 24.01 * HOUR))
    assert demand.state.families["a"].hours == [1, 1 << 5 | 1 << 23]
    demand.roll(MONDAY + 4 * DAY)
    assert demand.state.families["a"].hours == [0, 0, 0, 1, 1 << 5 | 1 << 23]
    demand.roll(MONDAY)  # an exchange that came late
    demand.roll(MONDAY + 700 * DAY)
    assert demand.state.families["a"].hours == [0] * (KEPT_DAYS + 1)
    asked_at(demand, "a", MONDAY + 2 * DAY)
    assert demand.state.families["a"].hours == [0] * (KEPT_DAYS + 1)


def test_what_was_not_asked_for_is_forgotten() -> None:
    """After fifteen days."""
    demand = Demand(DemandState())
    asked_at(demand, "a", MONDAY)
    asked_at(demand, "b", MONDAY + DAY)
    demand.advance(MONDAY + KEPT_SECONDS + 1)
    assert demand.state.families.keys() == {"b"}


def test_names_that_are_too_long() -> None:
    """Are not remembered."""
    demand = Demand(DemandState())
    assert demand.note(Asks("x" * 256, MONDAY, MONDAY)) is None
    assert demand.state.families == {}


def test_successors_are_few() -> None:
    """Those that follow most often are kept; visits that are over are forgotten, and too many at once."""
    demand = Demand(DemandState())
    for visit in range(20):
        at = MONDAY + visit * DAY
        asked_at(demand, "a", at)
        asked_at(demand, "always", at + 60)
        asked_at(demand, f"once-{visit}", at + 120)
    successors = demand.state.families["a"].successors
    assert len(successors) <= MAX_SUCCESSORS
    assert max(successors, key=successors.__getitem__) == "always"
    demand.advance(MONDAY + 30 * DAY)
    assert demand.state.visits == []
    for number in range(2 * MAX_VISITS):
        asked_at(demand, f"many-{number}", MONDAY + 30 * DAY + number)
    assert len(demand.state.visits) == MAX_VISITS


def test_a_visit_comes_after_a_break() -> None:
    """Asks soon after each other are one visit; the gap is between visits, and moves to what it is now."""
    demand = Demand(DemandState())
    for hour in range(20):
        asked_at(demand, "a", MONDAY + hour * HOUR)
        asked_at(demand, "a", MONDAY + hour * HOUR + BREAK_SECONDS / 2)
    family = demand.state.families["a"]
    assert family.gap == pytest.approx(HOUR, rel=0.01)
    for visit in range(20):
        asked_at(demand, "a", MONDAY + DAY + visit * 2 * HOUR)
    assert family.gap == pytest.approx(2 * HOUR, rel=0.05)


def test_callers_by_kind() -> None:
    """Their shares are those of the last day."""
    demand = Demand(DemandState())
    demand.note(Asks("a", MONDAY, MONDAY, 10, persons=10))
    assert (demand.state.families["a"].persons, demand.state.families["a"].agents) == (1.0, 0.0)
    demand.note(Asks("a", MONDAY + 5 * DAY, MONDAY + 5 * DAY, 10, persons=5, agents=5))
    family = demand.state.families["a"]
    assert [family.persons, family.agents] == pytest.approx([0.5, 0.5], abs=0.05)
