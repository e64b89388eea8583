"""The breaker, case by case; `test_breaker_model.py` has the whole of it against a model."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esassistant.breaker import (
    NEVER_TRIPS,
    Breaker,
    BreakerPolicy,
    BreakerReport,
    BreakerState,
    Outcome,
    Permit,
)
from esassistant.errors import EsassistantError
from tests.support.fakes import FakeClock

POLICY = BreakerPolicy(minimum_calls=4, jitter=0.0)

NewBreaker = Callable[..., Breaker]


class Refused(EsassistantError):
    """What the breakers of these tests raise."""


def refusal(reason: str, seconds: float) -> Refused:
    return Refused(reason, retry_after_seconds=seconds)


@pytest.fixture
def new_breaker(fake_clock: FakeClock) -> NewBreaker:
    """Makes breakers on the fake clock that trip at 4 calls, unless told otherwise."""

    def make(**fields: Any) -> Breaker:
        options = {name: fields.pop(name) for name in ("uniform", "on_transition", "log_level") if name in fields}
        policy = BreakerPolicy(**{"minimum_calls": 4, "jitter": 0.0, **fields})
        return Breaker("test", policy, refusal, clock=fake_clock, **options)

    return make


def call(breaker: Breaker, *outcomes: Outcome) -> None:
    """One call after the other, each with its outcome."""
    for outcome in outcomes:
        breaker.leave(breaker.enter(), outcome)


def report_of(breaker: Breaker) -> BreakerReport:
    report = breaker.report()
    assert report is not None
    return report


def trip(breaker: Breaker) -> None:
    """Make as many calls fail as it takes."""
    call(breaker, *[Outcome.FAILURE] * 4)
    assert report_of(breaker).state is BreakerState.OPEN


def half_open(breaker: Breaker, clock: FakeClock) -> Permit:
    """Trip it, wait until it lets a probe through, and send one."""
    trip(breaker)
    clock.now += POLICY.open_seconds
    probe = breaker.enter()
    assert probe.probing_since is not None
    return probe


def test_defaults() -> None:
    """As designed: half of at least 50 calls in 10 s."""
    policy = BreakerPolicy()
    assert (policy.failure_percent, policy.minimum_calls, policy.window_seconds) == (50.0, 50, 10.0)


def test_minimum_calls(new_breaker: NewBreaker) -> None:
    """However many fail, nothing trips before there are enough calls; with the last of them it does."""
    breaker = new_breaker()
    call(breaker, *[Outcome.FAILURE] * 3)
    assert report_of(breaker).state is BreakerState.CLOSED
    call(breaker, Outcome.FAILURE)
    report = report_of(breaker)
    assert (report.state, report.trips_total) == (BreakerState.OPEN, 1)
    assert report.reason == "4 of 4 calls failed within 10 s"


@pytest.mark.parametrize(
    ("outcomes", "state"), [("SSFF", BreakerState.OPEN), ("SSSF", BreakerState.CLOSED), ("SFSSF", BreakerState.CLOSED)]
)
def test_failure_percent(new_breaker: NewBreaker, outcomes: str, state: BreakerState) -> None:
    """It trips at the share of failures and not below."""
    breaker = new_breaker()
    call(breaker, *({"S": Outcome.SUCCESS, "F": Outcome.FAILURE}[letter] for letter in outcomes))
    assert report_of(breaker).state is state


def test_one_failure_is_enough(new_breaker: NewBreaker) -> None:
    """With a share of 0, one failure trips it, however many calls succeeded; without one it stays closed."""
    breaker = new_breaker(failure_percent=0.0, minimum_calls=1)
    call(breaker, *[Outcome.SUCCESS] * 1000)
    assert report_of(breaker).state is BreakerState.CLOSED
    call(breaker, Outcome.FAILURE)
    assert report_of(breaker).reason == "1 of 1001 calls failed within 10 s"


def test_old_failures_do_not_count(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Failures that lie further back than the window are forgotten."""
    breaker = new_breaker()
    call(breaker, *[Outcome.FAILURE] * 3)
    fake_clock.now += 11.1
    call(breaker, *[Outcome.FAILURE] * 3)
    report = report_of(breaker)
    assert (report.state, report.calls, report.failures) == (BreakerState.CLOSED, 3, 3)


@pytest.mark.parametrize("outcome", [Outcome.ANSWER, Outcome.NOTHING])
def test_neutral_outcomes(new_breaker: NewBreaker, outcome: Outcome) -> None:
    """4xx, 500 and cancelled calls count neither for nor against a closed breaker."""
    breaker = new_breaker()
    call(breaker, *[outcome] * 100)
    assert (report_of(breaker).calls, report_of(breaker).failure_percent) == (0, None)
    call(breaker, *[Outcome.FAILURE] * 3, *[outcome] * 100)
    assert report_of(breaker).state is BreakerState.CLOSED


