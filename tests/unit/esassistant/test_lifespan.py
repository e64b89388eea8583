"""The lifespan opens and closes the registry, and holds the first signal back while the server drains."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.lifespan import SIGNALS, Lifespan
from esassistant.registry import Registry, State

DRAIN_SECONDS = 0.1


async def no_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the application has no part in the lifespan")


class Server:
    """Drives a lifespan as an ASGI server does."""

    def __init__(self, registry: Registry, drain_seconds: float = DRAIN_SECONDS, **options: Any) -> None:
        self.sent: list[Message] = []
        self.incoming: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self._progress = asyncio.Event()
        self._lifespan = Lifespan(no_app, registry, drain_seconds, **options)

    async def _receive(self) -> Message:
        message = await self.incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self._progress.set()

    def begin(self) -> asyncio.Task[None]:
        self.incoming.put_nowait({"type": "lifespan.startup"})
        return asyncio.create_task(self._lifespan({"type": "lifespan"}, self._receive, self._send))

    async def start(self) -> asyncio.Task[None]:
        task = self.begin()
        await asyncio.wait_for(self._progress.wait(), 2)
        return task

    async def stop(self, task: asyncio.Task[None]) -> None:
        self.incoming.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait_for(task, 2)

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]


@pytest.fixture
def signalled() -> Iterator[list[int]]:
    """The signals that reach the server, which had set its functions before the lifespan came."""
    reached: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        reached.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    yield reached
    for number, function in before.items():
        signal.signal(number, function)


@asynccontextmanager
async def live(_: Registry) -> AsyncIterator[str]:
    yield "live"


async def test_open_from_startup_to_shutdown(own_registry: Registry) -> None:
    """The registry is open before the server hears that start-up is complete, and closed before it may end."""
    own_registry.register("a", live)
    server = Server(own_registry)
    task = await server.start()
    assert (server.types, own_registry.get("a")) == (["lifespan.startup.complete"], "live")
    await server.stop(task)
    assert server.types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert own_registry.state is State.CLOSED


async def test_other_scopes_pass_through(own_registry: Registry) -> None:
    """Requests reach the application with the very objects that the server gave."""
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    scope = {"type": "http"}
    server = Server(own_registry)
    receive, send = server._receive, server._send
    await Lifespan(app, own_registry, 0)(scope, receive, send)
    assert (seen[0] is scope, seen[1:]) == (True, [receive, send])


async def test_failed_startup_is_reported(own_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """A resource that can't open fails start-up with a message; its traceback goes to the log."""

    @asynccontextmanager
    async def broken(_: Registry) -> AsyncIterator[None]:
        raise OSError("password=secret")
        yield

    own_registry.register("broken", broken)
    server = Server(own_registry)
    await asyncio.wait_for(server.begin(), 2)
    assert server.sent == [{"type": "lifespan.startup.failed", "message": "resource broken failed to open"}]
    assert [record.getMessage() for record in caplog.records] == ["the registry could not be opened"]


async def test_failed_shutdown_is_reported(own_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """A failure after start-up closes the registry and is reported as one of the shutdown."""
    server = Server(own_registry)
    task = await server.start()
    server.incoming.put_nowait(RuntimeError("the server is gone"))
    await asyncio.wait_for(task, 2)
    assert server.sent[1:] == [{"type": "lifespan.shutdown.failed", "message": "the server is gone"}]
    assert own_registry.state is State.CLOSED
    assert [record.getMessage() for record in caplog.records] == ["the registry could not be closed"]


async def test_cancelled_while_open(own_registry: Registry) -> None:
    """A cancelled lifespan closes the registry, stays cancelled, and promises nothing more."""
    server = Server(own_registry)
    task = await server.start()
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), own_registry.state) == (True, State.CLOSED)
    assert server.types == ["lifespan.startup.complete"]


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_first_signal_waits_for_the_drain(own_registry: Registry, signalled: list[int], number: int) -> None:
    """A signal turns the registry to draining at once, all stays open, and the server hears of it after the drain."""
    own_registry.register("a", live)
    server = Server(own_registry)
    task = await server.start()
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    signal.raise_signal(number)
    await asyncio.sleep(0.01)
    assert (own_registry.state, own_registry.get("a"), signalled) == (State.DRAINING, "live", [])
    while not signalled:  # noqa: ASYNC110  (a signal function can set no event)
        await asyncio.sleep(0.005)
    assert loop.time() - started_at >= DRAIN_SECONDS
    assert signalled == [number]
    await server.stop(task)


