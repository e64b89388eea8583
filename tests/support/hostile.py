"""A cluster with answers that no cluster should give: endless bodies, bodies that unpack to gigabytes, wrong
lengths.
"""

import asyncio
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat

from dev.faults.proxy import FaultProxy
from dev.faults.wire import Answer, Head, Upstream

HEAD = b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n"
BLANKS = b" " * 65_536
Pieces = Callable[[], Iterable[bytes]]
"""Makes one complete answer as it is sent, including its head."""


class HostileProxy(FaultProxy):
    """A fault proxy that can also send raw bytes, for as long as its client reads."""

    def __init__(self, upstream: str = "http://127.0.0.1:9") -> None:
        super().__init__(upstream)
        self.poured: dict[str, Pieces] = {}
        """Regular expression, searched in the request target → what is answered instead of upstream."""

    async def _answer(self, installed: object, head: Head, body: bytes, upstream: Upstream, answer: Answer) -> bool:
        for path, pieces in list(self.poured.items()):
            if re.search(path, head.start[1]):
                answer.status = 200
                for piece in pieces():
                    await answer.send(piece)
                    await asyncio.sleep(0)
                return True
        return await super()._answer(installed, head, body, upstream, answer)  # type: ignore[arg-type]


def with_length(body: bytes, length: int | None = None, *, headers: bytes = b"") -> Pieces:
    """Return an answer with that body, which claims to have `length` bytes."""
    length = len(body) if length is None else length
    return lambda: (HEAD, headers, b"Content-Length: %d\r\n\r\n" % length, body)


def packed(body: bytes) -> Pieces:
    """Return an answer whose body is compressed already."""
    return with_length(body, headers=b"Content-Encoding: gzip\r\n")


def endless(*, piece: bytes = BLANKS, headers: bytes = b"") -> Pieces:
    """Return an answer whose body, in chunks, never ends."""
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)

    def pieces() -> Iterator[bytes]:
        yield HEAD + headers + b"Transfer-Encoding: chunked\r\n\r\n"
        yield from repeat(chunk)

    return pieces


def endless_headers() -> Iterator[bytes]:
    """Yield an answer whose head never ends."""
    yield HEAD
    yield from repeat(b"X-More: and more\r\n" * 1000)


def bomb(megabytes: int) -> bytes:
    """Return gzip data that unpack to a thousand times their size. (Their end is wrong: nobody should read so far.)"""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    blanks = b" " * 1_000_000
    first = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + (packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)) * (megabytes - 1)


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)
