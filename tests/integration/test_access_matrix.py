"""Every address, for every kind of caller, by every door, with the cluster up and down, and names in and out of the
scope.

`pytest -s tests/integration/test_access_matrix.py` prints the matrix.
"""

import asyncio
import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch
from pytest_django import Settings

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.asgi import new_application
from esassistant.asgi_types import ASGIApp, Message
from esassistant.config.model import Details
from esassistant.http.counters import Counters
from esassistant.http.hot_path import hot_routes
from esassistant.http.lanes import StockLane
from esassistant.http.limits import InFlight, RequestLimits, RequestReader
from esassistant.http.statistics import HttpStatistics, http_statistics
from tests.support.access import (
    FOREIGN,
    FOREIGN_ALIAS,
    FOREIGN_UPPER,
    HOLDERS,
    KNOWN,
    MARK,
    MISSING,
    NOBODYS,
    ROWS,
    SCOPED_TOKENS,
    SHARED,
    Holder,
    Kind,
    Row,
    expected,
    referring,
    templates,
)
from tests.support.asgi import Asked, Got, Headers, ask, never
from tests.support.fixtures import OpenApp

HOST = (b"host", b"testserver")
CSRF = "c" * 32
FOREIGN_CALLS = "(?i)vault|other-keys"
[SCOPED] = [holder for holder in HOLDERS if holder.scoped]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "HEAD": {"method": "HEAD"},
    "gzip": {"headers": ((b"accept-encoding", b"gzip"),)},
    "conditional": {"headers": ((b"if-none-match", b"*"),)},
    "text": {"headers": ((b"accept", b"text/plain, text/html;q=0.9"),)},
}


def test_every_address_is_in_the_matrix() -> None:
    """A new address needs a row: who may reach it, and what of it."""
    probes = {"/livez", "/readyz"}
    assert {row.template for row in ROWS} - probes == set(templates())


@dataclass(frozen=True)
class World:
    """One open registry behind the doors, and the proxy that stands before the node."""

    doors: dict[str, ASGIApp]
    proxy: FaultProxy
    session: str

    def headers(self, holder: Holder) -> Headers:
        """What a caller sends with each request."""
        if holder.staff:
            cookies = f"{django_settings.SESSION_COOKIE_NAME}={self.session}; csrftoken={CSRF}"
            return (HOST, (b"cookie", cookies.encode()), (b"x-csrftoken", CSRF.encode()))
        return (HOST, (b"authorization", f"Bearer {holder.token}".encode())) if holder.token else (HOST,)

    async def ask(self, door: str, row: Row, holder: Holder, name: str, **more: Any) -> Got:
        path = (row.path or row.template).replace("{name}", name)
        headers = (*self.headers(holder), *more.pop("headers", ()))
        query = row.query.replace("{name}", quote(name)).encode()
        return await ask(
            self.doors[door],
            Asked(path, **{"method": row.method, "query": query, "body": row.body, "headers": headers, **more}),
        )


@pytest.fixture
async def world(settings: Settings, node: Node, cluster: Elasticsearch, open_app: OpenApp) -> AsyncIterator[World]:
    """The names of the matrix on a real node, the scoped tokens in force, and details for known callers alone."""
    vaulted = {"properties": {"vaulted": {"type": "keyword"}, "vaulted_at": {"type": "date"}}}
    logged = {"properties": {"logged": {"type": "keyword"}}}
    shared = {"properties": {"shared": {"type": "long"}}}
    aliases: dict[str, Any] = {"logs-alias": {}, FOREIGN_ALIAS: {}, FOREIGN_UPPER: {}}
    cluster.indices.create(index=KNOWN, mappings=logged, aliases=aliases)
    cluster.indices.create(index=FOREIGN, mappings=vaulted)
    cluster.indices.create(index=SHARED, mappings=shared, aliases={"logs-alias": {}})
    cluster.index(index=KNOWN, document={"logged": "a"}, refresh=True)
    cluster.index(index=FOREIGN, id="1", document={"vaulted": "a"}, refresh=True)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED, scoped_tokens=SCOPED_TOKENS)
    with FaultProxy(node.url) as proxy:
        cache = {"negative_ttl": 0.0, "min_refresh_interval": 0.0}
        async with open_app(proxy.url, cache=cache, health={"ttl": 3600.0}, max_retries=0):
            hot = new_application()
            config, settings.ESASSISTANT = settings.ESASSISTANT, replace(settings.ESASSISTANT, hot_path=False)
            fast = new_application()
            settings.ESASSISTANT = config
            in_flight = InFlight(100, 100)
            reader = RequestReader(django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE, in_flight)
            stock = RequestLimits(cast("ASGIApp", StockLane()), reader, in_flight, hot_routes.is_probe)
            user = await get_user_model().objects.acreate_user("ada", "ada@example.org", "long password", is_staff=True)
            browser = AsyncClient()
            await browser.aforce_login(user)
            session = browser.cookies[settings.SESSION_COOKIE_NAME].value
            doors: dict[str, ASGIApp] = {"hot": hot, "fast": fast, "stock": Counters(stock, HttpStatistics(), None)}
            yield World(doors, proxy, session)


