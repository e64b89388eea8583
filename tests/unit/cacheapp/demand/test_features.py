"""What the model looks at: each number for what it stands for."""

import pytest

from cacheapp.demand.demand import Demand
from cacheapp.demand.features import (
    decayed,
    expected_now,
    features,
    hour_number,
    profile,
    rhythm,
    was_asked,
    weekday,
)
from cacheapp.demand.state import FEATURES, DemandState, FamilyDemand
from tests.support.demand import DAY, HOUR, MONDAY, asked_at, office_weeks

TODAY = MONDAY + 14 * DAY


def seen(demand: Demand, name: str, now: float) -> dict[str, float]:
    return dict(zip(FEATURES, demand.features(name, demand.state.families[name], now), strict=True))


def test_days_of_the_week() -> None:
    """0 is Monday; 1 January 1970 was a Thursday."""
    assert [weekday(int(MONDAY // DAY) + day) for day in range(7)] == [0, 1, 2, 3, 4, 5, 6]
    assert weekday(0) == 3


def test_hours_of_other_days() -> None:
    """By all days, by workdays, and by the same weekday: at 9 on a Monday five of seven days, all workdays, yes."""
    demand = office_weeks()
    family, nine = demand.state.families["office"], hour_number(TODAY + 9 * HOUR)
    today = demand.state.hour // 24
    all_days, such_days, same_day = profile(family, nine, today)
    assert [all_days, such_days, same_day] == pytest.approx([5 / 7.5, 5 / 5.5, 1.0])
    saturday = hour_number(TODAY + 5 * DAY + 9 * HOUR)
    assert profile(family, saturday, today)[1:] == (0.0, 0.0)
    assert profile(family, nine + 3, today) == (0.0, 0.0, 0.0)


def test_a_new_family_knows_no_other_days() -> None:
    """Its first day says nothing, and is no evidence against it."""
    family = FamilyDemand(TODAY, TODAY, TODAY)
    assert profile(family, hour_number(TODAY) + 5, int(TODAY // DAY)) == (0.0, 0.0, 0.0)
    family = FamilyDemand(TODAY, TODAY - DAY, TODAY, hours=[0, 1 << 5])
    assert profile(family, hour_number(TODAY) + 5, int(TODAY // DAY))[0] == pytest.approx(1 / 1.5)


def test_hours_beyond_what_is_remembered() -> None:
    """Were not asked for, as far as is known."""
    family = FamilyDemand(TODAY, TODAY, TODAY, hours=[1])
    assert was_asked(family, hour_number(TODAY), int(TODAY // DAY))
    assert not was_asked(family, hour_number(TODAY) - 24, int(TODAY // DAY))
    assert not was_asked(family, hour_number(TODAY) + 24, int(TODAY // DAY))


@pytest.mark.parametrize(
    ("gap_hours", "since_hours", "expected"),
    [(2, 1.5, 1.0), (2, 1.0, 1.0), (2, 0.5, 0.6065), (2, 4, 0.3679), (24, 1, 0.0), (1, 1_000, 0.0)],
)
def test_rhythm(gap_hours: float, since_hours: float, expected: float) -> None:
    """1 within the hour before a visit is due; less before that, and after."""
    assert rhythm(gap_hours * HOUR, since_hours * HOUR) == pytest.approx(expected, abs=1e-4)


def test_counts_lose_weight() -> None:
    """Each with its half-life, none before the moment that it is of."""
    family = FamilyDemand(TODAY, TODAY, TODAY, 4.0, 4.0, 4.0)
    assert decayed(family, TODAY) == (4.0, 4.0, 4.0)
    assert decayed(family, TODAY - 5) == (4.0, 4.0, 4.0)
    assert decayed(family, TODAY + 600)[0] == 2.0
    assert decayed(family, TODAY + 7_200)[1] == 2.0
    assert decayed(family, TODAY + DAY)[2] == 2.0


def test_what_follows_what() -> None:
    """A family that often follows another is expected a moment after that, until it has been asked for."""
    demand = Demand(DemandState())
    for day in range(5):
        asked_at(demand, "first", MONDAY + day * DAY)
        asked_at(demand, "second", MONDAY + day * DAY + 300)
    now = MONDAY + 5 * DAY
    asked_at(demand, "first", now)
    assert expected_now(demand.state, now + 60) == {"second": pytest.approx(0.68, abs=0.01)}
    assert seen(demand, "second", now + 60)["follows"] == pytest.approx(0.68, abs=0.01)
    assert expected_now(demand.state, now + 3_600) == {}
    asked_at(demand, "second", now + 120)
    assert expected_now(demand.state, now + 180) == {}
    del demand.state.families["first"]
    assert expected_now(demand.state, now + 180) == {}


def test_all_features() -> None:
    """In their order, each of a family that is asked for at 9 on workdays, at 8:50 on a Monday."""
    found = seen(office_weeks(), "office", TODAY + 9 * HOUR - 600)
    assert found["always"] == 1.0
    assert found["recency"] == pytest.approx(1 / (1 + 65.5), abs=1e-3)
    assert found["long_ago"] == pytest.approx(0.84, abs=0.01)
    assert found["last_minutes"] == pytest.approx(0.0, abs=1e-6)
    assert 0 < found["last_day"] < 0.2
    assert found["hour_of_day"] == pytest.approx(5 / 7.5 * 5 / 6)
    assert found["hour_of_such_days"] == pytest.approx(5 / 5.5 * 5 / 6)
    assert found["hour_of_week"] == pytest.approx(5 / 6)
    assert found["weekend"] == 0.0
    assert seen(office_weeks(), "office", TODAY - HOUR)["weekend"] == 1.0
    assert found["persons"] == pytest.approx(1.0, abs=0.01)
    assert found["agents"] == 0.0


def test_changes_of_mappings() -> None:
    """The first mappings that are seen are no change; others are, and lose weight."""
    demand = office_weeks(1)
    for hashed in ("a", "a", "b"):
        demand.note_mappings("office", hashed)
    demand.note_mappings("unknown", "a")
    family = demand.state.families["office"]
    later = family.counts_at + DAY
    assert family.changes == 1.0
    profiles = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert features(family, profiles, later, {}, "office")[FEATURES.index("changes")] == pytest.approx(0.405, abs=1e-3)
