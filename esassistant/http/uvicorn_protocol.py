"""The HTTP protocol of `manage.py serve`. It is uvicorn's, but limits what a client can make it store or wait for, and
keeps invalid input from the application.
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
from esassistant.clock import monotonic
from esassistant.http.connections import BEYOND, Looks, connections
from esassistant.http.hot_path import BODY, hot_routes
from esassistant.http.limits import QUEUED_AT, Overloaded
from esassistant.http.refusal import Refusal
from esassistant.http.stream_door import ABORT

READ_BYTES: Final = 16_384
"""How much is read at once, and kept while it can't be parsed."""
PARSED_BYTES: Final = 512
"""How much is parsed at once. The shortest request has 18 bytes, and takes about 4 kB once it is parsed."""
MAX_HEAD_BYTES: Final = 65_536
"""The most bytes of a head, and of what follows a body."""
LOOK_SECONDS: Final = 5.0
HEAD_LOOKS: Final = 3
"""A head that this many looks found incomplete has taken more than 10 s."""
WRITE_LOOKS: Final = 7
"""A client that has taken no data between this many looks is more than 30 s behind."""
MALFORMED: Final = "Invalid HTTP request received."
TOO_LARGE: Final = "The head of the request is too large."
UPGRADE_WITH_BODY: Final = "A request that asks for an upgrade can't have a body."

_read = bytearray(READ_BYTES)
_read_view = memoryview(_read)
"""One buffer for all connections: the data is passed on before anything else is read."""


@cache
def _too_many() -> Refusal:
    return Refusal(Overloaded("Too many connections are open. Ask again.", retry_after_seconds=1), closes=True)


def probes_only(app: ASGIApp) -> ASGIApp:
    """Return the application for connections beyond the limit: it answers only probes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if hot_routes.is_probe(scope["path"]):
            await app(scope, receive, send)
        else:
            connections().refuse()
            await _too_many().answer(scope, send)

    return answer


class HeldFlow(FlowControl):
    """uvicorn's flow control, which doesn't resume reading while `is_full` returns True."""

    def __init__(self, transport: Transport, is_full: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_full = is_full

    def resume_reading(self) -> None:
        if not self._is_full():
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """The protocol of one connection.

    Pipelining: while a request waits for the one before it, nothing more is parsed, and only a bounded amount is read.
    So a client may send as fast as it likes and leave all answers unread. (If such a client leaves, that is noticed
    only when reading goes on.)

    Time: a head must come within 15 s, and a client must take some of its answer every 35 s. One timer for each
    connection checks both, as a timer for each request would cost each request.

    Size: at most `MAX_HEAD_BYTES` of a head, and of what follows a body, are kept.

    Trailer fields aren't added to the headers (RFC 9110, 6.5.1): behind a proxy that sets or removes `Authorization`, a
    client could send its own after the body.

    Leaving: when a client leaves, the request that is being served is told. uvicorn tells only the request that came
    last. With a second request waiting, a search would go on although nobody gets its answer.

    Mistakes of clients are counted and not logged, as clients can make them as often as they like.
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
        """Parse up to the first request that must wait for another one."""
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
                # We don't upgrade. The request is served as it is, and nothing after it: the parser has taken an
                # unknown part of what follows for the other protocol.
                self._is_last = True
                self.cycle.keep_alive = False
                return
            except httptools.HttpParserError:
                self._all.malformed_total += 1
                self.send_400_response(MALFORMED)
            # The parser keeps a head, and what follows a body, until it is complete.
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
        # Trailer fields will be added to the original list.
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
        cycle.scope[QUEUED_AT] = monotonic()  # type: ignore[typeddict-unknown-key]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            rest = bytes(self._unparsed)
            self._unparsed.clear()
            self._parse(rest)
            self.flow.resume_reading()

    def _look(self) -> None:
        """Close the connection if its client keeps it waiting for too long."""
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
    """What uvicorn creates for each connection. As a `BufferedProtocol` it makes the loop read at most `READ_BYTES` at
    once; for any other protocol the loop reads up to 256 KiB.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._http = HttpProtocol(*args, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._http.connection_made(cast("Transport", transport))  # uvloop's transport isn't a subclass of Transport

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
