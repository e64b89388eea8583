"""Searching through the service, on a real node."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.reports import SEARCH_REPORT, SearchReport
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.asgi import new_application
from esassistant.asgi_types import Message
from esassistant.registry import registry
from tests.support.asgi import Asked
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def orders(cluster: Elasticsearch) -> None:
    """Twenty orders in one index, by an alias too; and an index that isn't selected."""
    cluster.indices.create(index="orders", mappings={"properties": {"n": {"type": "long"}}}, aliases={"all-Orders": {}})
    operations: list[dict[str, Any]] = []
    for n in range(20):
        operations += [{"index": {}}, {"n": n}]
    cluster.bulk(index="orders", operations=operations, refresh=True)
    cluster.indices.create(index="secret-1")


@pytest.fixture
def proxy(node: Node) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


async def search(http: httpx.AsyncClient, name: str, body: object = None) -> httpx.Response:
    return await http.post(f"/api/indices/{name}/search", json=body or {}, headers=BEARER)


async def test_elasticsearchs_own_answer(node: Node, open_app: OpenApp) -> None:
    """An index and an alias are searched, and the answer is what Elasticsearch says."""
    async with open_app(node.url) as http:
        found = (await search(http, "orders", {"query": {"range": {"n": {"lt": 3}}}, "sort": ["n"]})).json()
        assert [hit["_source"]["n"] for hit in found["hits"]["hits"]] == [0, 1, 2]
        assert found["hits"]["total"] == {"value": 3, "relation": "eq"}
        by_alias = (await search(http, "all-Orders", {"size": 20, "aggs": {"most": {"max": {"field": "n"}}}})).json()
        assert (len(by_alias["hits"]["hits"]), by_alias["aggregations"]) == (20, {"most": {"value": 19.0}})


async def test_who_may_search(node: Node, open_app: OpenApp) -> None:
    """Without credentials there is no search, whoever may read details."""
    async with open_app(node.url) as http:
        assert (await http.post("/api/indices/orders/search", json={})).status_code == 401
        assert (await http.get("/api/indices/orders/search", headers=BEARER)).status_code == 405


async def test_refusals(node: Node, open_app: OpenApp) -> None:
    """Bad names and searches are 400 with what to do, Elasticsearch's own reasons included; absent indices are 404."""
    async with open_app(node.url, cache={"exclude": ("secret-*",)}) as http:
        bad = await search(http, "orders", {"query": {"no_such_query": {}}})
        assert (bad.status_code, bad.headers["content-type"]) == (400, "application/problem+json")
        assert "unknown query [no_such_query]" in bad.json()["detail"]
        assert (
            "scripts"
            in (await search(http, "orders", {"script_fields": {"a": {"script": "1"}}})).json()["detail"].lower()
        )
        names = {"a%2Cb": 404, "a%2C%2Cb": 400, "a%2C..": 400, "absent": 404, "secret-1": 404, "secret-*": 404}
        assert {name: (await search(http, name)).status_code for name in names} == names


async def test_a_cluster_that_cannot_serve(proxy: FaultProxy, open_app: OpenApp) -> None:
    """Failures are 503 with Retry-After, and a search is tried again: it changes nothing."""
    async with open_app(proxy.url, max_retries=2) as http:
        proxy.reset()
        with proxy.fault(path="/orders/_search", status=503, times=2):
            assert (await search(http, "orders")).status_code == 200
        assert proxy.count(path="/orders/_search") == 3
        with proxy.fault(path="/orders/_search", cut=True):
            refused = await search(http, "orders")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")


async def test_what_is_counted(node: Node, open_app: OpenApp) -> None:
    """Searches that were answered, those that found nothing and those whose shards failed, by what Elasticsearch says;
    each is one attempt of the pool.
    """
    broken = {"query": {"range": {"n": {"gte": "no number"}}}}
    async with open_app(node.url) as http:
        for body in ({}, {"query": {"term": {"n": 100}}}):
            assert (await search(http, "orders", body)).status_code == 200
        assert (await search(http, "orders", broken)).status_code == 400
        report = registry.read(SEARCH_REPORT)
        (pool,) = registry.reports(["elasticsearch"])["elasticsearch"].values()
    assert report == SearchReport(answered_total=2, empty_total=1)
    assert (pool.calls["search"].requests_total, pool.failures["status_4xx"]) == (3, 1)


async def test_failed_shards_are_counted(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An answer of some shards alone is given as it is, and counted."""
    cluster.indices.create(index="words", mappings={"properties": {"n": {"type": "text"}}}, aliases={"both": {}})
    cluster.indices.update_aliases(actions=[{"add": {"index": "orders", "alias": "both"}}])
    async with open_app(node.url) as http:
        found = (await search(http, "both", {"sort": ["n"]})).json()
        report = registry.read(SEARCH_REPORT)
    assert (found["_shards"]["failed"], found["timed_out"]) == (1, False)
    assert (report.answered_total, report.failed_shards_total, report.empty_total) == (1, 1, 0)


async def test_whose_caller_leaves(proxy: FaultProxy, open_app: OpenApp) -> None:
    """A search is cancelled when its caller leaves: its connection to Elasticsearch is given up."""
    messages: asyncio.Queue[Message] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"{}"})
    headers = (
        (b"host", b"testserver"),
        (b"authorization", BEARER["Authorization"].encode()),
        (b"content-length", b"2"),
    )
    scope = Asked("/api/indices/orders/search", "POST", headers=headers).scope()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with open_app(proxy.url):
        proxy.reset()
        with proxy.fault(path="/orders/_search", delay_seconds=20):
            asked = asyncio.create_task(new_application()(scope, messages.get, send))
            async with asyncio.timeout(10):
                while not proxy.count(path="/orders/_search"):  # noqa: ASYNC110  (the proxy has no event)
                    await asyncio.sleep(0.01)
                messages.put_nowait({"type": "http.disconnect"})
                await asked
            pool = registry.reports(["elasticsearch"])["elasticsearch"]["default"]
    assert (sent, pool.cancelled_total, pool.in_use) == ([], 1, 0)
