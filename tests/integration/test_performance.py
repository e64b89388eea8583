"""The performance report and health on a real node: all of it is there, and one's own checks and resources with it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from elastic_transport import ConnectionError as ElasticConnectionError
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.errors import PoolExhausted
from esassistant.instance import instance_name
from esassistant.registry import registry
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def own_declarations() -> Iterator[None]:
    """What a test declares in the registry of the process is gone afterwards."""
    before = dict(registry._declared)
    yield
    registry._declared.clear()
    registry._declared.update(before)


async def performance(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/api/performance", headers=BEARER)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def until(http: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The performance report once something holds of it."""
    async with asyncio.timeout(10):
        while not holds(found := await performance(http)):  # noqa: ASYNC110  (nothing is signalled)
            await asyncio.sleep(0.05)
    return found


def has_status(report: dict[str, Any], status: str = "healthy") -> bool:
    return report["health"] is not None and report["health"]["status"] == status


def of_service(report: dict[str, Any], service: str) -> list[tuple[str | None, str, str | None]]:
    """The transitions of one service, newest first."""
    transitions = report["health"]["transitions"]
    return [(each["before"], each["after"], each["reason"]) for each in transitions if each["service"] == service]


async def test_all_of_it_is_there(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The report has the process and its event loop, requests with the share of the hot path, pools by name, the cache
    with passes, watch and history, health with its transitions, background tasks, all instances, and what to tune.
    """
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    async with open_app(node.url) as http:
        for _ in range(20):
            assert (await http.get("/api/mappings/shop")).status_code == 200
        await registry.get("elasticsearch").count(index="shop")
        report = await until(http, lambda found: has_status(found) and found["process"]["loop_lag"]["samples"] >= 4)
    process, http_, lag = report["process"], report["http"], report["process"]["loop_lag"]
    assert process["resident_bytes"] > 10_000_000
    assert min(process["cpu_seconds_total"], process["threads"], process["descriptors_open"]) > 0
    assert process["descriptors_open"] < process["descriptors_limit"]
    assert 0 <= lag["p50_seconds"] <= lag["p99_seconds"] <= lag["max_seconds"]
    assert process["loop_lags"]["buckets"]["+Inf"] == lag["samples"]
    assert 0 < http_["together"]["hot_percent"] <= 100
    mappings = http_["routes"]["/api/mappings/{name}"]
    assert mappings["doors"]["hot"] >= 19
    assert mappings["latency"]["p99_seconds"] > 0
    assert set(report["pools"]) == {"default", "cache", "watch", "health"}
    assert report["pools"]["default"]["calls"]["count"]["requests_total"] == 1
    assert report["mapping_cache"]["answers"]["hits_total"] == 20
    assert report["refresh"]["last"]["outcome"] == "completed"
    assert report["watch"]["state"] == "off"
    assert report["history"]["lost_total"] == 0
    assert report["access_log"] is None
    services = report["health"]["services"]
    assert set(services) == {"elasticsearch", "pools", "store", "mapping_cache", "database", "process"}
    assert {service["status"] for service in services.values()} == {"healthy"}
    assert services["elasticsearch"]["facts"]["status"] == "green"
    assert services["elasticsearch"]["facts"]["nodes"] == 1
    assert services["mapping_cache"]["facts"]["coverage_percent"] == 100.0
    assert {each["service"] for each in report["health"]["transitions"]} == {*services, "verdict"}
    assert (report["verdict"]["level"], report["verdict"]["sentence"]) == ("healthy", "Serving fresh mappings.")
    assert report["verdict_basis"]["processes"] == 1
    tasks = {(task["owner"], task["name"]): task["crashes_total"] for task in report["background_tasks"]}
    assert tasks[("process", "keep-watching")] == sum(tasks.values()) == 0
    instance = report["instances"][instance_name()]["report"]
    assert instance["mapping_cache"]["indices"] == 1
    assert {"process", "http", "health", "elasticsearch", "refresher", "server"} <= set(instance)
    assert report["recommendations"] == []
    assert {"pools.default", "mapping_cache.misses_percent", "process.cpu_percent"} <= {
        missing["metric"] for missing in report["not_enough_data"]
    }


async def test_a_pool_that_is_too_small(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A pool that refuses calls shows as advice with all its members: what, how much, of how many, why, and the
    line.
    """
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    async with open_app(node.url, pools=(PoolRule("default", ("*",), 2),), pool_overflow=0) as http:
        client: AsyncElasticsearch = registry.get("elasticsearch")
        calls = (client.count(index="shop") for _ in range(150))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        report = await performance(http)
    refused = sum(isinstance(each, PoolExhausted) for each in ended)
    assert refused > 100
    [advice] = report["recommendations"]
    assert advice.pop("why").startswith("Calls found their pool full")
    assert advice.pop("from_at") < advice.pop("to_at")
    assert advice == {
        "metric": "pools.default.refused_percent",
        "value": 100 * refused / 150,
        "threshold": 1.0,
        "sample_size": 150,
        "samples": "calls",
        "setting": "ELASTICSEARCH_POOL_MAXSIZE=4",
        "figures": f"{100 * refused / 150:.3g} % of 150 calls; more than 1 % is too much",
        "ended_at": None,
    }


async def test_an_outage_leaves_its_trace(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """When the cluster goes away and comes back, both are kept, with the reason; the breaker's trip makes it known
    soon.
    """
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": 0.3, "timeout": 0.3}, max_retries=0) as http:
            await until(http, has_status)
            with proxy.fault(path="/_cluster/health", cut=True):
                away = await until(http, lambda found: has_status(found, "unhealthy"))
                with pytest.raises(ElasticConnectionError):
                    await registry.get("elasticsearch_health").cluster.health()
            back = await until(http, has_status)
    reason = (
        f"Elasticsearch at {proxy.host}:{proxy.port} could not be reached: it closed the connection without an answer. "
        "Look at its log, and at what stands before it."
    )
    assert of_service(away, "elasticsearch")[0] == ("healthy", "unhealthy", reason)
    assert of_service(back, "elasticsearch")[:2] == [
        ("unhealthy", "healthy", None),
        ("healthy", "unhealthy", reason),
    ]
    times = [each["at"] for each in back["health"]["transitions"]]
    assert times == sorted(times, reverse=True)


def example() -> dict[str, Any]:
    """What the example of docs/api.md defines."""
    document = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text()
    section = document[document.index("### Checks and resources of your own") :]
    code = [line[4:] for line in section.splitlines() if line.startswith("    ") or not line]
    defined: dict[str, Any] = {"__name__": "shop.apps"}
    exec(compile("\n".join(code), "docs/api.md", "exec"), defined)  # noqa: S102  (it is ours)
    return defined


async def test_checks_and_resources_of_ones_own(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, own_declarations: None
) -> None:
    """What the example of docs/api.md registers shows in health beside ours and counts for the whole, in the advice, in
    the instances, in the background tasks and as metrics.
    """
    cluster.indices.create(index="orders", settings={"number_of_replicas": 0})
    defined = example()
    defined["ShopConfig"].ready(None)
    async with open_app(node.url) as http:
        health = await http.get("/api/health", headers=BEARER)
        mail = registry.get("mail")
        mail.waiting.put_nowait("a mail")
        mail.failed_total = 99
        report = await until(http, lambda found: bool(found["recommendations"]))
        metrics = (await http.get("/metrics", headers=BEARER)).text
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    services = health.json()["services"]
    assert services["orders"].pop("latency_ms") > 0
    assert services["orders"] == {
        "status": "degraded",
        "critical": False,
        "error": "there are no orders",
        "facts": {"orders": 0},
    }
    assert (services["mail"]["status"], services["mail"]["error"], services["mail"]["facts"]) == ("healthy", None, {})
    assert of_service(report, "orders") == [(None, "degraded", "there are no orders")]
    [advice] = report["recommendations"]
    assert (advice["metric"], advice["value"], advice["sample_size"]) == ("mail.failed_percent", 99.0, 100)
    told = report["instances"][instance_name()]["report"]["mail"]
    assert told == {"waiting": 0, "sent_total": 1, "failed_total": 99}
    assert ("mail", "keep-sending") in {(task["owner"], task["name"]) for task in report["background_tasks"]}
    assert "esassistant_mail_sent_total" in metrics
