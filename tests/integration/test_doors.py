"""The doors to one answer: whether the hot path, the fast lane or stock Django answers, the answer is the same."""

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.asgi import new_application
from esassistant.asgi_types import ASGIApp
from esassistant.config.model import Details
from esassistant.http.counters import Counters
from esassistant.http.hot_path import hot_routes
from esassistant.http.lanes import StockLane
from esassistant.http.limits import InFlight, RequestLimits, RequestReader
from esassistant.http.statistics import HttpStatistics, http_statistics
from tests.support.asgi import Asked, Got, ask
from tests.support.fixtures import OpenApp
from tests.support.settings import allow_origins

ETAG = b"{etag}"
"""Stands for the ETag that the address has at the time."""
GZIP_ETAG = b"{gzip-etag}"
"""Stands for the ETag of the same, compressed."""
SESSION = b"sessionid={session}"
"""A cookie; stands for that of somebody from the staff who is logged in."""
HOST = (b"host", b"testserver")
BEARER = (b"authorization", f"Bearer {TOKEN}".encode())
HOT = (
    "/livez",
    "/readyz",
    "/api/health",
    "/api/cache/stats",
    "/api/mappings/shop",
    "/api/mappings/both",
    "/api/mappings/shop/schema",
    "/api/mappings/shop/fields",
    "/api/mappings/wide",
    "/api/mappings/wide/schema",
    "/api/mappings/wide/fields",
    "/api/mappings/all/fields",
    "/api/mappings/shop,orders",
    "/api/mappings/rolled-*,-rolled-3",
    "/api/mappings/*/fields",
    "/api/mappings/s*,wide/schema",
    "/api/indices",
)
OTHERS = (
    "/api/mappings/absent",
    "/api/mappings/",
    "/api/mappings//schema",
    "/api/mappings/schema",
    "/api/mappings/a/b",
    "/api/mappings/a,b",
    "/api/mappings/..",
    "/api/mappings/shop,absent",
    "/api/mappings/none-*",
    "/api/mappings/-shop,shop*",
    "/api/mappings/shop,..",
    "/api/mappings/shop,<a-{now/d}>/fields",
    "/api/mappings/*:*",
    "/api/mappings/UPPER",
    "/api/mappings/_all/schema",
    "/api/mappings/shop\n",
    "/api/mappings/shöp",
    "/api/mappings/absent/fields",
    "/api/mappings/shop/nothing",
    "/api/openapi.json",
    "/api/cache/refresh",
    "/api/cache/refresh/unknown",
    "/api/health/",
    "//api/health",
    "/livez/",
    "/api/nothing",
    "/api/",
)
PROBES = ("/livez", "/readyz")
MOVING = ("/api/cache/stats", "/api/indices")
"""Their numbers and ages go on between two doors."""
SEARCH = "/api/indices/shop/search"
SEARCHES = (SEARCH,) * 8 + (
    "/api/indices/both/search",
    "/api/indices/absent/search",
    "/api/indices/a,b/search",
    "/api/indices/shop,orders/search",
    "/api/indices/s*,rolled-*,-rolled-1/search",
    "/api/indices/shop,absent/search",
    "/api/indices/none-*/search",
    "/api/indices/shop,../search",
    "/api/indices/a/b/search",
    "/api/indices//search",
    "/api/indices/shop\n/search",
    "/api/indices/UPPER/search",
    "/api/indices/shöp/search",
    "/api/indices/shop/search/",
)
BODIES = (
    *(b'{"query":{"match_all":{}},"size":1}',) * 4,
    *(b"", b"{}", b"[]", b"{", b'{"size":-1}', b'{"scroll":"1m"}', b"\xff", b'{"query":{"no_such":{}}}'),
    *(b'{"query":{"script":{"script":"1"}}}', b'{"query":{"terms":{"name":{"index":"gone","id":"1","path":"a"}}}}'),
    *(b'{"size":1,"size":1}', b" " * 70_000),
)


