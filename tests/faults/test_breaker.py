"""Cases 7 to 11 and 48 to 50: the breaker of the public client, between a real node and its callers. Calls are counted
by the proxy.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.elasticsearch.errors import BreakerOpen
from esassistant.registry import registry
from tests.support.calls import (
    ANSWERED,
    INDEX,
    REFUSED,
    SEARCH,
    breaker_state,
    health_known,
    make_index,
    most_within,
    outcome,
    outcomes,
    report,
    rules,
    trip,
)
from tests.support.fixtures import Figure, OpenApp, UseBreaker

HEALTH = "/_cluster/health"
NOISE_SECONDS = 1.0
STOPPED_SECONDS = 20.0
POLLED_SECONDS = 12
AT_ONCE_SECONDS = 0.5
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("fault", "failure"),
    [({"cut": True}, "ConnectionError"), ({"status": 503}, "503"), ({"blackhole": True}, "ConnectionTimeout")],
    ids=["cut", "503", "blackhole"],
)
async def test_case_7_the_cluster_is_down(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    brief_breaker: UseBreaker,
    figure: Figure,
    fault: dict[str, Any],
    failure: str,
) -> None:
    """The minimum of calls reaches the cluster, then none; who is refused hears when to come back, and no connection is
    made for that.
    """
    policy = brief_breaker(open_seconds=30.0, longest_open_seconds=30.0)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0, request_timeout=0.2):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await health_known()
            proxy.reset()
            with proxy.fault(path=SEARCH, **fault):
                failed = [await outcome(client) for _ in range(policy.minimum_calls or 0)]
                connections = proxy.connections_total
                refused = await outcomes(client, 1000)
                with pytest.raises(BreakerOpen) as raised:
                    await client.search(index="some")
            calls, connections_after = proxy.count(path=SEARCH), proxy.connections_total
            proxy.refuse()
            refused_without_a_cluster = await outcomes(client, 1000)
            proxy.accept()
            pool = report()
    assert failed == [failure] * 10
    assert calls == 10
    assert connections_after == connections
    assert refused == refused_without_a_cluster == {REFUSED: 1000}
    assert 0 < (raised.value.retry_after_seconds or 0) <= 30
    assert "10 of 10 calls failed" in str(raised.value.message)
    assert (pool.in_use, pool.waiting, pool.rejected["breaker_open"]) == (0, 0, 2001)
    figure(7, f"{failure}: open after {calls} calls; 2001 refused by 0 calls on 0 new connections")


async def test_case_7_down_for_a_minute(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """A minute twenty times as fast, under load: beside what opens the breaker, the cluster gets one probe per open
    time, which doubles as far as it may.
    """
    seconds, policy = 60 / 20, brief_breaker(open_seconds=5 / 20, longest_open_seconds=30 / 20)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            ends = asyncio.Event()
            with proxy.fault(path=SEARCH, cut=True):
                load = asyncio.create_task(steady_load(client, ends))
                await asyncio.sleep(seconds)
                ends.set()
                ended = await load
            calls, trips = proxy.count(path=SEARCH), report().breaker
    minimum = policy.minimum_calls or 0
    assert set(ended) == {"ConnectionError", REFUSED}
    assert trips is not None
    # Those under way when it opens; then probes after 0.25, 0.5, 1 s and so on.
    assert minimum + 2 <= calls <= minimum + 2 + 4
    assert calls - minimum <= trips.trips_total + 2
    figure(7, f"a minute, 20 times as fast: {calls} of {sum(ended.values())} calls reached the cluster")


async def test_case_7_those_who_queue_are_refused_too(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """Of 300 calls at once on 5 connections, only those reach the failing cluster that were sent before it tripped."""
    policy = brief_breaker(open_seconds=30.0, longest_open_seconds=30.0)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3, pool_block=True, pools=rules(default=5)):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            with proxy.fault(path=SEARCH, status=503, delay_seconds=0.05):
                ended = await outcomes(client, 300)
            calls, most_at_once, pool = proxy.count(path=SEARCH), proxy.max_in_flight, report()
    minimum = policy.minimum_calls or 0
    assert minimum <= calls <= minimum + 4
    assert most_at_once <= 5 + 2  # the health check's among them
    assert ended[REFUSED] == 300 - ended["503"]
    assert (pool.in_use, pool.waiting) == (0, 0)
    figure(7, f"300 calls on 5 connections: {calls} reached the cluster")


@pytest.mark.usefixtures("no_rechecks")
async def test_a_transition_renews_the_health_report(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker
) -> None:
    """The cluster's health is asked at once when a breaker opens, and when it closes, though none was due for a
    minute.
    """
    policy = brief_breaker()
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0, health={"ttl": 60.0}):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            first = await health_known()
            proxy.reset()
            assert await outcome(client) == ANSWERED
            assert proxy.count(path=HEALTH) == 0
            await trip(client, proxy)
            await proxy.arrived(path=HEALTH, count=1, timeout_seconds=NOISE_SECONDS)
            await asyncio.sleep(policy.open_seconds)
            opened = registry.read("health")
            proxy.reset()
            assert await outcome(client) == ANSWERED
            await proxy.arrived(path=HEALTH, count=1, timeout_seconds=NOISE_SECONDS)
            await asyncio.sleep(0.2)
            closed, checks = registry.read("health"), proxy.count(path=HEALTH)
            state = breaker_state()
    assert first.made_at < opened.made_at < closed.made_at
    assert state == "closed"
    assert checks <= 2  # half-open, closed


@pytest.mark.parametrize("probes", [1, 3])
async def test_case_8_500_callers_of_a_half_open_breaker(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure, probes: int
) -> None:
    """Of 500 callers at once, exactly the permitted probes reach the cluster; after them, everybody does."""
    policy = brief_breaker(probes=probes, probe_seconds=5.0)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await trip(client, proxy)
            await asyncio.sleep(policy.open_seconds)
            proxy.reset()
            with proxy.fault(path=SEARCH, delay_seconds=0.5):
                ended = await outcomes(client, 500)
            probed = proxy.count(path=SEARCH)
            state = breaker_state()
            afterwards = await outcomes(client, 50)
            calls = proxy.count(path=SEARCH)
    assert probed == probes
    assert ended == {ANSWERED: probes, REFUSED: 500 - probes}
    assert state == "closed"
    assert afterwards == {ANSWERED: 50}
    assert calls == probes + 50
    figure(8, f"{probes} permitted: {probed} of 500 callers reached the cluster")


async def test_case_9_a_probe_hangs(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """A probe without an answer ends half-open at the probe's deadline, long before the request's; the next one
    counts.
    """
    policy = brief_breaker()
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0, request_timeout=30.0):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await trip(client, proxy)
            await asyncio.sleep(policy.open_seconds)
            proxy.reset()
            with proxy.fault(path=SEARCH, blackhole=True):
                started_at = time.monotonic()
                probe = asyncio.create_task(outcome(client))
                await proxy.arrived(path=SEARCH)
                during = breaker_state()
                refused = await outcomes(client, 100)
                ended = await probe
                seconds = time.monotonic() - started_at
                after = report()
                refused += await outcomes(client, 100)
                calls = proxy.count(path=SEARCH)
            await asyncio.sleep(policy.open_seconds)
            recovered = await outcome(client)
    assert during == "half-open"
    assert (ended, refused) == ("ConnectionTimeout", {REFUSED: 200})
    assert policy.probe_seconds <= seconds < 1.5 * policy.probe_seconds + NOISE_SECONDS
    assert after.breaker is not None
    assert (after.breaker.state, after.breaker.trips_total, after.in_use) == ("open", 2, 0)
    assert after.breaker.reason is not None
    assert "probe" in after.breaker.reason
    assert calls == 1
    assert recovered == ANSWERED
    figure(9, f"half-open ended after {seconds:.2f} s, deadline {policy.probe_seconds:g} s; 200 others refused")


async def test_case_9_a_probe_whose_caller_leaves(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """A cancelled probe says nothing: the next caller probes at once, and that one's success closes."""
    policy = brief_breaker(probe_seconds=5.0)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await trip(client, proxy)
            await asyncio.sleep(policy.open_seconds)
            proxy.reset()
            with proxy.fault(path=SEARCH, blackhole=True):
                probe = asyncio.create_task(outcome(client))
                await proxy.arrived(path=SEARCH)
                probe.cancel()
                await asyncio.gather(probe, return_exceptions=True)
                left = breaker_state()
            recovered = await outcome(client)
            calls, state = proxy.count(path=SEARCH), breaker_state()
    assert (left, recovered, state) == ("half-open", ANSWERED, "closed")
    assert calls == 2
    figure(9, f"the prober leaves: the next call closes it, {calls} calls")


