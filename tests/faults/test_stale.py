"""Cases 4 to 6: answers go on from memory while the cluster is slow, refuses or says nothing."""

import asyncio
import time

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.elasticsearch.client import within
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp

TTL_SECONDS = 1.5
SLOW_SECONDS = 1.0


async def timed_get(http: httpx.AsyncClient, path: str) -> tuple[httpx.Response, float]:
    """An answer, and the seconds it took."""
    started_at = time.monotonic()
    return await http.get(path), time.monotonic() - started_at


async def test_case_4_a_hot_key_expires_under_load(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """While one call reads the mapping anew, all requests get the stale one and none waits for that call."""
    cluster.indices.create(index="hot", mappings={"properties": {"a": {"type": "date"}}})
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"ttl": TTL_SECONDS, "max_stale": 60.0}) as http:
            cluster.indices.put_mapping(index="hot", properties={"b": {"type": "date"}})
            await asyncio.sleep(TTL_SECONDS)
            proxy.reset()
            answers: list[tuple[httpx.Response, float]] = []
            with proxy.fault(path="/hot/_mapping", delay_seconds=SLOW_SECONDS):
                while not answers or answers[-1][0].headers["X-Cache-State"] == "stale":
                    answers += await asyncio.gather(*(timed_get(http, "/api/mappings/hot") for _ in range(10)))
            calls = proxy.count(path="/_mapping")
    stale = [(answer, seconds) for answer, seconds in answers if answer.headers["X-Cache-State"] == "stale"]
    assert {answer.status_code for answer, _ in answers} == {200}
    assert len(stale) >= 10
    assert all(int(answer.headers["Age"]) >= int(TTL_SECONDS) for answer, _ in stale)
    assert max(seconds for _, seconds in answers) < SLOW_SECONDS / 2
    assert calls == 1
    assert set(answers[-1][0].json()["hot"]["mappings"]["properties"]) == {"a", "b"}
    slowest = 1000 * max(seconds for _, seconds in answers)
    figure(
        4, f"{len(stale)} stale answers during a call of {SLOW_SECONDS:g} s: {calls} call, the slowest {slowest:.0f} ms"
    )


async def test_case_5_the_cluster_refuses_and_the_cache_is_warm(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Every request is answered, with the age of what it gets, until the hard limit; then 503, and no sooner."""
    limit = TTL_SECONDS + 1.5
    cluster.indices.create(index="warm")
    with FaultProxy(node.url) as proxy:
        before = time.monotonic()
        async with open_app(proxy.url, cache={"ttl": TTL_SECONDS, "max_stale": 1.5}, max_retries=0) as http:
            warmed_up_at = time.monotonic()
            proxy.refuse()
            answers: list[tuple[float, httpx.Response]] = []
            while time.monotonic() < warmed_up_at + limit:
                answer = await http.get("/api/mappings/warm")
                answers.append((time.monotonic(), answer))
                await asyncio.sleep(0.01)
            refused = await http.get("/api/mappings/warm")
            proxy.accept()
            await asyncio.sleep(1.0)
            recovered = await http.get("/api/mappings/warm")
    within = [answer for at, answer in answers if at < before + limit]
    assert {answer.status_code for answer in within} == {200}
    assert {answer.headers["X-Cache-State"] for answer in within} == {"fresh", "stale"}
    ages = [int(answer.headers["Age"]) for answer in within]
    assert ages == sorted(ages)
    assert ages[-1] == int(limit) - 1
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert (recovered.status_code, recovered.headers["X-Cache-State"]) == (200, "fresh")
    figure(5, f"{len(within)} of {len(within)} requests 200 within the limit of {limit:g} s, then 503")


async def test_case_6_a_miss_ends_within_its_deadline(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Of a cluster that says nothing, 20 callers learn within MAPPING_CACHE_FETCH_TIMEOUT, by one call; nothing
    stays.
    """
    deadline = 1.0
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"fetch_timeout": deadline}) as http:
            cluster.indices.create(index="cold")
            await http.get("/api/indices")
            proxy.reset()
            with proxy.fault(path="/cold/_mapping", blackhole=True):
                answers = await asyncio.gather(*(timed_get(http, "/api/mappings/cold") for _ in range(20)))
                calls = proxy.count(path="/cold/_mapping")
                in_flight = registry.read("mapping_cache").in_flight
            async with asyncio.timeout(1):
                while registry.read("elasticsearch_cache")["cache"].in_use:  # noqa: ASYNC110  (nothing tells of it)
                    await asyncio.sleep(0.01)
    assert {answer.status_code for answer, _ in answers} == {503}
    assert within(deadline) <= max(seconds for _, seconds in answers) < 1.5 * deadline
    assert calls == 1
    assert in_flight == 0
    slowest = max(seconds for _, seconds in answers)
    figure(6, f"blackholed: {len(answers)} misses ended within {slowest:.2f} s of {deadline:g} s, {calls} call")


@pytest.mark.parametrize("fault", ["blackholed", "stopped"])
async def test_case_6_health_ends_within_its_timeout(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, fault: str
) -> None:
    """Of a cluster that says nothing, be it blackholed or stopped with SIGSTOP, health knows within HEALTH_TIMEOUT of
    its next check, nobody who asks for it waits, and a miss ends within its deadline.
    """
    ttl, timeout, deadline = 1.0, 0.5, 1.0
    with FaultProxy(node.url) as proxy:
        async with open_app(
            proxy.url, cache={"fetch_timeout": deadline}, health={"ttl": ttl, "timeout": timeout}
        ) as http:
            make_index(cluster, "cold")
            while (await http.get("/api/health")).json()["status"] != "healthy":  # noqa: ASYNC110  (it is asked)
                await asyncio.sleep(0.02)
            if fault == "stopped":
                node.suspend()
            try:
                with proxy.fault(blackhole=fault == "blackholed"):
                    began_at = time.monotonic()
                    miss = asyncio.create_task(timed_get(http, "/api/mappings/cold"))
                    asked: list[tuple[httpx.Response, float]] = []
                    while not asked or asked[-1][0].status_code == 200:
                        asked.append(await timed_get(http, "/api/health"))
                        await asyncio.sleep(0.01)
                    seconds = time.monotonic() - began_at
                    missed, miss_seconds = await miss
                    report = registry.read("health")
            finally:
                node.resume()
    assert missed.status_code == 503
    assert miss_seconds < 1.5 * deadline
    assert seconds < 1.5 * (ttl + timeout)
    assert report.duration_ms < 1.5 * timeout * 1000
    assert max(seconds for _, seconds in asked) < timeout / 2
    figure(
        6,
        f"{fault}: the check ended after {report.duration_ms:.0f} of {timeout * 1000:.0f} ms; a miss "
        f"{miss_seconds:.2f} s",
    )
