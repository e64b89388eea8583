"""Single-flight: many callers ask for the same thing at once, one call is made.

The idea is Go's golang.org/x/sync/singleflight, made safe for asyncio: there the first caller makes the call, here a
task that no caller owns. Any caller may be cancelled, the leader included, and nobody else notices.
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
"""More than come with one flight, and few enough for one turn of the loop."""


class Spawn(Protocol):
    """Starts the task of a flight in a context of its own and keeps it until it ends; `registry.flight` in
    production.
    """

    def __call__(self, function: Callable[[], Coroutine[Any, Any, Any]], /) -> asyncio.Task[Any]: ...


@dataclass(frozen=True, slots=True)
class SingleFlightReport:
    """Since the start: flights made, callers that shared one, calls answered by a remembered failure; and flights under
    way.
    """

    flights_total: int
    shared_total: int
    remembered_failures_total: int
    in_flight: int


class SingleFlight(Generic[K, V]):
    """One flight per key at a time; lives as long as its owner and belongs to its loop.

    A failure is remembered for `failure_ttl_seconds`, so that callers who keep coming don't each start a call that is
    bound to fail. At most `remembered_failures` failures are kept, and none much longer. Those of this project's own
    kind are kept without their tracebacks, which keep alive what was under way where they were raised: whole answers.
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
        """Join the flight for `key`, or start one, without waiting for it. The task must not be cancelled by the
        caller.

        Raises the remembered failure of a flight that failed a moment ago.
        """
        if (flight := self._in_flight.get(key)) is not None:
            self._shared_total += 1
            return flight
        if (failure := self._failures.get(key)) is not None:
            failed_at, error = failure
            if self._clock() - failed_at < self._failure_ttl_seconds:
                self._remembered_failures_total += 1
                # A fresh traceback for each caller: raising one exception again and again would grow it without bound.
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
        """The next caller asks anew, if what is remembered for `key` is a `kind`."""
        if key in self._failures and isinstance(self._failures[key][1], kind):
            del self._failures[key]

    async def do(self, key: K, function: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of the flight for `key`, joined or started. Cancelling the caller leaves the flight alone.

        Raises what the flight raised, or `RegistryNotOpen` when the flight was ended because its owner closes.
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
            # The error's new traceback has this frame, and the flight the old one.
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
    """Take the tracebacks off an error of this project's own kind, and off all that it was raised from."""
    waiting: list[BaseException | None] = [error] if isinstance(error, EsassistantError) else []
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += (one.__cause__, one.__context__)
