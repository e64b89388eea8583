"""Streams: answers that last, such as server-sent events. Requests for them are answered before the lanes.

No lane suits them. Django's lanes are meant for answers that end soon, and the fast one doesn't notice when the client
of a GET leaves. A few hundred streams that last for hours would also take the places of requests that need
milliseconds. So streams have their own places, a watch on each client, a deadline for each write, and end when the
server stops.

The owner of a stream registers a source for it with `Streams.answering`, for as long as the owner is open.
"""

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.config.tokens import Right
from esassistant.http.callers import Caller
from esassistant.http.cors import cors_origins
from esassistant.http.limits import replayed
from esassistant.http.security_headers import security_headers
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle

logger = logging.getLogger(__name__)

MAX_STREAMS: Final = 1000
WRITE_SECONDS: Final = 10.0
"""A client that has taken none of the waiting data for this long is dropped."""
ENDING_SECONDS: Final = 2.0
"""How long a source may go on after it was told to end; much shorter than the time that a stopping server waits."""
CANCEL_SECONDS: Final = 1.0
EVENT_STREAM: Final = "text/event-stream"


class Stop(enum.Enum):
    """Why a stream was ended, if not by its source."""

    LEFT = "the client left"
    STALLED = "the client took nothing"
    ENDED = "the server or the owner of the stream ends"


