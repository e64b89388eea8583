"""The hot path by itself: which source answers, and what goes on. The contract with Django's answers is held by
tests/integration/test_doors.py.
"""

import gzip
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.clock import monotonic
from esassistant.errors import ClusterUnavailable
from esassistant.http.answer import Answer
from esassistant.http.callers import ANYBODY, Caller
from esassistant.http.compression import compressed
from esassistant.http.counters import Counters
from esassistant.http.hot_path import HotPath, HotRoutes
from esassistant.http.statistics import HttpStatistics
from tests.support.asgi import Asked, Got, ask

HOST = (b"host", b"testserver")


class Spine:
    """A hot path over an application that answers everything with 418."""

    def __init__(self) -> None:
        self.routes = HotRoutes()
        self.statistics = HttpStatistics()
        self.app = HotPath(Counters(self._beyond, self.statistics, None), self.routes)
        self.types: list[str] = []

    async def _beyond(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.types.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"django"})

    async def get(self, path: str, **more: Any) -> Got:
        return await ask(self.app, Asked(path, **more))


@pytest.fixture
def spine() -> Spine:
    return Spine()


def answer(body: bytes = b"ready", **fields: Any) -> Answer:
    return Answer(body, "text/plain", **fields)


NAMES = st.text("ab/%.", max_size=4)


@given(NAMES, st.sampled_from(["", "/schema"]))
def test_names_are_one_segment(name: str, suffix: str) -> None:
    """A template's placeholder stands for one segment that is not empty; the longer template wins."""
    routes = HotRoutes()
    with (
        routes.answering("/m/{name}", lambda _name, _caller: None),
        routes.answering("/m/{name}/schema", lambda _name, _caller: None),
    ):
        found = routes.find(f"/m/{name}{suffix}")
    if name and "/" not in name:
        assert found is not None
        assert (found[0].template, found[1]) == (f"/m/{{name}}{suffix}", name)
    elif found is not None:
        assert "/" not in found[1]
        assert found[0].template.replace("{name}", found[1]) == f"/m/{name}{suffix}"


def test_a_route_is_there_as_long_as_its_owner() -> None:
    """At the end of the owner's block nothing answers its address any more."""
    routes = HotRoutes()
    with routes.answering("/a", lambda _name, _caller: None), routes.answering("/b/{name}", lambda *_: None):
        assert routes.find("/a")
        assert routes.find("/b/x")
    assert routes.find("/a") is None
    assert routes.find("/b/x") is None


async def test_a_hit(spine: Spine) -> None:
    """A source gets the name and who asks; its answer is given and counted under its template."""
    asked: list[tuple[str, Caller]] = []

    def source(name: str, caller: Caller) -> Answer:
        asked.append((name, caller))
        return answer(etag='"e"', made_at=monotonic() - 3.5)

    with spine.routes.answering("/m/{name}", source):
        got = await spine.get("/m/shop")
        unchanged = await spine.get("/m/shop", headers=(HOST, (b"if-none-match", b'W/"e"')))
        head = await spine.get("/m/shop", method="HEAD")
    assert asked == [("shop", ANYBODY)] * 3
    assert (got.status, got.body, got.header("age"), got.header("content-length")) == (200, b"ready", "3", "5")
    assert got.header("x-content-type-options") == "nosniff"
    assert (unchanged.status, unchanged.body, unchanged.header("content-length")) == (304, b"", None)
    assert (head.status, head.body, head.header("content-length")) == (200, b"", "5")
    found = spine.statistics.report().routes["/m/{name}"]
    assert (found.requests_total, found.doors, found.sent_bytes_total) == (3, {"hot": 3}, 5)


async def test_without_an_answer_it_goes_on(spine: Spine) -> None:
    """A source that has nothing ready leaves the request to Django."""
    with spine.routes.answering("/a", lambda _name, _caller: None):
        assert (await spine.get("/a")).status == 418
        assert (await spine.get("/other")).status == 418


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (((b"accept", b"*/*"), (b"user-agent", b"x"), (b"accept", b"text/html")), 200),
        (((b"cookie", b"a=b"), (b"accept-encoding", b"br")), 200),
        (((b"cookie", b"a=b"), (b"cookie", b"c=d")), 418),
        (((b"cookie", b"a=b; sessionid=x"),), 418),
        (((b"origin", b"https://x.example"),), 418),
        (((b"content-length", b"0"),), 418),
    ],
)
async def test_which_headers_go_on(spine: Spine, headers: tuple[tuple[bytes, bytes], ...], status: int) -> None:
    """A session, CORS, a body, and one of the headers that decide sent twice are Django's; all others are in nobody's
    way, however often they come.
    """
    with spine.routes.answering("/a", lambda _name, _caller: answer()):
        assert (await spine.get("/a", headers=(HOST, *headers))).status == status


