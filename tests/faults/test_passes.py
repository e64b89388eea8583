"""Cases 13 to 15: full passes over a cluster that fails at random, fails for one mapping, or becomes slow."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.cluster.batches import SLOW_SECONDS
from cacheapp.reports import PassOutcome, RefreshReport
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy, Rule
from dev.servers.service import TOKEN, manage
from esassistant.registry import registry
from tests.support.fakes import mappings_of
from tests.support.fixtures import Figure, OpenApp
from tests.support.simulated import MAPPING, SimulatedCluster, mapping_requests, names_of

BEARER = {"Authorization": f"Bearer {TOKEN}"}
NO_LIMIT = {"min_refresh_interval": 0.0}
CHANGED = '{"properties":{"b":{"type":"ip"}}}'


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Plays a cluster; there is nothing behind it."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


async def refreshed(http: httpx.AsyncClient) -> RefreshReport:
    """A full pass from asking to its end."""
    await http.post("/api/cache/refresh?wait=true", headers=BEARER)
    last: RefreshReport = registry.read("refresher").last
    return last


@pytest.mark.parametrize("batch_size", [1, 5])
async def test_case_13_a_third_of_all_answers_fails(
    proxy: FaultProxy, open_app: OpenApp, figure: Figure, batch_size: int
) -> None:
    """Of 500 mappings every one is read anew, though 30 % of all answers are 503; who asked each batch but once would
    have lost about as many.
    """
    cluster = SimulatedCluster(proxy, [f"i{number:03}" for number in range(500)])
    config = {**NO_LIMIT, "batch_size": batch_size, "adaptive": False}
    async with open_app(proxy.url, cache=config, max_retries=3) as http:
        cluster.mappings = dict.fromkeys(cluster.mappings, CHANGED)
        proxy.reset()
        with proxy.fault(path=MAPPING, status=503, probability=0.3):
            report = await refreshed(http)
        first_answers = {exchange.path: exchange.status for exchange in reversed(mapping_requests(proxy))}
        known = mappings_of(registry.get("mapping_cache"), cluster.mappings)
    lost_at_once = sum(status == 503 for status in first_answers.values()) / len(first_answers)
    assert len(first_answers) >= 500 / batch_size
    assert 0.15 <= lost_at_once <= 0.45
    assert (report.outcome, report.changed_total, report.failed_total) == (PassOutcome.COMPLETED, 500, 0)
    assert set(known.values()) == {CHANGED.encode()}
    fresh = sum(body == CHANGED.encode() for body in known.values())
    figure(
        13,
        f"batches of {batch_size}: {fresh} of {len(known)} fresh; {100 * lost_at_once:.0f} % of first answers were 503",
    )


async def test_case_13_on_a_real_node(node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """Of 40 mappings of a real node, read one by one in 25 full passes, 99.9 % are fresh after each, though 30 % of all
    answers are 503.
    """
    passes, total = 25, 40
    for number in range(total):
        cluster.indices.create(
            index=f"i{number:02}", settings={"number_of_replicas": 0}, mappings={"properties": {"a": {"type": "date"}}}
        )
    config = {**NO_LIMIT, "batch_size": 1, "adaptive": False}
    changed, first_answers = 0, list[int | None]()
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache=config, max_retries=3) as http:
            for number in range(passes):
                await asyncio.to_thread(cluster.indices.put_mapping, index="i*", meta={"pass": number})
                proxy.reset()
                with proxy.fault(path=MAPPING, status=503, probability=0.3):
                    await refreshed(http)
                first_answers += {one.path: one.status for one in reversed(mapping_requests(proxy))}.values()
                known = mappings_of(registry.get("mapping_cache"), [f"i{number:02}" for number in range(total)])
                changed += sum(json.loads(body)["_meta"]["pass"] == number for body in known.values())
    lost = sum(status == 503 for status in first_answers) / len(first_answers)
    assert 0.2 <= lost <= 0.4
    assert changed >= 0.999 * passes * total
    figure(
        13,
        f"a real node: {changed} of {passes * total} fresh; asked once each, {100 * lost:.0f} % would have been lost",
    )


async def test_case_13_the_baseline_without_retries(proxy: FaultProxy, open_app: OpenApp, figure: Figure) -> None:
    """Without retries of the client, second tries of the pass still mend most: fewer fail than were injected."""
    names = [f"i{number:03}" for number in range(500)]
    SimulatedCluster(proxy, names)
    config = {**NO_LIMIT, "batch_size": 1, "adaptive": False}
    async with open_app(proxy.url, cache=config, max_retries=0) as http:
        with proxy.fault(path=MAPPING, status=503, probability=0.3):
            report = await refreshed(http)
    assert report.outcome in (PassOutcome.COMPLETED, PassOutcome.PARTIAL)
    assert report.failed_total < 0.15 * len(names)
    figure(13, f"without the client's retries {len(names) - report.failed_total} of {len(names)} fresh")


async def test_case_14_one_bad_mapping(proxy: FaultProxy, open_app: OpenApp, figure: Figure) -> None:
    """One mapping of 500 that the cluster can't render: 499 are fresh, it alone is stale, still answered, and named, by
    the API and by the command, which exits with 3.
    """
    cluster = SimulatedCluster(proxy, [f"i{number:03}" for number in range(500)])
    async with open_app(proxy.url, cache={**NO_LIMIT, "ttl": 5.0, "max_stale": 3600.0}) as http:
        cluster.mappings = dict.fromkeys(cluster.mappings, CHANGED)
        await asyncio.sleep(5.0)
        assert registry.read("mapping_cache").stale_indices == 500
        proxy.reset()
        with proxy.fault(path=f"i250.*{MAPPING}", status=500):
            report = await refreshed(http)
            assert registry.read("mapping_cache").stale_indices == 1
            requests = len(mapping_requests(proxy))
            good, bad = await http.get("/api/mappings/i249"), await http.get("/api/mappings/i250")
            ended = await asyncio.to_thread(
                manage, "warm_cache", "--format", "json", elasticsearch_url=proxy.url, ELASTICSEARCH_MAX_RETRIES=0
            )
    assert (report.outcome, report.changed_total, report.failed_total) == (PassOutcome.PARTIAL, 499, 1)
    assert [(failed.index, failed.error) for failed in report.errors] == [
        ("i250", "Elasticsearch answered with status 500.")
    ]
    assert requests < 50
    assert (good.status_code, good.headers["X-Cache-State"], good.json()["i249"]["mappings"]) == (
        *(200, "fresh"),
        json.loads(CHANGED),
    )
    assert (bad.status_code, bad.headers["X-Cache-State"]) == (200, "stale")
    assert "a" in bad.json()["i250"]["mappings"]["properties"]
    assert ended.returncode == 3, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["outcome"], [failed["index"] for failed in result["errors"]]) == ("partial", ["i250"])
    figure(
        14,
        f"{report.changed_total} fresh, {report.failed_total} stale and named, {requests} requests; exit "
        f"{ended.returncode}",
    )


async def test_case_15_a_slow_cluster_gets_smaller_batches(
    proxy: FaultProxy, open_app: OpenApp, figure: Figure
) -> None:
    """When answers take 500 ms longer, one of the next three batches is at most half as large; when they don't any
    more, batches are nine tenths as large as before within ten batches.
    """
    cluster = SimulatedCluster(proxy, ["i0"])
    async with open_app(proxy.url, cache={**NO_LIMIT, "batch_size": 50, "adaptive": True}) as http:
        cluster.mappings = dict.fromkeys((f"i{number:05}" for number in range(20_000)), CHANGED)
        proxy.reset()
        running = asyncio.create_task(refreshed(http))
        await proxy.arrived(path=MAPPING, count=16)
        slow = proxy.add(Rule(path=MAPPING, delay_seconds=SLOW_SECONDS + 0.1))
        await proxy.arrived(path=MAPPING, count=16 + 8)
        proxy.remove(slow)
        report = await running
        requests = mapping_requests(proxy)
    assert (report.outcome, report.read_total) == (PassOutcome.COMPLETED, 20_000)
    first_slow_at = min(exchange.ended_at for exchange in requests if exchange.rule is slow)
    last_slow_at = max(exchange.ended_at for exchange in requests if exchange.rule is slow)
    before = max(len(names_of(exchange.path)) for exchange in requests if exchange.started_at < first_slow_at)
    after = [len(names_of(exchange.path)) for exchange in requests if exchange.started_at >= first_slow_at]
    recovering = [len(names_of(exchange.path)) for exchange in requests if exchange.started_at >= last_slow_at]
    assert min(after[:3]) <= before / 2
    assert max(recovering[:10]) >= 0.9 * before
    within = next(at for at, size in enumerate(recovering, start=1) if size >= 0.9 * before)
    figure(
        15,
        f"from {before} to {min(after[:3])} names within 3 batches; back at {recovering[within - 1]} in batch {within}",
    )
