"""When field values are gathered, and of which family next."""

import pytest

from cacheapp.state.families import ALIAS
from cacheapp.state.family_names import NamedFamily
from cacheapp.values.policy import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Hindrance,
    Pause,
    Situation,
    hindrance_in,
    is_wanted,
    seconds_between_calls,
    situation_of,
)
from esassistant.breaker import BreakerPolicy, Outcome
from esassistant.elasticsearch.pools import Pool, PoolLimits
from tests.support.fakes import FakeClock

IDLE = Situation(0, True)


def family(name: str, *indices: str) -> NamedFamily:
    return NamedFamily(name, ALIAS, indices or (f"{name}-1",))


@pytest.mark.parametrize(
    ("situation", "pause_seconds", "expected"),
    [
        (IDLE, 0.0, None),
        (Situation(1, True), 0.0, Hindrance.BUSY),
        (Situation(1, False), 0.0, Hindrance.BREAKER),
        (Situation(1, False), 0.1, Hindrance.PAUSED),
    ],
)
def test_what_forbids_a_call(situation: Situation, pause_seconds: float, expected: Hindrance | None) -> None:
    """Calls under way, a breaker that isn't closed, a pause; the strongest is named."""
    assert hindrance_in(situation, pause_seconds) is expected


async def test_the_situation_is_that_of_all_pools() -> None:
    """Calls of all together, and the worst breaker; one that never trips is closed."""
    idle = Pool("idle", PoolLimits(1), BreakerPolicy(minimum_calls=None))
    busy = Pool("busy", PoolLimits(2), BreakerPolicy())
    assert situation_of([idle.report(None), busy.report(None)]) == Situation(0, True)
    async with busy.connection():
        assert situation_of([idle.report(None), busy.report(None)]) == Situation(1, True)
    tripped = Pool("tripped", PoolLimits(1), BreakerPolicy(failure_percent=0.0, minimum_calls=1))
    permit = tripped.breaker.enter()
    tripped.breaker.leave(permit, Outcome.FAILURE)
    assert not situation_of([idle.report(None), tripped.report(None)]).breakers_closed


def test_pauses_double_until_the_cluster_answers() -> None:
    """Up to the longest; another process's pause counts too, never longer than ours may be."""
    clock = FakeClock()
    pause = Pause(clock)
    assert pause.seconds_left == 0
    assert [pause.begin(), pause.begin()] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]
    assert pause.seconds_left == 2 * FIRST_PAUSE_SECONDS
    clock.advance(2 * FIRST_PAUSE_SECONDS)
    assert pause.seconds_left == 0
    pause.note_success()
    assert pause.begin() == FIRST_PAUSE_SECONDS
    assert max(pause.begin() for _ in range(20)) == LONGEST_PAUSE_SECONDS
    other = Pause(clock)
    other.extend(10 * LONGEST_PAUSE_SECONDS)
    assert other.seconds_left == LONGEST_PAUSE_SECONDS


def test_the_budget_is_spread() -> None:
    """A little less than it allows."""
    assert 10.0 < seconds_between_calls(6) < 10.5


def test_which_families_are_wanted() -> None:
    """By their names, or by those of all their indices; none of the cluster's own, none without indices."""
    assert is_wanted(family("orders"), ("orders",))
    assert is_wanted(family("logs*", "logs-1", "logs-2"), ("logs-*",))
    assert not is_wanted(family("shop", "logs-1", "orders-2"), ("logs-*",))
    assert not is_wanted(family("orders"), ())
    assert not is_wanted(family(".security"), ("*",))
    assert not is_wanted(NamedFamily("orders", ALIAS, ()), ("*",))
