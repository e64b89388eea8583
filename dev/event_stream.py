"""A client of server-sent events over plain HTTP/1.1, for tests and benches: hundreds at once on one loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from esassistant.clock import monotonic

ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `at`: when it had arrived, on the monotonic clock."""

    id: str
    data: Any
    at: float


@dataclass(eq=False)
class EventStream(asyncio.Protocol):
    """One answer. `events` that came, unless `on_block` takes what comes; `comments` without their colon; `body` of a
    problem. `is_whole`: it has come to its end.
    """

    on_block: Callable[[bytes, float], None] | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    last_event_id: str = ""
    retry_ms: int | None = None
    is_whole: bool = False
    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._received = b""
        self._length = 0
        self._text = b""
        self._news = asyncio.Event()

    async def wait_for(self, count: int, seconds: float = ANSWER_SECONDS) -> list[Event]:
        """The first `count` events, once they have come."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events[:count]

    def connection_lost(self, _: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)
        self._news.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.status and not self._head():
            return
        if self.status != 200:
            # A problem, whose length is told.
            self.body, self._received = self.body + self._received, b""
            if len(self.body) >= self._length:
                self._end()
            return
        while self._chunk():
            pass

    def _head(self) -> bool:
        """Take the status line and headers off; whether they are all there."""
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return False
        self.status = int(head.split(b" ", 2)[1])
        self._received = rest
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()
        self._length = int(self.headers.get("content-length", 0))
        if not self.begun.done():
            self.begun.set_result(None)
        return True

    def _chunk(self) -> bool:
        """Take a chunk off; whether there was a whole one."""
        size, found, rest = self._received.partition(b"\r\n")
        if not found or len(rest) < (length := int(size, 16)) + 2:
            return False
        self._received = rest[length + 2 :]
        if not length:
            self._end()
            return False
        self._take(rest[:length])
        return True

    def _end(self) -> None:
        self.is_whole = True
        if not self.ended.done():
            self.ended.set_result(None)

    def _take(self, data: bytes) -> None:
        at = monotonic()
        *blocks, self._text = (self._text + data).split(b"\n\n")
        for block in blocks:
            if self.on_block is not None:
                self.on_block(block, at)
            else:
                self._read(block, at)
        if self._text.startswith(b":") and self._text.endswith(b"\n"):  # comments need no empty line
            self._read(self._text, at)
            self._text = b""
        self._news.set()

    def _read(self, block: bytes, at: float) -> None:
        fields: dict[str, str] = {}
        for line in block.decode().split("\n"):
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
                continue
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self.last_event_id = fields.get("id", self.last_event_id)
        if "retry" in fields:
            self.retry_ms = int(fields["retry"])
        if "data" in fields:
            self.events.append(Event(self.last_event_id, msgspec.json.decode(fields["data"]), at))


@asynccontextmanager
async def following(
    url: str,
    *,
    token: str | None = None,
    last_event_id: str | None = None,
    on_block: Callable[[bytes, float], None] | None = None,
) -> AsyncIterator[EventStream]:
    """An answer whose head has come; its client leaves at the end of the block."""
    address = urlsplit(url)
    target = address.path + (f"?{address.query}" if address.query else "")
    headers = {"Host": address.netloc, "Accept": "text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    loop = asyncio.get_running_loop()
    transport, stream = await loop.create_connection(
        lambda: EventStream(on_block), address.hostname or "", address.port or 80
    )
    try:
        transport.write("\r\n".join(lines).encode())
        async with asyncio.timeout(ANSWER_SECONDS):
            await stream.begun
        yield stream
    finally:
        transport.abort()
