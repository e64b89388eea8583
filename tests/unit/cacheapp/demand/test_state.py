"""What is kept: it is the same after it was written and read, has a bound, and nothing damaged or old is taken."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.demand.demand import Asks, Demand
from cacheapp.demand.state import (
    FEATURES,
    FIRST_WEIGHTS,
    MAX_FAMILIES,
    DemandState,
    FamilyDemand,
    UnusableState,
    decoded,
    encoded,
    keep_families,
)
from esassistant.shared_values import MAX_VALUE_BYTES
from tests.support.demand import DAY, HOUR, MONDAY, office_weeks

ASKS = st.builds(
    lambda name, at, lasts, count: Asks(
        f"family-{name}", MONDAY + at, MONDAY + at + lasts, count, count // 2, count // 3
    ),
    st.integers(0, 5),
    st.floats(0, 20 * DAY),
    st.floats(0, 60),
    st.integers(1, 50),
)


def test_each_feature_has_a_first_weight() -> None:
    """Or the first expectation would fail."""
    assert len(FIRST_WEIGHTS) == len(FEATURES)


@given(st.lists(ASKS, max_size=40))
def test_round_trip(asks: list[Asks]) -> None:
    """Whatever was asked for when: what is read is what was written, and is sane."""
    demand = Demand(DemandState())
    for one in sorted(asks, key=lambda one: one.first_at):
        demand.note(one)
        demand.advance(one.last_at)
    raw = encoded(demand.state)
    assert decoded(raw, MONDAY + 21 * DAY) == demand.state
    assert encoded(decoded(raw, MONDAY + 21 * DAY)) == raw


def spoilt(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A state that somebody changed."""
    state = json.loads(encoded(office_weeks(2).state))
    change(state)
    return json.dumps(state).encode()


FAMILY_PLACES = {name: place for place, name in enumerate(FamilyDemand.__struct_fields__)}


def in_family(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda state: state["families"]["office"].__setitem__(FAMILY_PLACES[name], value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        spoilt(lambda state: state.update(version=0)),
        spoilt(lambda state: state.update(version=2)),
        spoilt(lambda state: state.update(weights=[0.0])),
        spoilt(lambda state: state["weights"].__setitem__(0, 1e6)),
        spoilt(lambda state: state["weights"].__setitem__(0, None)),
        spoilt(lambda state: state["squares"].__setitem__(0, 0.0)),
        spoilt(lambda state: state.update(examples=-1)),
        spoilt(lambda state: state.update(squared_error=-1.0)),
        spoilt(lambda state: state.update(hour=10**9)),
        spoilt(lambda state: state.update(began_at=MONDAY + 10 * DAY)),
        spoilt(lambda state: state.update(shadow=[])),
        spoilt(lambda state: state.update(visits=[["a", 0.0]] * 100)),
        spoilt(in_family("asked_at", MONDAY + 10 * DAY)),
        spoilt(in_family("first_at", MONDAY + 10 * DAY)),
        spoilt(in_family("counts_at", -1.0)),
        spoilt(in_family("last_day", 1e300)),
        spoilt(in_family("persons", 1.5)),
        spoilt(in_family("agents", -0.5)),
        spoilt(in_family("hours", [])),
        spoilt(in_family("hours", [1 << 24])),
        spoilt(in_family("successors", dict.fromkeys("abcde", 1.0))),
        spoilt(in_family("calls", 0)),
        spoilt(in_family("shadow", [0.0])),
        spoilt(in_family("example", [MONDAY, [1.0], False])),
        spoilt(in_family("example", [MONDAY, [1e300] * len(FEATURES), False])),
    ],
)
def test_damaged_or_of_another_version(raw: bytes) -> None:
    """It is refused, and says why."""
    with pytest.raises(UnusableState, match=r"\w"):
        decoded(raw, MONDAY + 2 * DAY)


def test_a_clock_that_was_set_back() -> None:
    """What claims to be of tomorrow is refused."""
    raw = encoded(office_weeks(2).state)
    assert decoded(raw, MONDAY + 2 * DAY)
    with pytest.raises(UnusableState):
        decoded(raw, MONDAY)


def test_it_has_a_bound() -> None:
    """As many families as may be, with the longest names: what is written has room in one value of the store."""
    demand = Demand(DemandState())
    for number in range(MAX_FAMILIES):
        name = f"{number:03}".ljust(255, "x")
        for day in range(3):
            demand.note(Asks(name, MONDAY + day * DAY + number, MONDAY + day * DAY + number + 1, 3, 1, 1))
    demand.advance(MONDAY + 3 * DAY)
    assert len(msgspec.json.encode(demand.state)) > MAX_VALUE_BYTES
    raw = encoded(demand.state)
    assert len(raw) <= MAX_VALUE_BYTES
    assert 100 < len(decoded(raw, MONDAY + 4 * DAY).families) < MAX_FAMILIES


def test_a_crawler_drives_out_nothing() -> None:
    """Whoever goes through all names once has these forgotten first, not what is asked for day by day."""
    demand = office_weeks(3)
    for number in range(2 * MAX_FAMILIES):
        at = MONDAY + 3 * DAY + HOUR + number
        demand.note(Asks(f"crawled-{number}", at, at))
    demand.advance(MONDAY + 3 * DAY + 2 * HOUR)
    assert len(demand.state.families) == MAX_FAMILIES
    assert {"office", "nightly"} <= demand.state.families.keys()
    keep_families(demand.state, 2)
    assert demand.state.families.keys() == {"office", "nightly"}
