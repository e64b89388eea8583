"""Limits of requests: refuses one whose body or address is too large or whose body comes too slowly before anything
else is done about it, and what comes while too many are under way.

Django reads a body to its end, into memory and then a file, before any of its own limits apply; for an address neither
it nor the server has one, and what is refused as unknown is logged. Nobody but us has a limit of time for a body.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from esassistant.asgi_types import ASGIApp, Message, Receive, Scope, Send
from esassistant.errors import EsassistantError, ProblemType
from esassistant.http.counters import Door, note_of
from esassistant.http.refusal import Refusal
from esassistant.units import as_seconds


class BodyTooLarge(EsassistantError):
    """The request has a larger body than this service reads."""

    status = 413
    title = "Body too large"
    problem_type = ProblemType(
        "body-too-large",
        "The body of the request has more bytes than this service reads.",
        "Send a smaller one; `detail` says how many bytes it may have. Operators: `ESASSISTANT_MAX_BODY_BYTES`.",
    )


class AddressTooLong(EsassistantError):
    """The request has a longer address than any that this service knows."""

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
    """So many requests are under way that one more would only wait behind them."""

    status = 503
    title = "Overloaded"
    problem_type = ProblemType(
        "overloaded",
        "So many requests are under way in this process that one more would only wait behind them.",
        "Ask again after the seconds in `Retry-After`. Callers with a token have more places than those without.",
    )


MAX_ADDRESS_BYTES: Final = 8192
"""Of path and query, percent-encoded; the usual limit of web servers."""
BODY_SECONDS: Final = 5.0
"""Well below the grace in which a server that ends waits for requests under way."""
READING: Final = ("GET", "HEAD", "OPTIONS")
LEAST_OTHERS: Final = 200
CALLS_PER_CONNECTION: Final = 2


@dataclass(slots=True)
class InFlight:
    """How many requests of a process are under way, and may be: `others` are those that neither GET, HEAD nor OPTIONS.
    `reading`: whose body is still to come; those take no place of the others, so that slow clients hold up only each
    other.

    Of these each makes calls of its own to the cluster, as a search does, so more than a few per connection would only
    wait, or be refused one by one after all the work of getting there. GETs may be many: those that ask for the same
    share one call.
    """

    max_total: int
    max_others: int
    total: int = 0
    others: int = 0
    reading: int = 0

    @classmethod
    def with_connections(cls, max_total: int, connections: int) -> "InFlight":
        """`connections`: how many calls to the cluster may be under way at once, of all pools."""
        return cls(max_total, max(LEAST_OTHERS, CALLS_PER_CONNECTION * connections))


class RequestReader:
    """Reads requests whole, within bounds: an address of at most `MAX_ADDRESS_BYTES`, a body of at most
    `max_body_bytes`, whether its length is declared or not, within `body_seconds`.
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
        """The whole body, or why the request is refused; None when the client leaves before."""
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
    """ASGI wrapper that lets only requests through that a `RequestReader` could read, and no more at once than
    `InFlight` allows, probes aside.

    A queue without bound answers everybody too late; refused at once, a caller can ask another process.
    """

    def __init__(
        self, app: ASGIApp, reader: RequestReader, in_flight: InFlight, is_probe: Callable[[str], bool]
    ) -> None:
        """`is_probe`: of a path."""
        self._app = app
        self._reader = reader
        self._in_flight = in_flight
        self._is_probe = is_probe
        self._overloaded = Refusal(overloaded())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._reader.body(scope, receive)
        if isinstance(body, Refusal):
            await body.answer(scope, send)
        elif body is None:
            note_of(scope).answered_by(Door.REFUSED, None)  # the client has left
        else:
            await self._admit(scope, replayed(body, receive) if has_body(scope) else receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        in_flight, is_other = self._in_flight, scope["method"] not in READING
        if not is_other and self._is_probe(scope["path"]):
            await self._app(scope, receive, send)
        elif in_flight.total >= in_flight.max_total or (is_other and in_flight.others >= in_flight.max_others):
            await self._overloaded.answer(scope, send)
        else:
            in_flight.total += 1
            in_flight.others += is_other
            try:
                await self._app(scope, receive, send)
            finally:
                in_flight.total -= 1
                in_flight.others -= is_other


def overloaded() -> Overloaded:
    """What whoever finds no place is told."""
    return Overloaded("Too many requests are under way in this process. Ask again.", retry_after_seconds=1)


def _is_too_long(scope: Scope) -> bool:
    return len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES


def has_body(scope: Scope) -> bool:
    """Whether a body comes with a request, by the headers' word."""
    return _declared_bytes(scope) != 0


def _declared_bytes(scope: Scope) -> int | None:
    """How long the body is by the headers' word; None: they don't say."""
    values = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(values) == 1 and values[0].isdigit() and len(values[0]) < 20:
        return int(values[0])
    return None if values or any(name == b"transfer-encoding" for name, _ in scope["headers"]) else 0


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replaying() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return replaying
