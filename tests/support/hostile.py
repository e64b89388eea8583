"""A cluster that answers what no cluster should: bodies without end, bodies that unpack to gigabytes, wrong lengths."""

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
"""Makes one whole answer as it stands on the wire, head included."""


class HostileProxy(FaultProxy):
    """A fault proxy that can also give raw bytes, for as long as its client reads."""

    def __init__(self, upstream: str = "http://127.0.0.1:9") -> None:
        super().__init__(upstream)
        self.poured: dict[str, Pieces] = {}
        """By regular expression, searched in the target: what is answered in the place of upstream."""

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
    """An answer with that body, of which it says that it has `length` bytes."""
    length = len(body) if length is None else length
    return lambda: (HEAD, headers, b"Content-Length: %d\r\n\r\n" % length, body)


def packed(body: bytes) -> Pieces:
    """An answer with a body that is compressed already."""
    return with_length(body, headers=b"Content-Encoding: gzip\r\n")


def endless(*, piece: bytes = BLANKS, headers: bytes = b"") -> Pieces:
    """An answer whose body, in chunks, never ends."""
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)

    def pieces() -> Iterator[bytes]:
        yield HEAD + headers + b"Transfer-Encoding: chunked\r\n\r\n"
        yield from repeat(chunk)

    return pieces


def endless_headers() -> Iterator[bytes]:
    """An answer whose head never ends."""
    yield HEAD
    yield from repeat(b"X-More: and more\r\n" * 1000)


def bomb(megabytes: int) -> bytes:
    """Gzip that is a thousandth of what it unpacks to. (Its end is wrong: nobody should come so far.)"""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    blanks = b" " * 1_000_000
    first = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + (packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)) * (megabytes - 1)


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)
