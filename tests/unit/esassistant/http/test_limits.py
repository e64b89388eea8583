"""The limits of requests: nothing above them reaches the application, nothing below them is touched."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.http.limits import (
    BODY_SECONDS,
    FEWEST_BEFORE,
    MAX_QUEUED_SECONDS,
    QUEUED_AT,
    InFlight,
    RequestLimits,
    RequestReader,
)
from tests.support.asgi import Asked, ask
from tests.support.fakes import FakeClock

LIMIT = 10
CHUNKED = (b"transfer-encoding", b"chunked")
OK: list[Message] = [
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body", "body": b"ok"},
]


class Application:
    """Reads its request as Django does: all of it first, and says nothing to a client that has left."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.called = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called = True
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.body = body
        for answer in OK:
            await send(answer)


def http(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "method": "POST", "path": "/api/x", "query_string": b"", "headers": list(headers)}


async def exchange(app: Any, scope: Scope, pieces: list[bytes]) -> tuple[list[Message], int]:
    """What was sent, and how many pieces of the body were read."""
    sent: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": pieces[read - 1], "more_body": read < len(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await limits_of(app)(scope, receive, send)
    return sent, read


def limits_of(
    app: Any,
    in_flight: InFlight | None = None,
    is_probe: Callable[[str], bool] = lambda _: False,
    *,
    body_seconds: float = BODY_SECONDS,
) -> RequestLimits:
    in_flight = in_flight or InFlight(1, 1)
    return RequestLimits(app, RequestReader(LIMIT, in_flight, body_seconds=body_seconds), in_flight, is_probe)


async def unsent(message: Message) -> None:
    raise AssertionError(message)


def is_refusal(sent: list[Message]) -> bool:
    headers = dict(sent[0]["headers"])
    body = json.loads(sent[1]["body"])
    return bool(
        sent[0]["status"] == body["status"] == 413
        and headers[b"content-type"] == b"application/problem+json"
        and headers[b"connection"] == b"close"
        and headers[b"x-content-type-options"] == b"nosniff"
        and body["detail"] == "Send at most 10 bytes."
    )


async def test_a_declared_length_above_the_limit_is_refused_unread() -> None:
    """Too large by its own word: 413 as a problem, before a byte of the body is read."""
    app = Application()
    sent, read = await exchange(app, http((b"content-length", b"11")), [b"x" * 11])
    assert is_refusal(sent)
    assert (read, app.called) == (0, False)


async def test_a_declared_length_within_the_limit_passes() -> None:
    """A body of exactly the limit is served."""
    app = Application()
    sent, _ = await exchange(app, http((b"content-length", b"10")), [b"x" * 10])
    assert sent == OK
    assert app.body == b"x" * 10


@pytest.mark.parametrize(
    "headers",
    [[CHUNKED], [(b"content-length", b"1"), (b"content-length", b"2")], [(b"content-length", b"x")]],
)
async def test_a_body_of_unknown_length_is_counted(headers: list[tuple[bytes, bytes]]) -> None:
    """Chunked, or with a length that says nothing: refused with the piece that goes beyond the limit."""
    app = Application()
    sent, read = await exchange(app, http(*headers), [b"xxxxxx", b"xxxxx", b"more", b"and more"])
    assert is_refusal(sent)
    assert read == 2
    assert not app.called


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=6))
async def test_the_limit_is_exact(pieces: list[bytes]) -> None:
    """However a body is cut: up to the limit it arrives whole, above it it is refused."""
    app = Application()
    sent, _ = await exchange(app, http(CHUNKED), pieces)
    body = b"".join(pieces)
    if len(body) <= LIMIT:
        assert (sent, app.body) == (OK, body)
    else:
        assert is_refusal(sent)


async def test_what_comes_after_the_body_is_passed_on() -> None:
    """An application that waits for the client to leave is told when it does."""
    seen: list[Message] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(await receive())
        seen.append(await receive())

    arriving: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"xy", "more_body": False}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(arriving)

    await limits_of(app)(http((b"content-length", b"2")), receive, unsent)
    assert seen == [{"type": "http.request", "body": b"xy", "more_body": False}, {"type": "http.disconnect"}]


