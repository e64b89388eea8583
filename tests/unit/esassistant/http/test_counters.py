"""The counters: every request is counted once, has an id, and may have a line in the access log."""

import asyncio
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.http.access_log import AccessLog
from esassistant.http.counters import HARMLESS_ID, Counters, Door, note_of, request_id_of
from esassistant.http.statistics import HttpStatistics, RouteReport
from tests.support.asgi import Asked, ask


def answering(status: int = 200, body: bytes = b"ok", route: str | None = "/api/x") -> ASGIApp:
    """An application that notes its route and answers in two parts."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        note_of(scope).answered_by(Door.FAST, route)
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": body[:1], "more_body": True})
        await send({"type": "http.response.body", "body": body[1:]})

    return app


def report(statistics: HttpStatistics, route: str = "/api/x") -> RouteReport:
    return statistics.report().routes[route]


@given(st.one_of(st.none(), st.binary(max_size=80)))
def test_request_ids_are_harmless(given_id: bytes | None) -> None:
    """A given id is taken over when it is short and plain; anything else is replaced."""
    request_id = request_id_of(given_id)
    assert HARMLESS_ID.fullmatch(request_id)
    assert request_id == given_id or given_id is None or not HARMLESS_ID.fullmatch(given_id)


def test_made_up_request_ids_differ() -> None:
    """Without an id from outside each request gets one of its own."""
    assert len({request_id_of(None) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("given_ids", "kept"), [((), False), ((b"abc",), True), ((b"a b",), False), ((b"abc", b"abc"), False)]
)
async def test_each_answer_names_its_request(given_ids: tuple[bytes, ...], kept: bool) -> None:
    """The answer has one X-Request-ID: the one that came, if one did and it is harmless."""
    asked = Asked("/api/x", headers=tuple((b"x-request-id", value) for value in given_ids))
    got = await ask(Counters(answering(), HttpStatistics(), None), asked)
    assert (got.header("x-request-id") == "abc") == kept
    assert got.header("a") == "b"


@pytest.mark.parametrize(("method", "sent_bytes"), [("GET", 7), ("HEAD", 0)])
async def test_requests_are_counted(method: str, sent_bytes: int) -> None:
    """A request counts under its route, door and status, with the bytes of the body that a server sends."""
    statistics = HttpStatistics()
    app = Counters(answering(503, b"waiting"), statistics, None)
    for _ in range(3):
        await ask(app, Asked("/api/x", method))
    found = report(statistics)
    assert (found.requests_total, found.statuses, found.doors) == (3, {"5xx": 3}, {"fast": 3})
    assert (found.sent_bytes_total, found.failed_latency.samples) == (3 * sent_bytes, 3)


async def test_what_is_under_way() -> None:
    """A request counts as in flight until it has ended, however that is."""
    statistics = HttpStatistics()
    seen: list[int] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(statistics.report().in_flight)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await ask(Counters(app, statistics, None), Asked("/"))
    assert (seen, statistics.report().in_flight) == ([1], 0)


async def test_a_client_that_left_is_no_answer() -> None:
    """A request that ends without an answer counts as aborted, and for no status and no latency."""
    statistics = HttpStatistics()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    with pytest.raises(AssertionError):
        await ask(Counters(app, statistics, None), Asked("/"))
    found = report(statistics, "unmatched")
    assert (found.aborted_total, found.statuses, found.latency.samples) == (1, {}, 0)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_crash_is_a_500(begun: bool) -> None:
    """What raises counts as the 500 that the server answers, or as what its answer began with; the error goes on."""
    statistics = HttpStatistics()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        await ask(Counters(app, statistics, None), Asked("/"))
    assert report(statistics, "unmatched").statuses == {"2xx" if begun else "5xx": 1}


async def test_other_protocols_pass() -> None:
    """What isn't HTTP is not counted."""
    statistics = HttpStatistics()
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    nothing: Any = None
    await Counters(app, statistics, None)({"type": "websocket"}, nothing, nothing)
    assert (seen, statistics.report().together.requests_total) == (["websocket"], 0)


@pytest.mark.parametrize("client", [("10.0.0.7", 1234), None])
async def test_access_log(client: tuple[str, int] | None) -> None:
    """A request's line tells what was asked and what became of it, and nothing of its query."""
    reading, writing = os.pipe()
    log = AccessLog(writing)
    app = Counters(answering(404, b"missing"), HttpStatistics(), log)
    asked = Asked("/api/x", query=b"q=secret", headers=((b"x-request-id", b"abc"),), more={"client": client})
    await ask(app, asked)
    await log.write_waiting()
    line = os.read(reading, 4096)
    os.close(reading)
    os.close(writing)
    assert b"secret" not in line
    for part in (b'"request_id":"abc"', b'"method":"GET"', b'"path":"/api/x"', b'"status":404', b'"bytes":7'):
        assert part in line
    assert (b'"client":"10.0.0.7"' in line) == (client is not None)


def test_without_counters() -> None:
    """Where nothing counts, a request has a note of its own all the same, and keeps it."""
    scope: dict[str, Any] = {}
    assert note_of(scope) is note_of(scope)
    assert HARMLESS_ID.fullmatch(note_of(scope).request_id)


async def test_a_long_poll_has_no_latency() -> None:
    """A request that waits on purpose says so in its note: it is counted, and its time is not."""
    statistics = HttpStatistics()
    inner = answering(200, b"ok")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        note_of(scope).is_long_poll = True
        await inner(scope, receive, send)

    await ask(Counters(app, statistics, None), Asked("/api/x"))
    found = report(statistics)
    assert (found.requests_total, found.latency.samples, found.failed_latency.samples) == (1, 0, 0)
