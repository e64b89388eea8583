"""The door for streams by itself: who gets in, how an answer goes, and each way in which it ends."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from esassistant.asgi_types import Message, Receive, Scope, Send
from esassistant.config.model import Details
from esassistant.config.tokens import Right, ScopedToken
from esassistant.errors import BadRequest
from esassistant.http.callers import API_CALLER, Caller
from esassistant.http.counters import Counters
from esassistant.http.limits import InFlight, RequestReader
from esassistant.http.statistics import HttpStatistics
from esassistant.http.stream_door import ABORT, StreamDoor
from esassistant.http.streams import EVENT_STREAM, StreamCall, Streams
from tests.support.asgi import Asked, Got, ask

TOKEN = "a-token-of-the-tests"
HOST = (b"host", b"testserver")
BEARER = (b"authorization", f"Bearer {TOKEN}".encode())
PLAIN = (HOST, BEARER)
BODY = (b"content-length", b"4")
MAX_BODY = 100
LONG = b"a" * 9000


@dataclass
class Client:
    """One that takes what is sent until it stalls, and leaves when told to."""

    sent: list[Message] = field(default_factory=list)
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    got: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: bool = False

    def __post_init__(self) -> None:
        self.takes.set()

    async def send(self, message: Message) -> None:
        await self.takes.wait()
        self.sent.append(message)
        self.got.set()

    def leave(self) -> None:
        self.told.put_nowait({"type": "http.disconnect"})

    def abort(self) -> None:
        self.aborted = True
        self.leave()

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    @property
    def is_whole(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body", False)


class Spine:
    """The door between counters and an application that answers everything with 418."""

    def __init__(self, **options: Any) -> None:
        self.streams = Streams(ending_seconds=0.1, cancel_seconds=0.1, **options)
        self.statistics = HttpStatistics()
        self.types: list[str] = []
        self.renew()

    def renew(self) -> None:
        """Under the settings in force."""
        reader = RequestReader(MAX_BODY, InFlight(10, 10))
        door = StreamDoor(self._beyond, self.streams, reader, write_seconds=0.05, look_seconds=0.02)
        self.app = Counters(door, self.statistics, None)

    async def _beyond(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.types.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"lanes"})

    async def ask(self, path: str = "/f", method: str = "GET", headers: Any = PLAIN, **more: Any) -> Got:
        return await ask(self.app, Asked(path, method, headers=headers, **more))

    def begin(self, client: Client, **more: Any) -> asyncio.Task[None]:
        client.told.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = Asked("/f", headers=PLAIN, more={ABORT: client.abort, **more}).scope()
        return asyncio.create_task(self.app(scope, client.told.get, client.send))

    @property
    def route(self) -> Any:
        return self.statistics.report().routes["/f"]


@pytest.fixture
def spine(settings: Any) -> Spine:
    settings.ESASSISTANT = replace(settings.ESASSISTANT, api_tokens=(TOKEN,), details=Details.AUTHORIZED)
    settings.ALLOWED_HOSTS = ["testserver", "es.example"]
    return Spine()


async def three(call: StreamCall) -> None:
    await call.begin()
    for number in range(3):
        await call.write(b"data: %d\n\n" % number)


class Endless:
    """Sends one event, then waits: for its end if it is a good one, else for its cancellation."""

    def __init__(self, *, listens: bool = False) -> None:
        self.began = asyncio.Event()
        self.cancelled = False
        self._listens = listens

    async def __call__(self, call: StreamCall) -> None:
        await call.begin()
        await call.write(b"data: 1\n\n")
        self.began.set()
        try:
            await (call.ending if self._listens else asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await call.write(b"event: end\n\n")


async def test_a_stream(spine: Spine) -> None:
    """Its pieces, its end, the headers that all answers have; counted, and its time is no latency."""
    async with spine.streams.answering("/f", three):
        got = await spine.ask()
    assert (got.status, got.body) == (200, b"data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert (got.header("content-type"), got.header("cache-control")) == (EVENT_STREAM, "no-store")
    assert (got.header("x-content-type-options"), got.header("vary")) == ("nosniff", None)
    assert (spine.route.doors, spine.route.latency.samples, spine.route.sent_bytes_total) == ({"stream": 1}, 0, 27)
    report = spine.streams.report()
    assert (report.open, report.shed_total, report.stalled_total) == (0, 0, 0)


async def test_what_does_not_last(spine: Spine) -> None:
    """A source may be an ASGI application, gets name and body, and the time of its answers may be a latency."""

    async def echo(call: StreamCall) -> None:
        assert (call.name, call.caller, call.body) == ("x", API_CALLER, b"body")
        message = await call.receive()
        headers = [(b"Content-Type", b"text/plain"), (b"cache-control", b"private")]
        await call.send({"type": "http.response.start", "status": 201, "headers": headers})
        await call.send({"type": "http.response.body", "body": message["body"]})
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await call.receive()  # whose client leaves is cancelled: there is nothing to receive
                raise AssertionError

    async with spine.streams.answering("/do/{name}", echo, methods=("POST",), lasts=False):
        got = await spine.ask("/do/x", "POST", (*PLAIN, BODY), body=b"body")
    assert (got.status, got.body, got.header("cache-control")) == (201, b"body", "private")
    assert spine.statistics.report().routes["/do/{name}"].latency.samples == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"headers": (HOST,)}, 401),
        ({"headers": (HOST, (b"authorization", b"Bearer wrong"))}, 401),
        ({"headers": (HOST, BEARER, BEARER)}, 401),
        ({"headers": (HOST, (b"authorization", b"Basic eDp5"))}, 401),
        ({"headers": (HOST, (b"cookie", b"sessionid=1"))}, 401),
        ({"headers": (HOST,), "method": "POST"}, 401),
        ({"headers": (BEARER,)}, 400),
        ({"headers": (HOST, HOST, BEARER)}, 400),
        ({"headers": ((b"host", b"evil.example"), BEARER)}, 400),
        ({"method": "POST"}, 405),
        ({"method": "HEAD"}, 405),
        ({"headers": (*PLAIN, (b"origin", b"https://evil.example"))}, 403),
        ({"headers": (*PLAIN, (b"origin", b"null"))}, 403),
        ({"headers": (*PLAIN, (b"origin", b"https://es.example"), (b"origin", b"https://evil.example"))}, 403),
        ({"headers": (*PLAIN, (b"origin", b"https://es.example"))}, 200),
        ({"headers": (*PLAIN, (b"origin", b"http://testserver"))}, 200),
        ({"query": LONG}, 414),
        ({"headers": (*PLAIN, (b"content-length", b"101"))}, 413),
        ({"method": "OPTIONS"}, 418),
        ({"path": "/other"}, 418),
    ],
    ids=lambda value: str(value)[:100],
)
async def test_who_gets_in(spine: Spine, asked: dict[str, Any], status: int) -> None:
    """Tokens, under accepted hosts, for pages of our own; CORS and all other addresses are the lanes'."""
    async with spine.streams.answering("/f", three):
        got = await spine.ask(**asked)
    assert got.status == status
    if status not in (200, 418):
        assert json.loads(got.body)["status"] == status
        assert got.header("x-content-type-options") == "nosniff"
        assert spine.statistics.report().together.doors == {"refused": 1}
    assert got.header("allow") == ("GET" if status == 405 else None)
    assert got.header("www-authenticate") == ("Bearer" if status == 401 else None)


