"""The door for answers that last, such as server-sent events, and for what serves them: before the lanes.

No lane fits them. Django's are for whole answers, and the fast one doesn't notice the client of a GET leave; among the
requests under way a few hundred that end after hours would take the places of those that take milliseconds. So here
they have places of their own, a watch on each client, a deadline for each write, and an end when the server ends.

Whoever owns a stream registers a source of it by `Streams.answering`, for as long as the owner is open.
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
"""A client that has taken nothing of what waits for it in this time is dropped."""
ENDING_SECONDS: Final = 2.0
"""Between the word that a stream is to end and its cancellation; well below the grace of a server that ends."""
CANCEL_SECONDS: Final = 1.0
EVENT_STREAM: Final = "text/event-stream"


class Stop(enum.Enum):
    """Why a stream was ended by somebody else than its source."""

    LEFT = "the client left"
    STALLED = "the client took nothing"
    ENDED = "the server or the owner of the stream ends"


class StreamCall:
    """One request at this door, as its source sees it. Belongs to the loop."""

    def __init__(self, scope: Scope, name: str, caller: Caller, send: Send, write_seconds: float) -> None:
        """`name`: the one in the address, empty where it has none."""
        self.scope = scope
        self.name = name
        self.caller = caller
        self.body = b""
        self.receive: Receive = _never
        """The request, as ASGI has it; after that nothing: a source is cancelled when its client leaves."""
        self.ending = asyncio.Event()
        """Set when the stream is to end: what returns soon after is not cancelled."""
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.has_begun = False
        self.is_complete = False
        self._send = send
        self._write_seconds = write_seconds
        self._when_ending: list[Callable[[], object]] = []

    def stop(self, why: Stop) -> None:
        """Have the source cancelled; the first reason counts. Who leaves with the whole answer is no reason."""
        if not self.stopped.done() and not (why is Stop.LEFT and self.is_complete):
            self.stopped.set_result(why)

    def end(self, after_seconds: float) -> None:
        """Tell the source to end, and have it cancelled if it goes on for longer than that."""
        if not self.ending.is_set():
            self.ending.set()
            for listener in self._when_ending:
                listener()
            asyncio.get_running_loop().call_later(after_seconds, self.stop, Stop.ENDED)

    def when_ending(self, listener: Callable[[], object]) -> None:
        """Have `listener` called when `ending` is set, at once if it is: for a source that waits for something else,
        too, and would need a task for each.
        """
        self._when_ending.append(listener)
        if self.ending.is_set():
            listener()

    def read(self, body: bytes) -> None:
        """The body has been read."""
        self.body = body
        self.receive = replayed(body, _never)

    async def send(self, message: Message) -> None:
        """Send a message, as ASGI has it; waits while the client takes nothing, but not for long."""
        try:
            await self.send_in_time(message)
        except TimeoutError:
            self.stop(Stop.STALLED)
            await _never()  # the door cancels the source

    async def send_in_time(self, message: Message) -> None:
        """The same, for the door itself: raises `TimeoutError` where a source would be cancelled."""
        if message["type"] == "http.response.start":
            message["headers"] = _with_common(message["headers"], self.scope)
        async with asyncio.timeout(self._write_seconds):
            await self._send(message)
        self.has_begun = True
        if message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)

    async def begin(self, content_type: str = EVENT_STREAM, status: int = 200) -> None:
        """Begin an answer of unknown length, which no cache keeps and no proxy of the usual kind holds back."""
        headers = [(b"content-type", content_type.encode("latin-1")), (b"x-accel-buffering", b"no")]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of the answer. Its end needs no word: the source returns."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})


async def _never() -> Message:
    """Ends by cancellation only."""
    nothing: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return await nothing


def _with_common(headers: Iterable[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    """Headers of an answer, with those that all answers have."""
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
"""Answers a call: `begin`, `write` as often as it likes, return; or `send` as an ASGI application does. What it raises
before it has begun becomes a problem. It is cancelled when its client leaves or takes nothing, and when it goes on
after `ending`.
"""


@dataclass(frozen=True, eq=False)
class StreamRoute:
    """One registered address, such as `/api/follow/{name}`.

    Attributes:
        rights: its caller has one of them.
        methods: those that its source answers.
        media_type: a view has the address too, and this door takes what accepts this type; None: it takes all.
        lasts: how long an answer takes is no latency.
    """

    template: str
    source: StreamSource
    rights: tuple[Right, ...]
    methods: tuple[str, ...]
    media_type: str | None
    lasts: bool

    def name_in(self, path: str) -> str | None:
        """The name in a path, empty where this address has none; None: it is another address."""
        before, placeholder, behind = self.template.partition("{name}")
        if not placeholder:
            return "" if path == before else None
        if not (path.startswith(before) and path.endswith(behind)):
            return None
        name = path[len(before) : len(path) - len(behind)]
        return name if name and "/" not in name and "\n" not in name else None

    def takes(self, scope: Scope) -> bool:
        """Whether this door answers a request to this address, and no view."""
        if self.media_type is None:
            return bool(scope["method"] != "OPTIONS")  # which is CORS, and has a middleware
        wanted = self.media_type.encode("ascii")
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        types = [part.partition(b";")[0].strip().lower() for part in accepted.split(b",")]
        return scope["method"] in self.methods and wanted in types


@dataclass(frozen=True, slots=True)
class StreamsReport:
    """Streams of this process: `open` now, of `limit`; since the start `shed_total` found no place (503), and
    `stalled_total` were dropped as their client took nothing.
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
    """The addresses of streams, and the streams that are open. One per process, on the loop that serves."""

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
        """Answer `template` from `source` for the length of a block, for who has one of `rights`; `{name}` in it stands
        for one segment. At its end the streams that are open are told to end, and cancelled if they don't.
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
                await call.closed.wait()  # the door closes each, at the latest when its source resists cancellation

    def begin(self) -> None:
        """Streams may be opened, until `end`."""
        self.is_ending = False

    def end(self) -> None:
        """The server ends: tell all streams to, have those cancelled that go on, and let no more begin."""
        self.is_ending = True
        for call in self._open:
            call.end(self.ending_seconds)

    def find(self, scope: Scope) -> tuple[StreamRoute, str] | None:
        """The route of a request, and the name in its address."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for route in self._routes:
            if (name := route.name_in(path)) is not None and route.takes(scope):
                return route, name
        return None

    def without_slash(self, scope: Scope) -> str | None:
        """The address of a stream that no view has, where a request asks for it with a slash at its end; else None."""
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
        """Take a place."""
        self._open[call] = route

    def closed(self, call: StreamCall) -> None:
        """Give the place back."""
        del self._open[call]
        call.closed.set()


STREAMS: Handle[Streams] = Handle("streams")
STREAMS_REPORT: ReportHandle[StreamsReport] = ReportHandle("streams")

streams = Streams()
"""Of this process."""
