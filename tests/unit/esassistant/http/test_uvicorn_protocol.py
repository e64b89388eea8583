"""The HTTP protocol with real sockets, on a loop of the test: order, bounds and patience. What reaches the application
is tested on real servers, in tests/integration/test_http_protocol.py.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.clock import monotonic
from esassistant.http.connections import BEYOND, connections
from esassistant.http.hot_path import hot_routes
from esassistant.http.limits import QUEUED_AT
from esassistant.http.uvicorn_protocol import (
    MAX_HEAD_BYTES,
    PARSED_BYTES,
    READ_BYTES,
    WRITE_LOOKS,
    BoundedProtocol,
    HttpProtocol,
)

LOOK_SECONDS = 0.05
LARGE = b"x" * 2**23
"""More than the sockets of both sides hold."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the query and how long the body was; at /large with a large body."""
    length, more_body = 0, True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message["body"])
        more_body = message["more_body"]
    body = LARGE if scope["path"] == "/large" else b"%b:%d;" % (scope["query_string"], length)
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(look_seconds: float = LOOK_SECONDS) -> AsyncIterator[Callable[[], "asyncio.Future[Client]"]]:
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedProtocol(config=config, server_state=state, app_state={}, look_seconds=look_seconds),
        "127.0.0.1",
        0,
    )
    clients: list[Client] = []

    async def connected() -> Client:
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        clients.append(Client(client))
        return clients[-1]

    try:
        yield lambda: asyncio.ensure_future(connected())
    finally:
        for client in clients:
            client.socket.close()
        server.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


class Client:
    """Bytes to the server and back."""

    def __init__(self, client: socket.socket) -> None:
        self.socket = client

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self, most: int = 2**16) -> bytes:
        """What there is, at the latest in 5 s; empty: the server has closed the connection."""
        async with asyncio.timeout(5):
            try:
                return await asyncio.get_running_loop().sock_recv(self.socket, most)
            except ConnectionError:
                return b""

    async def received(self, count: int) -> bytes:
        """The bodies of so many answers, put together."""
        text = b""
        while text.count(b";") < count:
            piece = await self.receive()
            assert piece, text
            text += piece
        return b"".join(part.rpartition(b"\r\n\r\n")[2] for part in text.split(b"HTTP/1.1 200 OK"))


def request(number: int, body: bytes = b"", more: str = "") -> bytes:
    return f"POST /?{number} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("piece", [1, 100, PARSED_BYTES - 1, PARSED_BYTES, READ_BYTES, 10**9])
async def test_pipelined_requests_are_answered_in_order(piece: int) -> None:
    """However they are cut, each has its own body."""
    bodies = [b"b" * length for length in (0, 1, 600, 0, 5000, 0, 0, 40_000, 3)]
    data = b"".join(request(number, body) for number, body in enumerate(bodies))
    if piece == 1:
        bodies, data = bodies[:3], b"".join(request(number, body) for number, body in enumerate(bodies[:3]))
    async with serving() as connect:
        client = await connect()
        for begin in range(0, len(data), piece):
            await client.send(data[begin : begin + piece])
            await asyncio.sleep(0)
        expected = b"".join(b"%d:%d;" % (number, len(body)) for number, body in enumerate(bodies))
        assert await client.received(len(bodies)) == expected


async def test_since_when_requests_wait_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when the loop got them: the time that a pipelined request waits for the one before it doesn't count."""
    started: list[float] = []
    ended: list[float] = []
    original = HttpProtocol.on_response_complete

    def watched(self: HttpProtocol) -> None:
        assert self._served is not None
        started.append(cast("Any", self._served.scope)[QUEUED_AT])
        ended.append(monotonic())
        original(self)

    monkeypatch.setattr(HttpProtocol, "on_response_complete", watched)
    async with serving() as connect:
        client = await connect()
        await client.send(request(0) + request(1))
        await client.received(2)
    assert sorted([*started, *ended]) == [started[0], ended[0], started[1], ended[1]]


