"""Limits of requests. A request is refused before anything else is done with it if its body or address is too large, if
its body comes too slowly, if too many requests are under way, or if it has waited for the event loop for too long.

Django reads a whole body, into memory and then a file, before its own limits apply. Neither Django nor the server
limits the length of an address, and Django logs addresses that it doesn't know. And neither limits the time for a body.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from esassistant.asgi_types import ASGIApp, Message, Receive, Scope, Send
from esassistant.clock import monotonic
from esassistant.errors import EsassistantError, ProblemType
from esassistant.http.counters import Door, note_of
from esassistant.http.refusal import Refusal
from esassistant.units import as_seconds


class BodyTooLarge(EsassistantError):
    """The body of the request is larger than this service accepts."""

    status = 413
    title = "Body too large"
    problem_type = ProblemType(
        "body-too-large",
        "The body of the request has more bytes than this service reads.",
        "Send a smaller one; `detail` says how many bytes it may have. Operators: `ESASSISTANT_MAX_BODY_BYTES`.",
    )


class AddressTooLong(EsassistantError):
    """The address of the request is longer than any address that this service knows."""

    status = 414
    title = "Address too long"
    problem_type = ProblemType(
        "address-too-long",
        "Path and query together have more bytes than any address of this service needs.",
        "Ask for less at once; `detail` says how many bytes there may be.",
    )


class BodyTooSlow(EsassistantError):
    """The body did not come in time."""

    status = 408
    title = "Body too slow"
    problem_type = ProblemType(
        "body-too-slow",
        "The body of the request did not arrive in time.",
        "Send it again, over a better connection or in one piece; `detail` says how long it may take.",
    )


class Overloaded(EsassistantError):
    """So many requests are under way that another one would only wait behind them, or has waited too long already."""

    status = 503
    title = "Overloaded"
    problem_type = ProblemType(
        "overloaded",
        "So many requests are under way in this process that one more would only wait behind them, or this one has "
        "waited too long already.",
        "Ask again after the seconds in `Retry-After`. Callers with a token have more places than those without.",
    )


MAX_ADDRESS_BYTES: Final = 8192
"""The bound for path and query together, percent-encoded; it is usual for web servers."""
BODY_SECONDS: Final = 5.0
"""Much shorter than the time for which a stopping server waits for open requests."""
READING: Final = ("GET", "HEAD", "OPTIONS")
LEAST_OTHERS: Final = 200
CALLS_PER_CONNECTION: Final = 2
QUEUED_AT: Final = "esassistant.queued_at"
"""The key in the scope of the monotonic time at which our server gave a request to the event loop."""
MAX_QUEUED_SECONDS: Final = 0.4
"""How long a request may wait for the event loop behind others. Answers that are computed from memory take the loop one
after the other, so there is never more than one *under way*, however many wait. Other callers wait up to twice as long
as this: until the loop has answered those before them, and until it reads their own request.
"""
FEWEST_BEFORE: Final = 16
"""How many others the loop must have begun meanwhile: if there were fewer, it was not the number of requests that held
up the process, and to refuse some would help nobody.
"""


@dataclass(slots=True)
class InFlight:
    """How many requests of a process are under way, and how many may be.

    Attributes:
        max_total, total: All requests.
        max_others, others: Requests with another method than GET, HEAD and OPTIONS. Each makes its own calls to the
            cluster, as a search does. So more than a few for each connection would only wait, or be refused after much
            work. There may be more GETs: those that ask for the same thing share one call.
        reading: Requests whose body is still coming. They don't count in `total`, so slow clients delay only each
            other.
    """

    max_total: int
    max_others: int
    total: int = 0
    others: int = 0
    reading: int = 0

    @classmethod
    def with_connections(cls, max_total: int, connections: int) -> "InFlight":
        """Return the limits for a number of connections to the cluster. `connections`: how many calls may be under way
        at once, over all pools.
        """
        return cls(max_total, max(LEAST_OTHERS, CALLS_PER_CONNECTION * connections))


class RequestReader:
    """Reads whole requests, within bounds: an address of at most `MAX_ADDRESS_BYTES`, and a body of at most
    `max_body_bytes` within `body_seconds`, even if its length isn't declared.
    """

    def __init__(self, max_body_bytes: int, in_flight: InFlight, *, body_seconds: float = BODY_SECONDS) -> None:
        self._max_body_bytes = max_body_bytes
        self._in_flight = in_flight
        self._body_seconds = body_seconds
        too_long = AddressTooLong(f"Send at most {MAX_ADDRESS_BYTES} bytes of path and query.")
        too_slow = BodyTooSlow(f"Send the body within {as_seconds(body_seconds)}.")
        self._too_long = {closes: Refusal(too_long, closes=closes) for closes in (False, True)}
        self._too_large = Refusal(BodyTooLarge(f"Send at most {max_body_bytes} bytes."), closes=True)
        self._too_slow = Refusal(too_slow, closes=True)
        self._unread = Refusal(overloaded(), closes=True)

    async def body(self, scope: Scope, receive: Receive) -> bytes | Refusal | None:
        """Return the whole body, or the refusal of the request, or None if the client leaves before."""
        declared = _declared_bytes(scope)
        if _is_too_long(scope):
            return self._too_long[declared != 0]
        if declared == 0:
            return b""
        if self._in_flight.reading >= self._in_flight.max_total:
            return self._unread
        if (declared or 0) > self._max_body_bytes:
            return self._too_large
        body = bytearray()
        self._in_flight.reading += 1
        try:
            async with asyncio.timeout(self._body_seconds):
                more_body = True
                while more_body:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        return self._too_large
                    more_body = message.get("more_body", False)
        except TimeoutError:
            return self._too_slow
        finally:
            self._in_flight.reading -= 1
        return bytes(body)


class RequestLimits:
    """ASGI wrapper that passes on only requests which a `RequestReader` can read, not more at once than `InFlight`
    allows, and none that has waited for the event loop for more than `MAX_QUEUED_SECONDS`, behind at least
    `FEWEST_BEFORE` others. Probes always pass.

    Requests beyond the limits don't wait: in an unbounded queue everybody would be answered too late. A caller that is
    refused at once can try another process.
    """

    def __init__(
        self,
        app: ASGIApp,
        reader: RequestReader,
        in_flight: InFlight,
        is_probe: Callable[[str], bool],
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """
        Args:
            is_probe: Tells whether a path is that of a probe.
            clock: The clock that set `QUEUED_AT`. Other servers than ours don't set it; there, no request is late.
        """
        self._app = app
        self._reader = reader
        self._in_flight = in_flight
        self._is_probe = is_probe
        self._clock = clock
        self._begun_at: deque[float] = deque(maxlen=FEWEST_BEFORE)
        self._overloaded = Refusal(overloaded())
        self._late = Refusal(Overloaded("This process is behind with its answers. Ask again.", retry_after_seconds=1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_late = self._is_late(scope)  # before the body is waited for: that is the client's time
        body = await self._reader.body(scope, receive)
        if isinstance(body, Refusal):
            await body.answer(scope, send)
        elif body is None:
            note_of(scope).answered_by(Door.REFUSED, None)  # the client has left
        else:
            await self._admit(scope, replayed(body, receive) if has_body(scope) else receive, send, is_late)

    def _is_late(self, scope: Scope) -> bool:
        queued_at: float = scope.get(QUEUED_AT, inf)
        if self._clock() - queued_at <= MAX_QUEUED_SECONDS:
            return False
        return len(self._begun_at) == FEWEST_BEFORE and self._begun_at[0] >= queued_at

    async def _admit(self, scope: Scope, receive: Receive, send: Send, is_late: bool) -> None:
        in_flight, is_other = self._in_flight, scope["method"] not in READING
        if not is_other and self._is_probe(scope["path"]):
            await self._app(scope, receive, send)
        elif is_late:
            await self._late.answer(scope, send)
        elif in_flight.total >= in_flight.max_total or (is_other and in_flight.others >= in_flight.max_others):
            await self._overloaded.answer(scope, send)
        else:
            in_flight.total += 1
            in_flight.others += is_other
            self._begun_at.append(self._clock())
            try:
                await self._app(scope, receive, send)
            finally:
                in_flight.total -= 1
                in_flight.others -= is_other


def overloaded() -> Overloaded:
    """Return the error for a request that finds no place."""
    return Overloaded("Too many requests are under way in this process. Ask again.", retry_after_seconds=1)


def _is_too_long(scope: Scope) -> bool:
    return len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES


def has_body(scope: Scope) -> bool:
    """Return True if a request has a body, as its headers say."""
    return _declared_bytes(scope) != 0


def _declared_bytes(scope: Scope) -> int | None:
    """Return how long the body is, as the headers say, or None if they don't say."""
    values = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(values) == 1 and values[0].isdigit() and len(values[0]) < 20:
        return int(values[0])
    return None if values or any(name == b"transfer-encoding" for name, _ in scope["headers"]) else 0


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first gives a body that was read already, and then the following messages."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replaying() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return replaying