@pytest.mark.parametrize("signals", [1, 2])
async def test_what_has_no_end_is_told_before_the_server(
    own_registry: Registry, signalled: list[int], signals: int
) -> None:
    """Streams are told to end when the drain is over, or cut short, and before the server begins to wait for them."""
    told: list[int] = []
    reached = asyncio.Event()

    def before_end() -> None:
        told.append(len(signalled))
        reached.set()

    server = Server(own_registry, drain_seconds=60 if signals == 2 else DRAIN_SECONDS, before_end=before_end)
    task = await server.start()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.01)
    assert told == []
    if signals == 2:
        signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(reached.wait(), 2)
    assert (told, signalled) == ([0], [signal.SIGTERM])
    await server.stop(task)


async def test_a_second_signal_passes_at_once(own_registry: Registry, signalled: list[int]) -> None:
    """Whoever signals twice doesn't wait: the server hears of the second signal at once."""
    server = Server(own_registry, drain_seconds=60)
    task = await server.start()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.01)
    assert signalled == []
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(0.01)
    assert signalled == [signal.SIGINT]
    await server.stop(task)


async def test_the_held_back_signal_is_dropped_for_the_second(own_registry: Registry, signalled: list[int]) -> None:
    """After a second signal the first doesn't come late: uvicorn would take it as an order to cut everything off."""
    server = Server(own_registry, drain_seconds=0.05)
    task = await server.start()
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.08)
    assert signalled == [signal.SIGINT]
    await server.stop(task)


async def test_a_worker_hears_a_signal_once(
    own_registry: Registry, signalled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a worker the same signal again is the parent's echo of it; another one is a second signal."""
    parent = SimpleNamespace(pid=os.getppid())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    server = Server(own_registry, drain_seconds=60)
    task = await server.start()
    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
    assert (signalled, own_registry.state) == ([], State.DRAINING)
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(0.01)
    assert signalled == [signal.SIGINT]
    await server.stop(task)


async def test_a_signal_ends_a_hanging_startup(own_registry: Registry, signalled: list[int]) -> None:
    """A signal amid start-up ends it at once, whatever hangs there, and reaches the server without a drain."""
    hanging_now = asyncio.Event()

    @asynccontextmanager
    async def hanging(_: Registry) -> AsyncIterator[None]:
        hanging_now.set()
        await asyncio.Event().wait()
        yield

    own_registry.register("hanging", hanging)
    server = Server(own_registry, drain_seconds=60)
    task = server.begin()
    await hanging_now.wait()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(task, 2)
    assert server.sent == [{"type": "lifespan.startup.failed", "message": "ended by a signal while starting"}]
    assert (signalled, own_registry.state) == ([signal.SIGTERM], State.CLOSED)


@pytest.mark.usefixtures("signalled")
async def test_a_signal_that_the_server_ignores(own_registry: Registry) -> None:
    """Where the server had no function of its own, draining starts and nothing is called."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = Server(own_registry, drain_seconds=0)
    task = await server.start()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0.02)
    assert own_registry.state is State.DRAINING
    await server.stop(task)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_signals_are_given_back(own_registry: Registry, signalled: list[int]) -> None:
    """After the lifespan the server's own functions are in place again."""
    before = [signal.getsignal(number) for number in SIGNALS]
    server = Server(own_registry)
    task = await server.start()
    assert all(signal.getsignal(number) not in before for number in SIGNALS)
    await server.stop(task)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.raise_signal(signal.SIGTERM)
    assert signalled == [signal.SIGTERM]


def test_in_another_thread(own_registry: Registry) -> None:
    """A server in a thread, as tests and notebooks run it, works and leaves the signals alone."""
    before = [signal.getsignal(number) for number in SIGNALS]
    during: list[Any] = []

    async def run() -> list[str]:
        server = Server(own_registry)
        task = await server.start()
        during.extend(signal.getsignal(number) for number in SIGNALS)
        await server.stop(task)
        return server.types

    types: list[str] = []
    thread = threading.Thread(target=lambda: types.extend(asyncio.run(run())))
    thread.start()
    thread.join(5)
    assert types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert during == before


async def test_a_worker_ends_with_its_parent(
    own_registry: Registry,
    signalled: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker whose parent is gone signals itself, once; before that it serves."""
    parent = SimpleNamespace(pid=os.getppid())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    server = Server(own_registry, drain_seconds=0, parent_poll_seconds=0.005)
    task = await server.start()
    await asyncio.sleep(0.03)
    assert (own_registry.state, signalled) == (State.OPEN, [])
    parent.pid += 1
    await asyncio.sleep(0.05)
    assert (own_registry.state, signalled) == (State.DRAINING, [signal.SIGTERM])
    assert "the parent process is gone; this worker ends" in [record.getMessage() for record in caplog.records]
    await server.stop(task)