async def test_who_leaves_before_the_body_is_there_is_not_answered() -> None:
    """And no application hears of it."""
    app = Application()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await limits_of(app)(http((b"content-length", b"2")), receive, unsent)
    assert not app.called


async def test_a_body_that_does_not_come() -> None:
    """408, and the connection is closed; until then it takes nobody's place among those that make calls."""
    in_flight = InFlight(10, 1)
    app, others = Application(), []

    async def receive() -> Message:
        others.append(in_flight.others)
        await asyncio.Event().wait()
        raise AssertionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    limits = limits_of(app, in_flight, body_seconds=0.05)
    await limits(http((b"content-length", b"2")), receive, send)
    assert (sent[0]["status"], (b"connection", b"close") in sent[0]["headers"]) == (408, True)
    assert (app.called, others, in_flight.total) == (False, [0], 0)


async def test_probes_have_no_place_but_limits_of_bodies() -> None:
    """A body of a probe would be read by whoever answers it."""
    app = Application()
    limits = limits_of(app, InFlight(1, 1, total=1), lambda path: path == "/livez")
    assert (await ask(limits, Asked("/livez", headers=((b"content-length", b"11"),)))).status == 413
    assert not app.called
    assert (await ask(limits, Asked("/livez"))).status == 200


async def test_bodies_to_come_are_bounded() -> None:
    """As many at once as requests may be under way; they take none of their places."""
    waiting = asyncio.Event()
    app, in_flight = Application(), InFlight(1, 1)
    limits = limits_of(app, in_flight)

    async def receive() -> Message:
        await waiting.wait()
        return {"type": "http.request", "body": b"xy", "more_body": False}

    async def sink(_: Message) -> None:
        pass

    slow = asyncio.create_task(limits(http((b"content-length", b"2")), receive, sink))
    await asyncio.sleep(0)
    assert (in_flight.reading, in_flight.total) == (1, 0)
    refused = await ask(limits, Asked("/a", method="POST", headers=((b"content-length", b"2"),), body=b"xy"))
    assert (refused.status, refused.header("connection")) == (503, "close")
    assert (await ask(limits, Asked("/b"))).status == 200
    waiting.set()
    await slow
    assert (app.body, in_flight.reading, in_flight.total) == (b"xy", 0, 0)


