"""A TCP proxy that holds back what clients send for a while: a cluster far away. `python -m bench.delay PORT SECONDS`.

In a process of its own, and with protocols instead of streams, so that it isn't what a bench measures. Writes its port
to standard output, and ends with its standard input.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

HOST = "127.0.0.1"


class _Server(asyncio.Protocol):
    """The connection to the server, on behalf of a client's."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._client.close()


class _Client(asyncio.Protocol):
    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connecting = self._loop.create_task(
            self._loop.create_connection(lambda: _Server(cast("asyncio.Transport", transport)), HOST, self._port)
        )

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._seconds, self._pass_on, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connecting.add_done_callback(lambda connecting: connecting.result()[0].close())

    def _pass_on(self, data: bytes) -> None:
        self._connecting.add_done_callback(lambda connecting: connecting.result()[0].write(data))


@contextmanager
def delayed(url: str, seconds: float) -> Iterator[str]:
    """The URL at which the server at `url` answers so much later."""
    command = [sys.executable, "-m", "bench.delay", url.rpartition(":")[2], str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://{HOST}:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


async def _serve(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(port, seconds), HOST, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
