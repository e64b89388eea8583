"""The node is stopped under load: it accepts connections still, and answers nothing. With a server in a process of its
own, and users who search.
"""

import asyncio
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from tests.support.calls import INDEX, descriptors, make_index
from tests.support.nodes import route_calls

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 60
FIRST_OPEN_SECONDS = 5.0
"""How long the breaker is open at first, before jitter: the first probe is within the hang, and fails."""
LONGEST_HANG_SECONDS = 20.0
REQUEST_TIMEOUT_SECONDS = 1.0
POOL_SIZE = 40
OPEN_SECONDS = 10.0
"""How long the breaker is open after a probe has failed, before jitter."""
REFUSED = "is not asked at the moment"
OTHER_CONNECTIONS = 8 + 2 + 1
"""Those of the cache, of the health check and of the watch."""


SETTINGS = {
    "ELASTICSEARCH_REQUEST_TIMEOUT": REQUEST_TIMEOUT_SECONDS,
    "ELASTICSEARCH_POOL_MAXSIZE": POOL_SIZE,
    "ELASTICSEARCH_POOL_BLOCK": "true",
    "HEALTH_CACHE_TTL": 1,
    "HEALTH_TIMEOUT": 1,
    "MAPPING_CACHE_REFRESH_INTERVAL": 0,
}


@dataclass
class Answers:
    """Of all callers: when each search was sent, how long it took and how it ended."""

    found: list[tuple[float, float, int]] = field(default_factory=list)

    def statuses(self, since: float, until: float) -> Counter[int]:
        return Counter(status for sent_at, _, status in self.found if since <= sent_at < until)

    def seconds(self, since: float, until: float) -> list[float]:
        return [seconds for sent_at, seconds, _ in self.found if since <= sent_at < until]


@asynccontextmanager
async def under_load(url: str) -> AsyncIterator[Answers]:
    """`CALLERS` users for the length of the block, each of whom searches again a second after an answer, at once after
    a timeout, and later when the breaker has refused the search.
    """
    answers = Answers()

    async def use(http: httpx.AsyncClient) -> None:
        while True:
            sent_at = time.monotonic()
            answer = await http.post(f"/api/indices/{INDEX}/search", content=b'{"size":0}')
            answers.found.append((sent_at, time.monotonic() - sent_at, answer.status_code))
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                if REFUSED in answer.json()["detail"]:
                    await asyncio.sleep(random.uniform(2.0, 4.0))
            else:
                await asyncio.sleep(1.0)

    limits = httpx.Limits(max_connections=CALLERS)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30, headers=bearer) as http:
        users = [asyncio.create_task(use(http)) for _ in range(CALLERS)]
        try:
            yield answers
        finally:
            for user in users:
                user.cancel()
            ended = await asyncio.gather(*users, return_exceptions=True)
    assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []


async def pool_of(http: httpx.AsyncClient) -> dict[str, Any]:
    """What /api/performance says of the pool."""
    report: dict[str, Any] = (await http.get("/api/performance")).json()["pools"]["default"]
    return report


def states_of(server: Server) -> set[str]:
    """What the checks found."""
    return {service["status"] for service in server.get("/api/health").json()["services"].values()}


def connections_to(port: int, pid: int) -> int:
    """The process' open connections to a port, as the kernel lists them."""
    sockets = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in sockets for line in lines)


def assert_the_breaker_says_why(reports: Sequence[dict[str, Any]]) -> None:
    """It tripped again and again while the node hung, and each report of it open has a reason and the next probe."""
    assert reports[-1]["breaker"]["trips_total"] >= 2
    breakers = [report["breaker"] for report in reports if report["breaker"]["state"] == "open"]
    assert all(re.search("calls failed within|probe|ping", each["reason"]) for each in breakers)
    assert all(0 <= each["next_probe_in_seconds"] <= 1.2 * OPEN_SECONDS for each in breakers)


