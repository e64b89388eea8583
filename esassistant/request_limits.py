"""Limits of requests: refuses one whose body or address is too large before anything reads it, and what comes while too
many are under way.

Django reads a body to its end, into memory and then a file, before any of its own limits apply; for an address neither
it nor the server has one, and what is refused as unknown is logged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest

from esassistant.errors import EsassistantError
from esassistant.lifespan import ASGIApp, Message, Receive, Scope, Send
from esassistant.problems import problem_of
from esassistant.security_headers import add_security_headers


class BodyTooLarge(EsassistantError):
    """The request has a larger body than this service reads."""

    status = 413
    title = "Body too large"


class AddressTooLong(EsassistantError):
    """The request has a longer address than any that this service knows."""

    status = 414
    title = "Address too long"


class Overloaded(EsassistantError):
    """So many requests are under way that one more would only wait behind them."""

    status = 503
    title = "Overloaded"


MAX_ADDRESS_BYTES: Final = 8192
"""Of path and query, percent-encoded; the usual limit of web servers."""
READING: Final = ("GET", "HEAD")
LEAST_OTHERS: Final = 200
CALLS_PER_CONNECTION: Final = 2


@dataclass(slots=True)
class InFlight:
    """How many requests of a process are under way, and may be: `others` are those that neither GET nor HEAD.

    Of these each makes calls of its own to the cluster, as a search does, so more than a few per connection would only
    wait, or be refused one by one after all the work of getting there. GETs may be many: those that ask for the same
    share one call.
    """

    max_total: int
    max_others: int
    total: int = 0
    others: int = 0

    @classmethod
    def with_connections(cls, max_total: int, connections: int) -> "InFlight":
        """`connections`: how many calls to the cluster may be under way at once, of all pools."""
        return cls(max_total, max(LEAST_OTHERS, CALLS_PER_CONNECTION * connections))

    def is_full(self, *, is_read: bool) -> bool:
        return self.total >= self.max_total or (not is_read and self.others >= self.max_others)


class RequestLimits:
    """ASGI wrapper that lets no request body of more than `max_body_bytes` through, whether its length is declared or
    not, no address of more than `MAX_ADDRESS_BYTES`, and no more requests at once than `InFlight` allows, probes aside.

    A queue without bound answers everybody too late; refused at once, a caller can ask another process.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, in_flight: InFlight, is_probe: Callable[[str], bool]) -> None:
        """`is_probe`: of a path."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._in_flight = in_flight
        self._is_probe = is_probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        in_flight, is_read = self._in_flight, scope["method"] in READING
        if in_flight.is_full(is_read=is_read) and not self._is_probe(scope["path"]):
            overloaded = Overloaded(
                "Too many requests are under way in this process. Ask again.", retry_after_seconds=1
            )
            await self._refuse(overloaded, scope, send)
            return
        in_flight.total += 1
        in_flight.others += not is_read
        try:
            await self._serve(scope, receive, send)
        finally:
            in_flight.total -= 1
            in_flight.others -= not is_read

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = _content_length(scope)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
            too_long = AddressTooLong(f"Send at most {MAX_ADDRESS_BYTES} bytes of path and query.")
            await self._refuse(too_long, scope, send)
        elif declared is None:
            await self._count(scope, receive, send)
        elif declared > self._max_body_bytes:
            await self._refuse(self._too_large(), scope, send)
        else:
            # The server passes on no more than was declared.
            await self._app(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of unknown length (chunked, or without a body): from the limit on, the application sees a
        client that has left, and the client gets the refusal.
        """
        received = 0
        answering = False

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= self._max_body_bytes else {"type": "http.disconnect"}

        async def noticed_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        await self._app(scope, counted_receive, noticed_send)
        if received > self._max_body_bytes and not answering:
            await self._refuse(self._too_large(), scope, send)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"Send at most {self._max_body_bytes} bytes.")

    async def _refuse(self, error: EsassistantError, scope: Scope, send: Send) -> None:
        request = ASGIRequest(
            {**scope, "query_string": b""}, BytesIO()
        )  # of which Django may not be able to read the query
        response = problem_of(request, error)
        add_security_headers(request, response)
        if isinstance(error, BodyTooLarge) or not self._has_short_body(scope):
            # The server would read a body to its end before it reads the connection's next request.
            response["Connection"] = "close"
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})

    def _has_short_body(self, scope: Scope) -> bool:
        declared = _content_length(scope)
        if declared is None:
            return not any(name in (b"transfer-encoding", b"content-length") for name, _ in scope["headers"])
        return declared <= self._max_body_bytes


def _content_length(scope: Scope) -> int | None:
    values: list[Any] = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(values[0]) if len(values) == 1 and values[0].isdigit() else None
