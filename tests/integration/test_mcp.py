"""MCP by the official client over HTTP, on a real server with a real node: what agents get, and what they don't."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from elasticsearch import Elasticsearch
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from cacheapp.describe.tokens import count_tokens
from dev.agent_session import address_of
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import ROOT, TOKEN, Server, environment, manage

pytestmark = pytest.mark.django_db(transaction=True)

SCOPED = "a-scoped-token-of-the-tests"
READER = "a-reading-token-of-the-tests"
TOKENS_FILE = f"""
[[token]]
name = "agents"
sha256 = "{sha256(SCOPED.encode()).hexdigest()}"
may = ["read", "search"]
indices = ["shop-*"]

[[token]]
name = "readers"
sha256 = "{sha256(READER.encode()).hexdigest()}"
may = ["read"]
indices = ["*"]
max_in_flight = 1
"""
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
WRONG = {"query": {"term": {"chanel": "web"}}}
RIGHT = {"query": {"term": {"channel": "web"}}}
MODES = ["legacy", "auto"]
"""A session that is initialised, as agents have had it, and requests without, as of 2026."""


@pytest.fixture(scope="module")
def data(node: Node) -> Iterator[None]:
    """Orders in two indices of a shop, and others' secrets."""
    with Elasticsearch(node.url, request_timeout=30) as client:
        order = {"channel": {"type": "keyword"}, "country": {"type": "keyword"}, "note": {"type": "text"}}
        for index in ("shop-orders-2025", "shop-orders-2026"):
            client.indices.create(
                index=index, mappings={"dynamic": "strict", "properties": order}, settings={"number_of_replicas": 0}
            )
        for number in range(12):
            document = {"channel": "web" if number % 2 else "app", "country": "AT", "note": "x" * 3000}
            client.index(index="shop-orders-2026", document=document)
        secret = {"properties": {"salary": {"type": "long"}, "channel": {"type": "text"}}}
        client.indices.create(index="secret-payroll", mappings=secret, settings={"number_of_replicas": 0})
        client.indices.refresh()
        yield
        client.indices.delete(index="shop-*,secret-*")


@pytest.fixture(scope="module")
def proxy(node: Node) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(
    proxy: FaultProxy, data: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Server]:
    request.getfixturevalue("django_db_setup")
    file = Path(tmp_path_factory.mktemp("tokens")) / "tokens.toml"
    file.write_text(TOKENS_FILE)
    file.chmod(0o600)
    settings = {"ESASSISTANT_MCP": "true", "ESASSISTANT_DETAILS": "authorized", "ESASSISTANT_TOKENS_FILE": file}
    with Server(proxy.url, "--workers", "2", **settings) as server:
        wait_until(lambda: is_warm(server), 60)
        yield server


