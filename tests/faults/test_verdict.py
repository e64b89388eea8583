"""Cases 46, 47, 48, 51, 52 and 53: within 20 s the health address, the status page's sentence and the log say the same,
true thing.
"""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.redis import RedisServer
from dev.servers.service import TOKEN, Server
from esassistant.registry import registry
from healthapp.performance import performance_report
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SEARCH = "/some/_search"
TOLD_WITHIN_SECONDS = 1.5 * 20.0
"""With half as much again for noise."""


async def search(http: httpx.AsyncClient) -> int:
    answer = await http.post("/api/indices/some/search", headers=BEARER, content=b'{"size":0}')
    return answer.status_code


@asynccontextmanager
async def searching(http: httpx.AsyncClient, per_second: float) -> AsyncIterator[list[int]]:
    """Searches at that rate for the length of the block, whether or not earlier ones are answered; their statuses."""
    statuses: list[int] = []
    ends = asyncio.Event()

    async def one() -> None:
        statuses.append(await search(http))

    async def keep_searching() -> None:
        async with asyncio.TaskGroup() as group:
            while not ends.is_set():
                group.create_task(one())
                await asyncio.sleep(1 / per_second)

    task = asyncio.create_task(keep_searching())
    try:
        yield statuses
    finally:
        ends.set()
        await task