def text_of(got: Got) -> bytes:
    """All that a caller gets to read, headers included."""
    body = gzip.decompress(got.body) if got.header("content-encoding") == "gzip" else got.body
    return b"\n".join([*(b"%b: %b" % pair for pair in got.headers), b"", body])


def without(got: Got, *names: str) -> tuple[int, bytes]:
    """An answer without what was asked for, and without the request's id."""
    found = text_of(got)
    for name in (got.header("x-request-id") or "", *names):
        found = found.replace(name.encode(), b"-" * len(name)) if name else found
    return got.status, found


@asynccontextmanager
async def cluster_state(world: World, *, up: bool) -> AsyncIterator[None]:
    """Whether the cluster can be reached; how often foreign names were asked for is counted from here on."""
    world.proxy.reset()
    if up:
        yield
        return
    with world.proxy.fault(cut=True):
        await noticed(world)
        yield


async def noticed(world: World) -> None:
    """Wait until health says that the cluster is away."""
    health = next(row for row in ROWS if row.template == "/api/health")
    async with asyncio.timeout(30):
        while (await world.ask("hot", health, HOLDERS[0], "")).status != 503:  # noqa: ASYNC110  (it is asked from outside)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_the_matrix(world: World, up: bool) -> None:
    """Each caller gets at each address what the rules say, through every door alike. For who has a scope nothing that
    it doesn't cover is in any answer; and what isn't covered is told apart by nothing from what isn't there, and never
    asked of the cluster.
    """
    wrong: list[str] = []
    cells: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    before = Counter(http_statistics.report().together.doors)
    for holder in HOLDERS:
        async with cluster_state(world, up=up):
            for row in ROWS:
                for name in row.names:
                    for door in world.doors:
                        got = await world.ask(door, row, holder, name)
                        cells[_title(row), holder.name][name] = got.status
                        wanted = expected(row, holder, name, up=up)
                        if got.status != wanted:
                            wrong.append(f"{holder.name} {_title(row)} {name} by {door}: {got.status}, not {wanted}")
                        if holder.scoped and MARK in without(got, name)[1].lower():
                            wrong.append(f"{holder.name} {_title(row)} {name} by {door}: {text_of(got)[:2000]!r}")
            if holder.scoped and (calls := world.proxy.count(path=FOREIGN_CALLS)):
                wrong.append(f"{calls} calls for foreign names")
    show(cells, up=up)
    assert not wrong, "\n".join(wrong)
    used = Counter(http_statistics.report().together.doors) - before
    assert min(used["hot"], used["direct"], used["fast"], used["django"]) > 0


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_foreign_names_are_no_names(world: World, up: bool) -> None:
    """Byte for byte, a name out of the scope that is there is answered as one that isn't; with the cluster up also as
    one in the scope that isn't there. With HEAD, compressed, conditional and as text too.
    """
    rows = [row for row in ROWS if row.kind in (Kind.NAMED, Kind.ASKED)]
    async with cluster_state(world, up=up):
        for row in rows:
            variants = VARIANTS if row.method == "GET" else {"plain": {}}
            for variant, more in variants.items():
                for door in world.doors:
                    asked = f"{_title(row)} {variant} by {door}"
                    names = [FOREIGN, NOBODYS, *([MISSING] if up and row.missing[0] == 404 else [])]
                    answers = [without(await world.ask(door, row, SCOPED, name, **more), name) for name in names]
                    # One in the scope that isn't there may be like others that are, and may be told from memory.
                    answers[2:] = [(status, _OF_THE_SCOPE.sub(b"", text)) for status, text in answers[2:]]
                    lengths = {_unpadded(text) for _, text in answers}
                    assert {status for status, _ in answers} == {404}, asked
                    assert len(lengths) == 1, f"{asked}: {lengths}"
        assert world.proxy.count(path=FOREIGN_CALLS) == 0


