"""Cases 16 and 17: more searches than the pool has connections, through the view that users search by."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.registry import registry
from tests.support.calls import ANSWERED, descriptors, make_index, outcome, outcomes, report, rules
from tests.support.fixtures import Figure, OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SLOW = "/slow/_search"
HEALTH = "/_cluster/health"
SLOW_SECONDS = 3.0
FULL_SECONDS = 10.0
WAIT_SECONDS = 1.0
NOISE_SECONDS = 1.0
HEALTH_TTL_SECONDS = 0.5
SIZE = 5


async def search(http: httpx.AsyncClient, index: str) -> tuple[httpx.Response, float]:
    """An answer of the search view, and the seconds it took."""
    started_at = time.monotonic()
    answer = await http.post(f"/api/indices/{index}/search", headers=BEARER, content=b'{"size":0}')
    return answer, time.monotonic() - started_at


async def searches(http: httpx.AsyncClient, index: str, calls: int) -> list[tuple[httpx.Response, float]]:
    return await asyncio.gather(*(search(http, index) for _ in range(calls)))


@contextlib.asynccontextmanager
async def health_watched(http: httpx.AsyncClient) -> AsyncIterator[list[httpx.Response]]:
    """The answers of /api/health, asked ten times a second for the length of the block."""
    answers: list[httpx.Response] = []
    ends = asyncio.Event()

    async def watch() -> None:
        while not ends.is_set():
            answers.append(await http.get("/api/health"))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield answers
    finally:
        # Not cancelled: Django would leave the request's body to the garbage collector.
        ends.set()
        await watching


async def warmed_up(http: httpx.AsyncClient, proxy: FaultProxy) -> tuple[int, int]:
    """Connections and descriptors, once every connection that is kept has been made."""
    with proxy.fault(path=SLOW, delay_seconds=0.3):
        assert {answer.status_code for answer, _ in await searches(http, "slow", SIZE)} == {200}
    while (await http.get("/api/health")).json()["status"] != "healthy":  # noqa: ASYNC110  (it is asked)
        await asyncio.sleep(0.1)
    return proxy.connections_open, descriptors()


async def assert_nothing_left(connections: int, descriptors_before: int, proxy: FaultProxy) -> None:
    """No more connections and descriptors than before, at once or within a second: a closed socket takes a moment."""
    deadline = time.monotonic() + NOISE_SECONDS
    while proxy.connections_open > connections or descriptors() > descriptors_before:
        assert time.monotonic() < deadline, (proxy.connections_open, descriptors())
        await asyncio.sleep(0.02)


def assert_refused(answers: list[tuple[httpx.Response, float]], least: float, most: float) -> None:
    """All are problems with a time to come back, given between `least` and `most` seconds."""
    for answer, seconds in answers:
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "in use" in answer.json()["detail"] or "became free" in answer.json()["detail"]
        assert answer.json()["request_id"]
        assert least <= seconds < most


def assert_healthy(answers: list[httpx.Response], checks: int) -> None:
    """Health stayed true, and was looked at anew meanwhile: the cluster is healthy, at most the pool is not."""
    reports = [answer.json() for answer in answers]
    assert {report["services"]["elasticsearch"]["status"] for report in reports} == {"healthy"}
    unwell = {name for one in reports for name, service in one["services"].items() if service["status"] != "healthy"}
    assert unwell <= {"pools"}
    assert {answer.status_code for answer in answers} == {200}
    assert max(int(answer.headers["Age"]) for answer in answers) <= 2 * HEALTH_TTL_SECONDS
    assert checks >= 1


async def test_case_16_a_full_pool_that_blocks(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """All connections are in use for 10 s: five times 20 searches wait for their second, get 503 with Retry-After and
    never reach the cluster; the health check is not concerned, and nothing is left behind.
    """
    make_index(cluster, "slow")
    options = {"pool_block": True, "pools": rules(default=SIZE), "connect_timeout": WAIT_SECONDS, "request_timeout": 30}
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": HEALTH_TTL_SECONDS}, **options) as http:
            connections, before = await warmed_up(http, proxy)
            proxy.reset()
            async with health_watched(http) as health:
                with proxy.fault(path=SLOW, delay_seconds=FULL_SECONDS):
                    holding = asyncio.create_task(outcomes(registry.get("elasticsearch"), SIZE, index="slow"))
                    await proxy.arrived(path=SLOW, count=SIZE)
                    waiting = asyncio.create_task(searches(http, "slow", 20))
                    await asyncio.sleep(WAIT_SECONDS / 2)
                    full = report()
                    refused = await waiting
                    for _ in range(4):
                        refused += await searches(http, "slow", 20)
                    held = await holding
            calls, checks, most_at_once = proxy.count(path=SLOW), proxy.count(path=HEALTH), proxy.max_in_flight
            after = report()
            await assert_nothing_left(connections, before, proxy)
    assert (full.in_use, full.waiting) == (SIZE, 20)
    assert_refused(refused, WAIT_SECONDS, 1.5 * WAIT_SECONDS + NOISE_SECONDS)
    assert held == {ANSWERED: SIZE}
    assert calls == SIZE
    assert most_at_once <= SIZE + 1
    assert_healthy(health, checks)
    assert (after.in_use, after.waiting, after.rejected["pool_timeout"]) == (0, 0, 100)
    slowest = max(seconds for _, seconds in refused)
    figure(
        16,
        f"waiting: {len(refused)} times 503, the slowest after {slowest:.2f} s of {WAIT_SECONDS:g} s; health true "
        f"{len(health)} times of {len(health)}; {after.in_use} in use afterwards",
    )


async def test_case_16_a_full_pool_with_overflow(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """As many searches as there are connections and overflow connections are served, the others get 503 at once; the
    overflow connections are closed after use.
    """
    make_index(cluster, "slow")
    options = {"pool_block": False, "pool_overflow": SIZE, "pools": rules(default=SIZE), "request_timeout": 30}
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": HEALTH_TTL_SECONDS}, **options) as http:
            connections, before = await warmed_up(http, proxy)
            proxy.reset()
            async with health_watched(http) as health:
                with proxy.fault(path=SLOW, delay_seconds=FULL_SECONDS):
                    holding = asyncio.create_task(outcomes(registry.get("elasticsearch"), 2 * SIZE, index="slow"))
                    await proxy.arrived(path=SLOW, count=2 * SIZE)
                    refused = await searches(http, "slow", 20)
                    full = report()
                    held = await holding
            calls, checks = proxy.count(path=SLOW), proxy.count(path=HEALTH)
            after = report()
            await assert_nothing_left(connections, before, proxy)
    assert (full.in_use, full.overflow_in_use, full.waiting) == (SIZE, SIZE, 0)
    assert_refused(refused, 0.0, NOISE_SECONDS)
    assert held == {ANSWERED: 2 * SIZE}
    assert calls == 2 * SIZE
    assert_healthy(health, checks)
    assert (after.in_use, after.overflow_in_use, after.overflow_total) == (0, 0, SIZE)
    assert after.rejected["pool_exhausted"] == 20
    slowest = max(seconds for _, seconds in refused)
    figure(
        16,
        f"overflow: {held[ANSWERED]} served, {len(refused)} times 503, the slowest after {1000 * slowest:.0f} ms; "
        f"health true {len(health)} times of {len(health)}; {after.in_use} in use afterwards",
    )


async def test_overflow_under_load_loses_nothing(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """400 searches by 20 callers on 3 connections and enough overflow: each is one request, and is answered."""
    make_index(cluster, "slow")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0, pool_block=False, pool_overflow=20, pools=rules(default=3)):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()

            async def caller() -> list[str]:
                return [await outcome(client, "slow") for _ in range(20)]

            ended = [result for results in await asyncio.gather(*(caller() for _ in range(20))) for result in results]
            sent, pool = proxy.count(path=SLOW), report()
    assert set(ended) == {"answered"}
    assert sent == len(ended) == 400
    assert pool.overflow_total > 0
    assert (pool.failures_total, pool.in_use, pool.overflow_in_use) == (0, 0, 0)


async def test_who_leaves_while_waiting_leaves_nothing(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Calls that are cancelled in the queue reach nobody, and those behind them get the connections."""
    make_index(cluster, "slow")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, pool_block=True, pools=rules(default=SIZE)):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            with proxy.fault(path=SLOW, delay_seconds=0.5, times=SIZE):
                calls = [asyncio.create_task(outcome(client, "slow")) for _ in range(SIZE)]
                await proxy.arrived(path=SLOW, count=SIZE)
                leaving = [asyncio.create_task(outcome(client, "slow")) for _ in range(50)]
                calls += [asyncio.create_task(outcome(client, "slow")) for _ in range(SIZE)]
                await asyncio.sleep(0.1)
                for task in leaving:
                    task.cancel()
                ended = await asyncio.gather(*calls)
            sent, pool = proxy.count(path=SLOW), report()
    assert ended == ["answered"] * 2 * SIZE
    assert sent == 2 * SIZE
    assert (pool.in_use, pool.waiting, pool.cancelled_total) == (0, 0, 0)