HEADERS: tuple[tuple[bytes, bytes], ...] = (
    *((b"host", value) for value in (b"testserver:80", b"evil.example", b"bad host!", b"")),
    *((b"authorization", BEARER[1].replace(b"B", change)) for change in (b"B", b"b")),
    *((b"authorization", value) for value in (b"Bearer wrong", b"Basic eDp5", b"Bearer", b"")),
    *((b"cookie", value) for value in (b"a=b", b"sessionid=forged", SESSION, b"a=b; " + SESSION)),
    *((b"cookie", value) for value in (b"xsessionid=1", b'a="sessionid=1"', b"csrftoken=x")),
    *((b"if-none-match", value) for value in (ETAG, b"W/" + ETAG, b'"x", ' + ETAG, b"*", b'"x"', b"\xff")),
    *((b"origin", value) for value in (b"https://ui.example", b"https://evil.example")),
    *((b"x-request-id", value) for value in (b"given-1", b"not harmless\x7f")),
    (b"content-length", b"0"),
    (b"x-forwarded-proto", b"https"),
    *((b"accept", value) for value in (b"*/*", b"text/html", b"application/json")),
    *((b"accept-encoding", value) for value in (b"gzip, br", b"gzip;q=0", b"gzip;q=0.5, identity;q=0.8", b"*")),
    (b"if-none-match", GZIP_ETAG),
)
"""What a client, a proxy or an attacker may add to a request."""


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    """Requests, most of them such that they are answered from memory but for one or two things."""
    added = draw(st.lists(st.sampled_from(HEADERS), max_size=3))
    named = {name for name, _ in added}
    # A second one of a name is another thing that may be added: one in ten.
    doubled = draw(st.integers(0, 9)) == 0
    headers = [pair for pair in (HOST,) if doubled or pair[0] not in named] + added
    if not doubled:
        headers = list({name: (name, value) for name, value in headers}.values())
    if draw(st.integers(0, 19)) == 0:
        headers = [pair for pair in headers if pair[0] != b"host"]
    return Asked(
        path=draw(st.sampled_from(HOT)) if draw(st.integers(0, 3)) else draw(st.sampled_from(OTHERS)),
        method=draw(st.sampled_from(("GET",) * 12 + ("HEAD", "HEAD", "POST", "OPTIONS", "DELETE"))),
        query=draw(st.sampled_from((b"",) * 16 + (b"verbose", b"limit=1", b"a=%ff", b"\xff"))),
        headers=tuple(draw(st.permutations(headers))),
        scheme=draw(st.sampled_from(("http", "https"))),
    )


@st.composite
def searches(draw: st.DrawFn) -> Asked:
    """Searches, most of them with a token, such that they take the direct path but for one or two things."""
    added = draw(st.lists(st.sampled_from(HEADERS), max_size=2))
    body = draw(st.sampled_from(BODIES))
    headers = {name: (name, value) for name, value in (HOST, BEARER, *added)}
    headers[b"content-length"] = (b"content-length", b"%d" % len(body))
    doubled = [BEARER] if draw(st.integers(0, 9)) == 0 else []
    return Asked(
        path=draw(st.sampled_from(SEARCHES)),
        method=draw(st.sampled_from(("POST",) * 8 + ("GET", "OPTIONS"))),
        query=draw(st.sampled_from((b"",) * 8 + (b"a=1", b"\xff"))),
        headers=tuple(draw(st.permutations([*headers.values(), *doubled]))),
        scheme=draw(st.sampled_from(("http", "https"))),
        body=body,
    )


@dataclass(frozen=True)
class Doors:
    """One open registry behind three applications: with everything, without the hot path, and Django as it comes."""

    hot: ASGIApp
    fast: ASGIApp
    stock: ASGIApp
    session: bytes

    async def answers(self, asked: Asked) -> tuple[Got, Got, Got]:
        etags = {ETAG: b"none", GZIP_ETAG: b"none"}
        for placeholder, accepted in ((ETAG, b"identity"), (GZIP_ETAG, b"gzip")):
            if any(placeholder in value for _, value in asked.headers):
                plain = (HOST, BEARER, (b"accept-encoding", accepted))
                known = await ask(self.stock, Asked(asked.path, headers=plain, scheme="https"))
                etags[placeholder] = (known.header("etag") or "none").encode()
        values = {**etags, b"{session}": self.session}
        headers = (
            (name, reduce(lambda text, pair: text.replace(*pair), values.items(), value))
            for name, value in asked.headers
        )
        asked = replace(asked, headers=tuple(headers))
        return await ask(self.hot, asked), await ask(self.fast, asked), await ask(self.stock, asked)


def hot_total() -> int:
    """How many requests the hot path has answered."""
    return http_statistics.report().together.doors.get("hot", 0)