@pytest.mark.parametrize(("error", "logged"), [(ClusterUnavailable("away"), False), (ValueError("bug"), True)])
async def test_a_source_that_fails(
    spine: Spine, caplog: pytest.LogCaptureFixture, error: Exception, logged: bool
) -> None:
    """An error of ours is the view's to tell; any other is logged, and the request goes on all the same."""

    def source(_name: str, _caller: Caller) -> Answer:
        raise error

    with caplog.at_level(logging.ERROR), spine.routes.answering("/a", source):
        assert (await spine.get("/a")).status == 418
    assert ("/a failed" in caplog.text) == logged


@pytest.mark.parametrize("more", [{"root_path": "/app"}, {"type": "websocket"}])
async def test_what_is_not_its_business(spine: Spine, more: dict[str, Any]) -> None:
    """Under a mount point, and for other protocols, everything goes on."""
    nothing: Any = None

    async def send(_: Any) -> None:
        pass

    with spine.routes.answering("/a", lambda _name, _caller: answer()):
        await spine.app({**Asked("/a").scope(), **more}, nothing, send)
    assert spine.types == [more.get("type", "http")]


async def test_probes_answer_anybody(spine: Spine, settings: Any) -> None:
    """A probe is answered under any Host or none, with any token, and over plain HTTP while that is redirected."""
    settings.SECURE_SSL_REDIRECT = True
    spine.app = HotPath(Counters(spine._beyond, spine.statistics, None), spine.routes)
    with (
        spine.routes.probing("/probe", lambda _verbose: answer()),
        spine.routes.answering("/a", lambda _name, _caller: answer()),
    ):
        for headers in ((), ((b"host", b"evil"),), (HOST, (b"authorization", b"Bearer wrong"))):
            assert (await spine.get("/probe", headers=headers)).status == 200
        assert (await spine.get("/a")).status == 418
        assert (await spine.get("/a", scheme="https")).status == 200


def test_what_is_a_probe() -> None:
    """A path is a probe's while one is registered there as such."""
    routes = HotRoutes()
    with (
        routes.probing("/livez", lambda _verbose: None),
        routes.answering("/a", lambda _name, _caller: None),
    ):
        assert [routes.is_probe(path) for path in ("/livez", "/a", "/b")] == [True, False, False]
    assert not routes.is_probe("/livez")


@pytest.mark.parametrize(
    ("more", "verbose"),
    [
        ({"query": b"x=1"}, False),
        ({"query": b"verbose"}, True),
        ({"query": b"a=b&verbose=1"}, True),
        ({"headers": ((b"cookie", b"sessionid=x"), (b"origin", b"https://x.example"))}, False),
        ({"headers": ((b"authorization", b"Basic x"),)}, False),
    ],
)
async def test_a_probe_is_answered_whatever_comes_with_it(spine: Spine, more: dict[str, Any], verbose: bool) -> None:
    """Strangers who take all places elsewhere are not in its way; its source hears whether conditions are asked for."""
    asked: list[bool] = []

    def source(verbose: bool) -> Answer:
        asked.append(verbose)
        return answer()

    with spine.routes.probing("/livez", source):
        got = await spine.get("/livez", **more)
    assert (got.status, asked, got.header("connection")) == (200, [verbose], None)


@pytest.mark.parametrize("query", [b"x" * 1001, b"\xff"])
async def test_odd_queries_of_probes_go_on(spine: Spine, query: bytes) -> None:
    """What is too long, or no text, is refused by Django's side."""
    with spine.routes.probing("/livez", lambda _verbose: answer()):
        assert (await spine.get("/livez", query=query)).status == 418


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        (((b"content-length", b"0"),), None),
        (((b"content-length", b"5"),), "close"),
        (((b"transfer-encoding", b"chunked"),), "close"),
    ],
)
async def test_nobody_reads_the_body_of_a_probe(
    spine: Spine, headers: tuple[tuple[bytes, bytes], ...], closes: str | None
) -> None:
    """It is answered at once, and its connection is closed."""
    with spine.routes.probing("/livez", lambda _verbose: answer()):
        got = await spine.get("/livez", headers=headers)
    assert (got.status, got.header("connection")) == (200, closes)


async def test_headers_of_a_probe_that_come_twice(spine: Spine) -> None:
    """Of two request ids none is believed; two lists of ETags are one."""
    with spine.routes.probing("/livez", lambda _verbose: answer(etag='"e"')):
        ids = await spine.get("/livez", headers=((b"x-request-id", b"a"), (b"x-request-id", b"b")))
        etags = await spine.get("/livez", headers=((b"if-none-match", b'"x"'), (b"if-none-match", b'"e"')))
    assert ids.header("x-request-id") not in ("a", "b", "")
    assert etags.status == 304


LONG = b'{"a":"0123456789"}' * 100
GZIP = (b"accept-encoding", b"gzip")


