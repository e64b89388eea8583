"""One sentence says why: by the mode, with the figures that decide."""

import pytest

from cacheapp.demand.reasons import reason
from cacheapp.demand.state import FEATURES
from esassistant.config.model import Predict
from tests.support.demand import DAY, HOUR, MONDAY, asked_at, office_weeks

TODAY = MONDAY + 14 * DAY


def test_by_the_other_modes() -> None:
    """How long ago it was asked for, and what follows of that."""
    demand = office_weeks()
    assert reason(demand, "nightly", TODAY, Predict.OFF) == "Asked for 21 h 55 min ago; nothing is gathered ahead."
    assert reason(demand, "nightly", TODAY, Predict.RULE) == "Asked for 21 h 55 min ago, within the last 24 h."
    assert reason(demand, "office", TODAY, Predict.RULE) == "Asked for 2 d 8 h ago, beyond the last 24 h."


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ("hour_of_such_days", "asked for from 9:00 to 10:00 UTC on 5 of the last 5 workdays."),
        ("hour_of_day", "asked for from 9:00 to 10:00 UTC on 5 of the last 7 days."),
        ("hour_of_week", "asked for from 9:00 to 10:00 UTC on 2 of the last 2 Mondays."),
        ("follows", "it is often asked for soon after nightly."),
        ("rhythm", "it is asked for about every "),
        ("changes", "its mappings changed 3 times lately."),
        ("persons", "100 % of those who ask for it are persons."),
        ("agents", "50 % of those who ask for it are agents."),
        ("last_day", "it was asked for about 1 times in the last day."),
        ("recency", "it was asked for 2 d 17 h ago."),
        ("long_ago", "it was asked for 2 d 17 h ago."),
    ],
)
def test_by_the_model(feature: str, said: str) -> None:
    """How likely it is, and the one thing that speaks loudest for that."""
    demand = office_weeks()
    now = TODAY + 9 * HOUR - 600
    family = demand.state.families["office"]
    family.changes, family.agents, family.last_day = 3.0, 0.5, 1.0
    asked_at(demand, "nightly", now - 60)
    demand.state.families["nightly"].successors["office"] = 5.0
    demand.state.weights = [0.0 if one != feature else 10.0 for one in FEATURES]
    if feature in ("changes", "last_day", "rhythm"):
        family.counts_at = now
    text = reason(demand, "office", now, Predict.MODEL)
    assert "likely to be asked for within an hour" in text
    assert said in text


def test_on_weekends_and_without_anything_for_it() -> None:
    """Where nothing speaks for it, how long ago it was asked for; weekends have days of their own."""
    demand = office_weeks()
    demand.state.weights = [-5.0] * len(FEATURES)
    assert "too unlikely for 1 call: it was asked for" in reason(demand, "office", TODAY, Predict.MODEL)
    saturday = TODAY + 5 * DAY + 2 * HOUR
    demand.roll(saturday)
    demand.state.weights = [0.0 if one != "hour_of_such_days" else 10.0 for one in FEATURES]
    assert "of the last 4 weekend days" in reason(demand, "nightly", saturday, Predict.MODEL)
    demand.state.weights = [0.0 if one != "weekend" else 10.0 for one in FEATURES]
    assert "enough for 2 calls: it is weekend." in reason(demand, "nightly", saturday, Predict.MODEL)
    assert demand.state.visits == []
    demand.state.weights = [0.0 if one != "follows" else 10.0 for one in FEATURES]
    assert "it was asked for" in reason(demand, "nightly", saturday, Predict.MODEL)