async def until(http: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
    """The answer of the health address, as soon as that holds of it."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = (await http.get("/api/health", headers=BEARER)).json()
        if holds(found):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


def healthy(found: dict[str, Any]) -> bool:
    return bool(found["status"] == "healthy")


def says(trouble: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: any(effect["trouble"] == trouble for effect in found["effects"])


async def test_case_46_a_slow_cluster(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, caplog: pytest.LogCaptureFixture
) -> None:
    """A cluster that is 3 s slower, pings included: degraded, with numbers and the time, on the page, at the address
    and in the log; no larger pool is advised.
    """
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url) as http:
            await until(http, healthy, 20)
            with proxy.fault(delay_seconds=3.0):
                began = time.monotonic()
                async with searching(http, 3):
                    found = await until(http, says("cluster-slow"), TOLD_WITHIN_SECONDS)
                    seconds = time.monotonic() - began
                    page = performance_report(registry)
                    while "searches are slow" not in caplog.text.lower():
                        assert time.monotonic() - began < TOLD_WITHIN_SECONDS
                        await asyncio.sleep(0.2)
    assert found["status"] == "degraded"
    # On a busy machine some fail, too, and that is said first.
    assert re.search(
        r"(?i)searches are slow since \d\d:\d\d:\d\d UTC: Elasticsearch answers in [3-9]", found["verdict"]
    )
    assert page.verdict.sentence[:20] == found["verdict"][:20]
    assert all("POOL" not in (one.setting or "") for one in page.recommendations)
    figure(46, f"slow cluster: said after {seconds:.0f} s")


async def test_case_46_heavy_queries(node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """A batch of heavy queries, while pings are quick: said, and not degraded."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url) as http:
            await until(http, healthy, 20)
            with proxy.fault(path=SEARCH, delay_seconds=3.0):
                async with searching(http, 3):
                    found = await until(http, says("heavy-calls"), TOLD_WITHIN_SECONDS)
    assert found["status"] == "healthy"
    assert "Searches take long since" in found["verdict"]
    figure(46, "heavy queries beside a quick ping: said, healthy")


async def test_case_46_a_few_searches_fail(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A few searches in a row that fail, though all else is well: degraded soon after the third."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0) as http:
            await until(http, healthy, 20)
            with proxy.fault(path=SEARCH, status=500):
                for _ in range(3):
                    assert await search(http) == 503
                found = await until(http, says("calls-fail"), TOLD_WITHIN_SECONDS)
    assert found["status"] == "degraded"
    assert "Searches fail since" in found["verdict"]
    assert "(3 of 3 in the last minute)" in found["verdict"]
    figure(46, "three failing searches: degraded")


async def test_case_47_a_third_is_refused(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A pool that is too small for its callers: refusals are counted, and a larger pool is advised."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, pool_block=False, pool_overflow=0) as http:
            size = performance_report(registry).pools["default"].max_connections
            await until(http, healthy, 20)
            said_at: list[float] = []
            began = time.monotonic()
            with proxy.fault(path=SEARCH, delay_seconds=0.3):
                refused = total = 0
                said = asyncio.create_task(until(http, says("calls-refused"), TOLD_WITHIN_SECONDS))
                said.add_done_callback(lambda _: said_at.append(time.monotonic()))
                for _ in range(12):
                    statuses = await asyncio.gather(*(search(http) for _ in range(3 * size // 2)))
                    refused, total = refused + statuses.count(503), total + len(statuses)
                found = await said
                advice = performance_report(registry).recommendations
    effect = next(one for one in found["effects"] if one["trouble"] == "calls-refused")
    assert 0.2 < refused / total < 0.5
    assert found["status"] == "degraded"
    assert 3 <= effect["bad"] <= refused
    assert any("POOL" in (one.setting or "") for one in advice)
    figure(47, f"{refused} of {total} refused: degraded after {said_at[0] - began:.0f} s, a larger pool advised")


async def test_case_48_what_fails_since_when(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A frozen node at one search a second: the verdict says that searches fail, since the first of them was sent."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"timeout": 2.0}, request_timeout=5.0) as http:
            await until(http, healthy, 20)
            with proxy.fault(blackhole=True):
                began, began_at = time.monotonic(), time.time()
                async with searching(http, 1):
                    found = await until(
                        http, lambda found: says("calls-fail")(found) and found["status"] == "unhealthy", 25
                    )
                    seconds = time.monotonic() - began
                    await asyncio.sleep(5)
                    later = await until(http, says("calls-fail"), 5)
    since = time.mktime(time.strptime(later["since"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(since - began_at) < 5
    assert re.search(r"(?i)searches fail since .* \(\d+ of \d+ in the last minute\): ", found["verdict"])
    figure(48, f"verdict after {seconds:.0f} s, since {since - began_at:.0f} s after the node was stopped")


async def test_case_51_the_verdict_of_an_unwritable_store(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, settings: Any, figure: Figure
) -> None:
    """Redis that refuses writes: health, advice and the verdict say so with the cause, until a write succeeds."""
    make_index(cluster)
    with RedisServer() as redis:
        settings.ESASSISTANT = replace(settings.ESASSISTANT, redis_url=redis.url)
        async with open_app(node.url) as http:
            await until(http, healthy, 20)
            redis.command("CONFIG", "SET", "maxmemory", "1")
            found = await until(http, says("store-unwritable"), TOLD_WITHIN_SECONDS)
            advice = performance_report(registry).recommendations
            redis.command("CONFIG", "SET", "maxmemory", "0")
            over = await until(http, healthy, TOLD_WITHIN_SECONDS)
            was = performance_report(registry).was
    assert found["status"] == "degraded"
    assert "(OOM)" in found["verdict"]
    assert "store.write_error" in {one.metric for one in advice}
    assert over["effects"] == []
    assert "store.write_error" in {one.metric for one in was}
    figure(51, "the verdict names the cause, and ends with a write that succeeds")


@pytest.mark.minutes
def test_case_53_the_log_of_an_outage(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """Five minutes without the cluster, under load, two workers: begin, one line a minute and end, of each process."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy, Server(proxy.url, "--workers", "2") as server:
        deadline = time.monotonic() + 60
        while server.get("/api/health").json()["status"] != "healthy":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(10)  # the second worker's first pass would fail otherwise, which is a line of its own
        before = len(server.output().splitlines())
        with proxy.fault(cut=True):
            ends = time.monotonic() + 300
            while time.monotonic() < ends:
                server.http.post("/api/indices/some/search", headers=BEARER, content=b'{"size":0}')
                time.sleep(0.2)
        time.sleep(75)
        lines = server.output().splitlines()[before:]
    by_process = {
        pid: list(found)
        for pid, found in itertools.groupby(sorted(lines, key=_process), key=_process)
        if pid is not None
    }
    assert len(by_process) == 2
    most = 0
    for found in by_process.values():
        told = list(itertools.takewhile(lambda line: not _is_over(line), found))
        assert any("What to do" in line for line in told), "\n".join(found)
        assert len(told) < len(found), "\n".join(found)
        assert len(told) + 1 <= 7, "\n".join(found)
        most = max(most, len(told) + 1)
    figure(53, f"two workers: {most} lines a process")


def _is_over(line: str) -> bool:
    """Whether a line tells the end; on a busy machine the process is late for some minutes more."""
    return "healthy again after" in line or "no call failed in the last minute. This process is late" in line


def _process(line: str) -> str:
    found = re.search(r" \[(\d+)\] ", line)
    return "" if found is None else found[1]