async def test_a_slash_at_the_end(spine: Spine) -> None:
    """Of an address that only this door has: 404 that names the one without, whoever asks; not under others' hosts,
    and nothing of addresses that views have or nobody.
    """
    async with (
        spine.streams.answering("/f", three),
        spine.streams.answering("/both", three, media_type=EVENT_STREAM),
        spine.streams.answering("/named/{name}", three),
    ):
        for asked in ({"path": "/f/"}, {"path": "/f//", "headers": (HOST,)}, {"path": "/f/", "method": "POST"}):
            got = await spine.ask(**asked)
            assert (got.status, json.loads(got.body)["type"]) == (404, "/problems/not-found")
            assert json.loads(got.body)["detail"].endswith("Leave out the slash at its end: /f")
        assert (await spine.ask("/f/", headers=(*PLAIN, BODY))).header("connection") == "close"
        assert (await spine.ask("/f/", headers=((b"host", b"evil.example"),))).status == 400
        beyond = ("/both/", "/named/x/", "/other/", "/")
        assert {(await spine.ask(path)).status for path in beyond} == {418}
        assert (await spine.ask("/f/", "OPTIONS")).status == 418
    assert (await spine.ask("/f/")).status == 418


async def test_a_refusal_with_a_body_closes(spine: Spine) -> None:
    """Nobody would read it."""
    async with spine.streams.answering("/f", three):
        assert (await spine.ask(headers=(HOST,))).header("connection") is None
        assert (await spine.ask(headers=(HOST, BODY))).header("connection") == "close"


