"""The HTTP protocol of `manage.py serve`: uvicorn's, with bounds on what a client may make it hold or wait for, and
without what would reach the application by mistake.
"""

import asyncio
from asyncio import Transport
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.http.connections import BEYOND, Looks, connections
from esassistant.http.hot_path import BODY, hot_routes
from esassistant.http.limits import Overloaded
from esassistant.http.refusal import Refusal
from esassistant.http.stream_door import ABORT

READ_BYTES: Final = 16_384
"""So much is read at once, and kept while it can't be parsed."""
PARSED_BYTES: Final = 512
"""So much is parsed at once. The shortest request takes 18 bytes, and some 4 kB once it is parsed."""
MAX_HEAD_BYTES: Final = 65_536
"""So much a head may have, and as much may follow a body."""
LOOK_SECONDS: Final = 5.0
HEAD_LOOKS: Final = 3
"""A head that so many looks found unfinished has taken more than 10 s."""
WRITE_LOOKS: Final = 7
"""A client that has taken nothing between so many looks is more than 30 s behind."""
MALFORMED: Final = "Invalid HTTP request received."
TOO_LARGE: Final = "The head of the request is too large."
UPGRADE_WITH_BODY: Final = "A request that asks for an upgrade can't have a body."

_read = bytearray(READ_BYTES)
_read_view = memoryview(_read)
"""One for all connections: what is read is handed on before anything else is read."""


@cache
def _too_many() -> Refusal:
    return Refusal(Overloaded("Too many connections are open. Ask again.", retry_after_seconds=1), closes=True)


def probes_only(app: ASGIApp) -> ASGIApp:
    """What answers on connections beyond the limit."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if hot_routes.is_probe(scope["path"]):
            await app(scope, receive, send)
        else:
            connections().refuse()
            await _too_many().answer(scope, send)

    return answer


class HeldFlow(FlowControl):
    """uvicorn's, but that nothing asks for more while `is_full`."""

    def __init__(self, transport: Transport, is_full: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_full = is_full

    def resume_reading(self) -> None:
        if not self._is_full():
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """One per connection.

    Pipelining: while a request waits for the one before it nothing more is parsed, and no more is read than fits; a
    client may send as fast as it likes and leave all answers unread. (One that leaves amid more is noticed later.)

    Time: a head has to come within 15 s, and a client has to take something of its answer every 35 s. One timer of the
    connection looks at both: a timer for each request would cost each request.

    Size: of a head, and of what follows a body, no more than `MAX_HEAD_BYTES` is kept.

    Trailer fields stay out of the headers (RFC 9110, 6.5.1): behind a proxy that sets or takes out `Authorization`, a
    client could send its own after the body. And a client that leaves is noticed by the request that is being served,
    not only by the last that came: one with another in its pipe would go on searching for nobody.

    What a client does wrong is counted: it can be done at any rate, so it is not logged.
    """

    transport: Transport
    _served: RequestResponseCycle | None = None

    def __init__(self, *args: Any, look_seconds: float = LOOK_SECONDS, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all = connections()
        self._look_seconds = look_seconds
        self._look_timer: asyncio.TimerHandle | None = None
        self._unparsed = bytearray()
        self._heads = 0
        self._head_bytes = 0
        self._is_last = False
        self._in_head = False
        self._head_looks, self._write_looks = Looks(), Looks()
        self._is_beyond = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = HeldFlow(transport, self._is_full)
        self._all.open += 1
        self._is_beyond = self._all.open > self._all.limit
        if self._is_beyond:
            self.app = probes_only(self.app)
            if self._all.open > self._all.limit + BEYOND:
                self._all.refuse()
                transport.abort()
                return
        self._look_timer = self.loop.call_later(self._look_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.open -= 1
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        self._unparsed.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.pipeline or self._unparsed:
            self._unparsed += data
            if self._is_full():
                self.flow.pause_reading()
        else:
            self._parse(data)

    def _is_full(self) -> bool:
        return len(self._unparsed) >= READ_BYTES

    def _parse(self, data: bytes) -> None:
        """Parse up to the first request that has to wait for another."""
        self._unset_keepalive_if_required()
        for begin in range(0, len(data), PARSED_BYTES):
            if self.transport.is_closing() or self._is_last:
                return
            if self.pipeline:
                self._unparsed += data[begin:]
                return
            piece = data[begin : begin + PARSED_BYTES]
            self._head_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                # There is nothing to upgrade to: the request is served as it is, and nothing after it. What the parser
                # takes for the other protocol would be read from its middle.
                self._is_last = True
                self.cycle.keep_alive = False
                return
            except httptools.HttpParserError:
                self._all.malformed_total += 1
                self.send_400_response(MALFORMED)
            # The parser keeps a head, and what follows a body, until it is whole.
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._all.malformed_total += 1
                self.send_400_response(TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads += 1
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self.parser.should_upgrade() and any(key in BODY for key, _ in self.headers):
            self._all.malformed_total += 1
            self.send_400_response(UPGRADE_WITH_BODY)
            return
        super().on_headers_complete()
        # What comes later is added to the list that it was.
        self.scope["headers"] = self.headers.copy()
        self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        if self._is_beyond:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            rest = bytes(self._unparsed)
            self._unparsed.clear()
            self._parse(rest)
            self.flow.resume_reading()

    def _look(self) -> None:
        """Close the connection of a client that keeps it waiting."""
        self._look_timer = self.loop.call_later(self._look_seconds, self._look)
        unsent = self.transport.get_write_buffer_size()
        head = self._heads if self._waits_for_head() else None
        most = 1 if self._is_beyond else HEAD_LOOKS
        if self._head_looks.found(head) >= most or self._write_looks.found(unsent or None) >= WRITE_LOOKS:
            self._all.overdue_total += 1
            self.transport.abort()

    def _waits_for_head(self) -> bool:
        if self.pipeline or not (self.cycle is None or self.cycle.response_complete):
            return False
        return self._in_head or self.timeout_keep_alive_task is None


class BoundedProtocol(asyncio.BufferedProtocol):
    """What uvicorn makes for each connection: has the loop read no more at once than `READ_BYTES`, where it reads up to
    256 KiB for a protocol of the other kind.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._http = HttpProtocol(*args, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._http.connection_made(cast("Transport", transport))  # uvloop's isn't one by inheritance

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return _read_view

    def buffer_updated(self, nbytes: int) -> None:
        self._http.data_received(bytes(_read_view[:nbytes]))

    def eof_received(self) -> None:
        self._http.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