class StreamCall:
    """One request for a stream, as its source sees it. Belongs to the loop."""

    def __init__(self, scope: Scope, name: str, caller: Caller, send: Send, write_seconds: float) -> None:
        """
        Args:
            name: The name in the address; empty if it has none.
        """
        self.scope = scope
        self.name = name
        self.caller = caller
        self.body = b""
        self.receive: Receive = _never
        """Gives the request's body, as in ASGI, and then nothing more. A source is cancelled when its client leaves."""
        self.ending = asyncio.Event()
        """Set when the stream must end. A source that returns soon after isn't cancelled."""
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.has_begun = False
        self.is_complete = False
        self._send = send
        self._write_seconds = write_seconds
        self._when_ending: list[Callable[[], object]] = []

    def stop(self, why: Stop) -> None:
        """Have the source cancelled. Only the first reason counts. A client that leaves after the whole answer is no
        reason.
        """
        if not self.stopped.done() and not (why is Stop.LEFT and self.is_complete):
            self.stopped.set_result(why)

    def end(self, after_seconds: float) -> None:
        """Tell the source to end, and have it cancelled if it is still running after `after_seconds`."""
        if not self.ending.is_set():
            self.ending.set()
            for listener in self._when_ending:
                listener()
            asyncio.get_running_loop().call_later(after_seconds, self.stop, Stop.ENDED)

    def when_ending(self, listener: Callable[[], object]) -> None:
        """Call `listener` when `ending` is set; at once if it is set already. It is for a source that also waits for
        other things, and would otherwise need an extra task.
        """
        self._when_ending.append(listener)
        if self.ending.is_set():
            listener()

    def read(self, body: bytes) -> None:
        """Note the body of the request, which has been read."""
        self.body = body
        self.receive = replayed(body, _never)

    async def send(self, message: Message) -> None:
        """Send an ASGI message. If the client takes no data for `write_seconds`, the source is cancelled."""
        try:
            await self.send_in_time(message)
        except TimeoutError:
            self.stop(Stop.STALLED)
            await _never()  # the door cancels the source

    async def send_in_time(self, message: Message) -> None:
        """Send an ASGI message for the door itself. Raise `TimeoutError` if the client takes no data for
        `write_seconds`.
        """
        if message["type"] == "http.response.start":
            message["headers"] = _with_common(message["headers"], self.scope)
        async with asyncio.timeout(self._write_seconds):
            await self._send(message)
        self.has_begun = True
        if message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)

    async def begin(self, content_type: str = EVENT_STREAM, status: int = 200) -> None:
        """Begin an answer of unknown length, which no cache stores and common proxies don't buffer."""
        headers = [(b"content-type", content_type.encode("latin-1")), (b"x-accel-buffering", b"no")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of the answer. To end the answer, the source simply returns."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})


async def _never() -> Message:
    """Wait until cancelled."""
    nothing: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await nothing


def _with_common(headers: Iterable[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer together with the headers of all answers."""
    found = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in found}
    common = {"Cache-Control": "no-store", **security_headers(secure=scope.get("scheme") == "https")}
    found += [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in common.items()
        if name.lower().encode("ascii") not in names
    ]
    if origins_allowed := cors_origins():
        found.append((b"vary", b"origin"))
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) == 1 and origins[0].decode("latin-1") in origins_allowed:
            exposed = ", ".join(getattr(settings, "CORS_EXPOSE_HEADERS", ())).encode("latin-1")
            found += [(b"access-control-allow-origin", origins[0]), (b"access-control-expose-headers", exposed)]
    return found


StreamSource = Callable[[StreamCall], Awaitable[None]]
"""Answers a call. It calls `begin`, then `write` as often as it likes, and returns; or it calls `send` as an ASGI
application does. An error before the answer has begun becomes a problem. The source is cancelled when its client leaves
or takes no data, and when it goes on for too long after `ending` was set.
"""


@dataclass(frozen=True, eq=False)
class StreamRoute:
    """One registered address, such as `/api/follow/{name}`.

    Attributes:
        rights: The caller must have one of these.
        methods: The methods that the source answers.
        media_type: The source takes only requests that accept this type, and a view at the same address answers all
            others.
            None: the source takes all.
        lasts: Whether answers last on purpose. Then their durations don't count as latency.
    """

    template: str
    source: StreamSource
    rights: tuple[Right, ...]
    methods: tuple[str, ...]
    media_type: str | None
    lasts: bool

    def name_in(self, path: str) -> str | None:
        """Return the name in a path, empty if this address has none. Return None if it is the path of
        another address.
        """
        before, placeholder, behind = self.template.partition("{name}")
        if not placeholder:
            return "" if path == before else None
        if not (path.startswith(before) and path.endswith(behind)):
            return None
        name = path[len(before) : len(path) - len(behind)]
        return name if name and "/" not in name and "\n" not in name else None

    def takes(self, scope: Scope) -> bool:
        """Return True if the source answers a request to this address, and not a view."""
        if self.media_type is None:
            return bool(scope["method"] != "OPTIONS")  # OPTIONS is a CORS request, which a middleware handles
        wanted = self.media_type.encode("ascii")
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        types = [part.partition(b";")[0].strip().lower() for part in accepted.split(b",")]
        return scope["method"] in self.methods and wanted in types


@dataclass(frozen=True, slots=True)
class StreamsReport:
    """Streams of this process. `open`: open now; `limit`: how many may be open. Since the start, `shed_total` found no
    place (503), and `stalled_total` were dropped because their client took no data.
    """

    open: int
    limit: int
    shed_total: int
    stalled_total: int


STREAM_METRICS = (
    Metric(Kind.GAUGE, "streams", "Streams that are open.", "open"),
    Metric(Kind.COUNTER, "streams_shed", "Streams refused as all places were taken.", "shed_total"),
    Metric(Kind.COUNTER, "streams_stalled", "Streams dropped as their client took nothing.", "stalled_total"),
)


class Streams:
    """The addresses of streams, and the open streams. One per process, on the loop that serves."""

    def __init__(
        self,
        limit: int = MAX_STREAMS,
        *,
        ending_seconds: float = ENDING_SECONDS,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        self.limit = limit
        self.cancel_seconds = cancel_seconds
        self.is_ending = False
        self.shed_total = 0
        self.stalled_total = 0
        self.ending_seconds = ending_seconds
        self._routes: list[StreamRoute] = []
        self._open: dict[StreamCall, StreamRoute] = {}

    def report(self) -> StreamsReport:
        return StreamsReport(len(self._open), self.limit, self.shed_total, self.stalled_total)

    @asynccontextmanager
    async def answering(
        self,
        template: str,
        source: StreamSource,
        *,
        rights: tuple[Right, ...] = (Right.READ,),
        methods: tuple[str, ...] = ("GET",),
        media_type: str | None = None,
        lasts: bool = True,
    ) -> AsyncIterator[None]:
        """Answer `template` from `source` during the block, for callers that have one of `rights`. `{name}` in the
        template stands for one segment of the path.

        At the end of the block, open streams are told to end, and are cancelled if they don't.
        """
        route = StreamRoute(template, source, rights, methods, media_type, lasts)
        self._routes.append(route)
        try:
            yield
        finally:
            self._routes.remove(route)
            ended = [call for call, its_route in self._open.items() if its_route is route]
            for call in ended:
                call.end(self.ending_seconds)
            for call in ended:
                await call.closed.wait()  # the door closes each one, even if its source resists cancellation

    def begin(self) -> None:
        """Let streams be opened, until `end` is called."""
        self.is_ending = False

    def end(self) -> None:
        """Tell all streams to end, as the server stops. Streams that go on are cancelled, and no new ones begin."""
        self.is_ending = True
        for call in self._open:
            call.end(self.ending_seconds)

    def find(self, scope: Scope) -> tuple[StreamRoute, str] | None:
        """Return the route of a request and the name in its address, or None."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for route in self._routes:
            if (name := route.name_in(path)) is not None and route.takes(scope):
                return route, name
        return None

    def without_slash(self, scope: Scope) -> str | None:
        """Return the address of a stream if a request asks for it with an additional final slash and no view has that
        address; else None.
        """
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not path.endswith("/"):
            return None
        address = path.rstrip("/")
        known = (one for one in self._routes if one.template == address and one.media_type is None)
        return next((one.template for one in known if one.takes(scope)), None)

    @property
    def is_full(self) -> bool:
        return len(self._open) >= self.limit

    def opened(self, call: StreamCall, route: StreamRoute) -> None:
        """Take a place for a stream."""
        self._open[call] = route

    def closed(self, call: StreamCall) -> None:
        """Give the place of a stream back."""
        del self._open[call]
        call.closed.set()


STREAMS: Handle[Streams] = Handle("streams")
STREAMS_REPORT: ReportHandle[StreamsReport] = ReportHandle("streams")

streams = Streams()
"""The streams of this process."""