async def test_everybody_where_details_are_for_all(settings: Any, spine: Spine) -> None:
    """As at every other door; a wrong token is refused there too, and one of another scheme is none."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.ALWAYS)
    spine.renew()
    async with spine.streams.answering("/f", three):
        assert (await spine.ask(headers=(HOST,))).status == 200
        assert (await spine.ask(headers=(HOST, (b"authorization", b"Basic eDp5")))).status == 200
        assert (await spine.ask(headers=(HOST, (b"authorization", b"Bearer wrong")))).status == 401


SCOPED = "a-scoped-token-of-the-tests"
SCOPED_BEARER = (HOST, (b"authorization", f"Bearer {SCOPED}".encode()))


def scoped(settings: Any, **options: Any) -> None:
    """A token with a scope is in force from now on."""
    token = ScopedToken(
        **{
            "name": "agents",
            "sha256": sha256(SCOPED.encode()).hexdigest(),
            "may": frozenset({Right.SEARCH}),
            "indices": ("logs-*",),
            "expires": None,
            **options,
        }
    )
    settings.ESASSISTANT = replace(settings.ESASSISTANT, scoped_tokens=(token,))


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ({}, 200, ""),
        ({"may": frozenset({Right.READ})}, 403, "agents has it not"),
        ({"expires": datetime(2020, 1, 1, tzinfo=UTC)}, 401, "(agents) has expired"),
    ],
)
async def test_tokens_with_a_scope(
    settings: Any, spine: Spine, options: dict[str, Any], status: int, says: str
) -> None:
    """One needs a right of the stream's, and to be in force; the source is told who asks."""
    scoped(settings, **options)
    callers: list[Caller] = []

    async def source(call: StreamCall) -> None:
        callers.append(call.caller)
        await call.begin()

    async with spine.streams.answering("/f", source, rights=(Right.SEARCH, Right.REFRESH)):
        got = await spine.ask(headers=SCOPED_BEARER)
    assert got.status == status
    assert [caller.patterns for caller in callers] == ([("logs-*",)] if status == 200 else [])
    if says:
        assert says in json.loads(got.body)["detail"]


@pytest.mark.parametrize("change", [{"indices": ("metrics-*",)}, {"sha256": "0" * 64}, {"may": frozenset()}])
async def test_a_token_that_changes(settings: Any, spine: Spine, change: dict[str, Any]) -> None:
    """A stream that was opened with it ends: whoever may go on opens another."""
    scoped(settings)
    endless, client = Endless(listens=True), Client()
    async with spine.streams.answering("/f", endless, rights=(Right.SEARCH,)):
        task = spine.begin(client, headers=list(SCOPED_BEARER))
        await endless.began.wait()
        await asyncio.sleep(0.05)
        assert not task.done()
        scoped(settings, **change)
        await asyncio.wait_for(task, 2)
    assert (client.is_whole, endless.cancelled) == (True, False)


async def test_pages_of_other_origins(settings: Any, spine: Spine) -> None:
    """Those that are configured may ask, and read the answer; where any host is accepted, else only the one asked."""
    settings.CORS_ALLOWED_ORIGINS = ["https://ui.example"]
    settings.ALLOWED_HOSTS = ["*"]
    spine.renew()
    async with spine.streams.answering("/f", three):
        got = await spine.ask(headers=(*PLAIN, (b"origin", b"https://ui.example")))
        own = await spine.ask(headers=(*PLAIN, (b"origin", b"https://testserver")))
        other = await spine.ask(headers=(*PLAIN, (b"origin", b"https://es.example")))
    assert (got.status, got.header("access-control-allow-origin")) == (200, "https://ui.example")
    assert got.header("vary") == "origin"
    assert "Retry-After" in (got.header("access-control-expose-headers") or "")
    assert (own.status, own.header("access-control-allow-origin"), own.header("vary")) == (200, None, "origin")
    assert other.status == 403


