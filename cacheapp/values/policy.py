"""Decide when field values may be gathered, and of which families. Pure, with an injected clock. What is gathered next,
and what before anybody asks, is decided in cacheapp/demand/policy.py.
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
"""The factor by which calls are sent more rarely than the budget allows, because their delays on the way vary."""
MAX_FAMILIES = 256
"""How many families have values at most. Others are gathered only after one of them is forgotten."""


class Hindrance(enum.Enum):
    """Why no values are gathered now."""

    PAUSED = "paused"
    """The cluster refused a call, or could not answer it, a moment ago."""
    BREAKER = "breaker"
    """A breaker isn't closed."""
    BUSY = "busy"
    """Calls for callers are under way."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the connection pools do now: how many calls are under way or waiting, and whether all breakers are
    closed.
    """

    calls: int
    breakers_closed: bool


def situation_of(pools: Iterable[PoolReport]) -> Situation:
    """Return the situation that the reports of the pools show."""
    reports = list(pools)
    return Situation(
        sum(report.in_use + report.overflow_in_use + report.waiting for report in reports),
        all(report.breaker is None or report.breaker.state is BreakerState.CLOSED for report in reports),
    )


def hindrance_in(situation: Situation, pause_seconds: float) -> Hindrance | None:
    """Return what forbids a call now; None if nothing does. The first that applies:

    1. The pause after a refusal isn't over: nothing is sent, whatever else holds.
    2. A breaker is open or half-open: one more call may be too much for the cluster.
    3. Calls for callers or for the cache are under way: they come first.
    """
    if pause_seconds > 0:
        return Hindrance.PAUSED
    if not situation.breakers_closed:
        return Hindrance.BREAKER
    return Hindrance.BUSY if situation.calls else None


def seconds_between_calls(calls_per_minute: int) -> float:
    """Return the seconds between two calls of the whole deployment."""
    return SLACK * 60.0 / calls_per_minute


class Pause:
    """The pause after the cluster refused a call or could not answer it. Its length doubles each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._next = FIRST_PAUSE_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock())

    def begin(self) -> float:
        """Begin a pause, and return its length in seconds."""
        seconds = self._next
        self.extend(seconds)
        self._next = min(2 * seconds, LONGEST_PAUSE_SECONDS)
        return seconds

    def extend(self, seconds: float) -> None:
        """Pause for `seconds` from now, as another process does; at most for the longest pause."""
        self._until = max(self._until, self._clock() + min(seconds, LONGEST_PAUSE_SECONDS))

    def note_success(self) -> None:
        """Note that the cluster has answered: the next pause is short again."""
        self._next = FIRST_PAUSE_SECONDS


def is_wanted(family: NamedFamily, patterns: Sequence[str]) -> bool:
    """Return whether the values of a family may be gathered: a pattern matches its name, or one matches each of its
    indices. Names that begin with a dot belong to the cluster itself, and are never gathered.
    """
    if family.name.startswith(".") or not family.indices:
        return False
    return any(
        matches(family.name, pattern) or all(matches(index, pattern) for index in family.indices)
        for pattern in patterns
    )