async def test_what_is_parsed_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 000 requests sent at once, no more wait in parsed form than one piece holds, and no more bytes than two
    reads give; all are answered.
    """
    most_queued = most_unparsed = 0
    original = HttpProtocol.data_received

    def watched(self: HttpProtocol, data: bytes) -> None:
        nonlocal most_queued, most_unparsed
        original(self, data)
        most_queued = max(most_queued, len(self.pipeline))
        most_unparsed = max(most_unparsed, len(self._unparsed))

    monkeypatch.setattr(HttpProtocol, "data_received", watched)
    async with serving() as connect:
        client = await connect()
        sending = asyncio.create_task(client.send(b"GET /?7 HTTP/1.1\r\n\r\n" * 5000))
        assert await client.received(5000) == b"7:0;" * 5000
        await sending
    assert 0 < most_queued <= PARSED_BYTES // 20
    assert 0 < most_unparsed < 2 * READ_BYTES


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", request(1) + b"GET"])
async def test_a_head_that_does_not_come(sent: bytes) -> None:
    """Whether it was begun or not, and also after a request that was answered: the connection is closed."""
    async with serving() as connect:
        overdue = connections().overdue_total
        client = await connect()
        await client.send(sent)
        if b"POST" in sent:
            await client.received(1)
        assert await client.receive() == b""
        assert connections().overdue_total == overdue + 1


async def test_a_head_that_trickles() -> None:
    """A byte now and then is no head."""
    async with serving() as connect:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\n")

        async def trickle() -> None:
            for _ in range(100):
                await client.send(b"x")
                await asyncio.sleep(LOOK_SECONDS / 2)

        with pytest.raises(ConnectionError):
            await trickle()


async def test_a_connection_in_use_stays() -> None:
    """However long it lasts, as long as requests come."""
    async with serving() as connect:
        client = await connect()
        for number in range(20):
            await client.send(request(number)[:20])
            await asyncio.sleep(LOOK_SECONDS / 2)
            await client.send(request(number)[20:])
            assert await client.received(1) == b"%d:0;" % number


async def test_answers_that_nobody_reads() -> None:
    """A client that takes nothing any more loses its connection."""
    async with serving() as connect:
        client = await connect()
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        overdue = connections().overdue_total
        async with asyncio.timeout(LOOK_SECONDS * WRITE_LOOKS * 10):
            while connections().overdue_total == overdue:  # noqa: ASYNC110  (a counter is read, nothing is signalled)
                await asyncio.sleep(0.01)


async def test_answers_that_are_read_slowly() -> None:
    """A client that takes a little now and then gets all of it."""
    async with serving() as connect:
        client = await connect()
        await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        while received < len(LARGE):
            piece = await client.receive(2**18)
            assert piece
            received += len(piece)
            await asyncio.sleep(LOOK_SECONDS / 2)


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", request(1) + b"\0"]
)
async def test_what_is_no_http(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered 400, counted, and not logged."""
    async with serving() as connect:
        malformed = connections().malformed_total
        client = await connect()
        await client.send(sent)
        text = await client.receive()
        while piece := await client.receive():
            text += piece
        assert b"HTTP/1.1 400 " in text
        assert connections().malformed_total == malformed + 1
    assert caplog.records == []


async def test_open_connections_are_counted() -> None:
    """Until they are closed."""
    async with serving() as connect:
        before = connections().open
        client = await connect()
        await client.send(request(1))
        await client.received(1)
        assert connections().open == before + 1
        client.socket.close()
        async with asyncio.timeout(5):
            while connections().open != before:  # noqa: ASYNC110  (a counter is read, nothing is signalled)
                await asyncio.sleep(0.01)


async def test_a_connection_that_closes_amid_what_was_read() -> None:
    """What was sent after a request that is answered with `Connection: close` is not parsed."""
    closed = "Connection: close\r\n"
    async with serving() as connect:
        client = await connect()
        await client.send(b"nonsense\r\n\r\n" + b"more" * PARSED_BYTES + request(1, more=closed))
        text = b""
        while piece := await client.receive():
            text += piece
    assert text.count(b"HTTP/1.1 ") == text.count(b"HTTP/1.1 400 ") == 1