@pytest.mark.parametrize(("scheme", "status"), [("http", 418), ("https", 200)])
async def test_redirects_are_djangos(settings: Any, spine: Spine, scheme: str, status: int) -> None:
    """While plain HTTP is redirected only https is answered, with the header that says so."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 60
    spine.renew()
    async with spine.streams.answering("/f", three):
        got = await spine.ask(scheme=scheme)
    assert got.status == status
    assert got.header("strict-transport-security") == (None if status == 418 else "max-age=60")


async def test_other_protocols_go_on(spine: Spine) -> None:
    """The lifespan is nobody's here."""

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    await spine.app({"type": "lifespan"}, nothing, nothing)
    assert spine.types == ["lifespan"]


async def test_all_places_taken(spine: Spine) -> None:
    """One too many gets 503 with a time to wait, and is counted; a place that becomes free is given again."""
    spine.streams.limit = 1
    endless, client = Endless(), Client()
    async with spine.streams.answering("/f", endless):
        open_one = spine.begin(client)
        await endless.began.wait()
        got = await spine.ask()
        assert (got.status, got.header("retry-after"), spine.streams.report().shed_total) == (503, "5", 1)
        assert (await spine.ask(headers=(HOST,))).status == 401
        client.leave()
        await open_one
        assert spine.streams.report().open == 0


async def test_a_client_that_leaves(spine: Spine) -> None:
    """Its source is cancelled; nothing more is sent to it; amid its body none is begun."""
    endless, client = Endless(), Client()
    async with spine.streams.answering("/f", endless):
        task = spine.begin(client)
        await endless.began.wait()
        client.leave()
        await task
        assert (endless.cancelled, client.is_whole, client.aborted) == (True, False, False)
        early = Client()
        early.leave()
        await spine.app(Asked("/f", headers=(*PLAIN, BODY)).scope(), early.told.get, early.send)
        assert early.sent == []
    assert (spine.route.requests_total, spine.route.aborted_total) == (2, 1)


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("has_many", [True, False])
async def test_the_end_of_server_or_owner(spine: Spine, listens: bool, has_many: bool) -> None:
    """A source that listens has the last word, another is cancelled; for the client either is a whole answer."""
    endless, client = Endless(listens=listens), Client()
    async with spine.streams.answering("/f", endless):
        task = spine.begin(client)
        await endless.began.wait()
        if has_many:
            spine.streams.end()
            assert (await spine.ask()).status == 503
            await task
    await task
    assert (endless.cancelled, client.is_whole) == (not listens, True)
    assert (b"event: end\n\n" in [message.get("body") for message in client.sent]) == listens


async def test_an_end_before_the_answer(spine: Spine) -> None:
    """Who has not been answered is told to ask again, also while its body is still to come."""
    began = asyncio.Event()

    async def silent(_: StreamCall) -> None:
        began.set()
        await asyncio.Event().wait()

    client, sending = Client(), Client()
    async with spine.streams.answering("/f", silent):
        task = spine.begin(client)
        await began.wait()
        began.clear()
        late = asyncio.create_task(
            spine.app(Asked("/f", headers=(*PLAIN, BODY)).scope(), sending.told.get, sending.send)
        )
        await asyncio.sleep(0)
        spine.streams.end()
        sending.told.put_nowait({"type": "http.request", "body": b"body", "more_body": False})
        await asyncio.gather(task, late)
    assert (client.statuses, client.is_whole) == ([503], True)
    assert (sending.statuses, sending.is_whole, began.is_set()) == ([503], True, False)


