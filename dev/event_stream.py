"""A client of server-sent events, for tests and benches: hundreds of them can run on one event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec

from esassistant.clock import monotonic

ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at`: when it had arrived, on the monotonic clock."""

    id: str
    data: Any
    at: float


@dataclass(eq=False)
class EventStream:
    """One answer, which is read in the background.

    Args:
        answer: The answer of aiohttp.
        on_block: If set, it is called with each block and the moment of its arrival, and no events are collected.
        body: The body, if the answer is a problem.
        last_event_id: The id of the last event.
        retry_ms: The time after which the server wants clients to reconnect.
        is_whole: Whether the answer has come to its end.
        events: The events so far.
        comments: The comments so far, without their colon.
    """

    answer: aiohttp.ClientResponse
    on_block: Callable[[bytes, float], None] | None = None
    body: bytes = b""
    last_event_id: str = ""
    retry_ms: int | None = None
    is_whole: bool = False
    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._text = b""
        self._news = asyncio.Event()
        self.ended = asyncio.create_task(self._read_all())

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.answer.headers

    async def wait_for(self, count: int, seconds: float = ANSWER_SECONDS) -> list[Event]:
        """Wait for the first `count` events and return them."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count:
                self._news.clear()
                await self._news.wait()
        return self.events[:count]

    async def _read_all(self) -> None:
        """Read until the answer or its connection ends."""
        with suppress(aiohttp.ClientError, OSError):
            if self.status == 200:
                async for data in self.answer.content.iter_any():
                    self._take(data)
            else:
                self.body = await self.answer.read()
            self.is_whole = True

    def _take(self, data: bytes) -> None:
        at = monotonic()
        *blocks, self._text = (self._text + data).split(b"\n\n")
        for block in blocks:
            if self.on_block is not None:
                self.on_block(block, at)
            else:
                self._read(block, at)
        if self._text.startswith(b":") and self._text.endswith(b"\n"):  # no empty line follows a comment
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
    """Follow a stream of events during the block.

    The block begins as soon as the head of the answer has come; if the answer is a problem, as soon as all of it has
    come. The client leaves at the end of the block. Raise `OSError` or `TimeoutError` if no answer begins.
    """
    headers = {"Accept": "text/event-stream"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    unlimited = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=unlimited, skip_auto_headers=("Accept-Encoding",)) as session:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await session.get(url, headers=headers)
        except aiohttp.ServerDisconnectedError:
            raise ConnectionResetError("the connection was closed before an answer began") from None
        stream = EventStream(answer, on_block)
        try:
            if stream.status != 200:
                await asyncio.wait({stream.ended}, timeout=ANSWER_SECONDS)
            yield stream
        finally:
            answer.close()
            stream.ended.cancel()
            await asyncio.wait({stream.ended})