async def test_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection too many gets probes answered, anything else refused, and is closed after its answer; so many more,
    and they are closed at once.
    """
    probe = "/tests/uvicorn_protocol/probe"
    with hot_routes.probing(probe, lambda _verbose: None):
        await _beyond_the_limit(probe, monkeypatch)


async def _beyond_the_limit(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = connections()
    async with serving() as connect:
        monkeypatch.setattr(counted, "limit", counted.open + 1)
        first = await connect()
        await first.send(request(1))
        assert await first.received(1) == b"1:0;"
        second = await connect()
        await second.send(b"GET " + probe.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await second.received(1) == b":0;"
        assert await second.receive() == b""
        third, refused = await connect(), counted.report().refused_total
        await third.send(request(3))
        assert (await third.receive()).startswith(b"HTTP/1.1 503 ")
        assert await third.receive() == b""
        assert counted.report().refused_total == refused + 1
        monkeypatch.setattr(counted, "limit", counted.open - BEYOND)
        fourth = await connect()
        assert await fourth.receive() == b""


async def test_an_upgrade_is_no_matter() -> None:
    """There is nothing to upgrade to: the request is served as it is."""
    async with serving() as connect:
        client = await connect()
        await client.send(b"GET /?5 HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert await client.received(1) == b"5:0;"


async def test_who_leaves_is_noticed_by_what_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although another request of the connection waits behind it."""
    left = asyncio.Event()

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    monkeypatch.setitem(globals(), "app", watching)
    async with serving(look_seconds=60) as connect:
        client = await connect()
        await client.send(request(1) + request(2))
        await asyncio.sleep(0.05)
        client.socket.close()
        async with asyncio.timeout(5):
            await left.wait()


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"


@pytest.mark.parametrize(
    "begin",
    [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", CHUNKED + b"0\r\nX-Trailer: ", CHUNKED + b"1;extension="],
    ids=["path", "header", "trailer", "chunk extension"],
)
async def test_a_head_without_an_end(begin: bytes) -> None:
    """It is answered 400 once it is larger than its bound, counted, and its connection is closed."""
    async with serving() as connect:
        malformed = connections().malformed_total
        client = await connect()
        with suppress(ConnectionError):
            await client.send(begin)
            for _ in range(2 * MAX_HEAD_BYTES // 1024):
                await client.send(b"x" * 1024)
                await asyncio.sleep(0)
        text = b""
        while piece := await client.receive():
            text += piece
        assert text.startswith(b"HTTP/1.1 400 ") or not text  # which a reset connection loses
        assert connections().malformed_total == malformed + 1


@pytest.mark.parametrize("length", [100, 32_000, 60_000])
async def test_a_long_head(length: int) -> None:
    """A head within the bound is served, also several in a row on one connection, and chunks of one byte are."""
    async with serving() as connect:
        client = await connect()
        for number in range(3):
            await client.send(request(number, more=f"X-Long: {'x' * length}\r\n"))
            assert await client.received(1) == b"%d:0;" % number
        await client.send(CHUNKED + b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n")
        assert await client.received(1) == b":30001;"


UPGRADE = "Connection: Upgrade\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize("padding", [0, 1, 300, PARSED_BYTES, 2 * PARSED_BYTES])
async def test_nothing_is_read_after_an_upgrade(padding: int) -> None:
    """What follows a request that asks for an upgrade is no request, wherever it is cut; the connection is closed."""
    async with serving() as connect:
        client = await connect()
        head = f"GET /?1 HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n".encode()
        await client.send(head + b"x" * padding + request(2) * 40)
        text = b""
        while piece := await client.receive():
            text += piece
        assert text.count(b"HTTP/1.1 ") == 1
        assert text.endswith(b"1:0;")


async def test_an_upgrade_with_a_body() -> None:
    """It is refused: the parser would take the body for the other protocol."""
    async with serving() as connect:
        client = await connect()
        await client.send(request(1, request(2), more=UPGRADE))
        text = b""
        while piece := await client.receive():
            text += piece
        assert text.startswith(b"HTTP/1.1 400 ")
        assert text.count(b"HTTP/1.1 ") == 1
