"""Single-flight: if many callers ask for the same thing at once, only one call is made.

The idea is that of Go's golang.org/x/sync/singleflight, adapted to asyncio. In Go the first caller makes the call; here
a task does, which no caller owns. Any caller may be cancelled, even the first one, without effect on the others.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from esassistant.clock import Clock, monotonic
from esassistant.errors import EsassistantError, RegistryNotOpen

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


FORGOTTEN_AT_ONCE = 8
"""How many old failures to drop when a flight ends: more than one flight adds, and few enough to be quick."""


class Spawn(Protocol):
    """Starts the task of a flight in its own context, and keeps a reference until it ends. In production it is
    `registry.flight`.
    """

    def __call__(self, function: Callable[[], Coroutine[Any, Any, Any]], /) -> asyncio.Task[Any]: ...


@dataclass(frozen=True, slots=True)
class SingleFlightReport:
    """Since the start: the number of flights, of callers that shared one, and of calls answered by a remembered
    failure. `in_flight`: flights under way now.
    """

    flights_total: int
    shared_total: int
    remembered_failures_total: int
    in_flight: int


class SingleFlight(Generic[K, V]):
    """One flight per key at a time. Lives as long as its owner, and belongs to its loop.

    A failure is remembered for `failure_ttl_seconds`, so that callers who keep coming don't each start a call that is
    bound to fail. At most `remembered_failures` are kept, and not much longer than that time. Errors of this project's
    own classes are kept without tracebacks, as a traceback keeps all local variables alive, even whole answers.
    """

    def __init__(
        self,
        spawn: Spawn,
        *,
        failure_ttl_seconds: float = 1.0,
        remembered_failures: int = 1024,
        clock: Clock = monotonic,
    ) -> None:
        self._spawn = spawn
        self._failure_ttl_seconds = failure_ttl_seconds
        self._remembered_failures = remembered_failures
        self._clock = clock
        self._in_flight: dict[K, asyncio.Task[V]] = {}
        self._failures: dict[K, tuple[float, Exception]] = {}
        self._flights_total = 0
        self._shared_total = 0
        self._remembered_failures_total = 0

    def start(self, key: K, function: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """Join the flight for `key`, or start one, and return its task without waiting. The caller must not cancel the
        task.

        Raises the remembered failure if a flight for `key` failed a moment ago.
        """
        if (flight := self._in_flight.get(key)) is not None:
            self._shared_total += 1
            return flight
        if (failure := self._failures.get(key)) is not None:
            failed_at, error = failure
            if self._clock() - failed_at < self._failure_ttl_seconds:
                self._remembered_failures_total += 1
                # Remove the old traceback: it would grow each time the exception is raised.
                raise error.with_traceback(None)
            del self._failures[key]
        flight = self._spawn(function)
        self._in_flight[key] = flight
        self._flights_total += 1
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def is_in_flight(self, key: K) -> bool:
        return key in self._in_flight

    def forget_failure(self, key: K, kind: type[Exception]) -> None:
        """Forget the remembered failure for `key` if it is a `kind`, so that the next caller starts a new flight."""
        if key in self._failures and isinstance(self._failures[key][1], kind):
            del self._failures[key]

    async def do(self, key: K, function: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the flight for `key`, which is joined or started. Cancelling the caller doesn't cancel
        the flight.

        Raises what the flight raised, or `RegistryNotOpen` if the flight was cancelled because its owner closes.
        """
        flight = self.start(key, function)
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if flight.cancelled() and caller is not None and not caller.cancelling():
                raise RegistryNotOpen("the server is ending") from None
            raise
        finally:
            # The new traceback of the error refers to this frame, and the flight refers to the old traceback.
            del flight

    def _landed(self, key: K, flight: asyncio.Task[V]) -> None:
        del self._in_flight[key]
        error = None if flight.cancelled() else flight.exception()
        now, room = self._clock(), self._remembered_failures - isinstance(error, Exception)
        for known, (failed_at, _) in list(islice(self._failures.items(), FORGOTTEN_AT_ONCE)):  # the oldest first
            if len(self._failures) > room or now - failed_at >= self._failure_ttl_seconds:
                del self._failures[known]
        if isinstance(error, Exception):
            let_go(error)
            self._failures[key] = (now, error)

    def report(self) -> SingleFlightReport:
        return SingleFlightReport(
            self._flights_total, self._shared_total, self._remembered_failures_total, len(self._in_flight)
        )


def let_go(error: Exception) -> None:
    """Remove the tracebacks from an error of this project's own classes, and from all errors that caused it."""
    waiting: list[BaseException | None] = [error] if isinstance(error, EsassistantError) else []
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += (one.__cause__, one.__context__)
