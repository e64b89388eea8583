"""The lanes: which requests take which, and that Django still has what the fast one stands on. That both answer alike
is held by tests/integration/test_doors.py.
"""

import asyncio
import inspect
from dataclasses import replace
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.urls import path

from esassistant.api import api_view
from esassistant.asgi_types import Message
from esassistant.http.counters import note_of
from esassistant.http.gate import Gate
from esassistant.http.lanes import FastLane, Gates, Lanes, StockLane, fast_match, template_of
from esassistant.http.login_lane import LoginLane
from esassistant.http.logins import Logins
from tests.support.asgi import Asked, ask

HOST = (b"host", b"testserver")
SESSION = (b"cookie", b"a=b; sessionid=x")
TOKEN = (b"authorization", b"Bearer x")
OURS = (b"authorization", b"Bearer ours-0123456789-01")

events: list[str] = []
began = asyncio.Event()
waiting = asyncio.Event()


@api_view("GET", "POST")
async def slow(_: HttpRequest) -> HttpResponse:
    events.append("began")
    began.set()
    try:
        await waiting.wait()
    except asyncio.CancelledError:
        events.append("cancelled")
        raise
    events.append("ended")
    return HttpResponse("done")


@api_view("GET", "POST")
async def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


@api_view("GET")
async def crash(_: HttpRequest) -> HttpResponse:
    raise ValueError("bug")


@api_view("GET")
async def unchanged(_: HttpRequest) -> HttpResponse:
    return HttpResponseNotModified()


