"""The breaker, case by case; `test_breaker_model.py` has the whole of it against a model."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.breaker import (
    KEPT_TRANSITIONS,
    NEVER_TRIPS,
    Breaker,
    BreakerPolicy,
    BreakerState,
    Outcome,
    Prober,
)
from tests.support.breakers import (
    POLICY,
    Refused,
    call,
    fail_in_a_row,
    half_open,
    ping,
    refusal,
    report_of,
    state_of,
    trip,
)
from tests.support.fakes import FakeClock

NewBreaker = Callable[..., Breaker]


@pytest.fixture
def new_breaker(fake_clock: FakeClock) -> NewBreaker:
    """Makes breakers on the fake clock that trip at 4 calls, unless told otherwise."""

    def make(**fields: Any) -> Breaker:
        options = {name: fields.pop(name) for name in ("uniform", "on_transition", "log_level") if name in fields}
        policy = BreakerPolicy(**{"minimum_calls": 4, "jitter": 0.0, **fields})
        return Breaker("test", policy, refusal, clock=fake_clock, **options)

    return make


def test_defaults() -> None:
    """As designed: half of at least 20 calls in 10 s, five in a row over 1 s, a call that has waited 2 s."""
    policy = BreakerPolicy()
    assert (policy.failure_percent, policy.minimum_calls, policy.window_seconds) == (50.0, 20, 10.0)
    assert (policy.failures_in_a_row, policy.row_seconds, policy.slow_seconds) == (5, 1.0, 2.0)


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
    assert breaker.enter().probing
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
    assert all(breaker.enter().probing for _ in range(2))


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


@given(st.floats(0, 0.9), st.floats(0, 1), st.floats(0.1, 100))
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
    breaker.enter()
    fake_clock.now += 60.0
    ping(breaker, answered=False)
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
        "breaker of test is half-open: its time is over",
        "breaker of test opened: a probe failed; it probes in 10.0 s",
        "breaker of test is half-open: its time is over",
        "breaker of test is closed: a probe was answered",
    ]
    told = [(one.before, one.after, one.reason) for one in reversed(report_of(breaker).transitions)]
    assert told[0] == (closed, opened, "4 of 4 calls failed within 10 s")
    assert [one[1] for one in told] == heard
    assert told[-1] == (half, closed, "a probe was answered")


def test_transitions_are_logged_at_their_level(new_breaker: NewBreaker, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever says an outage himself has the breaker log for those who debug."""
    with caplog.at_level(logging.DEBUG):
        trip(new_breaker(log_level=logging.DEBUG))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.parametrize(
    ("calls", "over", "answered", "state"),
    [
        (5, 1.0, False, BreakerState.OPEN),
        (4, 1.0, False, BreakerState.CLOSED),
        (5, 0.9, False, BreakerState.CLOSED),
        (19, 60.0, True, BreakerState.CLOSED),
    ],
)
def test_failures_in_a_row(
    new_breaker: NewBreaker, fake_clock: FakeClock, calls: int, over: float, answered: bool, state: BreakerState
) -> None:
    """Enough in a row over long enough open it if a ping fails too; five timeouts of one heavy query don't."""
    breaker = new_breaker(minimum_calls=20)
    fail_in_a_row(breaker, fake_clock, calls, over)
    assert state_of(breaker) is BreakerState.CLOSED
    ping(breaker, answered=answered)
    assert state_of(breaker) is state
    if state is BreakerState.OPEN:
        assert report_of(breaker).reason == "5 calls in a row failed, and so did a ping"


