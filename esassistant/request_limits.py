"""Limits of requests: refuses one whose body or address is too large before anything reads it, and what comes while too
many are under way.

Django reads a body to its end, into memory and then a file, before any of its own limits apply; for an address neither
it nor the server has one, and what is refused as unknown is logged.
"""

from collections.abc import Callable
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


class RequestLimits:
    """ASGI wrapper that lets no request body of more than `max_body_bytes` through, whether its length is declared or
    not, no address of more than `MAX_ADDRESS_BYTES`, and no more than `max_in_flight` requests at once, probes aside.

    A queue without bound answers everybody too late; refused at once, a caller can ask another process.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_in_flight: int, is_probe: Callable[[str], bool]) -> None:
        """`is_probe`: of a path."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_in_flight = max_in_flight
        self._is_probe = is_probe
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._max_in_flight and not self._is_probe(scope["path"]):
            overloaded = Overloaded(
                "Too many requests are under way in this process. Ask again.", retry_after_seconds=1
            )
            await _refuse(overloaded, scope, send)
            return
        self._in_flight += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._in_flight -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = _content_length(scope)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
            await _refuse(AddressTooLong(f"Send at most {MAX_ADDRESS_BYTES} bytes of path and query."), scope, send)
        elif declared is None:
            await self._count(scope, receive, send)
        elif declared > self._max_body_bytes:
            await self._refuse_body(scope, send)
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
            await self._refuse_body(scope, send)

    async def _refuse_body(self, scope: Scope, send: Send) -> None:
        await _refuse(BodyTooLarge(f"Send at most {self._max_body_bytes} bytes."), scope, send)


async def _refuse(error: EsassistantError, scope: Scope, send: Send) -> None:
    request = ASGIRequest(
        {**scope, "query_string": b""}, BytesIO()
    )  # of which Django may not be able to read the query
    response = problem_of(request, error)
    add_security_headers(request, response)
    # The rest of the body is not read, so the connection is of no further use.
    response["Connection"] = "close"
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


def _content_length(scope: Scope) -> int | None:
    values: list[Any] = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(values[0]) if len(values) == 1 and values[0].isdigit() else None