def is_warm(server: Server) -> bool:
    """Whether all workers have mappings: on so many new connections each is likely to have answered."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
    return all(server.get("/api/cache/stats", headers=headers).json()["cache"]["warm"] for _ in range(16))


@asynccontextmanager
async def agent(server: Server, mode: str = "legacy", token: str = TOKEN) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def said(client: Client, name: str, /, *, is_error: bool = False, **arguments: Any) -> str:
    """What a tool answers, which is one text."""
    result = await client.call_tool(name, arguments)
    [content] = result.content
    assert isinstance(content, TextContent)
    assert result.is_error is is_error, content.text
    return content.text


@pytest.mark.parametrize("mode", MODES)
async def test_a_session(server: Server, mode: str) -> None:
    """From a question to hits, over several workers: each step says what the next one needs."""
    async with agent(server, mode) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["find_indices", "describe", "find_fields", "validate_search", "search"]
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        told = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
        assert count_tokens(json.dumps(told, separators=(",", ":"))) <= 1_200
        found = await said(client, "find_indices", question="orders by country")
        assert found.split("\n")[1].startswith("shop-orders*: 2 indices, 3 fields")
        described = await said(client, "describe", names="shop-orders-*", question="country")
        assert described.startswith("shop-orders-*: 2 indices, 3 fields\nkeyword channel country")
        assert await said(client, "find_fields", words="country") == "country: keyword — shop-orders*"
        wrong = await said(client, "validate_search", names="shop-orders-*", search=WRONG)
        assert '"did_you_mean":["channel"]' in wrong
        right = await said(client, "validate_search", names="shop-orders-*", search=RIGHT)
        assert right.startswith("Valid")
        hits = await said(client, "search", names="shop-orders-*", search=RIGHT, tokens=500)
        assert hits.startswith("6 hits in shop-orders-* (2 indices), took ")
        assert "# cut: texts to" in hits
        assert count_tokens(hits) <= 500


async def test_what_is_near_by_meaning(server: Server) -> None:
    """Few fields with their families, or that there are none."""
    async with agent(server) as client:
        near = await said(client, "find_fields", words="wages")
        assert near.endswith("Near by meaning:\nsalary: long — secret-payroll")
        assert "none is near by meaning.\nNext: " in await said(client, "find_fields", words="zebra")


def test_a_slash_at_the_end(server: Server) -> None:
    """Says to leave it out; the session of the document takes the address of the service, and of MCP itself."""
    answer = httpx.post(f"{server.url}/mcp/", json=LIST, headers=HEADERS, timeout=30)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert answer.json()["detail"].endswith("Leave out the slash at its end: /mcp")
    for url in ("http://es:8000", "http://es:8000/", "http://es:8000/mcp", "http://es:8000/mcp/"):
        assert address_of(url) == "http://es:8000/mcp"


async def test_a_search_with_an_error_is_not_made(server: Server, proxy: FaultProxy) -> None:
    """Its findings are the answer; one with warnings alone is made."""
    async with agent(server) as client:
        before = proxy.count(path="_search")
        text = await said(client, "search", is_error=True, names="shop-orders-2026", search=WRONG)
        assert text.startswith("Not searched. Not valid: 1 error.\n{")
        assert proxy.count(path="_search") == before
        warned = {"query": {"bool": {"must_not": WRONG["query"]}}, "size": 1}
        text = await said(client, "search", names="shop-orders-2026", search=warned)
        assert "12 hits" in text
        assert "# warning: {" in text


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("describe", {"names": "shop-order"}, "Did you mean shop-orders*?"),
        ("describe", {"names": "a b"}, "blanks"),
        ("describe", {}, "required field `names`. It takes names, question (optional), tokens (optional)."),
        ("describe", {"names": "shop-*", "tokens": 5}, ">= 100"),
        ("describe", {"name": "shop-*"}, "unknown field `name`"),
        ("validate_search", {"names": "shop-*", "search": "{}"}, "Expected `object`"),
        ("search", {"names": "shop-*", "search": {"size": 5000}}, "size of at most 100"),
        ("search", {"names": "shop-*", "search": {"script_fields": {"a": {"script": "1"}}}}, "Scripts are not"),
        ("search", {"names": "shop-*", "search": {"nope": 1}}, "nope"),
        ("search", {"names": "absent", "search": {}}, "find_indices"),
        ("drop_index", {}, "use find_indices, describe, find_fields, validate_search, search."),
    ],
)
async def test_wrong_calls(server: Server, name: str, arguments: dict[str, Any], says: str) -> None:
    """Each says what to send instead."""
    async with agent(server) as client:
        assert says in await said(client, name, is_error=True, **arguments)


async def test_a_scope(server: Server) -> None:
    """What a token doesn't cover isn't there: no name, no number, no suggestion, no conflict."""
    async with agent(server, token=SCOPED) as client:
        texts = [
            await said(client, "find_indices", question="salary payroll secret"),
            await said(client, "describe", names="*"),
            await said(client, "describe", is_error=True, names="secret-payrol"),
            await said(client, "describe", is_error=True, names="secret-payroll"),
            await said(client, "describe", is_error=True, names="secret-*"),
            await said(client, "find_fields", words="channel"),
            await said(client, "find_fields", words="salary"),
            await said(client, "find_fields", is_error=True, words="salary", names="secret-payroll"),
            await said(client, "validate_search", is_error=True, names="secret-payroll", search={}),
            await said(client, "validate_search", names="*", search={"query": {"term": {"salary": 1}}}),
            await said(client, "search", is_error=True, names="secret-payroll", search={}),
            await said(client, "search", names="*", search={"size": 0}),
        ]
    assert texts[0].split("\n")[1] == "1 family of indices"
    assert "12 hits" in texts[-1]
    for text in texts:
        assert "payroll" not in text.replace("secret-payroll", "").replace("secret-payrol", "")
        assert "Did you mean secret" not in text
        assert '"did_you_mean":["salary"' not in text
    absent = texts[3].replace("secret-payroll", "NAME")
    async with agent(server, token=SCOPED) as client:
        assert (await said(client, "describe", is_error=True, names="absent-thing")).replace(
            "absent-thing", "NAME"
        ) == absent


async def test_rights(server: Server) -> None:
    """Who may not search isn't offered it, and is told so."""
    async with agent(server, token=READER) as client:
        assert "search" not in [tool.name for tool in (await client.list_tools()).tools]
        text = await said(client, "search", is_error=True, names="shop-*", search={})
        assert '"search"' in text


