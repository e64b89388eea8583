"""The circuit breaker: stops asking a server that doesn't answer. Pure policy with injected clock and jitter.

closed → open when enough calls of a sliding window failed; open → half-open after a jittered time, for the first caller
who comes; half-open → closed when a probe succeeds, → open again when one fails or takes too long (Michael Nygard,
"Release It!", 2007). By hand, because no asyncio library bounds the probes.
"""

import enum
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from esassistant.clock import Clock, monotonic
from esassistant.sliding_window import SlidingWindow
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)

PROBED_SECONDS = 1.0
"""How long to wait while others probe."""


class BreakerState(enum.StrEnum):
    """Whether calls pass: all, none, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(enum.Enum):
    """What a call says of the server."""

    SUCCESS = "success"
    FAILURE = "failure"
    ANSWER = "answer"
    """It answers, but to nobody's satisfaction (4xx, 500): the question's fault, perhaps. Enough for a probe."""
    NOTHING = "nothing"
    """The call was cancelled."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to trip, and for how long. Times in seconds; without `minimum_calls` it never trips, and with a
    `failure_percent` of 0 one failure is enough.

    The open time doubles with each failed probe, from `open_seconds` to `longest_open_seconds`, and is moved by up to
    `jitter` of itself either way, so that many processes don't probe at once.
    """

    failure_percent: float = 50.0
    minimum_calls: int | None = 50
    window_seconds: float = 10.0
    open_seconds: float = 5.0
    longest_open_seconds: float = 30.0
    jitter: float = 0.2
    probes: int = 1
    probe_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call, in the period between two transitions in which it was given."""

    generation: int
    probing_since: float | None
    """When it was given, of one given by a half-open breaker."""


@dataclass(frozen=True, slots=True)
class BreakerReport:
    """`calls` and `failures` are those of the window, `failure_percent` None while there are none.

    `reason` says why it tripped last, None if it never did.
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


OnTransition = Callable[[BreakerState], None]
Refusal = Callable[[str, float], Exception]
"""Makes the error of a refused call: from why the breaker tripped, and the seconds until it is worth asking again."""

NEVER_TRIPS = BreakerPolicy(minimum_calls=None)
"""For calls that must be made whatever happened before: the health check's, the watch's."""


class Breaker:
    """Lives as long as its client. Used on one loop: nothing here awaits, so nothing needs a lock.

    `name` says in logs whose calls these are; transitions are logged at `log_level`.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        refusal: Refusal,
        *,
        log_level: int = logging.WARNING,
        clock: Clock = monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
        on_transition: OnTransition = lambda _: None,
    ) -> None:
        self._name = name
        self._policy = policy
        self._refusal = refusal
        self._log_level = log_level
        self._clock = clock
        self._uniform = uniform
        self._on_transition = on_transition
        self._window = SlidingWindow(policy.window_seconds, clock)
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._probe_at = 0.0
        self._open_seconds = policy.open_seconds
        # When each probe under way was let through.
        self._probes: list[float] = []
        self._trips_total = 0
        self._reason = ""

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
        probing_since = self._clock() if self._state is BreakerState.HALF_OPEN else None
        if probing_since is not None:
            self._probes.append(probing_since)
        return Permit(self._generation, probing_since)

    def leave(self, permit: Permit, outcome: Outcome) -> None:
        """The call ended. A result from before the last transition doesn't count."""
        self._advance()
        if permit.generation != self._generation:
            return
        if permit.probing_since is not None:
            self._probes.remove(permit.probing_since)
            self._probe_ended(outcome)
        elif outcome in (Outcome.SUCCESS, Outcome.FAILURE) and self._policy.minimum_calls is not None:
            self._window.add(1, outcome is Outcome.FAILURE)
            calls, failures = self._window.counts()
            enough = calls >= self._policy.minimum_calls and failures > 0
            if enough and 100 * failures >= self._policy.failure_percent * calls:
                self._trip(f"{failures} of {calls} calls failed within {as_seconds(self._policy.window_seconds)}")

    def time_for(self, permit: Permit, seconds: float | None) -> float | None:
        """How long a call that may take `seconds` (None: forever) may take with this permit."""
        if permit.probing_since is None:
            return seconds
        return self._policy.probe_seconds if seconds is None else min(seconds, self._policy.probe_seconds)

    def report(self) -> BreakerReport | None:
        """None for a breaker that never trips."""
        if self._policy.minimum_calls is None:
            return None
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
        )

    def _advance(self) -> None:
        """Do what time alone brings: an open breaker turns half-open, a probe that takes too long has failed."""
        now = self._clock()
        if self._state is BreakerState.OPEN and now >= self._probe_at:
            self._turn(BreakerState.HALF_OPEN)
        elif self._state is BreakerState.HALF_OPEN and any(
            now - started_at > self._policy.probe_seconds for started_at in self._probes
        ):
            self._trip(f"a probe got no answer within {as_seconds(self._policy.probe_seconds)}")

    def _probe_ended(self, outcome: Outcome) -> None:
        if outcome in (Outcome.SUCCESS, Outcome.ANSWER):
            self._open_seconds = self._policy.open_seconds
            self._turn(BreakerState.CLOSED)
        elif outcome is Outcome.FAILURE:
            self._trip("a probe failed")

    def _trip(self, reason: str) -> None:
        if self._state is BreakerState.HALF_OPEN:
            self._open_seconds = min(2 * self._open_seconds, self._policy.longest_open_seconds)
        spread = self._policy.jitter * self._open_seconds
        self._probe_at = self._clock() + self._open_seconds + self._uniform(-spread, spread)
        self._trips_total += 1
        self._reason = reason
        self._turn(BreakerState.OPEN)

    def _turn(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._window.clear()
        self._probes.clear()
        if state is BreakerState.OPEN:
            logger.log(
                self._log_level,
                "breaker of %s opened: %s; it probes in %.1f s",
                self._name,
                self._reason,
                self._probe_at - self._clock(),
            )
        else:
            logger.log(self._log_level, "breaker of %s is %s", self._name, state)
        self._on_transition(state)
