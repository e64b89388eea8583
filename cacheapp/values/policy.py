"""When field values may be gathered, and of which families. Pure, over an injected clock. What is gathered next, and
what before anybody asks, cacheapp/demand/policy.py decides.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cacheapp.state.family_names import NamedFamily
from cacheapp.state.names import matches
from esassistant.breaker import BreakerState
from esassistant.clock import Clock
from esassistant.elasticsearch.stats import PoolReport

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3_600.0
SLACK = 1.02
"""Calls are sent so much more rarely than the budget says: what they wait for on their way differs."""
MAX_FAMILIES = 256
"""Of so many families values are kept; no others are gathered before one of them is forgotten."""


class Hindrance(enum.Enum):
    """Why nothing is gathered now."""

    PAUSED = "paused"
    """The cluster refused, or could not answer, a moment ago."""
    BREAKER = "breaker"
    """A breaker isn't closed."""
    BUSY = "busy"
    """Callers' calls are under way."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the connection pools do now: calls under way or waiting, and whether all breakers are closed."""

    calls: int
    breakers_closed: bool


def situation_of(pools: Iterable[PoolReport]) -> Situation:
    """Sum up what pools report."""
    reports = list(pools)
    return Situation(
        sum(report.in_use + report.overflow_in_use + report.waiting for report in reports),
        all(report.breaker is None or report.breaker.state is BreakerState.CLOSED for report in reports),
    )


def hindrance_in(situation: Situation, pause_seconds: float) -> Hindrance | None:
    """Return what forbids a call now, if anything does.

    1. The pause after a refusal isn't over: nothing is sent, whatever else.
    2. A breaker is open or half-open: what is sent may be the one too many.
    3. Calls of callers or of the cache are under way: theirs come first.
    """
    if pause_seconds > 0:
        return Hindrance.PAUSED
    if not situation.breakers_closed:
        return Hindrance.BREAKER
    return Hindrance.BUSY if situation.calls else None


def seconds_between_calls(calls_per_minute: int) -> float:
    """Return how far apart the calls of the whole deployment are."""
    return SLACK * 60.0 / calls_per_minute


class Pause:
    """How long nothing is gathered after the cluster refused a call or could not answer it; doubles each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._next = FIRST_PAUSE_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock())

    def begin(self) -> float:
        """Begin it, and return its length in seconds."""
        seconds = self._next
        self.extend(seconds)
        self._next = min(2 * seconds, LONGEST_PAUSE_SECONDS)
        return seconds

    def extend(self, seconds: float) -> None:
        """Another process paused for so long from now, at most the longest pause."""
        self._until = max(self._until, self._clock() + min(seconds, LONGEST_PAUSE_SECONDS))

    def note_success(self) -> None:
        """The cluster has answered: the next pause is short again."""
        self._next = FIRST_PAUSE_SECONDS


def is_wanted(family: NamedFamily, patterns: Sequence[str]) -> bool:
    """Whether values of a family are to be gathered: a pattern stands for its name, or for each of its indices. Names
    that begin with a dot are the cluster's own.
    """
    if family.name.startswith(".") or not family.indices:
        return False
    return any(
        matches(family.name, pattern) or all(matches(index, pattern) for index in family.indices)
        for pattern in patterns
    )
