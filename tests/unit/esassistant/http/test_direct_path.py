"""The direct path by itself: what it answers, and what goes on to the lanes. The contract with Django's answers is held
by tests/integration/test_doors.py.
"""

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import elasticsearch
import pytest

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.config.tokens import Right
from esassistant.errors import BadRequest, ClusterUnavailable, EsassistantError
from esassistant.http.answer import Answer
from esassistant.http.callers import Caller
from esassistant.http.counters import Counters
from esassistant.http.direct_path import DirectPath, DirectRoutes
from esassistant.http.statistics import HttpStatistics
from tests.support.asgi import Asked, Got, ask

TOKEN = "a-token-of-the-tests"
HOST = (b"host", b"testserver")
BEARER = (b"authorization", f"Bearer {TOKEN}".encode())
PLAIN = (HOST, BEARER, (b"cookie", b"theme=dark"), (b"content-length", b"4"))
TEMPLATE = "/do/{name}/it"


class Spine:
    """A direct path over an application that answers everything with 418."""

    def __init__(self) -> None:
        self.routes = DirectRoutes()
        self.statistics = HttpStatistics()
        self.app = Counters(DirectPath(self._beyond, self.routes), self.statistics, None)
        self.types: list[str] = []

    async def _beyond(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.types.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"lanes"})

    async def post(self, path: str = "/do/x/it", headers: Any = PLAIN, **more: Any) -> Got:
        return await ask(self.app, Asked(path, **{"method": "POST", "body": b"body", "headers": headers, **more}))


@pytest.fixture
def spine(settings: Any) -> Spine:
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=(TOKEN,))
    return Spine()


async def echo(name: str, body: bytes, _caller: Caller) -> Answer:
    return Answer(b"%b of %b" % (body, name.encode()), "text/plain")


async def test_an_answer(spine: Spine) -> None:
    """A source gets name and body; its answer is given with the headers that all have, and counted."""
    with spine.routes.answering(TEMPLATE, echo, Right.SEARCH):
        got = await spine.post()
    assert (got.status, got.body, got.header("content-length")) == (200, b"body of x", "9")
    assert got.header("x-content-type-options") == "nosniff"
    assert got.header("cache-control") == "no-store"
    assert got.header("vary") is None
    found = spine.statistics.report().routes[TEMPLATE]
    assert (found.requests_total, found.doors, found.sent_bytes_total) == (1, {"direct": 1}, 9)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "GET"},
        {"method": "OPTIONS"},
        {"query": b"a=1"},
        {"more": {"root_path": "/app"}},
        {"path": "/do/a/b/it"},
        {"path": "/do//it"},
        {"path": "/do/a\n/it"},
        {"path": "/do/it"},
        {"path": "/other"},
        {"headers": (HOST,)},
        {"headers": (BEARER,)},
        {"headers": (HOST, (b"authorization", b"Bearer wrong"))},
        {"headers": (HOST, (b"authorization", b"Basic eDp5"))},
        {"headers": (HOST, BEARER, BEARER)},
        {"headers": (HOST, HOST, BEARER)},
        {"headers": ((b"host", b"evil.example"), BEARER)},
        {"headers": (*PLAIN, (b"origin", b"https://x.example"))},
        {"headers": (HOST, BEARER, (b"cookie", b"a=b; sessionid=1"))},
    ],
    ids=str,
)
async def test_what_goes_on_to_the_lanes(spine: Spine, asked: dict[str, Any]) -> None:
    """All that isn't plainly a POST with a token of ours; no source is asked."""
    with spine.routes.answering(TEMPLATE, echo, Right.SEARCH):
        assert (await spine.post(**asked)).status == 418
    assert "direct" not in spine.statistics.report().together.doors