async def test_compressed(spine: Spine) -> None:
    """Who prefers gzip gets it with its length, coding and own ETag, 304 by that ETag alone; everybody is told that it
    depends on what is accepted. What is sent is counted.
    """
    with spine.routes.answering("/a", lambda _name, _caller: answer(LONG, etag='"e"')):
        small = await spine.get("/a", headers=(HOST, GZIP))
        plain = await spine.get("/a", headers=(HOST, (b"accept-encoding", b"gzip;q=0.5, identity")))
        head = await spine.get("/a", method="HEAD", headers=(HOST, GZIP))
        statuses = [
            (await spine.get("/a", headers=(HOST, *more, (b"if-none-match", etag)))).status
            for more, etag in (((GZIP,), b'"e-gzip"'), ((GZIP,), b'"e"'), ((), b'"e-gzip"'), ((), b'"e"'))
        ]
    assert gzip.decompress(small.body) == plain.body == LONG
    assert (small.header("content-encoding"), small.header("etag")) == ("gzip", '"e-gzip"')
    assert small.header("content-length") == head.header("content-length") == str(len(small.body))
    assert (plain.header("content-encoding"), plain.header("etag")) == (None, '"e"')
    assert small.header("vary") == plain.header("vary") == "Accept-Encoding"
    assert head.body == b""
    assert statuses == [304, 200, 200, 304]
    assert spine.statistics.report().routes["/a"].sent_bytes_total == 2 * len(small.body) + 2 * len(LONG)


async def test_a_small_answer_does_not_vary(spine: Spine) -> None:
    """Whatever is accepted, it comes as it is."""
    with spine.routes.answering("/a", lambda _name, _caller: answer(etag='"e"')):
        got = await spine.get("/a", headers=(HOST, GZIP))
    assert (got.body, got.header("vary"), got.header("etag")) == (b"ready", None, '"e"')


async def test_a_large_answer_is_compressed_elsewhere(spine: Spine) -> None:
    """The first who wants it compressed goes on to Django; 304 needs no compressing; once it was made, it is hot."""
    large = b"0123456789abcdef" * 10_000
    with spine.routes.answering("/a", lambda _name, _caller: answer(large, etag='"large"')):
        assert (await spine.get("/a", headers=(HOST, GZIP))).status == 418
        assert (await spine.get("/a", headers=(HOST, GZIP, (b"if-none-match", b'"large-gzip"')))).status == 304
        await compressed.get(large, '"large"')
        got = await spine.get("/a", headers=(HOST, GZIP))
    assert (got.status, gzip.decompress(got.body)) == (200, large)


async def test_origins_and_codings_are_one_header(spine: Spine, settings: Any) -> None:
    """With other origins allowed, all but probes depend on the origin too."""
    settings.CORS_ALLOWED_ORIGINS = ["https://ui.example"]
    spine.app = HotPath(Counters(spine._beyond, spine.statistics, None), spine.routes)
    with (
        spine.routes.answering("/long", lambda _name, _caller: answer(LONG)),
        spine.routes.answering("/short", lambda _name, _caller: answer()),
        spine.routes.probing("/probe", lambda _verbose: answer(LONG)),
    ):
        found = [(await spine.get(path)).header("vary") for path in ("/long", "/short", "/probe")]
    assert found == ["Accept-Encoding, origin", "origin", "Accept-Encoding"]


async def test_a_probe_with_several_codings(spine: Spine) -> None:
    """Of a probe all headers count; of anything else that comes twice Django says what it means."""
    twice = ((b"accept-encoding", b"br"), GZIP)
    with (
        spine.routes.probing("/probe", lambda _verbose: answer(LONG)),
        spine.routes.answering("/a", lambda _name, _caller: answer(LONG)),
    ):
        assert (await spine.get("/probe", headers=(HOST, *twice))).header("content-encoding") == "gzip"
        assert (await spine.get("/a", headers=(HOST, *twice))).status == 418


@pytest.mark.parametrize(
    "more",
    [
        {"query": b"x=1"},
        {"headers": (HOST, (b"content-length", b"0"))},
        {"headers": (HOST, (b"origin", b"https://x.example"))},
        {"headers": (HOST, (b"cookie", b"a=b; sessionid=x"))},
        {"headers": (HOST, (b"authorization", b"Bearer wrong"))},
        {"headers": (HOST, (b"authorization", b"Basic eDp5"))},
    ],
)
async def test_what_django_has_to_look_at(spine: Spine, more: dict[str, Any]) -> None:
    """A query, a body, an origin, a session and credentials that aren't a token of ours are never answered from
    memory; a request without them is.
    """
    with spine.routes.answering("/a", lambda _name, _caller: answer()):
        assert (await spine.get("/a", **more)).status == 418
        assert (await spine.get("/a", headers=(HOST, (b"cookie", b"theme=dark")))).status == 200
