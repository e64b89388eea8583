"""Case 69: what keeps field values from being gathered. Calls are counted by the proxy before a real node."""

import asyncio
from itertools import pairwise
from pathlib import Path

from elasticsearch import AsyncElasticsearch, Elasticsearch
from pytest_django import Settings

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server, manage
from esassistant.registry import registry
from tests.support.calls import breaker_state, make_index, trip
from tests.support.field_values import gathered, gatherer, hindered, make_orders, value_calls, values_opened
from tests.support.fixtures import Figure, OpenApp, UseBreaker

WATCHED_SECONDS = 6.0


async def test_case_69_while_the_cluster_is_busy(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings, figure: Figure
) -> None:
    """While a caller's search is under way nothing is asked; once it has ended, values are gathered."""
    make_orders(cluster)
    with FaultProxy(node.url) as proxy:
        async with values_opened(open_app, settings, proxy.url, "orders") as http:
            with proxy.fault(path="/orders-1/_search", delay_seconds=WATCHED_SECONDS, times=1):
                search = asyncio.create_task(registry.get("elasticsearch").search(index="orders-1", size=0))
                await proxy.arrived("/orders-1/_search")
                await http.get("/api/mappings/orders")
                await hindered("busy")
                during = value_calls(proxy)
                assert not search.done()
                await search
            await gathered(1)
    assert during == 0
    figure(69, f"{during} calls while a search of a caller was under way")


async def test_case_69_the_cluster_answers_429(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Settings, figure: Figure
) -> None:
    """The first 429 is the last call: it isn't repeated, nothing else is asked, and the pause is shared."""
    make_orders(cluster)
    make_index(cluster, "parcels")
    with FaultProxy(node.url) as proxy:
        async with values_opened(open_app, settings, proxy.url, "*") as http:
            with proxy.fault(path="max_concurrent_shard_requests", status=429):
                await http.get("/api/mappings/parcels")
                await http.get("/api/mappings/orders-1")
                async with asyncio.timeout(30):
                    while not gatherer().report().outcomes["refused"]:  # noqa: ASYNC110  (reports are read)
                        await asyncio.sleep(0.05)
                refused = value_calls(proxy)
                await asyncio.sleep(WATCHED_SECONDS)
                after = value_calls(proxy) - refused
            report = gatherer().report()
    assert (after, report.outcomes["refused"], report.families) == (0, 1, 0)
    assert report.paused_seconds > 40
    assert report.hindered["paused"] > 0
    figure(69, f"{after} calls in {WATCHED_SECONDS:g} s after the first 429")


async def test_case_69_the_breaker_is_open(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    settings: Settings,
    brief_breaker: UseBreaker,
    figure: Figure,
) -> None:
    """Nothing is asked until it has closed."""
    brief_breaker(open_seconds=WATCHED_SECONDS, longest_open_seconds=WATCHED_SECONDS)
    make_orders(cluster)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with values_opened(open_app, settings, proxy.url, "orders", max_retries=0) as http:
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await trip(client, proxy)
            await http.get("/api/mappings/orders")
            await hindered("breaker")
            during = value_calls(proxy)
            assert breaker_state() != "closed"
            async with asyncio.timeout(30):
                while breaker_state() != "closed":
                    await asyncio.sleep(0.5)
                    if breaker_state() == "half-open":
                        await client.search(index="some", size=0)
            await gathered(1)
    assert during == 0
    figure(69, f"{during} calls while the breaker was open")


def test_the_budget_is_the_deployments(node: Node, cluster: Elasticsearch, tmp_path: Path) -> None:
    """Several processes that are asked for the same families send each call once, and together no more than the budget
    allows; after a restart nothing is asked again.
    """
    families = [f"parcels{letter}" for letter in "abcd"]
    for family in families:
        make_index(cluster, family)
        cluster.index(index=family, document={"state": 1}, refresh=True)
    per_minute = 20
    database = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    assert manage("migrate", elasticsearch_url=node.url, DATABASE_URL=database).returncode == 0
    options: dict[str, object] = {
        "DATABASE_URL": database,
        "ESASSISTANT_FIELD_VALUES": "parcels*",
        "ESASSISTANT_VALUE_CALLS_PER_MINUTE": per_minute,
    }
    with FaultProxy(node.url) as proxy:
        with Server(proxy.url, "--workers", "2", **options) as server:

            def asked() -> bool:
                for family in families:
                    server.get(f"/api/mappings/{family}", headers={"Connection": "close"})
                return value_calls(proxy) >= len(families)

            wait_until(asked, 60)
            moments = sorted(
                exchange.started_at for exchange in proxy.requests if "max_concurrent_shard" in exchange.target
            )
        proxy.reset()
        with Server(proxy.url, **options) as server:
            for family in families:
                wait_until(lambda family=family: values_of(server, family) is not None, 30)  # type: ignore[misc]
            again = value_calls(proxy)
    assert len(moments) == len(families)
    gaps = [after - before for before, after in pairwise(moments)]
    assert min(gaps) >= 60 / per_minute - 0.5
    assert again == 0


def values_of(server: Server, family: str) -> object:
    """What is known in common of a family's values; None: nothing."""
    answer = server.get(f"/api/mappings/{family}/fields?values=true")
    return answer.json()["values"] if answer.status_code == 200 else None
