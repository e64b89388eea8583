"""Pings: ask whether the cluster is there at all. They let a breaker tell one heavy query from a frozen node.

All pings of a process are made here, those of the health monitor too, and the breakers of all pools hear of each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from elastic_transport import SerializationError, TransportError
from elasticsearch import ApiError

from esassistant.breaker import Breaker, Outcome, SentPing
from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.errors import AnswerTooLarge, CallRefused
from esassistant.elasticsearch.transport import outcome_of
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Handle, PingResult
from esassistant.windows import Got, MinuteCounts, Window, WindowReport

PING_SECONDS = 3.0
"""For the breakers, a ping without an answer after this time has failed."""
SHARE_OF_TIMEOUT = 0.8
"""A ping has failed after this share of its own timeout, if that is earlier. Its caller may cancel it when the timeout
ends, and it must be judged before.
"""
PAUSE_SECONDS = 1.0
"""The shortest time between the starts of two pings, however many calls wait and fail."""
FOREVER = float("inf")

Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for the given seconds, or until the event is set."""


async def pause_until(stirred: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `stirred` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == FOREVER else seconds):
            await stirred.wait()


class Pings:
    """Makes pings, when a breaker wants one and when somebody asks. Belongs to one loop."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[PingResult]],
        timeout_seconds: float,
        *,
        clock: Clock = monotonic,
        pause: Pause = pause_until,
    ) -> None:
        """
        Args:
            ask: Asks the cluster for its health. Raises `ClusterUnavailable`, after `timeout_seconds` at the latest.
        """
        self._ask = ask
        self._failed_after = min(PING_SECONDS, SHARE_OF_TIMEOUT * timeout_seconds)
        self._clock = clock
        self._pause = pause
        self._breakers: list[Breaker] = []
        self._stirred = asyncio.Event()
        self._wakes_at = FOREVER
        self._sent_at = -FOREVER
        self._window = Window()
        self.answered = asyncio.Event()
        """Set by the first ping that is answered."""

    def attach(self, breakers: Iterable[Breaker]) -> None:
        """Tell these breakers of every ping, and ping when they want it."""
        for breaker in breakers:
            breaker.want_ping = self._want
            self._breakers.append(breaker)

    async def ping(self) -> PingResult:
        """Ask the cluster for its health, and tell the breakers whether it answered. Raise `ClusterUnavailable` if it
        refuses or doesn't answer.
        """
        sent_at = self._sent_at = self._clock()
        sent = [(breaker, breaker.ping_sent()) for breaker in self._breakers]
        overdue = asyncio.get_running_loop().call_later(self._failed_after, _tell, sent, False)
        try:
            result = await self._ask()
        except ClusterUnavailable as error:
            if (answered := is_answer(error)) is not None:
                self._note(sent_at, answered=answered)
                _tell(sent, answered)
            raise
        except asyncio.CancelledError:
            if self._clock() - sent_at >= self._failed_after:
                self._note(sent_at, answered=False)
            raise
        else:
            self._note(sent_at, answered=True)
            _tell(sent, True)
            return result
        finally:
            overdue.cancel()

    def window(self) -> WindowReport | None:
        """Return how the latest pings went. A ping without an answer counts as failed."""
        return self._window.report(self._clock())

    def whole_minute(self, number: int) -> MinuteCounts:
        """Return the pings of one minute. `number` is its number on the monotonic clock; it must have just ended."""
        return self._window.whole_minute(number)

    def _note(self, sent_at: float, *, answered: bool) -> None:
        now = self._clock()
        if answered:
            self.answered.set()
        self._window.ended(Got.ANSWER if answered else Got.FAILURE, now - sent_at, now)

    async def keep_pinging(self) -> None:
        """Background task: ping whenever a breaker wants it."""
        while True:
            if self._wakes_at <= self._clock():
                if (seconds := self._due_in()) <= 0:
                    with suppress(ClusterUnavailable):
                        await self.ping()
                    continue
                self._wakes_at = self._clock() + seconds
            await self._pause(self._stirred, self._wakes_at - self._clock())
            self._stirred.clear()

    def _want(self, in_seconds: float) -> None:
        # This is called for many calls, so it wakes the task only if a ping is wanted earlier than the task wakes
        # anyway. The task isn't put back to sleep for longer when a call ends, otherwise a stream of quick calls would
        # wake it each time.
        at = max(self._clock() + in_seconds, self._sent_at + PAUSE_SECONDS)
        if at < self._wakes_at:
            self._wakes_at = at
            self._stirred.set()

    def _due_in(self) -> float:
        due = [seconds for breaker in self._breakers if (seconds := breaker.ping_due_in()) is not None]
        if not due:
            return FOREVER
        return max(0.0, min(due), self._sent_at + PAUSE_SECONDS - self._clock())


def is_answer(error: ClusterUnavailable) -> bool | None:
    """Return True if a ping that failed with this error got an answer, whatever it was; None if it was
    not even sent.
    """
    match error.__cause__:
        case CallRefused():
            return None
        case ApiError(status_code=status, body=body):
            return outcome_of(status, body) is not Outcome.FAILURE
        case TransportError() as cause:
            return isinstance(cause, SerializationError | AnswerTooLarge)
        case _:
            return True


def _tell(sent: Iterable[tuple[Breaker, SentPing]], answered: bool) -> None:
    for breaker, ping in sent:
        breaker.ping_ended(ping, answered=answered)


PINGS: Handle[Pings] = Handle("elasticsearch_pings")
