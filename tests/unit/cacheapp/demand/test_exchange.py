"""Processes share one model by a value of the store: what each saw is in it once; what can't be used is replaced."""

import json
from typing import Any

import pytest

from cacheapp.demand.demand import Asks
from cacheapp.demand.exchange import ADVANCE_SECONDS, SHARED, Exchanged, Seen, exchanged
from cacheapp.demand.policy import WARM_SECONDS
from cacheapp.demand.state import VERSION
from cacheapp.demand.warmed import Fate
from cacheapp.state.clusters import ClusterId
from esassistant.config.model import Predict
from esassistant.shared_values import Values
from tests.support.demand import CLUSTER, DAY, MONDAY


class Shared:
    """The value in the store."""

    def __init__(self) -> None:
        self.there: Values = {}
        self.now = MONDAY
        self.writes = 0

    def exchange(self, *asks: Asks, mode: Predict = Predict.RULE, **more: Any) -> Exchanged:
        seen = Seen(CLUSTER, mode, asks, **more)
        replaced, found = exchanged(self.there, int(self.now * 1000), seen)
        self.there = {**self.there, **replaced}
        self.writes += bool(replaced)
        return found


@pytest.fixture
def shared() -> Shared:
    return Shared()


def aged(family: str, first: float, last: float, count: int = 1) -> Asks:
    """Asks with their ages, as processes tell them."""
    return Asks(family, first, last, count)


def test_all_processes_add_to_it(shared: Shared) -> None:
    """What two saw is known to both; moments are those of the store."""
    shared.exchange(aged("a", 30, 10, 3))
    shared.now += 20
    found = shared.exchange(aged("a", 5, 5), aged("b", 1, 1))
    assert found.state.families.keys() == {"a", "b"}
    family = found.state.families["a"]
    assert (family.first_at, family.asked_at) == (MONDAY - 30, MONDAY + 15)
    assert family.last_day == pytest.approx(4, abs=0.01)
    assert found.now == MONDAY + 20


def test_who_saw_nothing_writes_nothing(shared: Shared) -> None:
    """Unless nobody has for a minute; it knows all the same."""
    shared.exchange(aged("a", 1, 1))
    shared.now += ADVANCE_SECONDS - 1
    found = shared.exchange()
    assert (shared.writes, set(found.state.families)) == (1, {"a"})
    shared.now += 2
    shared.exchange()
    assert shared.writes == 2


@pytest.mark.parametrize(
    ("raw", "why"),
    [(b"rubbish", "DecodeError"), (json.dumps({"version": VERSION + 1}).encode(), f"version {VERSION + 1}")],
)
def test_what_is_damaged_or_old_is_replaced(shared: Shared, raw: bytes, why: str) -> None:
    """It says why, once, and begins anew."""
    shared.there = {SHARED: raw}
    found = shared.exchange()
    assert found.refused == why
    assert (found.state.families, found.state.began_at) == ({}, MONDAY)
    assert shared.exchange().refused is None


def test_another_cluster(shared: Shared) -> None:
    """What was learnt of one is nothing for another."""
    shared.exchange(aged("a", 1, 1))
    _, found = exchanged(shared.there, int(MONDAY * 1000), Seen(ClusterId("two", ""), Predict.RULE))
    assert (found.state.families, found.refused) == ({}, "another cluster")


def test_fates_are_told_once(shared: Shared) -> None:
    """By the exchange that finds them out, whichever process that is. Values that were gathered before an ask in the
    same minute were warm for it.
    """
    gathered: dict[str, Any] = {"is_gathered": frozenset({"a"}), "mode": Predict.RULE}
    assert shared.exchange(aged("a", 30, 30), **gathered).fates == {Fate.MISSED: 1}
    shared.now += 60
    assert shared.exchange(gathered={"a": 50.0}, **gathered).fates == {}
    shared.now += WARM_SECONDS + 60
    shared.exchange(gathered={"a": WARM_SECONDS + 110.0}, **gathered)
    assert shared.exchange(gathered={"a": 1.0}, **gathered).fates == {}
    shared.now += 60
    found = shared.exchange(aged("a", 10, 5), gathered={"a": 61.0}, **gathered)
    assert found.fates == {Fate.USEFUL: 1}
    shared.now += 60
    assert shared.exchange(gathered={"a": 121.0}, **gathered).fates == {}


def test_late_is_what_the_mode_wanted(shared: Shared) -> None:
    """Off wants nothing, so nothing is late; by the rule what went cold and was asked for within a day is."""
    for mode, fate in ((Predict.OFF, Fate.MISSED), (Predict.RULE, Fate.LATE)):
        other = Shared()
        gathered: dict[str, Any] = {"is_gathered": frozenset({"a"}), "mode": mode}
        other.exchange(aged("a", 30, 30), **gathered)
        other.now += 60
        other.exchange(gathered={"a": 55.0}, **gathered)
        other.now += WARM_SECONDS
        other.exchange(gathered={"a": WARM_SECONDS + 55.0}, **gathered)
        other.now += 60
        assert other.exchange(aged("a", 10, 10), gathered={"a": WARM_SECONDS + 115.0}, **gathered).fates == {fate: 1}


def test_families_without_values_have_no_fate(shared: Shared) -> None:
    """Of what isn't gathered nothing is missed; the shadow counts it all the same."""
    found = shared.exchange(aged("a", 1, 1), gathered={"unknown": 5.0}, mappings={"a": "hash"})
    assert found.fates == {}
    assert found.state.families["a"].values is None
    assert found.state.families["a"].hashed == "hash"
    assert [tally.asks for tally in found.state.shadow] == [1, 1, 1]


def test_it_learns_as_time_passes(shared: Shared) -> None:
    """In each mode, off included."""
    shared.exchange(aged("a", 1, 1), mode=Predict.OFF)
    learnt = 0
    while shared.now < MONDAY + DAY:
        shared.now += 60
        learnt += shared.exchange(mode=Predict.OFF).examples
    assert learnt == shared.exchange(mode=Predict.OFF).state.examples > 20