async def plain(_: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


urlpatterns = [
    path("api/slow", slow),
    path("api/echo", echo),
    path("api/crash", crash),
    path("api/named/<path:name>/x", echo),
    path("api/plain", plain),
    path("api/unchanged", unchanged),
    path("page", echo),
    path("unchanged", unchanged),
]


@pytest.fixture
def lanes(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """Both lanes over this module's addresses."""
    settings.ROOT_URLCONF = __name__
    # An event belongs to the loop that first waits for it.
    monkeypatch.setitem(globals(), "began", asyncio.Event())
    monkeypatch.setitem(globals(), "waiting", asyncio.Event())
    events.clear()
    gates = Gates.usual(2, 2)
    login = LoginLane(StockLane(), gates.login, Logins())
    return Lanes(StockLane(), FastLane(), gates, lambda path: path == "/livez", {"/login": login})


@pytest.mark.parametrize(
    ("asked", "fast"),
    [
        (Asked("/api/echo"), True),
        (Asked("/api/echo", "POST"), True),
        (Asked("/api/echo", "OPTIONS"), True),
        (Asked("/api/echo", headers=(HOST, TOKEN)), True),
        (Asked("/api/echo", headers=(HOST, SESSION)), False),
        (Asked("/api/echo", headers=(HOST, SESSION, TOKEN)), True),
        (Asked("/api/echo", headers=(HOST, SESSION, (b"authorization", b"Basic x"))), False),
        (Asked("/api/echo", headers=(HOST, SESSION, (b"authorization", b"Basic x"), TOKEN)), False),
        (Asked("/api/echo", headers=(HOST, SESSION, (b"authorization", b""), TOKEN)), False),
        (Asked("/api/echo", headers=(HOST, SESSION, TOKEN, (b"authorization", b"Basic x"))), True),
        (Asked("/api/echo", headers=(HOST, (b"cookie", b"a=b"))), True),
        (Asked("/api/echo", headers=(HOST, (b"origin", b"https://x.example"))), False),
        (Asked("/api/echo", more={"root_path": "/app"}), False),
        (Asked("/api/unknown"), False),
        (Asked("/api/plain"), False),
        (Asked("/page"), False),
    ],
)
def test_which_lane(lanes: Lanes, asked: Asked, fast: bool) -> None:
    """API views take the fast lane unless the request may need a session, CORS or a mount point; all else is
    Django's.
    """
    assert (fast_match(asked.scope()) is not None) == fast


@pytest.mark.parametrize(("scheme", "fast"), [("http", False), ("https", True)])
def test_redirects_are_django_s(lanes: Lanes, settings: Any, scheme: str, fast: bool) -> None:
    """While plain HTTP is redirected, the stock lane does it."""
    settings.SECURE_SSL_REDIRECT = True
    assert (fast_match(Asked("/api/echo", scheme=scheme).scope()) is not None) == fast


@pytest.mark.parametrize(
    ("address", "door", "route"),
    [
        ("/api/echo", "fast", "/api/echo"),
        ("/api/named/a/b/x", "fast", "/api/named/{name}/x"),
        ("/api/plain", "django", "/api/plain"),
        ("/page", "django", "/page"),
        ("/nothing", "django", None),
    ],
)
async def test_the_counters_are_told(lanes: Lanes, address: str, door: str, route: str | None) -> None:
    """Each lane says that it answered, and under which route."""
    scope = Asked(address).scope()

    class Noted(Asked):
        def scope(self) -> dict[str, Any]:
            return scope

    await ask(lanes, Noted(address))
    assert (note_of(scope).door, note_of(scope).route) == (door, route)


def test_templates() -> None:
    """A route is shown as the API's documentation writes it."""
    assert template_of("api/mappings/<path:name>/<x>") == "/api/mappings/{name}/{x}"
    assert template_of("admin/^(?P<app_label>auth|cacheapp)/$") == "/admin/{app_label}/"


async def test_body_in_parts(lanes: Lanes) -> None:
    """A body that arrives in parts is one to the view."""
    parts: list[dict[str, Any]] = [{"body": b"ab", "more_body": True}, {"more_body": True}, {"body": b"cd"}]
    sent: list[Message] = []

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", **parts.pop(0)}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await lanes(Asked("/api/echo", "POST").scope(), receive, send)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"abcd")


async def test_a_client_that_leaves_while_sending(lanes: Lanes) -> None:
    """Who hangs up amid the body gets no answer, and no view runs."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError

    await lanes(Asked("/api/slow", "POST").scope(), receive, send)
    assert events == []


async def test_a_client_that_leaves_ends_its_call(lanes: Lanes) -> None:
    """A POST that nobody waits for any more is cancelled; nothing is sent."""
    messages: asyncio.Queue[Message] = asyncio.Queue()
    messages.put_nowait({"type": "http.request"})

    async def send(_: Message) -> None:
        raise AssertionError

    answering = asyncio.create_task(lanes(Asked("/api/slow", "POST").scope(), messages.get, send))
    await began.wait()
    messages.put_nowait({"type": "http.disconnect"})
    await answering
    assert events == ["began", "cancelled"]


async def test_cancelling_ends_the_view(lanes: Lanes) -> None:
    """When the server ends a request, its view ends with it."""
    answering = asyncio.create_task(ask(lanes, Asked("/api/slow", "POST")))
    await began.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert events == ["began", "cancelled"]


async def test_a_crash_is_a_problem(lanes: Lanes) -> None:
    """A view that crashes answers 500 as a problem with the request's id, and tells nothing of the cause."""
    got = await ask(lanes, Asked("/api/crash"))
    assert (got.status, got.header("content-type")) == (500, "application/problem+json")
    assert b"bug" not in got.body


@pytest.mark.parametrize("address", ["/api/unchanged", "/unchanged"])
async def test_an_unchanged_answer_has_no_length(lanes: Lanes, address: str) -> None:
    """A 304 has no Content-Length in either lane: 0 would say that the answer has become empty."""
    got = await ask(lanes, Asked(address))
    assert (got.status, got.body, got.header("content-length")) == (304, b"", None)


@pytest.mark.parametrize(("origins", "vary"), [(["https://x.example"], "origin"), ([], None)])
async def test_other_origins(lanes: Lanes, settings: Any, origins: list[str], vary: str | None) -> None:
    """While pages of other origins may ask, the fast lane says that its answers depend on who asks, as the stock lane's
    CORS middleware does: a cache on the way keeps them apart.
    """
    settings.CORS_ALLOWED_ORIGINS = origins
    got = await ask(lanes, Asked("/api/echo"))
    assert (got.status, got.header("vary")) == (200, vary)


@pytest.mark.parametrize("address", ["/api/echo", "/page"])
async def test_a_query_that_is_no_text(lanes: Lanes, address: str) -> None:
    """A query that isn't UTF-8, which Django can't make a request of, is 400 as a problem in both lanes."""
    got = await ask(lanes, Asked(address, query=b"q=\xff"))
    assert (got.status, got.header("content-type")) == (400, "application/problem+json")
    assert b"not UTF-8" in got.body
    assert got.header("x-content-type-options") == "nosniff"


@pytest.mark.parametrize("address", ["/api/echo", "/page", "/nowhere"])
async def test_headers_that_can_not_be_parsed(lanes: Lanes, address: str) -> None:
    """A request with such a header is refused in both lanes, and isn't an error of this server."""
    strange = (b"content-type", b"text/plain; a*=bogus'en'x")
    got = await ask(lanes, Asked(address, headers=(HOST, strange)))
    assert (got.status, got.header("content-type")) == (400, "application/problem+json")
    got = await ask(lanes, Asked("/api/echo", headers=(HOST, (b"accept", b"text/html;a*=bogus'en'x"))))
    assert got.status == 200


async def test_requests_run_in_their_own_task(lanes: Lanes) -> None:
    """The fast lane starts no thread and no task for a GET."""
    before = len(asyncio.all_tasks())
    waiting_task = asyncio.create_task(ask(lanes, Asked("/api/slow")))
    await began.wait()
    assert len(asyncio.all_tasks()) == before + 1
    waiting.set()
    assert (await waiting_task).body == b"done"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (BaseHandler, "_get_response_async", ["self", "request"]),
        (BaseHandler, "resolve_request", ["self", "request"]),
        (BaseHandler, "load_middleware", ["self", "is_async"]),
        (ASGIHandler, "get_response_async", ["self", "request"]),
        (ASGIHandler, "run_get_response", ["self", "request"]),
        (ASGIHandler, "create_request", ["self", "scope", "body_file"]),
        (ASGIHandler, "send_response", ["self", "response", "send"]),
        (ASGIRequest, "__init__", ["self", "scope", "body_file"]),
    ],
)
def test_what_the_lanes_need_of_django(owner: Any, name: str, parameters: list[str]) -> None:
    """Django's inner parts that the lanes override or call are there, with these parameters. If this fails after an
    upgrade of Django, read `ASGIHandler` and `BaseHandler` again before changing esassistant/http/lanes.py.
    """
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_what_django_keeps_of_the_middleware() -> None:
    """`_get_response_async` reads these lists, which the fast lane sets itself."""
    handler: Any = BaseHandler
    source = inspect.getsource(handler._get_response_async)
    source += inspect.getsource(handler.process_exception_by_middleware)
    for name in ("_view_middleware", "_template_response_middleware", "_exception_middleware"):
        assert f"self.{name}" in source