async def test_other_protocols_pass() -> None:
    """Only HTTP requests have bodies."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    await exchange(app, {"type": "websocket"}, [])
    assert seen == ["websocket"]


@pytest.mark.parametrize(
    ("path_bytes", "query_bytes", "refused"), [(8192, 0, False), (8000, 192, False), (8000, 193, True)]
)
async def test_the_length_of_addresses(path_bytes: int, query_bytes: int, refused: bool) -> None:
    """Path and query together may have 8 KiB; a longer address is 414, and no application sees it."""
    app = Application()
    scope = {**http(), "raw_path": b"/" * path_bytes, "query_string": b"\xff" * query_bytes}
    sent, _ = await exchange(app, scope, [b""])
    assert (sent[0]["status"] == 414) == refused
    assert app.called != refused


async def test_overload_is_refused_at_once() -> None:
    """While as many requests are under way as may be, one more gets 503 with Retry-After and reaches no application;
    probes pass, and when one has ended the next is served.
    """
    going_on = asyncio.Event()
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await going_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limits = limits_of(app, InFlight(2, 2), lambda path: path == "/livez")
    first = [asyncio.create_task(ask(limits, Asked(path))) for path in ("/a", "/b")]
    await asyncio.sleep(0)
    refused = await ask(limits, Asked("/c"))
    assert (refused.status, refused.header("retry-after"), json.loads(refused.body)["title"]) == (
        503,
        "1",
        "Overloaded",
    )
    probe = asyncio.create_task(ask(limits, Asked("/livez")))
    await asyncio.sleep(0)
    assert seen == ["/a", "/b", "/livez"]
    going_on.set()
    assert {answer.status for answer in await asyncio.gather(*first, probe)} == {200}
    assert (await ask(limits, Asked("/d"))).status == 200


@pytest.mark.parametrize(
    ("waited", "before", "path", "method", "status"),
    [
        (MAX_QUEUED_SECONDS, FEWEST_BEFORE, "/a", "GET", 200),
        (MAX_QUEUED_SECONDS + 1, FEWEST_BEFORE, "/a", "GET", 503),
        (MAX_QUEUED_SECONDS + 1, FEWEST_BEFORE, "/a", "POST", 503),
        (MAX_QUEUED_SECONDS + 1, FEWEST_BEFORE - 1, "/a", "GET", 200),
        (MAX_QUEUED_SECONDS + 1, FEWEST_BEFORE, "/livez", "GET", 200),
        (None, FEWEST_BEFORE, "/a", "GET", 200),
    ],
)
async def test_what_waited_behind_others_for_too_long_is_refused(
    waited: float | None, before: int, path: str, method: str, status: int
) -> None:
    """Not probes, nothing that waited although few were before it, and nothing if the server doesn't say since when a
    request waits. The connection stays open.
    """
    in_flight, app, clock = InFlight(2, 2), Application(), FakeClock()
    reader = RequestReader(LIMIT, in_flight)
    limits = RequestLimits(app, reader, in_flight, lambda path: path == "/livez", clock=clock)
    for _ in range(FEWEST_BEFORE):
        await ask(limits, Asked("/earlier"))
    clock.advance(10)
    queued_at = clock()
    for _ in range(before):
        await ask(limits, Asked("/before"))
    app.called = False
    clock.advance(waited or 0)
    answer = await ask(limits, Asked(path, method, more={} if waited is None else {QUEUED_AT: queued_at}))
    assert (answer.status, app.called, answer.header("connection")) == (status, status == 200, None)
    if status == 503:
        assert answer.header("retry-after") == "1"
        assert json.loads(answer.body)["detail"] == "This process is behind with its answers. Ask again."


METHODS = ("POST", "GET", "HEAD", "OPTIONS", "DELETE")


async def test_of_requests_that_make_calls_of_their_own_fewer_may_be_under_way() -> None:
    """A search beyond that bound is refused while GETs are still served, and is served when another has ended."""
    going_on = asyncio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await going_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    in_flight = InFlight(10, 1)
    limits = limits_of(app, in_flight)
    first = asyncio.create_task(ask(limits, Asked("/a", method="POST")))
    await asyncio.sleep(0)
    statuses = [(await ask(limits, Asked("/b", method=method))).status for method in METHODS]
    assert statuses == [503, 200, 200, 200, 503]
    going_on.set()
    assert (await first).status == 200
    assert (await ask(limits, Asked("/c", method="POST"))).status == 200
    assert (in_flight.total, in_flight.others) == (0, 0)


@pytest.mark.parametrize(("connections", "others"), [(1, 200), (100, 200), (150, 300)])
def test_how_many_may_make_calls_of_their_own(connections: int, others: int) -> None:
    """Twice as many as there are connections, and 200 at least."""
    assert InFlight.with_connections(2000, connections) == InFlight(2000, others)


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"1")], True),
        ([(b"content-length", b"1"), (b"content-length", b"2")], True),
        ([CHUNKED], True),
    ],
)
async def test_a_connection_is_kept_where_no_body_may_still_come(
    headers: list[tuple[bytes, bytes]], closes: bool
) -> None:
    """Under overload new connections would be more work still; but what still comes would be taken for a request."""
    app = Application()
    refused = await ask(limits_of(app, InFlight(0, 0)), Asked("/a", headers=tuple(headers)))
    assert (refused.status, refused.header("connection")) == (503, "close" if closes else None)
    assert not app.called