def direct_total() -> int:
    """How many requests the direct path has answered."""
    return http_statistics.report().together.doors.get("direct", 0)


WAYS: dict[str, dict[str, Any]] = {
    "details for all": {},
    "details for the authorized": {"details": Details.AUTHORIZED},
    "other origins": {"origins": ("https://ui.example",)},
    "https": {"https": True},
}


@pytest.fixture(params=WAYS, ids=lambda name: name.replace(" ", "-"))
async def doors(
    request: pytest.FixtureRequest,
    settings: Settings,
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
) -> AsyncIterator[Doors]:
    """The doors in one of the ways that this service can be set."""
    way = dict(WAYS[request.param])
    if origins := way.pop("origins", ()):
        allow_origins(settings, *origins)
    cluster.indices.create(index="shop", mappings={"properties": {"name": {"type": "text"}}}, aliases={"both": {}})
    cluster.indices.create(index="orders", mappings={"properties": {"at": {"type": "date"}}}, aliases={"both": {}})
    wide = {"properties": {f"field_{number}": {"type": "keyword"} for number in range(60)}}
    cluster.indices.create(index="wide", mappings=wide, aliases={"all": {}})
    for number in range(5):
        cluster.indices.create(index=f"rolled-{number}", mappings=wide, aliases={"all": {}})
    if way.pop("https", False):
        settings.SECURE_SSL_REDIRECT = True
        settings.SECURE_HSTS_SECONDS = 3600
    settings.ESASSISTANT = replace(settings.ESASSISTANT, **way)
    async with open_app(node.url) as http:
        for name in ("shop", "wide", "all", "*", "s*,wide"):
            for view in ("schema", "fields"):
                address = f"https://testserver/api/mappings/{name}/{view}"
                await http.get(address, headers={"Authorization": f"Bearer {TOKEN}"})
        hot = new_application()
        settings.ESASSISTANT = replace(settings.ESASSISTANT, hot_path=False)
        fast = new_application()
        largest, in_flight = django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE, InFlight(100, 100)
        stock = RequestLimits(StockLane(), RequestReader(largest, in_flight), in_flight, hot_routes.is_probe)  # type: ignore[arg-type]
        user = await get_user_model().objects.acreate_user("ada", "ada@example.org", "a long password", is_staff=True)
        browser = AsyncClient()
        await browser.aforce_login(user)
        session = browser.cookies[settings.SESSION_COOKIE_NAME].value.encode()
        yield Doors(hot, fast, Counters(stock, HttpStatistics(), None), session)


def comparable(asked: Asked, got: Got) -> tuple[int, list[tuple[bytes, bytes]], object]:
    """An answer without what differs from request to request by its nature."""
    # Django makes a new CSRF token for each answer to a bad one.
    headers = [(name, value.split(b"=")[0] if name == b"set-cookie" else value) for name, value in got.headers]
    if any(cookie in value for _, value in asked.headers for cookie in (b"sessionid", b"csrftoken")):
        # Cookies of the admin: only the stock lane looks at them, and replaces what is no good.
        headers = [pair for pair in headers if pair[0] not in (b"set-cookie", b"vary")]
    request_id = got.header("x-request-id")
    assert request_id
    if request_id != "given-1":
        headers.remove((b"x-request-id", request_id.encode()))
    body: object = got.body
    if asked.method == "HEAD":
        body = None  # no server sends one, whatever the application does
    elif got.header("content-type") in ("application/problem+json", "application/json") and got.body:
        coded = got.header("content-encoding") == "gzip"
        body = json.loads(gzip.decompress(got.body) if coded else got.body)
        assert got.status == 304 or int(got.header("content-length") or -1) == len(got.body)
    if isinstance(body, dict) and "request_id" in body:
        assert body.pop("request_id") == request_id
    passing = (
        {"took"} if got.status < 400 else {"age_seconds"}
    )  # times of the search, and of what says that nothing is there
    if isinstance(body, dict) and passing & body.keys():
        body = {name: value for name, value in body.items() if name not in passing}
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    if asked.path in MOVING and got.status == 200:
        body = sorted(body) if isinstance(body, dict) else body
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    return got.status, headers, body