async def test_case_17_one_pool_is_saturated(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """While 20 searches of one kind of index crowd its 3 connections, 100 others are answered at once: none waits."""
    make_index(cluster, "logs-2026")
    make_index(cluster, "other")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, pool_block=True, pools=rules(logs=3, default=SIZE)) as http:
            await searches(http, "other", SIZE)
            proxy.reset()
            others: list[tuple[httpx.Response, float]] = []
            waiting: list[tuple[int, int]] = []
            with proxy.fault(path="^/logs-", delay_seconds=SLOW_SECONDS) as fault:
                crowding = asyncio.create_task(searches(http, "logs-2026", 20))
                await proxy.arrived(path="^/logs-", count=3)
                for _ in range(20):
                    others += await searches(http, "other", SIZE)
                    waiting.append((report("logs").waiting, report("default").waiting))
                crowd = proxy.count(path="^/logs-")
                proxy.remove(fault)
                crowded = await crowding
            logs, default = report("logs"), report("default")
    assert {answer.status_code for answer, _ in others} == {200}
    assert max(seconds for _, seconds in others) < SLOW_SECONDS / 2
    assert waiting[0] == (17, 0)
    assert {in_default for _, in_default in waiting} == {0}
    assert crowd >= 3
    assert [answer.status_code for answer, _ in crowded] == [200] * 20
    assert (logs.requests_total, default.requests_total) == (20, 20 * SIZE + SIZE)
    assert (logs.in_use, logs.waiting, default.in_use, default.rejected["pool_timeout"]) == (0, 0, 0, 0)
    figure(17, f"{waiting[0][0]} queued in the saturated pool, 0 in the other during {len(others)} searches")
