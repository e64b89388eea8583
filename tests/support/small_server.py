"""A small HTTP server for tests of the fault proxies."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable

from dev.faults.tcp_proxy import Connection, ThreadedServer

LARGE = b"0123456789abcdef" * 300_000
ZIPPED = gzip.compress(b"zipped", mtime=0)
PRODUCT = b"X-Elastic-Product: Elasticsearch\r\n"
CHUNKS = b"5;note=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: 1\r\n\r\n"


class SmallServer(ThreadedServer):
    """A server that answers by path, and keeps what it has received, byte by byte."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytes] = []
        self.client_left = threading.Event()

    async def serve(self, connection: Connection) -> None:
        while head := await connection.reader.readuntil(b"\r\n\r\n"):
            body = await self._body(head.lower(), connection.reader)
            self.received.append(head + body)
            method, path = head.decode().split()[:2]
            if path == "/hang":
                await connection.reader.read()
                self.client_left.set()
                return
            answer = self._answer(path, body)
            connection.writer.write(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer)
            await connection.writer.drain()
            if path.startswith("/close"):
                return

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        if b"encoding: chunked" in head:
            return await reader.readuntil(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await reader.readexactly(int(length or 0))

    def _answer(self, path: str, body: bytes) -> bytes:
        match path:
            case "/empty":
                return b"HTTP/1.1 204 No Content\r\n\r\n"
            case "/chunked":
                return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
            case "/close-delimited":
                return b"HTTP/1.1 200 OK\r\nX-Kind: old\r\n\r\nuntil the end"
            case "/close-quietly":
                return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            case "/zipped":
                head = b"Content-Encoding: gzip\r\nX-Elastic-Product: Elasticsearch\r\n"
                return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (head, len(ZIPPED), ZIPPED)
            case "/large":
                return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LARGE), LARGE)
            case _:
                return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (PRODUCT, len(body), body)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