def asked(server: Server, body: object = LIST, method: str = "POST", **headers: str) -> httpx.Response:
    given = {"authorization": f"Bearer {TOKEN}", **HEADERS, **headers}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.http.request(method, "/mcp", headers=given, content=content if method == "POST" else None)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 200),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": ""}, 401),
        ({"method": "GET"}, 405),
        ({"method": "DELETE"}, 405),
        ({"method": "GET", "authorization": ""}, 401),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 400),
        ({"content-type": "text/plain"}, 400),
        ({"body": b"{"}, 400),
        ({"body": b"[" * 30_000}, 400),
        ({"body": b"x" * 70_000}, 413),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_door_lets_in(server: Server, options: dict[str, Any], status: int) -> None:
    """Known callers under accepted names, POST alone, and no more than a body may have."""
    answer = asked(server, **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


async def test_a_token_is_busy(server: Server, proxy: FaultProxy) -> None:
    """`max_in_flight` holds for calls, too."""
    statuses = await asyncio.to_thread(_at_once, server, READER)
    assert 429 in statuses
    assert 200 in statuses


def _at_once(server: Server, token: str) -> list[int]:
    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(timeout=30) as client:
            headers = {"authorization": f"Bearer {token}", **HEADERS}
            calls = [client.post(f"{server.url}/mcp", headers=headers, json=LIST) for _ in range(40)]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
def test_an_agent_that_leaves(server: Server, proxy: FaultProxy, version: str) -> None:
    """Its search is given up at the cluster, whichever way the SDK took."""
    before = proxy.count(path="_search")
    params: dict[str, Any] = {"name": "search", "arguments": {"names": "shop-orders-2026", "search": RIGHT}}
    headers = {"mcp-protocol-version": version}
    if version.startswith("2026"):
        headers |= {"mcp-method": "tools/call", "mcp-name": "search"}
        meta = {"protocolVersion": version, "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    with proxy.fault(path="_search", blackhole=True):
        given = {"authorization": f"Bearer {TOKEN}", **HEADERS, **headers}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/mcp", headers=given, json=body, timeout=3)
        assert proxy.count(path="_search") == before + 1
        wait_until(lambda: proxy.in_flight == 0, 3)


async def test_the_cluster_is_away(server: Server, proxy: FaultProxy) -> None:
    """All but searches are answered from memory; a search says so, and what works."""
    with proxy.fault(cut=True):
        async with agent(server) as client:
            assert "shop-orders*" in await said(client, "find_indices", question="orders")
            assert "channel" in await said(client, "describe", names="shop-orders-2026")
            assert "channel" in await said(client, "validate_search", names="shop-orders-2026", search=WRONG)
            text = await said(client, "search", is_error=True, names="shop-orders-2026", search=RIGHT)
            assert "answer from memory meanwhile" in text
    wait_until(lambda: server.get("/readyz").status_code == 200, 30)


async def test_what_is_counted_and_logged(server: Server) -> None:
    """Calls are counted at their address, with their latency; the log has no line for a call, and no traceback."""
    async with agent(server) as client:
        await said(client, "find_indices")
    routes = [
        server.get("/api/performance", headers={"authorization": f"Bearer {TOKEN}"})
        .json()["http"]["routes"]
        .get("/mcp")
        for _ in range(8)
    ]
    counted = [route for route in routes if route is not None]
    assert counted
    assert counted[0]["doors"].get("stream", 0) > 0
    assert counted[0]["latency"]["samples"] > 0
    assert "mcp." not in server.output()
    assert "Traceback" not in server.output()


def test_off(node: Node) -> None:
    """By default there is no such address, and nothing of the SDK is in memory."""
    with Server(node.url) as server:
        assert asked(server).status_code == 404
    code = "import sys, esassistant.asgi; print([name for name in sys.modules if name.partition('.')[0] == 'mcp'])"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(node.url), capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


def test_without_the_package(node: Node, tmp_path: Path) -> None:
    """It is said before anything starts, with the remedy."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'mcp' else found(name, *more)\n"
    )
    ran = manage("check", elasticsearch_url=node.url, ESASSISTANT_MCP="true", PYTHONPATH=str(tmp_path))
    assert ran.returncode != 0
    assert "ESASSISTANT_MCP: needs the package mcp: pip install 'esassistant[mcp]'" in ran.stderr
