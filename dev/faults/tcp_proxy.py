"""Servers that run in a thread of their own: the common base of the fault proxies, and the proxy for plain TCP."""

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

BACKLOG = 4096
BUFFER_BYTES = 256 * 1024
CONTROL_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 3.0
SETTLING_TURNS = 5
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.StreamReaderProtocol):
    """A client's connection. While `interruptible`, its task is cancelled as soon as the client leaves."""

    def __init__(self, server: "ThreadedServer") -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(limit=BUFFER_BYTES, loop=loop)
        super().__init__(self.reader, self._opened, loop=loop)
        self.client_left = False
        self.interruptible = False
        self._server = server
        self._reset = False

    def _opened(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.task = asyncio.get_running_loop().create_task(self._run())
        self._server.opened(self)

    async def _run(self) -> None:
        try:
            await self._server.serve(self)
            self.writer.close()
        except (asyncio.CancelledError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            if not self.writer.is_closing():
                self.reset()

    def reset(self) -> None:
        """Close abruptly: the client gets a RST."""
        self._reset = True
        self.task.cancel()
        with contextlib.suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()

    def eof_received(self) -> bool:
        keep_open = super().eof_received()
        self._leave()
        return bool(keep_open)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leave()
        self._server.closed(self)

    def _leave(self) -> None:
        if not self._reset:
            self.client_left = True
            if self.interruptible:
                self.task.cancel()


class ThreadedServer:
    """Listens on one port, which it keeps for its whole life. Subclasses define how a connection is served."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self._ssl_context = ssl_context
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._connections_total = 0

    async def serve(self, connection: Connection) -> None:
        """Serve a connection. Return to close it in order, raise to cut it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._socket = self._bind()
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name=type(self).__name__, daemon=True)
        self._thread.start()
        started.result(CONTROL_TIMEOUT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(CLOSE_TIMEOUT_SECONDS * 2)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._thread.name} did not stop in time")

    @property
    def connections_open(self) -> int:
        return self.call(lambda: len(self._connections))

    @property
    def connections_total(self) -> int:
        return self.call(lambda: self._connections_total)

    def refuse(self) -> None:
        """Refuse new connections and cut the open ones."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(CONTROL_TIMEOUT_SECONDS)

    def accept(self) -> None:
        """Accept connections again, after `refuse`."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(CONTROL_TIMEOUT_SECONDS)

    def cut(self) -> None:
        """Cut the open connections. New ones are accepted."""
        self.call(self._cut_all)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's thread: after everything that a client has seen so far, and never in the
        middle of a step.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CONTROL_TIMEOUT_SECONDS)

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._connections_total += 1
        if self._listener is None:
            connection.reset()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def _bind(self) -> socket.socket:
        # asyncio sets TCP_NODELAY only if the protocol is given.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
        except OSError:
            bound.close()
            raise
        self.port = bound.getsockname()[1]
        return bound

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), sock=self._socket, ssl=self._ssl_context, backlog=BACKLOG
            )

    async def _refuse(self) -> None:
        if self._listener is not None:
            await self._stop_listening()
            # Bound but not listening: connections are refused, and no other process can get the port.
            self._socket = self._bind()
        self._cut_all()

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            # asyncio leaks a connection that it has accepted in this turn of the loop, if the listener is closed before
            # the next turn.
            self._loop.remove_reader(self._socket)
            await _settle()
            self._listener.close()
            self._listener = None

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main(started))

    async def _main(self, started: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self._listen()
            started.set_result(None)
            await self._stopping.wait()
        except OSError as error:
            started.set_exception(error)
        finally:
            await self._stop_listening()
            self._socket.close()
            await self._close_all()

    def _cut_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _close_all(self) -> None:
        self._cut_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CLOSE_TIMEOUT_SECONDS)
        await _settle()


async def _settle() -> None:
    """Let the loop get from accept() to the connection, and from abort() to the closed socket."""
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)


class TcpProxy(ThreadedServer):
    """A plain TCP proxy. Bytes that a blackhole held back are delivered at `restore`, as after an outage of a
    network.
    """

    def __init__(self, upstream_host: str, upstream_port: int, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._upstream = (upstream_host, upstream_port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._bytes_forwarded = 0

    @property
    def bytes_forwarded(self) -> int:
        """The number of forwarded bytes, in both directions together."""
        return self.call(lambda: self._bytes_forwarded)

    def blackhole(self) -> None:
        """Keep connections open and accept new ones, but forward nothing."""
        self.call(lambda: self._flow(False))

    def restore(self) -> None:
        """Undo `blackhole` and `refuse`."""
        self.call(lambda: self._flow(True))
        self.accept()

    def _flow(self, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()
        for connection in self._connections:
            connection.interruptible = not flowing

    async def serve(self, connection: Connection) -> None:
        connection.interruptible = not self._flowing.is_set()
        await self._flowing.wait()
        reader, writer = await asyncio.open_connection(*self._upstream)
        pumps = [
            asyncio.create_task(self._pump(connection.reader, writer)),
            asyncio.create_task(self._pump(reader, connection.writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(BUFFER_BYTES):
            await self._flowing.wait()
            writer.write(data)
            self._bytes_forwarded += len(data)
            await writer.drain()