async def test_the_node_hangs_under_load(node: Node, cluster: Elasticsearch) -> None:
    """SIGSTOP for some 10 s: the breaker opens, everybody is answered at once with 503, nothing queues, and the report
    says why and when the next probe is; after SIGCONT all is well by itself, and nothing is left of it.
    """
    make_index(cluster)
    port = int(node.url.rpartition(":")[2])
    with Server(node.url, **SETTINGS) as server:
        pid = server.pid
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 10)
        async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
            async with under_load(server.url):
                await asyncio.sleep(0.8)
            await asyncio.sleep(0.3)
            requests_before = (await pool_of(http))["requests_total"]
            executed_before = route_calls(cluster, "/{index}/_search")
            others_before = descriptors(pid) - connections_to(port, pid)
            async with under_load(server.url) as answers:
                await asyncio.sleep(1.0)
                node.suspend()
                try:
                    suspended_at = time.monotonic()
                    reports, report_seconds = await watch(http)
                    health = await http.get("/api/health")
                    live = await http.get("/livez")
                    mapping = await http.get(f"/api/mappings/{INDEX}")
                finally:
                    node.resume()
                resumed_at = time.monotonic()
                while (pool := await pool_of(http))["breaker"]["state"] != "closed":
                    assert time.monotonic() < resumed_at + 1.5 * OPEN_SECONDS + 3
                    await asyncio.sleep(0.1)
                closed_at = time.monotonic()
                await asyncio.sleep(1.5)
                ended_at = time.monotonic()
            await asyncio.sleep(0.3)
            # The checks: the verdict tells of calls that failed for half a minute more, which case 53 waits for.
            wait_until(lambda: states_of(server) == {"healthy"}, 5)
            pool = await pool_of(http)
            connections = connections_to(port, pid)
            others = descriptors(pid) - connections
            executed = route_calls(cluster, "/{index}/_search") - executed_before
            answered = sum(status == 200 for _, _, status in answers.found)
    opened_at = next(at for at, report in reports if report["breaker"]["state"] == "open")
    # At the latest when as many have timed out as were answered within the window before.
    answered_before = CALLERS + answers.statuses(0.0, suspended_at)[200]
    rounds = 2 + answered_before / POOL_SIZE
    assert opened_at - suspended_at < 1.5 * rounds * REQUEST_TIMEOUT_SECONDS + 2
    assert_the_breaker_says_why([report for _, report in reports])
    # Nothing piles up: as many as there are callers at most, and none once it is open and the last timeout is over.
    assert max(report["in_use"] + report["waiting"] for _, report in reports) <= CALLERS
    settled = opened_at + 1.5 * REQUEST_TIMEOUT_SECONDS + 0.5
    assert {report["waiting"] for at, report in reports if at >= settled} == {0}
    assert max(report["in_use"] for at, report in reports if at >= settled) <= 1
    assert (health.status_code, live.status_code, mapping.status_code) == (503, 200, 200)

    # Callers: refused as soon as any question is answered that needs no cluster.
    assert answers.statuses(settled, resumed_at).keys() == {503}
    assert answers.statuses(settled, resumed_at)[503] >= CALLERS / 2
    assert statistics.median(answers.seconds(settled, resumed_at)) <= 3 * statistics.median(report_seconds) + 0.1
    # The node was sent little more than what was answered: what it took to open the breaker, what was under way then,
    # a probe or two, and what users left at the end.
    unanswered = pool["requests_total"] - requests_before - answered
    assert unanswered <= answered_before + POOL_SIZE + CALLERS + 5

    assert set(answers.statuses(closed_at + 0.2, ended_at - 0.5)) == {200}
    assert executed <= pool["requests_total"] - requests_before
    assert (pool["in_use"], pool["overflow_in_use"], pool["waiting"]) == (0, 0, 0)
    assert pool["failures"]["request_timeout"] > 0
    assert connections <= POOL_SIZE + OTHER_CONNECTIONS
    assert others <= others_before


async def watch(http: httpx.AsyncClient) -> tuple[list[tuple[float, dict[str, Any]]], list[float]]:
    """The reports on the pool until its breaker has opened and its first probe has failed, each with its moment; and
    how long each took.
    """
    reports: list[tuple[float, dict[str, Any]]] = []
    seconds: list[float] = []
    began_at = time.monotonic()
    until = began_at + LONGEST_HANG_SECONDS
    while (now := time.monotonic()) < until:
        reports.append((now, await pool_of(http)))
        seconds.append(time.monotonic() - now)
        if reports[-1][1]["breaker"]["trips_total"]:
            opened_at = next(at for at, report in reports if report["breaker"]["trips_total"])
            until = min(until, opened_at + 1.2 * FIRST_OPEN_SECONDS + REQUEST_TIMEOUT_SECONDS + 1.5)
        await asyncio.sleep(0.2)
    return reports, seconds