def test_the_ping_may_come_between_the_failures(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A ping that was sent after the first failure and failed counts; not one before it, nor with a good one after."""
    for sent_before, good_after, state in (
        (False, False, BreakerState.OPEN),
        (True, False, BreakerState.CLOSED),
        (False, True, BreakerState.CLOSED),
    ):
        breaker = new_breaker(minimum_calls=20)
        if sent_before:
            ping(breaker, answered=False)
            fake_clock.now += 0.1
        call(breaker, Outcome.FAILURE)
        if not sent_before:
            fake_clock.now += 0.1
            ping(breaker, answered=False)
        if good_after:
            fake_clock.now += 0.1
            ping(breaker, answered=True)
        fail_in_a_row(breaker, fake_clock, 4)
        assert state_of(breaker) is state


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.ANSWER])
def test_an_answer_ends_the_row(new_breaker: NewBreaker, fake_clock: FakeClock, outcome: Outcome) -> None:
    """Failures with an answer among them are not in a row; a cancelled call says nothing of it."""
    for between, state in ((outcome, BreakerState.CLOSED), (Outcome.NOTHING, BreakerState.OPEN)):
        breaker = new_breaker(minimum_calls=20)
        fail_in_a_row(breaker, fake_clock, 4)
        call(breaker, between, Outcome.FAILURE)
        fake_clock.now += 0.1
        ping(breaker, answered=False)
        assert state_of(breaker) is state


@pytest.mark.parametrize(
    ("waited", "answered", "state"),
    [(2.0, False, BreakerState.OPEN), (1.9, False, BreakerState.CLOSED), (2.0, True, BreakerState.CLOSED)],
)
def test_a_call_waits_and_a_ping_fails(
    new_breaker: NewBreaker, fake_clock: FakeClock, waited: float, answered: bool, state: BreakerState
) -> None:
    """One call that has waited for 2 s and a ping that fails are enough: a frozen node, long before the timeout."""
    breaker = new_breaker()
    breaker.enter()
    fake_clock.now += waited
    sent = breaker.ping_sent()
    fake_clock.now += 3.0
    breaker.ping_ended(sent, answered=answered)
    assert state_of(breaker) is state
    if state is BreakerState.OPEN:
        assert report_of(breaker).reason == "a call waited for more than 2 s, and a ping failed"


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.SUCCESS, BreakerState.CLOSED),
        (Outcome.ANSWER, BreakerState.CLOSED),
        (Outcome.FAILURE, BreakerState.OPEN),
        (Outcome.NOTHING, BreakerState.OPEN),
    ],
)
def test_an_answer_refutes_the_ping(
    new_breaker: NewBreaker, fake_clock: FakeClock, outcome: Outcome, state: BreakerState
) -> None:
    """A call of the pool that is answered after the ping was sent proves more than the ping; one that the caller left
    or that failed proves nothing.
    """
    breaker = new_breaker()
    slow = breaker.enter()
    fake_clock.now += 2.0
    sent = breaker.ping_sent()
    fake_clock.now += 1.0
    breaker.leave(slow, outcome)
    breaker.ping_ended(sent, answered=False)
    assert state_of(breaker) is state


def test_a_later_ping_refutes_an_earlier_one(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A ping that fails late says nothing once one that was sent after it has been answered."""
    breaker = new_breaker()
    breaker.enter()
    fake_clock.now += 2.0
    first = breaker.ping_sent()
    fake_clock.now += 1.0
    ping(breaker, answered=True)
    breaker.ping_ended(first, answered=False)
    assert state_of(breaker) is BreakerState.CLOSED


def test_an_older_failure_does_not_hide_a_newer_one(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Pings may end in another order than they were sent: the row is judged by the newest."""
    breaker = new_breaker(minimum_calls=20)
    old = breaker.ping_sent()
    fake_clock.now += 1.0
    call(breaker, Outcome.FAILURE)
    ping(breaker, answered=False)
    breaker.ping_ended(old, answered=False)
    fail_in_a_row(breaker, fake_clock, 4)
    assert state_of(breaker) is BreakerState.OPEN


def test_a_call_of_another_period_waits(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A call that was already lost when the breaker opened doesn't open it again after it has closed."""
    breaker = new_breaker()
    breaker.enter()
    breaker.leave(half_open(breaker, fake_clock), Outcome.SUCCESS)
    fake_clock.now += 60.0
    assert breaker.ping_due_in() is None
    ping(breaker, answered=False)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_ping_of_another_period_fails(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A ping that was sent before the breaker opened doesn't open it once more when it is half-open."""
    breaker = new_breaker()
    breaker.enter()
    fake_clock.now += 2.0
    sent = breaker.ping_sent()
    trip(breaker)
    fake_clock.now += POLICY.open_seconds
    breaker.ping_ended(sent, answered=False)
    assert (state_of(breaker), report_of(breaker).trips_total) == (BreakerState.HALF_OPEN, 1)


def test_a_probe_waits_and_a_ping_fails(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """A half-open breaker opens again before its probe is overdue, if a ping fails while the probe waits."""
    breaker = new_breaker()
    half_open(breaker, fake_clock)
    assert breaker.ping_due_in() == 2.0
    fake_clock.now += 2.0
    assert breaker.ping_due_in() == 0.0
    sent = breaker.ping_sent()
    fake_clock.now += 1.0
    breaker.ping_ended(sent, answered=False)
    assert (state_of(breaker), report_of(breaker).next_probe_in_seconds) == (BreakerState.OPEN, 10.0)


def test_a_ping_that_is_news(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """An answered ping after one that failed takes an open breaker to half-open early, never to closed: a call does."""
    breaker = new_breaker()
    trip(breaker)
    ping(breaker, answered=False)
    assert report_of(breaker).prober is Prober.PING
    fake_clock.now += 1.0
    ping(breaker, answered=True)
    report = report_of(breaker)
    assert (report.state, report.prober, report.probing) == (BreakerState.HALF_OPEN, Prober.NEXT_CALL, 0)
    assert not report.refuses
    ping(breaker, answered=True)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    probe = breaker.enter()
    assert (report_of(breaker).prober, report_of(breaker).refuses) == (Prober.CALL, True)
    breaker.leave(probe, Outcome.SUCCESS)
    assert (state_of(breaker), report_of(breaker).prober) == (BreakerState.CLOSED, None)


def test_pings_that_were_good_all_along_are_no_news(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Calls that fail while pings are answered fail for another reason: the open time isn't cut short by a ping."""
    breaker = new_breaker()
    ping(breaker, answered=True)
    trip(breaker)
    fake_clock.now += 1.0
    ping(breaker, answered=True)
    assert (state_of(breaker), report_of(breaker).prober) == (BreakerState.OPEN, None)


def test_a_ping_that_is_answered_after_all(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """The same ping may fail first, as it took too long, and be answered then: that is news too."""
    breaker = new_breaker()
    breaker.enter()
    fake_clock.now += 2.0
    sent = breaker.ping_sent()
    breaker.ping_ended(sent, answered=False)
    assert state_of(breaker) is BreakerState.OPEN
    breaker.ping_ended(sent, answered=True)
    assert state_of(breaker) is BreakerState.HALF_OPEN


def test_an_older_ping_is_no_news(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """An answer to a ping that was sent before the one that failed doesn't take its failure back."""
    breaker = new_breaker()
    trip(breaker)
    older = breaker.ping_sent()
    fake_clock.now += 1.0
    ping(breaker, answered=False)
    breaker.ping_ended(older, answered=True)
    assert (state_of(breaker), report_of(breaker).prober) == (BreakerState.OPEN, Prober.PING)


def test_half_open_without_traffic(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Past its time a breaker is half-open also when nobody calls, and refuses nobody."""
    breaker = new_breaker()
    trip(breaker)
    assert report_of(breaker).refuses
    fake_clock.now += POLICY.open_seconds
    assert (state_of(breaker), report_of(breaker).refuses) == (BreakerState.HALF_OPEN, False)


def test_when_a_ping_is_due(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """2 s after a call began; a ping serves all calls that had waited when it was sent."""
    wanted: list[float] = []
    breaker = new_breaker(minimum_calls=20)
    breaker.want_ping = wanted.append
    assert breaker.ping_due_in() is None
    first = breaker.enter()
    fake_clock.now += 0.5
    second = breaker.enter()
    assert (breaker.ping_due_in(), wanted) == (1.5, [2.0, 2.0])
    fake_clock.now += 2.0
    assert breaker.ping_due_in() == 0.0
    breaker.ping_sent()
    assert breaker.ping_due_in() is None
    third = breaker.enter()
    assert (breaker.ping_due_in(), wanted) == (2.0, [2.0] * 3)
    breaker.leave(first, Outcome.FAILURE)
    breaker.leave(second, Outcome.SUCCESS)
    breaker.leave(third, Outcome.NOTHING)
    assert breaker.ping_due_in() is None


def test_a_ping_is_due_once_it_would_decide(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """When enough calls in a row have failed, and at each further failure; not for single failures."""
    wanted: list[float] = []
    breaker = new_breaker(minimum_calls=20)
    breaker.want_ping = wanted.append
    fail_in_a_row(breaker, fake_clock, 4)
    assert (breaker.ping_due_in(), wanted) == (None, [2.0] * 4)
    call(breaker, Outcome.FAILURE)
    assert (breaker.ping_due_in(), wanted[-1]) == (0.0, 0.0)
    fake_clock.now += 0.1
    ping(breaker, answered=True)
    assert breaker.ping_due_in() is None
    fake_clock.now += 0.1
    call(breaker, Outcome.FAILURE)
    assert (breaker.ping_due_in(), wanted[-1]) == (0.0, 0.0)


def test_an_open_breaker_wants_no_ping(new_breaker: NewBreaker) -> None:
    """It is probed when its time is over; who pings earlier does it for health."""
    breaker = new_breaker()
    breaker.enter()
    trip(breaker)
    assert breaker.ping_due_in() is None


def test_transitions_are_bounded(new_breaker: NewBreaker, fake_clock: FakeClock) -> None:
    """Only the latest are kept."""
    breaker = new_breaker()
    for _ in range(KEPT_TRANSITIONS):
        breaker.leave(half_open(breaker, fake_clock), Outcome.SUCCESS)
    assert len(report_of(breaker).transitions) == KEPT_TRANSITIONS


def test_repr(new_breaker: NewBreaker) -> None:
    """It tells its name and its state."""
    breaker = new_breaker()
    trip(breaker)
    assert repr(breaker) == "<Breaker test: open>"
