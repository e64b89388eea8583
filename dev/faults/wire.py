"""Read and write HTTP/1.1 for the fault proxy. Messages are parsed only as far as is needed to pass them on
unchanged.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from dev.faults.tcp_proxy import BUFFER_BYTES


@dataclass(frozen=True)
class ProxyRequest:
    method: str
    target: str
    headers: Mapping[str, str]
    """The headers, with names in lower case."""
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class ProxyResponse:
    body: str | bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class CutShortError(Exception):
    """The answer has reached the `cut_after_bytes` of its rule."""


class Answer:
    """The answer that a client is sent for one request.

    It waits for room before a write, not after it, so that the last write and the end of the exchange are one step of
    the event loop.
    """

    def __init__(self, writer: asyncio.StreamWriter, limit: int | None) -> None:
        self._writer = writer
        self._limit = limit
        self.status: int | None = None
        self.sent = 0
        self.complete = False

    async def send(self, data: bytes) -> None:
        await self._writer.drain()
        if self._limit is not None:
            data = data[: self._limit - self.sent]
        self._writer.write(data)
        self.sent += len(data)
        if self.sent == self._limit:
            raise CutShortError

    async def send_response(self, response: ProxyResponse, method: str) -> None:
        body = response.body.encode() if isinstance(response.body, str) else response.body
        headers = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}
        headers |= {name.lower(): value for name, value in response.headers.items()}
        if response.status not in (204, 304):
            headers["content-length"] = str(len(body))
        phrase = HTTPStatus(response.status).phrase if response.status in list(HTTPStatus) else ""
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        self.status = response.status
        bodiless = method == "HEAD" or response.status in (204, 304)
        await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if bodiless else body))


class Upstream:
    """The one connection to upstream that belongs to a client's connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def forward(self, head: "Head", body: bytes, answer: Answer) -> bool:
        reader, writer = await self._connect()
        writer.write(head.without_expect() + body)
        await writer.drain()
        while True:
            reply = await read_head(reader)
            if reply is None:
                raise ConnectionResetError
            if reply.status >= 200:
                break
        answer.status = reply.status
        await answer.send(reply.raw)
        if head.start[0] == "HEAD" or reply.status in (204, 304):
            return reply.keeps_alive
        await copy_body(reader, reply, answer.send)
        return reply.keeps_alive and reply.delimited

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None:
            reader, writer = self._streams
            if not reader.at_eof() and reader.exception() is None and not writer.is_closing():
                return self._streams
            self.close()
        self._streams = await asyncio.open_connection(*self._address, limit=BUFFER_BYTES)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Head(NamedTuple):
    raw: bytes
    start: tuple[str, str, str]
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.start[1])

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def delimited(self) -> bool:
        return self.chunked or "content-length" in self.headers

    @property
    def keeps_alive(self) -> bool:
        option = self.headers.get("connection", "").lower()
        return option == "keep-alive" if "HTTP/1.0" in self.start else option != "close"

    def without_expect(self) -> bytes:
        return re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", self.raw) if "expect" in self.headers else self.raw


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read the head of a message; None at the end of the stream."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    start, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    first, second, third = (*start.split(" ", 2), "")[:3]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head(raw, (first, second, third), headers)


async def copy_body(reader: asyncio.StreamReader, head: Head, send: Callable[[bytes], Awaitable[None]]) -> None:
    """Pass on the body exactly as it is sent, including the frames of chunks. Raise `IncompleteReadError` if the
    connection ends before the body does.
    """
    if head.chunked:
        while (line := await reader.readuntil(b"\r\n")) and (size := int(line.partition(b";")[0], 16)):
            await send(line + await reader.readexactly(size + 2))
        while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
            line += trailer
        await send(line + b"\r\n")
    elif "content-length" in head.headers:
        left = int(head.headers["content-length"])
        while left:
            piece = await reader.read(min(left, BUFFER_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(piece, left)
            left -= len(piece)
            await send(piece)
    elif head.start[0].startswith("HTTP/"):
        while piece := await reader.read(BUFFER_BYTES):
            await send(piece)


def dechunk(raw: bytes) -> bytes:
    payload, position = bytearray(), 0
    while size := int(raw[position : (end := raw.index(b"\r\n", position))].partition(b";")[0], 16):
        payload += raw[end + 2 : end + 2 + size]
        position = end + 2 + size + 2
    return bytes(payload)
