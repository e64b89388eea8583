"""Helpers for tests of breakers: calls and pings with their outcomes, on the test's clock."""

from esassistant.breaker import Breaker, BreakerPolicy, BreakerReport, BreakerState, Outcome, Permit
from esassistant.errors import EsassistantError
from tests.support.fakes import FakeClock

POLICY = BreakerPolicy(minimum_calls=4, jitter=0.0)


class Refused(EsassistantError):
    """The exception that the breakers of these tests raise."""


def refusal(reason: str, seconds: float) -> Refused:
    return Refused(reason, retry_after_seconds=seconds)


def call(breaker: Breaker, *outcomes: Outcome) -> None:
    """Make calls one after the other, each with its outcome."""
    for outcome in outcomes:
        breaker.leave(breaker.enter(), outcome)


def report_of(breaker: Breaker) -> BreakerReport:
    report = breaker.report()
    assert report is not None
    return report


def trip(breaker: Breaker) -> None:
    """Make calls fail until the breaker opens."""
    call(breaker, *[Outcome.FAILURE] * 4)
    assert report_of(breaker).state is BreakerState.OPEN


def half_open(breaker: Breaker, clock: FakeClock) -> Permit:
    """Trip the breaker, wait until it lets a probe through, and send one."""
    trip(breaker)
    clock.now += POLICY.open_seconds
    probe = breaker.enter()
    assert probe.probing
    return probe


def fail_in_a_row(breaker: Breaker, clock: FakeClock, calls: int = 5, over: float = 1.0) -> None:
    """Make so many calls fail; the last one comes `over` seconds after the first."""
    for _ in range(calls - 1):
        call(breaker, Outcome.FAILURE)
        clock.now += over / (calls - 1)
    call(breaker, Outcome.FAILURE)


def ping(breaker: Breaker, *, answered: bool) -> None:
    """Send a ping that ends at once."""
    breaker.ping_ended(breaker.ping_sent(), answered=answered)


def state_of(breaker: Breaker) -> BreakerState:
    return report_of(breaker).state