@pytest.mark.parametrize("listens", [True, False])
async def test_a_client_that_takes_nothing(spine: Spine, listens: bool) -> None:
    """It is dropped when a write has waited too long, be it the source's or the door's own; and counted."""
    endless, client = Endless(listens=listens), Client()
    async with spine.streams.answering("/f", endless):
        task = spine.begin(client)
        await endless.began.wait()
        client.takes.clear()
        spine.streams.end()
        await task
    assert (client.aborted, spine.streams.report().stalled_total, spine.streams.report().open) == (True, 1, 0)


async def test_under_another_server(spine: Spine) -> None:
    """One that offers no way to drop a connection does so when the call returns."""
    client = Client()
    client.takes.clear()
    async with spine.streams.answering("/f", three):
        await asyncio.wait_for(spine.begin(client, **{ABORT: None}), 2)
    assert (client.sent, spine.streams.report().stalled_total) == ([], 1)


async def fails(_: StreamCall) -> None:
    raise ValueError("bug")


async def refuses(_: StreamCall) -> None:
    raise BadRequest("no good")


async def says_nothing(_: StreamCall) -> None:
    pass


@pytest.mark.parametrize(
    ("source", "status", "logged"), [(fails, 500, True), (refuses, 400, False), (says_nothing, 500, True)]
)
async def test_errors_before_the_answer(
    spine: Spine,
    caplog: pytest.LogCaptureFixture,
    source: Callable[[StreamCall], Awaitable[None]],
    status: int,
    logged: bool,
) -> None:
    """Our own are problems, others are bugs, and logged; an answer that isn't there is one."""
    async with spine.streams.answering("/f", source):
        got = await spine.ask(headers=(*PLAIN, (b"x-request-id", b"mine")))
    assert (got.status, json.loads(got.body)["request_id"], bool(caplog.records)) == (status, "mine", logged)
    assert b"bug" not in got.body


@pytest.mark.parametrize("is_whole", [True, False])
async def test_errors_amid_the_answer(spine: Spine, caplog: pytest.LogCaptureFixture, is_whole: bool) -> None:
    """They are logged, and the connection is dropped: what ends properly would look whole."""
    client = Client()

    async def breaks(call: StreamCall) -> None:
        await call.begin()
        await call.send({"type": "http.response.body", "body": b"x", "more_body": not is_whole})
        raise ValueError("bug")

    async with spine.streams.answering("/f", breaks):
        await spine.begin(client)
    assert (client.aborted, client.is_whole) == (not is_whole, is_whole)
    assert [record.getMessage() for record in caplog.records] == ["/f failed amid its answer"]


async def test_a_connection_that_stays_open_after_all(spine: Spine) -> None:
    """The door waits for its end, but not for long."""
    client = Client()

    async def breaks(call: StreamCall) -> None:
        await call.begin()
        raise ValueError("bug")

    async with spine.streams.answering("/f", breaks):
        await asyncio.wait_for(spine.begin(client, **{ABORT: lambda: None}), 2)
    assert spine.streams.report().open == 0


async def test_a_source_that_ends_itself(spine: Spine) -> None:
    """By a cancellation that nobody asked for: for its client it is an end."""
    client = Client()

    async def gives_up(call: StreamCall) -> None:
        await call.begin()
        raise asyncio.CancelledError

    async with spine.streams.answering("/f", gives_up):
        await spine.begin(client)
    assert client.is_whole


async def test_a_source_that_resists(spine: Spine, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the place is free; nobody waits for it."""
    client, began, goes_on = Client(), asyncio.Event(), asyncio.Event()

    async def resists(call: StreamCall) -> None:
        await call.begin()
        began.set()
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await goes_on.wait()

    async with spine.streams.answering("/f", resists):
        task = spine.begin(client)
        await began.wait()
        with caplog.at_level(logging.ERROR):
            client.leave()
            await task
    assert [record.getMessage() for record in caplog.records] == ["/f goes on although it was cancelled"]
    goes_on.set()
    await asyncio.sleep(0)


async def test_a_door_that_is_cancelled(spine: Spine) -> None:
    """The server cuts off what is under way: the source is cancelled too, and its place is free."""
    endless, client = Endless(), Client()
    async with spine.streams.answering("/f", endless):
        task = spine.begin(client)
        await endless.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (endless.cancelled, spine.streams.report().open) == (True, 0)