_OF_THE_SCOPE = re.compile(rb',"(did_you_mean":\[[^]]*\]|age_seconds":[\d.]+)')


def _unpadded(text: bytes) -> bytes:
    """Names of another length make another length of the whole."""
    lines = [line for line in text.split(b"\n") if not line.startswith(b"content-length:")]
    return b"\n".join(lines).replace(b"-" * len(FOREIGN), b"-" * len(MISSING))


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_the_door_for_streams(world: World, up: bool) -> None:
    """It decides as the others do, but for sessions, at which it doesn't look; who has a scope is told nothing of
    foreign names.
    """
    accept = ((b"accept", b"text/event-stream"),)
    rows = [row for row in ROWS if row.template == "/api/changes"]
    assert len(rows) > 1
    async with cluster_state(world, up=up):
        for row in rows:
            asked = replace(row, query=f"{row.query}&since=0".lstrip("&"))
            for holder in HOLDERS:
                wanted = 401 if holder.staff else expected(row, holder, "", up=up)
                text = await begun(world.doors["hot"], asked, (*world.headers(holder), *accept))
                assert text.startswith(b"%d" % wanted), (row, holder.name, text)
                assert not holder.scoped or MARK not in text.lower(), text


async def begun(app: ASGIApp, row: Row, headers: Headers) -> bytes:
    """The status of a stream, and what comes of it in a moment."""
    found: list[bytes] = []
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not received:
            await never()
        return received.pop()

    async def send(message: Message) -> None:
        found.append(b"%d" % message["status"] if "status" in message else message.get("body", b""))

    asking = asyncio.ensure_future(
        app(Asked(row.template, query=row.query.encode(), headers=headers).scope(), receive, send)
    )
    await asyncio.wait({asking}, timeout=0.3)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return b"\n".join(found)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_names_inside_searches(world: World, up: bool) -> None:
    """A foreign name inside a search is refused as one that isn't there, at once; one in the scope isn't."""
    row = next(row for row in ROWS if row.template.endswith("/search"))
    async with cluster_state(world, up=up):
        for place, body in referring(FOREIGN).items():
            for door in world.doors:
                got = await world.ask(door, row, SCOPED, KNOWN, body=body)
                other = await world.ask(door, row, SCOPED, KNOWN, body=referring(NOBODYS)[place])
                assert got.status == 400, (place, got)
                assert without(got, FOREIGN, FOREIGN[:-1]) == without(other, NOBODYS, NOBODYS[:-1]), place
        assert world.proxy.count(path="_search") == 0
        for place, body in referring(KNOWN).items():
            got = await world.ask("hot", row, SCOPED, KNOWN, body=body)
            assert b"no index, alias or data stream" not in got.body, (place, got)


async def test_what_a_scope_shows(world: World) -> None:
    """An alias in the scope is seen with all that it stands for, and in lists nothing else but names in the scope."""
    listed = await world.ask("hot", next(row for row in ROWS if row.template == "/api/indices"), SCOPED, "")
    assert [name in listed.body.decode() for name in (KNOWN, "logs-alias", SHARED)] == [True] * 3
    described = await world.ask("hot", next(row for row in ROWS if row.template == "/api/describe"), SCOPED, "")
    assert described.body.startswith(b"1 family of indices\nlogs-alias: 2 indices")
    row = Row("/api/mappings/{name}", Kind.NAMED)
    assert (await world.ask("hot", row, SCOPED, "logs-alias")).status == 200
    assert (await world.ask("hot", row, SCOPED, SHARED)).status == 404


async def test_names_like_a_misspelt_one(world: World) -> None:
    """Names that the caller sees are suggested through every door, others never."""
    for row in (Row("/api/mappings/{name}", Kind.NAMED), next(row for row in ROWS if row.template.endswith("/search"))):
        for door in world.doors:
            found = json.loads((await world.ask(door, row, SCOPED, "logs-wbe")).body)
            assert KNOWN in found["did_you_mean"], (row, door, found)
            foreign = json.loads((await world.ask(door, row, SCOPED, f"{FOREIGN}s")).body)
            assert "did_you_mean" not in foreign