@given(asked=requests())
@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
async def test_the_doors_give_one_answer(doors: Doors, asked: Asked) -> None:
    """Status, headers and body are the same through every door, whatever is asked; and what Django refuses is never
    answered from memory.
    """
    before = hot_total()
    hot, fast, stock = await doors.answers(asked)
    # Between two doors the report was renewed, or a second went by.
    if any(hot.header(name) != stock.header(name) for name in ("etag", "age")):
        hot, fast, stock = await doors.answers(asked)
    expected = comparable(asked, stock)
    assert comparable(asked, fast) == expected
    assert comparable(asked, hot) == expected
    if stock.status >= 300 and stock.status != 304:
        assert hot_total() == before


@given(asked=searches())
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
async def test_the_doors_search_alike(doors: Doors, asked: Asked) -> None:
    """Status, headers and body of a search are the same through every door, refusals and Elasticsearch's included; who
    has no token never takes the direct path.
    """
    before = direct_total()
    hot, fast, stock = await doors.answers(asked)
    expected = comparable(asked, stock)
    assert comparable(asked, fast) == expected
    assert comparable(asked, hot) == expected
    if stock.status in (401, 403, 405):
        assert direct_total() == before


@pytest.mark.parametrize("doors", ["details for all"], indirect=True)
async def test_searches_take_the_direct_path(doors: Doors) -> None:
    """With a token, whatever harmless cookie or length there is; not with a query, a session or another origin, and not
    where the hot path is off.
    """
    plain = (HOST, BEARER, (b"cookie", b"theme=dark"))

    async def is_direct(app: ASGIApp, asked: Asked) -> bool:
        before = direct_total()
        assert (await ask(app, asked)).status == 200
        return direct_total() > before

    asked = Asked(SEARCH, "POST", headers=plain)
    assert await is_direct(doors.hot, asked)
    assert await is_direct(doors.hot, replace(asked, headers=(*plain, (b"content-length", b"2")), body=b"{}"))
    assert not await is_direct(doors.hot, replace(asked, query=b"validate=off"))
    assert not await is_direct(doors.hot, replace(asked, headers=(HOST, BEARER, (b"cookie", b"sessionid=x"))))
    assert not await is_direct(doors.hot, replace(asked, headers=(*plain, (b"origin", b"https://x.example"))))
    assert not await is_direct(doors.fast, asked)


@pytest.mark.parametrize("doors", ["details for all"], indirect=True)
@pytest.mark.parametrize("path", HOT)
async def test_what_is_ready_is_answered_hot(doors: Doors, path: str) -> None:
    """Each of its addresses is answered without Django for GET and HEAD, with any harmless cookie, and as 304; not with
    a query, a session, another method, a wrong token or a body. A probe is answered whatever comes with it.
    """
    is_probe = path in PROBES
    plain = (HOST, (b"accept", b"*/*"), (b"cookie", b"theme=dark"))
    etag = (await ask(doors.hot, Asked(path, headers=plain))).header("etag")
    unchanged = () if etag is None else ((b"if-none-match", etag.encode()),)

    async def answered(asked: Asked) -> bool:
        before = hot_total()
        await ask(doors.hot, asked)
        return hot_total() > before

    assert await answered(Asked(path, headers=plain))
    assert await answered(Asked(path, "HEAD", headers=plain))
    assert await answered(Asked(path, headers=(*plain, *unchanged)))
    assert await answered(Asked(path, headers=(*plain, BEARER)))
    assert not await answered(Asked(path, "POST"))
    assert await answered(Asked(path, query=b"a=1")) == is_probe
    assert await answered(Asked(path, headers=(*plain, (b"cookie", b"sessionid=x")))) == is_probe
    assert await answered(Asked(path, headers=(*plain, (b"content-length", b"0")))) == is_probe
    assert await answered(Asked(path, headers=((b"host", b"evil.example"),))) == is_probe
    assert await answered(Asked(path, headers=(HOST, (b"authorization", b"Bearer wrong")))) == is_probe
    assert await answered(Asked(path, headers=(HOST, (b"origin", b"https://x.example")))) == is_probe


