"""Servers that answer late, each in a process of its own, so that it doesn't count in what a bench measures.

`delayed`: a TCP proxy that holds back what clients send for a while. `recorded`: a server that gives every request the
same answer after a while, and needs hardly any processor time for it.
"""

import asyncio
import base64
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

from dev.servers.process import Program

HOST = "127.0.0.1"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Server(asyncio.Protocol):
    """The proxy's connection to the server, for one client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._client.close()


class _Delayed(asyncio.Protocol):
    """A client's connection to the proxy."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = cast("asyncio.Transport", transport)  # uvloop's transports don't inherit from it
        self._connecting = self._loop.create_task(
            self._loop.create_connection(lambda: _Server(client), HOST, self._port)
        )

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._seconds, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connecting.add_done_callback(lambda connecting: connecting.result()[0].close())

    def _pass_on(self, data: bytes) -> None:
        self._connecting.add_done_callback(lambda connecting: _write_if_open(connecting.result()[0], data))


def _write_if_open(transport: asyncio.WriteTransport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


class _Recorded(asyncio.Protocol):
    """A client's connection to the server of one answer."""

    def __init__(self, answer: bytes, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if end and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, self._answer)


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """Yield the URL at which the server at `url` answers `seconds` later."""
    with _process("delayed", seconds, url.rpartition(":")[2]) as found:
        yield found


@contextmanager
def recorded(answer: bytes, seconds: float) -> Iterator[str]:
    """Yield the URL at which every request gets `answer` after `seconds`. `answer` has the head and the body as
    they are sent.
    """
    with _process("recorded", seconds, base64.b64encode(answer).decode()) as found:
        yield found


@contextmanager
def _process(what: str, seconds: float, argument: str) -> Iterator[str]:
    command_line = [sys.executable, "-m", "bench.load.delay", what, str(seconds), argument]
    with Program(f"bench-{what}", command_line) as server:
        yield server.url


async def _serve(what: str, seconds: float, argument: str) -> None:
    """Serve until standard input ends."""
    new: Callable[[], asyncio.Protocol] = lambda: _Delayed(int(argument), seconds)  # noqa: E731
    if what == "recorded":
        answer = base64.b64decode(argument)
        new = lambda: _Recorded(answer, seconds)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(new, HOST, 0, backlog=1024)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
