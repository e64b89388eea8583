"""The circuit breaker: stops asking a server that doesn't answer. Pure policy with injected clocks and jitter.

| from | to | when |
|---|---|---|
| closed | open | too many calls failed, or some calls failed and a ping did too (`_reason_to_open`) |
| open | half-open | the open time, which is jittered, is over; or a ping is answered after one that failed |
| half-open | closed | a probe is answered |
| half-open | open | a probe fails, or takes too long, or waits while a ping fails too; the open time doubles |

Only a call closes the breaker (Michael Nygard, "Release It!", 2007). A ping proves that the server is there, but not
that it serves these calls. If the calls fail although all pings are answered, they fail for another reason. Then an
answered ping doesn't end the open time early, or calls would be tried in vain again and again.

This is our own code, as no asyncio library bounds the number of probes.
"""

import enum
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from esassistant.clock import Clock, monotonic, now_utc
from esassistant.sliding_window import SlidingWindow
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)

PROBED_SECONDS = 1.0
"""How long a caller is told to wait while other calls probe."""
KEPT_TRANSITIONS = 10


class BreakerState(enum.StrEnum):
    """Whether calls pass: all (closed), none (open), or a few probes (half-open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Prober(enum.StrEnum):
    """Who finds out whether the server is back."""

    PING = "ping"
    """The breaker is open, and the last ping failed. The next answered ping makes it half-open early."""
    NEXT_CALL = "next call"
    """The breaker is half-open and lets another probe through: the next call is the probe."""
    CALL = "call"
    """The breaker is half-open, and the permitted number of probes is under way."""


class Outcome(enum.Enum):
    """What the result of a call says about the server."""

    SUCCESS = "success"
    FAILURE = "failure"
    ANSWER = "answer"
    """The server answered with an error that may be the fault of the request (4xx, 500, an index without its shards).
    For a probe this is success.
    """
    NOTHING = "nothing"
    """The call was cancelled, which says nothing."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When the breaker trips, and for how long. Times in seconds.

    It trips for one of these reasons:

    1. At least `minimum_calls` calls ended within `window_seconds`, and at least `failure_percent` of them failed. With
       a `failure_percent` of 0, one failure is enough.
    2. At least `failures_in_a_row` calls failed in a row, over at least `row_seconds`, and a ping failed too.
    3. A call has waited for `slow_seconds`, and a ping failed too.

    If `minimum_calls` is None it never trips. Reasons 2 and 3 need somebody who tells the breaker of pings.

    The open time doubles with each failed probe, from `open_seconds` to `longest_open_seconds`. It is moved at random
    by up to the share `jitter` either way, so that many processes don't probe at the same time.
    """

    failure_percent: float = 50.0
    minimum_calls: int | None = 20
    window_seconds: float = 10.0
    failures_in_a_row: int = 5
    row_seconds: float = 1.0
    slow_seconds: float = 2.0
    open_seconds: float = 5.0
    longest_open_seconds: float = 30.0
    jitter: float = 0.2
    probes: int = 1
    probe_seconds: float = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """The right to make one call. `given_at`: when it was given, on the breaker's clock; `generation`: the period
    between two transitions in which it was given; `probing`: True if a half-open breaker gave it.
    """

    generation: int
    given_at: float
    probing: bool


@dataclass(frozen=True, slots=True)
class SentPing:
    """A ping under way, sent at `sent_at` on the breaker's clock. `generation`: the period between two transitions in
    which it was sent; `call_waited`: True if a call of that period had waited for `slow_seconds` when the ping was
    sent.
    """

    generation: int
    sent_at: float
    call_waited: bool


@dataclass(frozen=True, slots=True)
class BreakerTransition:
    """A change of state, and why."""

    at: datetime
    before: BreakerState
    after: BreakerState
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerReport:
    """The state of a breaker. `calls` and `failures` are counted in the sliding window of `window_seconds`;
    `failure_percent` is None without calls. With fewer than `minimum_calls` calls in the window, it doesn't trip by
    their percentage.

    `next_probe_in_seconds`: None unless the breaker is open. `reason`: why it last tripped; None if it never did.
    `probing`: how many probes are under way. `prober`: who finds out whether the server is back; None if nobody needs
    to. `transitions`: the latest, newest first.
    """

    state: BreakerState
    calls: int
    failures: int
    failure_percent: float | None
    minimum_calls: int
    window_seconds: float
    trips_total: int
    next_probe_in_seconds: float | None
    reason: str | None
    probing: int
    prober: Prober | None
    transitions: tuple[BreakerTransition, ...]

    @property
    def refuses(self) -> bool:
        """True if calls are refused: the breaker is open, or half-open with probes under way. A half-open breaker that
        nobody calls is no trouble.
        """
        return self.state is BreakerState.OPEN or self.probing > 0


OnTransition = Callable[[BreakerState], None]
Refusal = Callable[[str, float], Exception]
"""Makes the error of a refused call, from the reason why the breaker tripped and the seconds until it is worth asking
again.
"""

NEVER_TRIPS = BreakerPolicy(minimum_calls=None)
"""For calls that must always be made: those of the health check and of the watch."""
LONG_AGO = float("-inf")


class Breaker:
    """A circuit breaker. Lives as long as its client. Used on one loop: nothing here awaits, so no lock is needed.

    `name` says in log lines whose calls these are. Transitions are logged at `log_level`. `wall_clock` gives the times
    that people read.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        refusal: Refusal,
        *,
        log_level: int = logging.WARNING,
        clock: Clock = monotonic,
        wall_clock: Callable[[], datetime] = now_utc,
        uniform: Callable[[float, float], float] = random.uniform,
        on_transition: OnTransition = lambda _: None,
    ) -> None:
        self._name = name
        self._policy = policy
        self._refusal = refusal
        self._log_level = log_level
        self._clock = clock
        self._wall_clock = wall_clock
        self._uniform = uniform
        self._on_transition = on_transition
        self.want_ping: Callable[[float], None] = lambda _: None
        """Called with the seconds after which to ask `ping_due_in` again; set by whoever sends pings."""
        self._window = SlidingWindow(policy.window_seconds, clock)
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._probe_at = 0.0
        self._open_seconds = policy.open_seconds
        # The calls under way, in the order in which they began; and, among them, the probes of this period.
        self._under_way: dict[Permit, None] = {}
        self._probes: dict[Permit, None] = {}
        # The failures in a row: their number, the time of the first one, and the time of the last failed call.
        self._row = 0
        self._row_began_at = 0.0
        self._failed_at = LONG_AGO
        # The times at which the server last answered a call, the last ping was sent, and the newest answered ping was
        # sent.
        self._answered_at = LONG_AGO
        self._ping_sent_at = LONG_AGO
        self._ping_answered = LONG_AGO
        # The newest failed ping; None once a ping that was sent later is answered.
        self._failed_ping: SentPing | None = None
        self._trips_total = 0
        self._reason = ""
        self._transitions: deque[BreakerTransition] = deque(maxlen=KEPT_TRANSITIONS)

    def __repr__(self) -> str:
        return f"<Breaker {self._name}: {self._state}>"

    def wait_seconds(self) -> float | None:
        """Return for how long a call made now would be refused, or None if it would pass."""
        self._advance()
        if self._state is BreakerState.OPEN:
            return self._probe_at - self._clock()
        if self._state is BreakerState.HALF_OPEN and len(self._probes) >= self._policy.probes:
            return PROBED_SECONDS
        return None

    def check(self) -> None:
        """Raise the error of `refusal` if a call made now would be refused. Takes no permit."""
        if (wait := self.wait_seconds()) is not None:
            raise self._refusal(self._reason, wait)

    def enter(self) -> Permit:
        """Let one call through. The caller must call `leave` afterwards, whatever happens. Raises as `check` does."""
        self.check()
        permit = Permit(self._generation, self._clock(), self._state is BreakerState.HALF_OPEN)
        if permit.probing:
            self._probes[permit] = None
        self._under_way[permit] = None
        self.want_ping(self._policy.slow_seconds)
        return permit

    def leave(self, permit: Permit, outcome: Outcome) -> None:
        """Note how a call ended.

        If the breaker has changed its state since the call began, the result doesn't count. But an answer still proves
        that the server is there.
        """
        self._advance()
        del self._under_way[permit]
        if outcome in (Outcome.SUCCESS, Outcome.ANSWER):
            self._answered_at = self._clock()
        if permit.generation != self._generation:
            return
        if permit.probing:
            del self._probes[permit]
            self._probe_ended(outcome)
        else:
            self._count(outcome)
            self._trip_if_due()

    def time_for(self, permit: Permit, seconds: float | None) -> float | None:
        """Return how many seconds a call may take with this permit. `seconds` is its own limit; None: it has none."""
        if not permit.probing:
            return seconds
        return self._policy.probe_seconds if seconds is None else min(seconds, self._policy.probe_seconds)

    def ping_due_in(self) -> float | None:
        """Return in how many seconds to ping the server if nothing else happens, or None if no ping is needed."""
        self._advance()
        if self._state is BreakerState.OPEN:
            return None
        if self._row_is_long() and self._failed_at > self._ping_sent_at:
            return 0.0
        # One ping is enough for all calls that had waited for long when it was sent.
        due = (permit.given_at + self._policy.slow_seconds for permit in self._of_this_period())
        due_at = next((at for at in due if at > self._ping_sent_at), None)
        return None if due_at is None else max(0.0, due_at - self._clock())

    def ping_sent(self) -> SentPing:
        """Note that a ping is being sent, whatever the reason. `ping_ended` should follow."""
        self._advance()
        self._ping_sent_at = self._clock()
        oldest = next(self._of_this_period(), None)
        waited = oldest is not None and self._ping_sent_at - oldest.given_at >= self._policy.slow_seconds
        return SentPing(self._generation, self._ping_sent_at, waited)

    def ping_ended(self, ping: SentPing, *, answered: bool) -> None:
        """Note whether the server answered a ping; any answer counts. May be called a second time if the answer comes
        late.
        """
        self._advance()
        if answered:
            self._ping_answered = max(self._ping_answered, ping.sent_at)
            if self._failed_ping is not None and self._failed_ping.sent_at <= ping.sent_at:
                self._failed_ping = None
                if self._state is BreakerState.OPEN:
                    self._turn(BreakerState.HALF_OPEN, "a ping was answered")
        elif ping.sent_at > self._ping_answered:
            if self._failed_ping is None or ping.sent_at > self._failed_ping.sent_at:
                self._failed_ping = ping
            self._trip_if_due(ping)

    def report(self) -> BreakerReport | None:
        """Return the report, or None for a breaker that never trips."""
        if self._policy.minimum_calls is None:
            return None
        self._advance()
        calls, failures = self._window.counts()
        is_open = self._state is BreakerState.OPEN
        return BreakerReport(
            state=self._state,
            calls=calls,
            failures=failures,
            failure_percent=100.0 * failures / calls if calls else None,
            minimum_calls=self._policy.minimum_calls,
            window_seconds=self._policy.window_seconds,
            trips_total=self._trips_total,
            next_probe_in_seconds=max(0.0, self._probe_at - self._clock()) if is_open else None,
            reason=self._reason or None,
            probing=len(self._probes),
            prober=self._prober(),
            transitions=tuple(self._transitions),
        )

    def _of_this_period(self) -> Iterator[Permit]:
        return (permit for permit in self._under_way if permit.generation == self._generation)

    def _prober(self) -> Prober | None:
        if self._state is BreakerState.HALF_OPEN:
            return Prober.NEXT_CALL if len(self._probes) < self._policy.probes else Prober.CALL
        return Prober.PING if self._state is BreakerState.OPEN and self._failed_ping is not None else None

    def _advance(self) -> None:
        """Make the changes that come with time alone: an open breaker turns half-open, and a probe that takes too long
        has failed.
        """
        now = self._clock()
        if self._state is BreakerState.OPEN and now >= self._probe_at:
            self._turn(BreakerState.HALF_OPEN, "its time is over")
        elif self._state is BreakerState.HALF_OPEN and any(
            now - probe.given_at > self._policy.probe_seconds for probe in self._probes
        ):
            self._trip(f"a probe got no answer within {as_seconds(self._policy.probe_seconds)}")

    def _count(self, outcome: Outcome) -> None:
        if outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            self._window.add(1, outcome is Outcome.FAILURE)
        if outcome is Outcome.FAILURE:
            self._failed_at = self._clock()
            if not self._row:
                self._row_began_at = self._failed_at
            self._row += 1
            if self._row_is_long():
                self.want_ping(0.0)
        elif outcome is not Outcome.NOTHING:
            self._row = 0

    def _probe_ended(self, outcome: Outcome) -> None:
        if outcome in (Outcome.SUCCESS, Outcome.ANSWER):
            self._open_seconds = self._policy.open_seconds
            self._turn(BreakerState.CLOSED, "a probe was answered")
        elif outcome is Outcome.FAILURE:
            self._trip("a probe failed")

    def _reason_to_open(self, just_failed: SentPing | None) -> str | None:
        """Return the reason to open the breaker, or None if there is none.

        It also applies to a half-open breaker: its probes aren't counted in the window or in the row, but they can wait
        for long.

        Args:
            just_failed: The ping that has just failed; None if a call has just ended.
        """
        # The first rule that applies:
        # 1. The policy has no minimum of calls: None.
        # 2. There were enough calls in the window, and enough of them failed.
        # 3. Enough calls in a row failed over enough time, and a ping that was sent after the first of them failed too.
        #    Without the ping, this may be one heavy query that is sent again and again.
        # 4. The ping that has just failed was sent when a call of this period had waited for long, and no call has been
        #    answered since the ping was sent.
        # 5. Anything else: None.
        policy, newest = self._policy, self._failed_ping
        if policy.minimum_calls is None:
            return None
        calls, failures = self._window.counts()
        if calls >= policy.minimum_calls and failures > 0 and 100 * failures >= policy.failure_percent * calls:
            return f"{failures} of {calls} calls failed within {as_seconds(policy.window_seconds)}"
        if self._row_is_long() and newest is not None and newest.sent_at >= self._row_began_at:
            return f"{self._row} calls in a row failed, and so did a ping"
        is_of_now = just_failed is not None and just_failed.generation == self._generation
        if (
            just_failed is not None
            and is_of_now
            and just_failed.call_waited
            and self._answered_at < just_failed.sent_at
        ):
            return f"a call waited for more than {as_seconds(policy.slow_seconds)}, and a ping failed"
        return None

    def _row_is_long(self) -> bool:
        """Return True if enough calls failed in a row, over enough time, for a failed ping to open the breaker."""
        is_over_time = self._failed_at - self._row_began_at >= self._policy.row_seconds
        return self._row >= self._policy.failures_in_a_row and is_over_time

    def _trip_if_due(self, just_failed: SentPing | None = None) -> None:
        if (reason := self._reason_to_open(just_failed)) is not None:
            self._trip(reason)

    def _trip(self, reason: str) -> None:
        if self._state is BreakerState.HALF_OPEN:
            self._open_seconds = min(2 * self._open_seconds, self._policy.longest_open_seconds)
        spread = self._policy.jitter * self._open_seconds
        self._probe_at = self._clock() + self._open_seconds + self._uniform(-spread, spread)
        self._trips_total += 1
        self._reason = reason
        self._turn(BreakerState.OPEN, reason)

    def _turn(self, state: BreakerState, reason: str) -> None:
        self._transitions.appendleft(BreakerTransition(self._wall_clock(), self._state, state, reason))
        self._state = state
        self._generation += 1
        self._window.clear()
        self._probes.clear()
        self._row = 0
        self._failed_at = LONG_AGO
        if state is BreakerState.OPEN:
            logger.log(
                self._log_level,
                "breaker of %s opened: %s; it probes in %.1f s",
                self._name,
                reason,
                self._probe_at - self._clock(),
            )
        else:
            logger.log(self._log_level, "breaker of %s is %s: %s", self._name, state, reason)
        self._on_transition(state)
