"""The performance report and health on a real node: all of it is there, and one's own checks and resources with it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from esassistant.advice import Advice, judge
from esassistant.elasticsearch.errors import PoolExhausted
from esassistant.elasticsearch.routing import PoolRule
from esassistant.instance import instance_name
from esassistant.metrics import Kind, Metric
from esassistant.registry import Health, PingResult, Registry, registry
from tests.integration.conftest import OpenApp
from tests.proxy import FaultProxy
from tests.server import TOKEN

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
        report = await until(http, lambda found: bool(found["health"]) and found["process"]["loop_lag"]["samples"] >= 4)
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
    assert report["watch"]["state"] == "starting"
    assert report["history"]["lost_total"] == 0
    assert report["access_log"] is None
    services = report["health"]["services"]
    assert set(services) == {"elasticsearch", "pools", "store", "mapping_cache", "database", "process"}
    assert {service["status"] for service in services.values()} == {"healthy"}
    assert services["elasticsearch"]["facts"]["status"] == "green"
    assert services["elasticsearch"]["facts"]["nodes"] == 1
    assert services["mapping_cache"]["facts"]["coverage_percent"] == 100.0
    assert {each["service"] for each in report["health"]["transitions"]} == set(services)
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
    """A pool that refuses calls shows as advice with all its members: what, how much, of how many, why, and the line."""
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
    assert advice == {
        "metric": "pools.default.refused_percent",
        "value": 100 * refused / 150,
        "threshold": 1.0,
        "sample_size": 150,
        "samples": "calls",
        "setting": "ELASTICSEARCH_POOL_MAXSIZE=4",
    }


async def test_an_outage_leaves_its_trace(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """When the cluster goes away and comes back, both are kept, with the reason; the breaker's trip makes it known soon."""
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": 0.3, "timeout": 0.3}, max_retries=0) as http:
            await until(http, lambda found: bool(found["health"]) and found["health"]["status"] == "healthy")
            with proxy.fault(path="/_cluster/health", cut=True):
                away = await until(http, lambda found: found["health"]["status"] == "unhealthy")
                with pytest.raises(ElasticConnectionError):
                    await registry.get("elasticsearch_health").cluster.health()
            back = await until(http, lambda found: found["health"]["status"] == "healthy")
    reason = "Elasticsearch could not be reached."
    assert of_service(away, "elasticsearch")[0] == ("healthy", "unhealthy", reason)
    assert of_service(back, "elasticsearch")[:2] == [
        ("unhealthy", "healthy", None),
        ("healthy", "unhealthy", reason),
    ]
    times = [each["at"] for each in back["health"]["transitions"]]
    assert times == sorted(times, reverse=True)


async def test_a_check_of_ones_own(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, own_declarations: None
) -> None:
    """A check that a user registers shows in /api/health beside ours, with its facts, and counts for the whole."""

    async def check_orders() -> PingResult:
        found = await registry.get("elasticsearch").count(index="orders")
        health = Health.HEALTHY if found["count"] else Health.DEGRADED
        return PingResult(health, "there are no orders", {"orders": found["count"]})

    registry.check("orders", check_orders, needs=("elasticsearch",))
    cluster.indices.create(index="orders", settings={"number_of_replicas": 0})
    async with open_app(node.url) as http:
        answer = await http.get("/api/health", headers=BEARER)
        report = await performance(http)
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    found = answer.json()["services"]["orders"]
    assert found.pop("latency_ms") > 0
    assert found == {
        "status": "degraded",
        "critical": False,
        "error": "there are no orders",
        "facts": {"orders": 0},
    }
    assert of_service(report, "orders") == [(None, "degraded", "there are no orders")]


@dataclass(frozen=True)
class QueueReport:
    """The report of `Queue` below."""

    waiting: int
    sent_total: int


class Queue:
    """A resource as in docs/api.md."""

    def report(self) -> QueueReport:
        return QueueReport(waiting=120, sent_total=1000)


@asynccontextmanager
async def open_queue(_: Registry) -> AsyncIterator[Queue]:
    yield Queue()


async def ping_queue(queue: Queue) -> PingResult:
    waiting = queue.report().waiting
    return PingResult(Health.HEALTHY, facts={"waiting": waiting})


def queue_rules(queue: QueueReport) -> Iterable[Advice]:
    return judge(
        "queue.waiting",
        queue.waiting,
        100,
        queue.sent_total,
        50,
        "messages",
        "The queue is longer than it should be.",
        "QUEUE_WORKERS=4",
    )


async def test_a_resource_of_ones_own(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, own_declarations: None
) -> None:
    """A resource that a user registers with all there is shows in health, in the advice, in the instances and as metrics."""
    registry.register(
        "queue",
        open_queue,
        ping=ping_queue,
        stats=Queue.report,
        metrics=(Metric(Kind.GAUGE, "queue_waiting", "Messages that wait.", "waiting"),),
        rules=(queue_rules,),
    )
    async with open_app(node.url) as http:
        services = (await http.get("/api/health", headers=BEARER)).json()["services"]
        report = await performance(http)
        metrics = (await http.get("/metrics", headers=BEARER)).text
    assert services["queue"]["facts"] == {"waiting": 120}
    [advice] = [each for each in report["recommendations"] if each["metric"] == "queue.waiting"]
    assert (advice["value"], advice["setting"]) == (120, "QUEUE_WORKERS=4")
    assert report["instances"][instance_name()]["report"]["queue"] == {"waiting": 120, "sent_total": 1000}
    assert "esassistant_queue_waiting" in metrics