async def test_a_route_is_there_as_long_as_its_owner(spine: Spine) -> None:
    """At the end of the owner's block its address is the lanes' again."""
    with (
        spine.routes.answering(TEMPLATE, echo, Right.SEARCH),
        spine.routes.answering("/undo/{name}", echo, Right.SEARCH),
    ):
        assert (await spine.post("/undo/a")).body == b"body of a"
    assert (await spine.post()).status == 418


async def test_other_protocols_go_on(spine: Spine) -> None:
    """The lifespan is nobody's here."""

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    with spine.routes.answering(TEMPLATE, echo, Right.SEARCH):
        await spine.app({"type": "lifespan"}, nothing, nothing)
    assert spine.types == ["lifespan"]


@pytest.mark.parametrize(("scheme", "status"), [("http", 418), ("https", 200)])
async def test_redirects_are_djangos(settings: Any, spine: Spine, scheme: str, status: int) -> None:
    """While plain HTTP is redirected only https is answered, with the header that says so."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 60
    spine.app = Counters(DirectPath(spine._beyond, spine.routes), spine.statistics, None)
    with spine.routes.answering(TEMPLATE, echo, Right.SEARCH):
        got = await spine.post(scheme=scheme)
    assert got.status == status
    assert got.header("strict-transport-security") == (None if status == 418 else "max-age=60")


async def test_other_origins_vary(settings: Any) -> None:
    """Where origins are configured, caches are told that an answer depends on them."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=(TOKEN,))
    settings.CORS_ALLOWED_ORIGINS = ["https://ui.example"]
    spine = Spine()
    with spine.routes.answering(TEMPLATE, echo, Right.SEARCH):
        assert (await spine.post()).header("vary") == "origin"


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "logged"),
    [
        (BadRequest("no good"), 400, None, False),
        (ClusterUnavailable("away", retry_after_seconds=1.5), 503, "2", False),
        (elasticsearch.ConnectionError("x"), 503, "5", False),
        (ValueError("bug"), 500, None, True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_problems(
    spine: Spine,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    retry_after: str | None,
    logged: bool,
) -> None:
    """An error of ours is its problem, Elasticsearch's is 503, and a bug is a 500 that is logged and says nothing."""

    async def source(_name: str, _body: bytes, _caller: Caller) -> Answer:
        raise error

    with spine.routes.answering(TEMPLATE, source, Right.SEARCH), caplog.at_level(logging.ERROR):
        got = await spine.post(headers=(*PLAIN, (b"x-request-id", b"mine")))
    problem = json.loads(got.body)
    assert (got.status, got.header("content-type"), got.header("retry-after")) == (
        status,
        "application/problem+json",
        retry_after,
    )
    assert (problem["status"], problem["request_id"], got.header("content-length")) == (
        status,
        "mine",
        str(len(got.body)),
    )
    assert "bug" not in problem["detail"]
    assert bool(caplog.records) == logged
    assert isinstance(error, EsassistantError) == (problem["detail"] == getattr(error, "detail", None))


async def test_a_client_that_leaves(spine: Spine) -> None:
    """Amid its body no source runs; afterwards what runs is cancelled; either is counted as aborted."""
    events: list[str] = []
    began = asyncio.Event()

    async def slow(_name: str, _body: bytes, _caller: Caller) -> Answer:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cancelled")
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    messages: asyncio.Queue[Message] = asyncio.Queue()
    messages.put_nowait({"type": "http.disconnect"})
    scope = Asked("/do/x/it", "POST", headers=PLAIN)
    with spine.routes.answering(TEMPLATE, slow, Right.SEARCH):
        await spine.app(scope.scope(), messages.get, send)
        assert events == []
        messages.put_nowait({"type": "http.request", "body": b""})
        asked = asyncio.create_task(spine.app(scope.scope(), messages.get, send))
        await began.wait()
        messages.put_nowait({"type": "http.disconnect"})
        await asked
    assert events == ["cancelled"]
    found = spine.statistics.report().routes[TEMPLATE]
    assert (found.requests_total, found.aborted_total, found.doors) == (2, 2, {"direct": 2})