EXPRESSIONS = (
    ("{}", 404),
    ("{}*", 404),
    ("{},logs-web", 404),
    ("logs-web,{}", 404),
    ("logs-*,{}", 404),
    ("logs-*,-{}", 200),
    ("logs-*,-{}*", 200),
    ("{}*,logs-*", 200),
    ("*,-{}", 200),
    (".*,{}*", 404),
    ("-{},logs-*", 400),
    ("logs-*,,{}", 400),
)
"""Lists and patterns with a name in them, and the status that they have to have."""


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
async def test_lists_and_patterns(world: World, up: bool) -> None:
    """A list or pattern gives names in the scope alone; a foreign name in it does what one does that isn't there, and
    nobody is asked for it.
    """
    rows = [row for row in ROWS if row.kind in (Kind.NAMED, Kind.ASKED) and "index=" not in row.query]
    async with cluster_state(world, up=up):
        for row in rows:
            for expression, status in EXPRESSIONS:
                for door in ("hot", "stock"):
                    asked = f"{_title(row)} {expression} by {door}"
                    found = {
                        name: await world.ask(door, row, SCOPED, expression.format(name)) for name in (FOREIGN, NOBODYS)
                    }
                    answers = [_timeless(without(got, name, quote(name))) for name, got in found.items()]
                    assert answers[0] == answers[1], asked
                    assert MARK not in answers[0][1].lower(), asked
                    known = status if row.kind is Kind.NAMED or up or status != 200 else 503
                    # The history passes over names in a list that aren't there: they may have been.
                    wanted = {200, 404} if status == 404 and row.template.endswith("/history") else {known}
                    assert answers[0][0] in wanted, (asked, answers[0])
        for pattern in ("*", "_all", "logs-*", "*e*,-logs-nil"):
            for row in rows:
                got = await world.ask("hot", row, SCOPED, pattern)
                assert got.status in (200, 503), (row, got)
                assert MARK not in text_of(got).lower(), (row, got)
        assert world.proxy.count(path=FOREIGN_CALLS) == 0


def _timeless(answer: tuple[int, bytes]) -> tuple[int, bytes]:
    """An answer without what differs from one moment to the next."""
    return answer[0], re.sub(
        rb'(?m)^(age|content-length|etag|retry-after): .*|"(took|age_seconds)":[\d.]+', b"", answer[1]
    )


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("vault-keys", 404),
        ("VAULT-KEYS", 400),
        ("-logs-web", 400),
        ("<logs-{now/d}>", 400),
        ("logs-web:vault-keys", 400),
        ("..", 400),
        ("vault-keys\x00", 400),
        ("\uff56ault-keys", 404),
    ],
)
async def test_odd_names(world: World, name: str, status: int) -> None:
    """Capitals and what Elasticsearch would resolve lead nowhere, and are never sent to it."""
    world.proxy.reset()
    for door in world.doors:
        for row in (Row("/api/mappings/{name}", Kind.NAMED), Row("/api/mappings/{name}/fields", Kind.NAMED)):
            got = await world.ask(door, row, SCOPED, name)
            assert got.status == status, got
            assert b"vaulted" not in got.body
    assert world.proxy.count(path="_mapping|_search") == 0


@pytest.mark.parametrize("other", ["api", "scoped"])
async def test_two_tokens_are_none(world: World, other: str) -> None:
    """Who sends two `Authorization` headers has neither token, whichever comes first."""
    row = Row("/api/mappings/{name}", Kind.NAMED)
    [second] = [holder for holder in HOLDERS if holder.name == other]
    for door in world.doors:
        for first in (SCOPED, second):
            headers = ((b"authorization", f"Bearer {second.token}".encode()),)
            assert (await world.ask(door, row, first, KNOWN, headers=headers)).status == 401


def _title(row: Row) -> str:
    query = f"?{row.query}" if row.query else ""
    return f"{row.method} {row.template}{query}"


def show(cells: dict[tuple[str, str], dict[str, int]], *, up: bool) -> None:
    """Print the matrix: of names first one that is there, then one that isn't, then foreign ones."""
    titles = list(dict.fromkeys(title for title, _ in cells))
    lines = [f"\ncluster {'up' if up else 'down'}; columns: {', '.join(dict.fromkeys(h for _, h in cells))}"]
    for title in titles:
        found = ["/".join(str(one) for one in cells[title, holder.name].values()) for holder in HOLDERS]
        short = [cell if len(set(cell.split("/"))) > 1 else cell.split("/")[0] for cell in found]
        lines.append(f"{title:48} {' | '.join(short)}")
    sys.stdout.write("\n".join(lines) + "\n")
