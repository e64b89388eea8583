"""What the project needs of Elasticsearch and of its client, whichever versions of them: `make test-compat` runs this
for several, `make test` for the pinned ones.

One test for each thing that the project asks of a cluster; what it then makes of the answer is for other tests.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import elasticsearch
import httpx
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from cacheapp.reports import PassOutcome, RefreshReport, WatchReport, WatchState
from cacheapp.state.snapshot import Snapshot
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server, manage
from esassistant.registry import registry
from tests.support.fixtures import OpenApp
from tests.support.nodes import NODE_VERSION

BEARER = {"Authorization": f"Bearer {TOKEN}"}
WATCHED = {"watch": True, "min_refresh_interval": 0.0}
UNLIMITED = {"min_refresh_interval": 0.0}
SINGLE = {"number_of_replicas": 0}

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "_meta": {"owner": "shop"},
    "runtime": {"weekday": {"type": "keyword"}},
    "properties": {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 256}}},
        "price": {"type": "double", "meta": {"unit": "EUR"}},
        "placed_at": {"type": "date", "format": "strict_date_optional_time"},
        "items": {"type": "nested", "properties": {"sku": {"type": "keyword"}, "count": {"type": "integer"}}},
        "address": {"properties": {"city": {"type": "keyword"}, "where": {"type": "geo_point"}}},
        "name": {"type": "alias", "path": "title.raw"},
    },
}


def properties(*names: str) -> dict[str, Any]:
    """Mappings with these keyword fields."""
    return {"properties": {name: {"type": "keyword"} for name in names}}


def snapshot() -> Snapshot:
    known: Snapshot = registry.get("mapping_cache").snapshot
    return known


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait until a condition, a coroutine function or a plain one, holds."""
    async with asyncio.timeout(seconds):
        while not (await held if inspect.isawaitable(held := condition()) else held):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def mapping(http: httpx.AsyncClient, name: str) -> Any:
    answer = await http.get(f"/api/mappings/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fields(http: httpx.AsyncClient, name: str) -> set[str]:
    """The names in an index's mapping; none when there is no such index."""
    answer = await http.get(f"/api/mappings/{name}")
    return set(answer.json()[name]["mappings"].get("properties", {})) if answer.status_code == 200 else set()


async def has_fields(http: httpx.AsyncClient, name: str, *wanted: str) -> bool:
    return await fields(http, name) == set(wanted)


async def has_status(http: httpx.AsyncClient, wanted: str) -> bool:
    status: str = (await http.get("/api/health")).json()["status"]
    return status == wanted


async def full_pass(http: httpx.AsyncClient) -> RefreshReport:
    answer = await http.post("/api/cache/refresh?wait=true", headers=BEARER)
    assert answer.status_code == 200, answer.text
    last: RefreshReport = registry.read("refresher").last
    return last


async def watching() -> None:
    def report() -> WatchReport:
        watch: WatchReport = registry.read("watch")
        return watch

    await until(lambda: report().state is WatchState.WATCHING)
    await asyncio.sleep(0.8)  # its first look


def test_the_versions_are_those_asked_for(cluster: Elasticsearch) -> None:
    """The node is of the version that the run names; the client is at most as new, or the node would refuse it."""
    assert cluster.info().body["version"]["number"] == NODE_VERSION
    assert elasticsearch.__version__[0] <= int(NODE_VERSION.split(".")[0])


async def test_warm_up(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Opening the registry reads every index, with its uuid, and the aliases."""
    cluster.indices.create(index="one", mappings=properties("a"), aliases={"all": {}})
    cluster.indices.create(index="two", mappings=properties("a"), aliases={"all": {}})
    async with open_app(node.url):
        known = snapshot()
    settings = cluster.indices.get_settings(index="*", flat_settings=True).body
    assert {name: entry.uuid for name, entry in known.indices.items()} == {
        name: each["settings"]["index.uuid"] for name, each in settings.items()
    }
    assert known.aliases == {"all": ("one", "two")}
    assert len(known.bodies) == 1
    assert known.cluster_uuid == cluster.info().body["cluster_uuid"]


async def test_a_mapping_is_the_nodes(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """From memory and read through, a mapping equals what the node itself answers."""
    cluster.indices.create(index="before", mappings=MAPPINGS)
    async with open_app(node.url) as http:
        cluster.indices.create(index="after", mappings=MAPPINGS)
        for name in ("before", "after"):
            assert await mapping(http, name) == cluster.indices.get_mapping(index=name).body
        assert (await http.get("/api/mappings/absent")).status_code == 404


@pytest.mark.parametrize("cold", [True, False])
async def test_names_of_all_kinds(node: Node, cluster: Elasticsearch, open_app: OpenApp, cold: bool) -> None:
    """An alias over several indices, one of them hidden and one closed, answers with each; cold and from memory."""

    def arrange() -> None:
        for name, settings in (("plain", {}), ("secret", {"hidden": True}), ("shut", {})):
            cluster.indices.create(
                index=name, mappings=properties(name), settings={**SINGLE, **settings}, aliases={"all": {}}
            )
        cluster.indices.close(index="shut")

    if not cold:
        arrange()
    async with open_app(node.url) as http:
        if cold:
            await asyncio.to_thread(arrange)
        for name in ("plain", "secret", "shut"):
            assert await fields(http, name) == {name}
        assert {index: set(each["mappings"]["properties"]) for index, each in (await mapping(http, "all")).items()} == {
            name: {name} for name in ("plain", "secret", "shut")
        }


async def test_the_watch_notices_a_change(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The cluster's metadata version can be found and waited for, and a new field is known soon after."""
    cluster.indices.create(index="shop", mappings=properties("a"))
    async with open_app(node.url, cache=WATCHED) as http:
        await watching()
        await asyncio.to_thread(cluster.indices.put_mapping, index="shop", properties={"b": {"type": "ip"}})
        await until(lambda: has_fields(http, "shop", "a", "b"), 2)
        report: WatchReport = registry.read("watch")
        assert report.wakes_total >= 1


async def test_a_change_pass_reads_what_changed(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Field counts, uuids and aliases show which of many indices changed: only those are read again."""
    for number in range(10):
        cluster.indices.create(index=f"index-{number}", mappings=properties("a"), settings=SINGLE)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache=WATCHED) as http:
            await watching()
            proxy.reset()
            await asyncio.to_thread(cluster.indices.put_mapping, index="index-3", properties={"b": {"type": "ip"}})
            await until(lambda: registry.read("watch").changes_total)
            await asyncio.sleep(0.5)
            asked = {exchange.path for exchange in proxy.requests if exchange.path.endswith("/_mapping")}
            assert asked == {"/index-3/_mapping"}
            assert await fields(http, "index-3") == {"a", "b"}


async def test_recreated_and_deleted_indices(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An index deleted and made anew with as many fields is told by its uuid; a deleted one is gone, and so is its
    alias.
    """
    for name in ("one", "two"):
        cluster.indices.create(index=name, mappings=properties("a"), aliases={f"alias-{name}": {}})
    async with open_app(node.url, cache=WATCHED) as http:
        await watching()
        await asyncio.to_thread(cluster.indices.delete, index="one")
        await asyncio.to_thread(cluster.indices.create, index="one", mappings=properties("b"))
        await asyncio.to_thread(cluster.indices.delete, index="two")
        await until(lambda: set(snapshot().indices) == {"one"} and not snapshot().aliases)
        await until(lambda: has_fields(http, "one", "b"), 5)
        assert (await http.get("/api/mappings/alias-two")).status_code == 404


async def test_a_full_pass(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A full pass reads all, in batches, and finds what was changed, added and removed, parameters included."""
    for number in range(12):
        cluster.indices.create(index=f"index-{number}", mappings=properties("a"), settings=SINGLE)
    async with open_app(node.url, cache=UNLIMITED) as http:
        cluster.indices.delete(index="index-0")
        cluster.indices.create(index="new", mappings=properties("n"))
        cluster.indices.put_mapping(index="index-1", properties={"a": {"type": "keyword", "ignore_above": 9}})
        report = await full_pass(http)
        assert (report.outcome, report.error, report.failed_total) == (PassOutcome.COMPLETED, None, 0)
        assert (report.read_total, report.changed_total, report.removed_total) == (12, 2, 1)
        assert (await mapping(http, "index-1"))["index-1"]["mappings"]["properties"]["a"]["ignore_above"] == 9


async def test_an_unchanged_pass(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """When nothing changed, the second pass finds that out in one request; a document changes nothing."""
    cluster.indices.create(index="shop", mappings=properties("a"))
    async with open_app(node.url, cache=WATCHED) as http:
        await watching()
        assert (await full_pass(http)).outcome in (PassOutcome.COMPLETED, PassOutcome.UNCHANGED)
        cluster.index(index="shop", document={"a": "x"}, refresh=True)
        await asyncio.sleep(1.0)
        assert (await full_pass(http)).outcome is PassOutcome.UNCHANGED
        again = await full_pass(http)
        assert (again.outcome, again.requests_total) == (PassOutcome.UNCHANGED, 1)


async def test_one_index_of_a_batch_is_gone(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A name in a batch that was deleted meanwhile is left out of the answer, without an error."""
    cluster.indices.create(index="stays", mappings=properties("a"))
    async with open_app(node.url) as http:
        client: AsyncElasticsearch = registry.get("elasticsearch")
        found = await client.indices.get_mapping(index="stays,gone", ignore_unavailable=True)
        assert set(found.body) == {"stays"}
        assert await fields(http, "gone") == set()


async def test_schema_and_fields(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Schema and field list are made from what this version renders; names and types are those of `_field_caps`."""
    cluster.indices.create(index="shop", mappings=MAPPINGS)
    async with open_app(node.url) as http:
        schema = (await http.get("/api/mappings/shop/schema")).json()
        listed = (await http.get("/api/mappings/shop/fields")).json()["fields"]
    assert set(schema["properties"]) >= {"title", "price", "placed_at", "items", "address"}
    told = cluster.field_caps(index="shop", fields="*", filters="-metadata").body["fields"]
    assert {field["name"]: field["types"] for field in listed} == {name: list(types) for name, types in told.items()}


async def test_health_and_performance(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Health is the cluster's own; the performance report counts what was asked, and its bodies are JSON."""
    cluster.indices.create(index="shop", mappings=properties("a"), settings=SINGLE)
    async with open_app(node.url, health={"ttl": 0.2}) as http:
        await until(lambda: has_status(http, "healthy"))
        cluster.indices.put_settings(index="shop", settings={"number_of_replicas": 1})
        await until(lambda: has_status(http, "degraded"))
        assert "yellow" in (await http.get("/api/health")).json()["services"]["elasticsearch"]["error"]
        pools = (await http.get("/api/performance", headers=BEARER)).json()["pools"]
    assert pools["cache"]["requests_total"] > 0
    assert pools["health"]["success_percent"] == 100.0


async def test_the_public_client(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """`registry.get("elasticsearch")` is the client that people know: documents, searches, bulk, errors of its
    classes.
    """
    async with open_app(node.url) as http:
        client: AsyncElasticsearch = registry.get("elasticsearch")
        await client.indices.create(index="shop", mappings=MAPPINGS)
        operations: list[dict[str, Any]] = []
        for number in range(300):
            operations += [{"index": {}}, {"title": f"item {number}", "price": number / 4}]
        # More than a kilobyte: compressed on the way.
        assert (await client.bulk(index="shop", operations=operations, refresh=True)).body["errors"] is False
        found = await client.search(index="shop", query={"range": {"price": {"lt": 1}}}, sort=["price"])
        assert [hit["_source"]["title"] for hit in found.body["hits"]["hits"]] == [f"item {n}" for n in range(4)]
        assert not await client.indices.exists(index="absent")
        with pytest.raises(elasticsearch.NotFoundError):
            await client.get(index="shop", id="absent")
        with pytest.raises(elasticsearch.BadRequestError, match="strict_dynamic_mapping_exception"):
            await client.index(index="shop", document={"unknown": 1})
        pools = (await http.get("/api/performance", headers=BEARER)).json()["pools"]
    assert pools["default"]["requests_total"] >= 6


async def test_errors_of_the_cluster(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A status that is tried again is tried again by our own policy; refused credentials are said so."""
    cluster.indices.create(index="shop")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=2) as http:
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            with proxy.fault(path="/shop/_mapping", status=503, times=2):
                assert set((await client.indices.get_mapping(index="shop")).body) == {"shop"}
            assert proxy.count(path="/shop/_mapping") == 3
            with proxy.fault(path="/refused/_mapping", status=401):
                answer = await http.get("/api/mappings/refused")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("Elasticsearch refused our credentials (401)")


@pytest.mark.django_db(transaction=True)
def test_real_processes(node: Node, cluster: Elasticsearch) -> None:
    """A command, and a server as an operator starts it, work with this client on this node; without warnings."""
    ended = manage("load_samples", elasticsearch_url=node.url)
    assert (ended.returncode, "Warning" in ended.stderr) == (0, False), ended.stderr
    with Server(node.url, MAPPING_CACHE_WATCH="true", HEALTH_CACHE_TTL=1, HEALTH_TIMEOUT=1) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 20)
        assert set(server.get("/api/mappings/orders").json()) == {"orders-2026"}
        wait_until(lambda: server.get("/api/health").json()["services"]["elasticsearch"]["status"] == "healthy", 10)
        server.end()
    assert "Warning" not in server.output()
    assert "Traceback" not in server.output()