async def test_case_10_a_hundred_callers_leave(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """100 calls that are cancelled under way leave the breaker closed, and no connection in use."""
    brief_breaker()
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            with proxy.fault(path=SEARCH, blackhole=True):
                calls = [asyncio.create_task(outcome(client)) for _ in range(100)]
                await proxy.arrived(path=SEARCH, count=100)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                pool = report()
                await asyncio.sleep(0.2)
                left = [exchange for exchange in proxy.requests if exchange.path.endswith(SEARCH)]
            afterwards = await outcomes(client, 50)
            state = breaker_state()
    assert all(call.cancelled() for call in calls)
    assert [exchange.aborted for exchange in left] == [True] * 100
    assert (pool.in_use, pool.overflow_in_use, pool.cancelled_total, pool.failures_total) == (0, 0, 100, 0)
    assert (state, afterwards) == ("closed", {ANSWERED: 50})
    figure(10, f"{pool.cancelled_total} cancelled: breaker {state}, {pool.in_use} connections in use, 0 failures")


async def test_case_11_the_cluster_recovers(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """Under steady load: closed again after one open time and one probe, without a burst: never more than one and a
    half times as many calls as normally reach the cluster.
    """
    policy = brief_breaker()
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            ends = asyncio.Event()
            load = asyncio.create_task(steady_load(client, ends))
            await asyncio.sleep(1.5)
            failing_at = time.monotonic()
            with proxy.fault(path=SEARCH, status=503) as fault:
                await asyncio.sleep(2.0)
                assert breaker_state() != "closed"
            recovered_at = time.monotonic()
            while breaker_state() != "closed":
                await asyncio.sleep(0.005)
                assert time.monotonic() < recovered_at + 1.5 * policy.open_seconds + NOISE_SECONDS
            closed_after = time.monotonic() - recovered_at
            await asyncio.sleep(1.5)
            ends.set()
            ended = await load
            exchanges = [exchange for exchange in proxy.requests if exchange.path.endswith(SEARCH)]
    sent = sorted(exchange.started_at for exchange in exchanges)
    normal = most_within(0.5, (moment for moment in sent if moment < failing_at))
    after = most_within(0.5, (moment for moment in sent if moment >= recovered_at))
    assert after <= 1.5 * normal
    failed = [exchange for exchange in exchanges if exchange.rule is fault]
    # As many as were answered before, to be half of all, with what the retry budget adds; then one probe per open time.
    before_it_opened = sum(exchange.started_at < failed[0].started_at for exchange in exchanges)
    assert len(failed) <= 1.1 * before_it_opened + 10 + 2.0 / policy.open_seconds
    last_failed_at = max(exchange.ended_at for exchange in failed)
    good = sorted((exchange for exchange in exchanges if exchange.started_at > last_failed_at), key=_started_at)
    assert good[0].started_at - last_failed_at >= 0.9 * policy.open_seconds
    assert good[1].started_at >= good[0].ended_at
    assert ended[ANSWERED] > 0
    assert set(ended) <= {ANSWERED, REFUSED, "503"}
    figure(
        11,
        f"closed after {closed_after:.2f} s, open time {policy.open_seconds:g} s; {after / normal:.2f} times normal "
        "at most",
    )


async def test_case_48_a_stopped_node(node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """SIGSTOP under one search a second, all settings as delivered: the breaker opens long before the first timeout,
    few callers wait in vain, and all others hear at once that nobody is asked.
    """
    make_index(cluster)
    answers: list[tuple[float, float, int]] = []

    async def search(http: httpx.AsyncClient, sent_at: float) -> None:
        answer = await http.post(f"/api/indices/{INDEX}/search", content=b'{"size":0}', headers=BEARER)
        answers.append((sent_at, time.monotonic() - sent_at, answer.status_code))

    async with open_app(node.url) as http:
        await health_known()
        await search(http, time.monotonic())
        node.suspend()
        try:
            stopped_at = time.monotonic()
            searches, opened_after = [], 0.0
            while (now := time.monotonic()) < stopped_at + STOPPED_SECONDS:
                searches.append(asyncio.create_task(search(http, now)))
                while time.monotonic() < now + 1.0:
                    await asyncio.sleep(0.05)
                    if not opened_after and breaker_state() == "open":
                        opened_after = time.monotonic() - stopped_at
            breaker = report().breaker
        finally:
            node.resume()
        await asyncio.gather(*searches)
    assert breaker is not None
    assert breaker.transitions[-1].reason == "a call waited for more than 2 s, and a ping failed"
    slow = [answer for answer in answers[1:] if answer[1] > AT_ONCE_SECONDS]
    later = [answer for answer in answers if answer[0] > stopped_at + opened_after and answer not in slow]
    assert 0 < opened_after <= 10
    assert len(slow) <= 10
    assert {status for _, _, status in later} == {503}
    # A search a second until the end, the probe and what a loaded machine skips aside.
    assert len(later) >= 0.7 * (STOPPED_SECONDS - opened_after)
    figure(48, f"open after {opened_after:.1f} s; {len(slow)} of {len(searches)} waited, {len(later)} got 503 at once")


async def test_case_48_one_heavy_query(node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """Five timeouts in a row, and nothing else is asked: as pings are answered, the breaker stays closed."""
    make_index(cluster)
    make_index(cluster, "heavy")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": 60.0}):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await health_known()
            proxy.reset()
            with proxy.fault(path="/heavy/_search", blackhole=True):
                heavy = client.options(request_timeout=2.5)
                ended = [await outcome(heavy, "heavy") for _ in range(5)]
                pings = proxy.count(path=HEALTH)
                other = await outcome(client)
            breaker = report().breaker
    assert ended == ["ConnectionTimeout"] * 5
    assert breaker is not None
    assert (breaker.state, breaker.trips_total, other) == ("closed", 0, ANSWERED)
    # One for each call that waits, one or two for the row, and those of the health monitor, which has just started.
    assert 5 <= pings <= 12
    figure(48, f"5 timeouts of one query: breaker {breaker.state}, {pings} pings")


async def test_case_49_a_red_index(node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """An index without shards is polled eight times a second, each time in vain: searches of others go on, nothing is
    tried again, and the pool's breaker counts no failure.
    """
    make_index(cluster)
    nowhere = {"index.routing.allocation.require._name": "nobody", "number_of_replicas": 0}
    cluster.indices.create(index="red", settings=nowhere, wait_for_active_shards=0)
    async with open_app(node.url):
        client: AsyncElasticsearch = registry.get("elasticsearch")
        polls: list[asyncio.Task[str]] = []
        others: list[asyncio.Task[str]] = []
        for number in range(8 * POLLED_SECONDS):
            polls.append(asyncio.create_task(outcome(client, "red")))
            if number % 2:
                others.append(asyncio.create_task(outcome(client)))
            await asyncio.sleep(1 / 8)
        polled, ended = Counter(await asyncio.gather(*polls)), Counter(await asyncio.gather(*others))
        pool = report()
    assert polled == {"503": len(polls)}
    assert ended == {ANSWERED: len(others)}
    assert pool.breaker is not None
    assert (pool.breaker.state, pool.breaker.failures, pool.breaker.trips_total) == ("closed", 0, 0)
    assert pool.retries_total == 0
    figure(49, f"{len(polls)} polls in vain: {ended[ANSWERED]} of {len(others)} searches on others answered")


@pytest.mark.usefixtures("no_rechecks")
async def test_case_50_the_trouble_ends_without_traffic(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker, figure: Figure
) -> None:
    """Nobody calls, and the open time is long: the next ping of the health monitor turns the breaker half-open, which
    ends the degradation and the alarm; the first call closes it.
    """
    brief_breaker(open_seconds=60.0, longest_open_seconds=60.0)
    ttl = 2.0
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0, health={"ttl": ttl, "timeout": 1.0}) as http:
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await health_known()
            with proxy.fault(cut=True):
                while breaker_state() == "closed":
                    await outcome(client)
                statuses: tuple[str, ...] = ()
                while statuses != ("unhealthy", "degraded"):
                    await asyncio.sleep(0.05)
                    found = await services(http)
                    statuses = (found["elasticsearch"]["status"], found["pools"]["status"])
                opened = await metric_of_open(http)
            ended_at = time.monotonic()
            while breaker_state() != "half-open":
                await asyncio.sleep(0.01)
                assert time.monotonic() < ended_at + ttl + NOISE_SECONDS
            seconds = time.monotonic() - ended_at
            while (await services(http))["pools"]["status"] != "healthy":
                await asyncio.sleep(0.05)
                assert time.monotonic() < ended_at + 2 * ttl + NOISE_SECONDS
            half_open = await metric_of_open(http)
            called = await outcome(client)
            breaker = report().breaker
    assert (opened, half_open, called) == (1.0, 0.0, ANSWERED)
    assert breaker is not None
    assert [one.reason for one in breaker.transitions[:2]] == ["a probe was answered", "a ping was answered"]
    assert breaker.state == "closed"
    figure(50, f"half-open {seconds:.2f} s after the trouble, HEALTH_CACHE_TTL {ttl:g} s; the next call closed it")


async def services(http: httpx.AsyncClient) -> dict[str, Any]:
    """What the health report says of each service."""
    found: dict[str, Any] = (await http.get("/api/health", headers=BEARER)).json()["services"]
    return found


async def metric_of_open(http: httpx.AsyncClient) -> float:
    """What the alarm looks at: whether the breaker of the pool `default` is open, or probes."""
    lines = (await http.get("/metrics", headers=BEARER)).text.splitlines()
    found = [line for line in lines if 'pool="default"' in line and _is_alarming(line)]
    assert len(found) == 2
    return max(float(line.rpartition(" ")[2]) for line in found)


def _is_alarming(line: str) -> bool:
    is_state = line.startswith("esassistant_elasticsearch_breaker_state") and 'state="open"' in line
    return is_state or line.startswith("esassistant_elasticsearch_breaker_probing")


def _started_at(exchange: Any) -> float:
    return float(exchange.started_at)


async def steady_load(client: AsyncElasticsearch, ends: asyncio.Event) -> Counter[str]:
    """A search every 20 ms, whatever becomes of those before."""
    calls = []
    while not ends.is_set():
        calls.append(asyncio.create_task(outcome(client)))
        await asyncio.sleep(0.02)
    return Counter(await asyncio.gather(*calls))