@pytest.mark.parametrize(
    ("asked", "gate"),
    [
        (Asked("/api/echo"), "fast"),
        (Asked("/api/echo", headers=(HOST, TOKEN)), "fast"),
        (Asked("/api/echo", headers=(HOST, OURS)), None),
        (Asked("/api/echo", headers=(HOST, SESSION, OURS)), None),
        (Asked("/api/echo", headers=(HOST, SESSION)), "stock"),
        (Asked("/api/unknown", headers=(HOST, OURS)), "stock"),
        (Asked("/page"), "stock"),
        (Asked("/login"), "stock"),
        (Asked("/login", "POST"), "login"),
        (Asked("/livez"), None),
        (Asked("/livez", "POST"), "stock"),
        (Asked("/page", more={"type": "lifespan"}), None),
    ],
)
async def test_which_gate(settings: Any, asked: Asked, gate: str | None) -> None:
    """With no place anywhere: who waits at which gate is refused, and who waits at none is let through."""
    settings.ROOT_URLCONF = __name__
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=("ours-0123456789-01",))
    reached: list[str] = []

    class Reached(StockLane, FastLane):
        async def __call__(self, *_: Any) -> None:
            reached.append("stock")

        async def answer(self, *_: Any) -> None:
            reached.append("fast")

    for closed in ("stock", "login", "fast"):
        gates = Gates(**{name: Gate(name != closed, 0) for name in ("stock", "login", "fast")})
        login = LoginLane(Reached(), gates.login, Logins())
        lanes = Lanes(Reached(), Reached(), gates, lambda path: path == "/livez", {"/login": login})
        reached.clear()
        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        async def receive(body: bytes = asked.body) -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await lanes(asked.scope(), receive, send)
        assert bool(reached) == (closed != gate)
        if not reached:
            assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"1")


async def test_a_place_is_given_back(lanes: Lanes) -> None:
    """Also by who leaves amid its request, and by a view that fails."""
    for address in ("/api/echo", "/api/crash", "/page", "/nothing") * 2:
        assert (await ask(lanes, Asked(address))).status != 503
    task = asyncio.create_task(ask(lanes, Asked("/api/slow")))
    await began.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(3):
        assert (await ask(lanes, Asked("/api/echo"))).status == 200
