"""The breaker against a simple model of it, in whatever order calls begin and end and time passes."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from esassistant.breaker import Breaker, BreakerPolicy, BreakerState, Outcome, Permit
from esassistant.errors import EsassistantError
from tests.support.fakes import FakeClock

WINDOW_SECONDS = 10
SLICE_SECONDS = 1


class Refused(EsassistantError):
    """What the breaker raises."""


def refusal(reason: str, seconds: float) -> Refused:
    return Refused(reason, retry_after_seconds=seconds)


@dataclass
class Call:
    """A call under way, and what the model knows of it."""

    permit: Permit
    period: int
    started_at: float


class BreakerModel(RuleBasedStateMachine):
    """Keeps every result with its time, and decides by the words of the policy. Its clock moves in whole slices of the
    window, so that what the window holds is exactly known.
    """

    calls = Bundle("calls")

    @initialize(
        minimum=st.integers(1, 8),
        percent=st.sampled_from([0.0, 20.0, 50.0, 100.0]),
        probes=st.integers(1, 3),
        jitter=st.sampled_from([0.0, 0.2]),
        luck=st.sampled_from([-1.0, 0.0, 1.0]),
    )
    def begin(self, minimum: int, percent: float, probes: int, jitter: float, luck: float) -> None:
        self.policy = BreakerPolicy(
            failure_percent=percent,
            minimum_calls=minimum,
            window_seconds=WINDOW_SECONDS,
            open_seconds=5.0,
            longest_open_seconds=30.0,
            jitter=jitter,
            probes=probes,
            probe_seconds=5.0,
        )
        self.clock = FakeClock()
        self.luck = luck
        self.heard: list[BreakerState] = []
        self.breaker = Breaker(
            "model", self.policy, refusal, clock=self.clock, uniform=self.uniform, on_transition=self.heard.append
        )
        self.state = BreakerState.CLOSED
        self.period = 0
        self.results: list[tuple[float, bool]] = []
        self.probing: list[Call] = []
        self.failed_probes = 0
        self.probe_at = 0.0
        self.trips = 0

    def uniform(self, low: float, high: float) -> float:
        assert -low == high
        return self.luck * high

    # What the model does.

    def turn(self, state: BreakerState) -> None:
        self.state = state
        self.period += 1
        self.results.clear()
        self.probing.clear()

    def trip(self) -> None:
        if self.state is BreakerState.HALF_OPEN:
            self.failed_probes += 1
        open_seconds = min(5.0 * 2**self.failed_probes, 30.0)
        self.probe_at = self.clock.now + open_seconds * (1 + self.policy.jitter * self.luck)
        self.trips += 1
        self.turn(BreakerState.OPEN)

    def pass_time(self) -> None:
        """What time alone brings, when somebody comes by."""
        if self.state is BreakerState.OPEN and self.clock.now >= self.probe_at:
            self.turn(BreakerState.HALF_OPEN)
        elif any(self.clock.now - call.started_at > self.policy.probe_seconds for call in self.probing):
            self.trip()

    def is_refused(self) -> bool:
        is_full = self.state is BreakerState.HALF_OPEN and len(self.probing) >= self.policy.probes
        return self.state is BreakerState.OPEN or is_full

    def window(self) -> tuple[int, int]:
        recent = [failed for at, failed in self.results if self.clock.now - at <= WINDOW_SECONDS]
        return len(recent), sum(recent)

    # What happens.

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds * SLICE_SECONDS

    @rule()
    def check(self) -> None:
        self.pass_time()
        if self.is_refused():
            with pytest.raises(Refused) as caught:
                self.breaker.check()
            assert (caught.value.retry_after_seconds or 0) > 0
        else:
            self.breaker.check()

    @rule(target=calls)
    def enter(self) -> object:
        self.pass_time()
        if self.is_refused():
            with pytest.raises(Refused):
                self.breaker.enter()
            return None
        permit = self.breaker.enter()
        call = Call(permit, self.period, self.clock.now)
        assert (permit.probing_since is not None) == (self.state is BreakerState.HALF_OPEN)
        if permit.probing_since is not None:
            self.probing.append(call)
        return call

    @rule(call=consumes(calls), outcome=st.sampled_from(Outcome))
    def leave(self, call: Call | None, outcome: Outcome) -> None:
        if call is None:
            return
        self.pass_time()
        if call.period == self.period:
            self.count(call, outcome)
        self.breaker.leave(call.permit, outcome)

    def count(self, call: Call, outcome: Outcome) -> None:
        if call in self.probing:
            self.probing.remove(call)
            if outcome in (Outcome.SUCCESS, Outcome.ANSWER):
                self.failed_probes = 0
                self.turn(BreakerState.CLOSED)
            elif outcome is Outcome.FAILURE:
                self.trip()
        elif outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            self.results.append((self.clock.now, outcome is Outcome.FAILURE))
            calls, failures = self.window()
            share = self.policy.failure_percent / 100 * calls
            if calls >= (self.policy.minimum_calls or 0) and failures >= max(share, 1):
                self.trip()

    @precondition(lambda self: self.state is BreakerState.CLOSED)
    @rule(number=st.integers(1, 8))
    def fail(self, number: int) -> None:
        """Some calls that fail at once, so that it trips often."""
        for _ in range(number):
            call = self.enter()
            assert call is None or isinstance(call, Call)
            self.leave(call, Outcome.FAILURE)

    # What must hold.

    @invariant()
    def agrees(self) -> None:
        report = self.breaker.report()
        assert report is not None
        calls, failures = self.window()
        assert (report.state, report.trips_total) == (self.state, self.trips)
        assert (report.calls, report.failures) == (calls, failures)
        assert (report.failure_percent is None) == (calls == 0)
        assert (report.next_probe_in_seconds is None) == (self.state is not BreakerState.OPEN)

    @invariant()
    def probes_are_bounded(self) -> None:
        assert len(self.probing) <= self.policy.probes

    @invariant()
    def open_time_is_within_jitter(self) -> None:
        if self.state is not BreakerState.OPEN:
            return
        report = self.breaker.report()
        assert report is not None
        assert report.next_probe_in_seconds is not None
        assert report.next_probe_in_seconds == pytest.approx(max(0.0, self.probe_at - self.clock.now))

    @invariant()
    def every_transition_was_told(self) -> None:
        assert len(self.heard) == self.period
        assert not self.heard or self.heard[-1] is self.state


BreakerModel.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)
TestBreakerModel = BreakerModel.TestCase