def test_open_refuses(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """An open breaker refuses every call, says why and when to come back, and takes nothing."""
    breaker = new_breaker()
    trip(breaker)
    fake_clock.now += 1.5
    for ask in (breaker.check, breaker.enter):
        with pytest.raises(Refused, match=r"^4 of 4 calls failed within 10 s$") as caught:
            ask()
        assert caught.value.retry_after_seconds == 3.5
    assert breaker.wait_seconds() == 3.5
    assert report_of(breaker).next_probe_in_seconds == 3.5


def test_a_late_result_does_not_count(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A call that was under way when the breaker tripped changes nothing when it ends: neither while open nor later."""
    breaker = new_breaker()
    late = [breaker.enter() for _ in range(20)]
    trip(breaker)
    breaker.leave(late.pop(), Outcome.SUCCESS)
    assert report_of(breaker).state is BreakerState.OPEN
    fake_clock.now += POLICY.open_seconds
    breaker.leave(late.pop(), Outcome.SUCCESS)
    assert report_of(breaker).state is BreakerState.HALF_OPEN
    breaker.leave(late.pop(), Outcome.FAILURE)
    assert report_of(breaker).state is BreakerState.HALF_OPEN
    call(breaker, Outcome.SUCCESS)
    for permit in late:
        breaker.leave(permit, Outcome.FAILURE)
    assert (report_of(breaker).state, report_of(breaker).calls) == (BreakerState.CLOSED, 0)


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.ANSWER])
def test_a_probe_closes(new_breaker: NewBreaker, fake_clock: FakeClock, outcome: Outcome) -> None:
    """Any answer of the cluster to a probe closes the breaker; the failures before are forgotten, the reason isn't."""
    breaker = new_breaker()
    breaker.leave(half_open(breaker, fake_clock), outcome)
    report = report_of(breaker)
    assert (report.state, report.failures, report.next_probe_in_seconds) == (BreakerState.CLOSED, 0, None)
    assert report.reason == "4 of 4 calls failed within 10 s"


@pytest.mark.parametrize("probes", [1, 3])
def test_probes_are_bounded(new_breaker: NewBreaker, fake_clock: FakeClock, probes: int) -> None:
    """Half-open, never more than so many calls are under way; one that was cancelled makes room for another."""
    breaker = new_breaker(probes=probes)
    under_way = [half_open(breaker, fake_clock), *(breaker.enter() for _ in range(probes - 1))]
    for _ in range(50):
        with pytest.raises(Refused) as caught:
            breaker.enter()
        assert caught.value.retry_after_seconds == 1.0
    breaker.leave(under_way.pop(), Outcome.NOTHING)
    assert report_of(breaker).state is BreakerState.HALF_OPEN
    assert breaker.enter().probing_since is not None
    with pytest.raises(Refused):
        breaker.enter()


def test_a_failed_probe(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """One failed probe opens the breaker again; those beside it don't count any more, and the next ones are new."""
    breaker = new_breaker(probes=2)
    first = half_open(breaker, fake_clock)
    second = breaker.enter()
    breaker.leave(first, Outcome.FAILURE)
    breaker.leave(second, Outcome.SUCCESS)
    report = report_of(breaker)
    assert (report.state, report.trips_total, report.reason) == (BreakerState.OPEN, 2, "a probe failed")
    fake_clock.now += 2 * POLICY.open_seconds
    assert None not in [breaker.enter().probing_since for _ in range(2)]


def test_a_probe_has_a_deadline(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A probe that says nothing for too long has failed, also if it never ends; in time, it keeps its place."""
    breaker = new_breaker()
    probe = half_open(breaker, fake_clock)
    fake_clock.now += POLICY.probe_seconds
    with pytest.raises(Refused):
        breaker.check()
    assert report_of(breaker).state is BreakerState.HALF_OPEN
    fake_clock.now += 0.1
    with pytest.raises(Refused, match="a probe got no answer within 5 s"):
        breaker.check()
    assert report_of(breaker).trips_total == 2
    breaker.leave(probe, Outcome.SUCCESS)
    assert report_of(breaker).state is BreakerState.OPEN


def test_each_probe_has_its_own_deadline(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A younger probe that ends takes nothing of the older one's time, nor gives it any."""
    breaker = new_breaker(probes=2)
    half_open(breaker, fake_clock)
    fake_clock.now += POLICY.probe_seconds - 1
    breaker.leave(breaker.enter(), Outcome.NOTHING)
    fake_clock.now += 1.1
    with pytest.raises(Refused, match="a probe got no answer"):
        breaker.check()


def test_a_late_probe_has_failed(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A probe that succeeds after its deadline doesn't close the breaker, even if nobody asked in between."""
    breaker = new_breaker()
    probe = half_open(breaker, fake_clock)
    fake_clock.now += POLICY.probe_seconds + 0.1
    breaker.leave(probe, Outcome.SUCCESS)
    assert report_of(breaker).state is BreakerState.OPEN


def test_open_time_doubles(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Each failed probe doubles the open time up to the longest; a success brings it back to the first."""
    breaker = new_breaker()
    trip(breaker)
    waits = []
    for _ in range(5):
        wait = report_of(breaker).next_probe_in_seconds
        assert wait is not None
        waits.append(wait)
        fake_clock.now += wait
        call(breaker, Outcome.FAILURE)
    assert waits == pytest.approx([5.0, 10.0, 20.0, 30.0, 30.0])
    fake_clock.now += 30.0
    call(breaker, Outcome.SUCCESS)
    trip(breaker)
    assert report_of(breaker).next_probe_in_seconds == pytest.approx(5.0)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 100))
def test_jitter(jitter: float, position: float, open_seconds: float) -> None:
    """The open time is moved by at most `jitter` of itself, either way, by what the source of jitter gives."""
    clock = FakeClock()

    def uniform(low: float, high: float) -> float:
        assert -low == high
        return low + position * (high - low)

    policy = BreakerPolicy(minimum_calls=4, jitter=jitter, open_seconds=open_seconds)
    breaker = Breaker("test", policy, refusal, clock=clock, uniform=uniform)
    trip(breaker)
    wait = report_of(breaker).next_probe_in_seconds
    assert wait is not None
    assert wait == pytest.approx(open_seconds * (1 + jitter * (2 * position - 1)), abs=1e-6)


def test_it_spreads() -> None:
    """Breakers that tripped together don't probe together."""
    waits = set()
    for _ in range(50):
        breaker = Breaker("test", BreakerPolicy(minimum_calls=4), refusal, clock=FakeClock())
        trip(breaker)
        waits.add(report_of(breaker).next_probe_in_seconds)
    assert len(waits) > 40


def test_never_trips(fake_clock: FakeClock) -> None:
    """A breaker without a minimum lets everything through, has no deadline for it and reports nothing."""
    breaker = Breaker("health", NEVER_TRIPS, refusal, clock=fake_clock)
    for _ in range(200):
        permit = breaker.enter()
        assert breaker.time_for(permit, None) is None
        breaker.leave(permit, Outcome.FAILURE)
    breaker.check()
    assert breaker.report() is None


@pytest.mark.parametrize(("asked", "allowed"), [(None, 5.0), (2.0, 2.0), (60.0, 5.0)])
def test_time_for_a_probe(new_breaker: NewBreaker, fake_clock: FakeClock, asked: float | None, allowed: float) -> None:
    """A probe may take no longer than its deadline; other calls as long as they like."""
    breaker = new_breaker()
    assert breaker.time_for(breaker.enter(), asked) == asked
    assert breaker.time_for(half_open(breaker, fake_clock), asked) == allowed


def test_transitions_are_told(new_breaker: NewBreaker, fake_clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Each transition is logged with its reason and told to who listens, once and in order."""
    heard: list[BreakerState] = []
    breaker = new_breaker(on_transition=heard.append)
    with caplog.at_level(logging.WARNING):
        breaker.leave(half_open(breaker, fake_clock), Outcome.FAILURE)
        fake_clock.now += 10
        call(breaker, Outcome.SUCCESS)
    opened, half, closed = BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED
    assert heard == [opened, half, opened, half, closed]
    assert [record.getMessage() for record in caplog.records] == [
        "breaker of test opened: 4 of 4 calls failed within 10 s; it probes in 5.0 s",
        "breaker of test is half-open",
        "breaker of test opened: a probe failed; it probes in 10.0 s",
        "breaker of test is half-open",
        "breaker of test is closed",
    ]


def test_transitions_are_logged_at_their_level(new_breaker: NewBreaker, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever says an outage himself has the breaker log for those who debug."""
    with caplog.at_level(logging.DEBUG):
        trip(new_breaker(log_level=logging.DEBUG))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_repr(new_breaker: NewBreaker) -> None:
    """It tells its name and its state."""
    breaker = new_breaker()
    trip(breaker)
    assert repr(breaker) == "<Breaker test: open>"
