"""The circuit breaker: stops asking a server that doesn't answer. Pure policy with injected clocks and jitter.

| from | to | when |
|---|---|---|
| closed | open | too many calls failed, or calls and a ping did (`_reason_to_open`) |
| open | half-open | its time, which is jittered, is over; or a ping is answered after one that was not |
| half-open | closed | a probe is answered |
| half-open | open | a probe fails, or takes too long, or waits while a ping fails too; the open time doubles |

Only a call closes it (Michael Nygard, "Release It!", 2007). A ping proves that the server is there, not that it serves
these calls. Pings that were answered all along are no news and shorten nothing: they would have calls tried again and
again that fail for another reason. By hand, because no asyncio library bounds the probes.
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
"""How long to wait while others probe."""
KEPT_TRANSITIONS = 10


class BreakerState(enum.StrEnum):
    """Whether calls pass: all, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Prober(enum.StrEnum):
    """Who finds out whether the server is back."""

    PING = "ping"
    """The breaker is open, and the last ping failed: one that is answered makes it half-open early."""
    NEXT_CALL = "next call"
    """It is half-open, and nobody has come."""
    CALL = "call"
    """It is half-open, and as many calls as may are under way."""


class Outcome(enum.Enum):
    """What a call says of the server."""

    SUCCESS = "success"
    FAILURE = "failure"
    ANSWER = "answer"
    """It answers, but to nobody's satisfaction (4xx, 500, an index without its shards): the question's fault, perhaps.
    Enough for a probe.
    """
    NOTHING = "nothing"
    """The call was cancelled."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to trip, and for how long. Times in seconds.

    It trips when `failure_percent` of at least `minimum_calls` calls within `window_seconds` failed (with 0 one failure
    is enough), and, if pings are told to it, on `failures_in_a_row` over at least `row_seconds` or on a call that has
    waited for `slow_seconds`, each if a ping failed too. Without `minimum_calls` it never trips.

    The open time doubles with each failed probe, from `open_seconds` to `longest_open_seconds`, and is moved by up to
    `jitter` of itself either way, so that many processes don't probe at once.
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
    """The right to make one call, in the period between two transitions in which it was given. `probing`: by a
    half-open breaker.
    """

    generation: int
    given_at: float
    probing: bool


@dataclass(frozen=True, slots=True)
class SentPing:
    """A ping under way, and the period in which it was sent. `call_waited`: a call of that period had waited for
    `slow_seconds` by then.
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
    """`calls` and `failures` are those of the window, `failure_percent` None while there are none.

    `reason` says why it tripped last, None if it never did. `probing`: how many probes are under way; `prober`: who
    finds out whether the server is back, None for nobody. `transitions`: the latest, newest first.
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
        """Whether calls are refused, or would be if more than the probes came. A half-open breaker that nobody asks is
        no trouble.
        """
        return self.state is BreakerState.OPEN or self.probing > 0


OnTransition = Callable[[BreakerState], None]
Refusal = Callable[[str, float], Exception]
"""Makes the error of a refused call: from why the breaker tripped, and the seconds until it is worth asking again."""

NEVER_TRIPS = BreakerPolicy(minimum_calls=None)
"""For calls that must be made whatever happened before: the health check's, the watch's."""
LONG_AGO = float("-inf")


class Breaker:
    """Lives as long as its client. Used on one loop: nothing here awaits, so nothing needs a lock.

    `name` says in logs whose calls these are; transitions are logged at `log_level`. `wall_clock` labels them for
    people.
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
        """Is called with the seconds after which `ping_due_in` should be asked; set by whoever pings."""
        self._window = SlidingWindow(policy.window_seconds, clock)
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._probe_at = 0.0
        self._open_seconds = policy.open_seconds
        # The calls under way, in the order in which they began; the probes among them that are of this period.
        self._under_way: dict[Permit, None] = {}
        self._probes: dict[Permit, None] = {}
        # Failures in a row: how many, when the first of them and the last call to fail did.
        self._row = 0
        self._row_began_at = 0.0
        self._failed_at = LONG_AGO
        # When the server last answered a call, the last ping was sent, and the newest answered one was.
        self._answered_at = LONG_AGO
        self._ping_sent_at = LONG_AGO
        self._ping_answered = LONG_AGO
        # The newest ping that failed, None once one that was sent later is answered.
        self._failed_ping: SentPing | None = None
        self._trips_total = 0
        self._reason = ""
        self._transitions: deque[BreakerTransition] = deque(maxlen=KEPT_TRANSITIONS)

    def __repr__(self) -> str:
        return f"<Breaker {self._name}: {self._state}>"

    def wait_seconds(self) -> float | None:
        """How long a call would be refused from now on; None: it would not."""
        self._advance()
        if self._state is BreakerState.OPEN:
            return self._probe_at - self._clock()
        if self._state is BreakerState.HALF_OPEN and len(self._probes) >= self._policy.probes:
            return PROBED_SECONDS
        return None

    def check(self) -> None:
        """Raises what `refusal` makes if a call would be refused now; takes nothing."""
        if (wait := self.wait_seconds()) is not None:
            raise self._refusal(self._reason, wait)

    def enter(self) -> Permit:
        """Let one call through; its `leave` must follow, whatever happens. Raises as `check` does."""
        self.check()
        permit = Permit(self._generation, self._clock(), self._state is BreakerState.HALF_OPEN)
        if permit.probing:
            self._probes[permit] = None
        self._under_way[permit] = None
        self.want_ping(self._policy.slow_seconds)
        return permit

    def leave(self, permit: Permit, outcome: Outcome) -> None:
        """The call ended. A result from before the last transition doesn't count, but an answer proves that the server
        is there.
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
        """How long a call that may take `seconds` (None: forever) may take with this permit."""
        if not permit.probing:
            return seconds
        return self._policy.probe_seconds if seconds is None else min(seconds, self._policy.probe_seconds)

    def ping_due_in(self) -> float | None:
        """In how many seconds the server should be pinged, if nothing happens before; None: there is no need."""
        self._advance()
        if self._state is BreakerState.OPEN:
            return None
        if self._row_is_long() and self._failed_at > self._ping_sent_at:
            return 0.0
        # A ping tells of all calls that had waited long enough when it was sent.
        due = (permit.given_at + self._policy.slow_seconds for permit in self._of_this_period())
        due_at = next((at for at in due if at > self._ping_sent_at), None)
        return None if due_at is None else max(0.0, due_at - self._clock())

    def ping_sent(self) -> SentPing:
        """Somebody pings the server, for whatever reason. `ping_ended` should follow."""
        self._advance()
        self._ping_sent_at = self._clock()
        oldest = next(self._of_this_period(), None)
        waited = oldest is not None and self._ping_sent_at - oldest.given_at >= self._policy.slow_seconds
        return SentPing(self._generation, self._ping_sent_at, waited)

    def ping_ended(self, ping: SentPing, *, answered: bool) -> None:
        """The server answered the ping, whatever it said, or didn't. May be called again for one that is answered after
        all.
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
        """None for a breaker that never trips."""
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
        """Do what time alone brings: an open breaker turns half-open, a probe that takes too long has failed."""
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
        """Decide whether what is known of calls and pings is reason enough. For a half-open breaker too: its probes
        stand in no window and in no row, but they wait.

        `just_failed`: the ping that failed a moment ago, None if this is about a call.
        """
        # The first that applies:
        #   1. The policy has no minimum: never.
        #   2. Enough of enough calls of the window failed.
        #   3. Enough calls in a row failed over long enough, and so did a ping sent after the first of them. Without
        #      the ping this may be one heavy query, sent again and again.
        #   4. A ping has just failed that was sent when a call of this period had waited for long, and since it was
        #      sent no call has been answered.
        #   5. Anything else: not.
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
        """Whether so many calls in a row failed over so long that a ping decides."""
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
