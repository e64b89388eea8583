"""The breaker against a simple model of it, in whatever order calls begin and end and time passes."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from esassistant.breaker import Breaker, BreakerPolicy, BreakerState, Outcome, Permit, Prober, SentPing
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


@dataclass
class Ping:
    """A ping under way. `waited`: some call of the period had waited for long enough when it was sent."""

    sent: SentPing
    period: int
    sent_at: float
    waited: bool


class BreakerModel(RuleBasedStateMachine):
    """Keeps every result with its time, and decides by the words of the policy. Its clock moves in whole slices of the
    window, so that what the window holds is exactly known.
    """

    calls = Bundle("calls")
    pings = Bundle("pings")

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
            failures_in_a_row=3,
            row_seconds=1.0,
            slow_seconds=2.0,
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
        self.under_way: list[Call] = []
        self.row: list[float] = []
        self.answers: list[float] = []
        self.failed_pings: list[float] = []
        self.answered_pings: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        assert -low == high
        return self.luck * high

    # What the model does.

    def turn(self, state: BreakerState) -> None:
        self.state = state
        self.period += 1
        self.results.clear()
        self.probing.clear()
        self.row.clear()

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

    def pings_fail(self) -> bool:
        """Whether no ping was answered that was sent as late as the last one that failed. One that is answered late
        takes its own failure back.
        """
        return bool(self.failed_pings) and max(self.failed_pings) > max(self.answered_pings, default=-1.0)

    def many_failed(self) -> bool:
        calls, failures = self.window()
        share = self.policy.failure_percent / 100 * calls
        return calls >= (self.policy.minimum_calls or 0) and failures >= max(share, 1)

    def row_failed(self) -> bool:
        is_long = len(self.row) >= 3 and self.row[-1] - self.row[0] >= 1.0
        return is_long and self.pings_fail() and max(self.failed_pings) >= self.row[0]

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
        assert permit.probing == (self.state is BreakerState.HALF_OPEN)
        self.under_way.append(call)
        if permit.probing:
            self.probing.append(call)
        return call

    @rule(call=consumes(calls), outcome=st.sampled_from(Outcome))
    def leave(self, call: Call | None, outcome: Outcome) -> None:
        if call is None:
            return
        self.pass_time()
        self.under_way.remove(call)
        if outcome in (Outcome.SUCCESS, Outcome.ANSWER):
            self.answers.append(self.clock.now)
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
            return
        if outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            self.results.append((self.clock.now, outcome is Outcome.FAILURE))
        if outcome is Outcome.FAILURE:
            self.row.append(self.clock.now)
        elif outcome is not Outcome.NOTHING:
            self.row.clear()
        if self.many_failed() or self.row_failed():
            self.trip()

    @rule(target=pings)
    def send_ping(self) -> object:
        self.pass_time()
        waited = any(call.period == self.period and self.clock.now - call.started_at >= 2.0 for call in self.under_way)
        return Ping(self.breaker.ping_sent(), self.period, self.clock.now, waited)

    @rule(ping=pings, answered=st.booleans())
    def end_ping(self, ping: Ping, answered: bool) -> None:
        """Any ping, in any order, perhaps not for the first time."""
        self.pass_time()
        if answered:
            failed_before = self.pings_fail() and ping.sent_at >= max(self.failed_pings)
            self.answered_pings.append(ping.sent_at)
            if failed_before and self.state is BreakerState.OPEN:
                self.turn(BreakerState.HALF_OPEN)
        elif ping.sent_at > max(self.answered_pings, default=-1.0):
            self.failed_pings.append(ping.sent_at)
            is_refuted = max(self.answers, default=-1.0) >= ping.sent_at
            nobody_answers = ping.waited and ping.period == self.period and not is_refuted
            if self.many_failed() or self.row_failed() or nobody_answers:
                self.trip()
        self.breaker.ping_ended(ping.sent, answered=answered)

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
        self.pass_time()
        report = self.breaker.report()
        assert report is not None
        calls, failures = self.window()
        assert (report.state, report.trips_total) == (self.state, self.trips)
        assert (report.calls, report.failures) == (calls, failures)
        assert (report.failure_percent is None) == (calls == 0)
        assert (report.next_probe_in_seconds is None) == (self.state is not BreakerState.OPEN)
        assert report.probing == len(self.probing)
        assert report.refuses == (self.state is BreakerState.OPEN or bool(self.probing))
        assert report.prober == self.prober()

    def prober(self) -> Prober | None:
        if self.state is BreakerState.HALF_OPEN:
            return Prober.NEXT_CALL if len(self.probing) < self.policy.probes else Prober.CALL
        return Prober.PING if self.state is BreakerState.OPEN and self.pings_fail() else None

    @invariant()
    def pings_are_wanted_in_time(self) -> None:
        """Whoever calls waits no longer than 2 s for a ping to be due."""
        due = self.breaker.ping_due_in()
        assert due is None or 0.0 <= due <= 2.0
        assert due is None or self.state is not BreakerState.OPEN

    @invariant()
    def only_a_call_closes(self) -> None:
        report = self.breaker.report()
        assert report is not None
        closed = [one for one in report.transitions if one.after is BreakerState.CLOSED]
        assert {one.reason for one in closed} <= {"a probe was answered"}

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


BreakerModel.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestBreakerModel = BreakerModel.TestCase