@pytest.mark.parametrize("doors", ["details for the authorized"], indirect=True)
async def test_details_are_for_token_holders(doors: Doors) -> None:
    """Where details are for the authorized, memory answers a token's holder in full, anybody with totals, and nobody
    else with mappings; a staff session is Django's to judge.
    """
    before = hot_total()
    full = await ask(doors.hot, Asked("/api/health", headers=(HOST, BEARER)))
    totals = await ask(doors.hot, Asked("/api/health"))
    assert "services" in json.loads(full.body)
    assert "services" not in json.loads(totals.body)
    assert (await ask(doors.hot, Asked("/api/mappings/shop", headers=(HOST, BEARER)))).status == 200
    assert hot_total() == before + 3
    assert (await ask(doors.hot, Asked("/api/mappings/shop"))).status == 401
    staff = (HOST, (b"cookie", SESSION.replace(b"{session}", doors.session)))
    assert "services" in json.loads((await ask(doors.hot, Asked("/api/health", headers=staff))).body)
    assert (await ask(doors.hot, Asked("/api/mappings/shop", headers=staff))).status == 200
    assert hot_total() == before + 3


COMPRESSED = ("/api/mappings/wide", "/api/mappings/wide/fields", "/api/mappings/wide/schema", "/api/indices")


@pytest.mark.parametrize("doors", ["details for all", "other origins"], indirect=True)
@pytest.mark.parametrize("path", COMPRESSED)
async def test_each_door_compresses_the_same(doors: Doors, path: str) -> None:
    """Who prefers gzip gets the same bytes through every door, which unpack to what others get; with an ETag of its
    own, which is unchanged only for who prefers gzip. The hot path compresses what is small itself.
    """
    gzipped = (HOST, (b"accept-encoding", b"gzip, deflate"))
    before = hot_total()
    hot, fast, stock = await doors.answers(Asked(path, headers=gzipped))
    plain = await ask(doors.hot, Asked(path, headers=(HOST,)))
    assert hot_total() == before + 2
    for got in (hot, fast, stock):
        assert (got.status, got.header("content-encoding")) == (200, "gzip")
        assert (got.header("vary") or "").startswith("Accept-Encoding")
        assert got.header("content-length") == str(len(got.body))
        assert len(got.body) < len(plain.body) / 3
    assert plain.header("vary") == hot.header("vary")
    if path in MOVING:
        assert json.loads(gzip.decompress(hot.body)).keys() == json.loads(plain.body).keys()
        return
    assert {hot.body, fast.body, stock.body} == {hot.body}
    assert gzip.decompress(hot.body) == plain.body
    etag, plain_etag = (got.header("etag") or "" for got in (hot, plain))
    assert etag == f'{plain_etag[:-1]}-gzip"'
    for held, statuses in ((etag, (304, 200)), (plain_etag, (200, 304))):
        condition = (b"if-none-match", held.encode())
        for headers, status in zip(((*gzipped, condition), (HOST, condition)), statuses, strict=True):
            got_all = await doors.answers(Asked(path, headers=headers))
            assert [got.status for got in got_all] == [status] * 3


@pytest.mark.parametrize("doors", ["details for all"], indirect=True)
async def test_pages_with_a_token_are_not_compressed(doors: Doors) -> None:
    """The login has a CSRF token: who can make a browser send words of his own must not learn it from the length. A
    page without one is compressed.
    """
    gzipped = (HOST, (b"accept-encoding", b"gzip"), (b"accept", b"text/html"))
    login = await ask(doors.hot, Asked("/admin/login/", headers=gzipped))
    assert (login.status, login.header("content-encoding")) == (200, None)
    assert b"csrfmiddlewaretoken" in login.body
    page = await ask(doors.hot, Asked("/browse/", headers=gzipped))
    assert (page.status, page.header("content-encoding")) == (200, "gzip")
    assert b"csrf" not in gzip.decompress(page.body)


@pytest.mark.parametrize("doors", ["details for all"], indirect=True)
async def test_equal_mappings_are_sent_once(doors: Doors) -> None:
    """With `group=mapping` an alias of six equal indices has their mapping once, with all their names."""
    fast, stock = [
        await ask(door, Asked("/api/mappings/all", query=b"group=mapping")) for door in (doors.hot, doors.stock)
    ]
    plain = json.loads((await ask(doors.hot, Asked("/api/mappings/all"))).body)
    assert (fast.status, fast.body) == (200, stock.body)
    [group] = json.loads(fast.body)["groups"]
    assert {index: {"mappings": group["mappings"]} for index in group["indices"]} == plain
    assert len(plain) == 6
    refused = await ask(doors.hot, Asked("/api/mappings/all", query=b"group=x"))
    assert refused.status == 400
