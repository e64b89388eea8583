"""The statistics of a client against what Elasticsearch and the proxy between them counted."""

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trustme
from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, TransportError
from pytest_django import Settings

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.breaker import NEVER_TRIPS, BreakerPolicy
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.client import report as report_of
from esassistant.elasticsearch.pools import PoolLimits, one_pool
from esassistant.elasticsearch.stats import PoolReport
from tests.support.nodes import route_calls

SEARCH = "/_search"
LOOKS = 1
"""Connections by which it is seen whether a port that cuts a call speaks TLS."""
ANSWER = {"hits": {"total": {"value": 1000}, "hits": [{"_id": str(number)} for number in range(1000)]}}


@dataclass(frozen=True)
class Counted:
    """A client of its own, with one pool."""

    client: AsyncElasticsearch

    def report(self) -> PoolReport:
        return report_of(self.client)["default"]

    def connections(self) -> tuple[int, int | None]:
        """Made so far, and open."""
        found = self.report()
        return found.connections_created_total, found.connections_open


@contextlib.asynccontextmanager
async def counted(
    settings: Settings,
    url: str,
    *,
    max_retries: int = 0,
    timeout: float = 30.0,
    policy: BreakerPolicy = NEVER_TRIPS,
    limits: PoolLimits | None = None,
    **config: Any,
) -> AsyncIterator[Counted]:
    pools = one_pool("default", limits or PoolLimits(5), policy)
    changed = replace(settings.ESASSISTANT.elasticsearch, urls=(url,), **config)
    async with new_client(changed, pools, request_timeout=timeout, max_retries=max_retries) as client:
        yield Counted(client)


@pytest.fixture
def proxy(node: Node, cluster: Elasticsearch) -> Iterator[FaultProxy]:
    cluster.indices.create(index="some", settings={"number_of_replicas": 0})
    with FaultProxy(node.url) as proxy:
        yield proxy


async def failing(call: Any) -> str:
    """The status or the name of the error that a call ends with."""
    try:
        await call
    except ApiError as error:
        return str(error.status_code)
    except TransportError as error:
        return type(error).__name__
    raise AssertionError("it did not fail")


async def test_requests_by_kind(settings: Settings, proxy: FaultProxy, cluster: Elasticsearch) -> None:
    """Requests of each kind: as many as the proxy saw, and as Elasticsearch itself counted on that route."""
    routes = {
        "search": ("/{index}/_search", SEARCH),
        "count": ("/{index}/_count", "/_count"),
        "doc": ("/{index}/_doc/{id}", "/_doc/"),
        "mapping": ("/{index}/_mapping/", "/_mapping"),
        "field_caps": ("/{index}/_field_caps", "/_field_caps"),
    }
    before = {kind: route_calls(cluster, route) for kind, (route, _) in routes.items()}
    async with counted(settings, proxy.url) as own:
        client = own.client
        await asyncio.gather(*(client.search(index="some") for _ in range(17)))
        await asyncio.gather(*(client.count(index="some") for _ in range(7)))
        await asyncio.gather(*(client.index(index="some", id=str(number), document={}) for number in range(5)))
        assert await failing(client.get(index="some", id="absent")) == "404"
        await asyncio.gather(*(client.indices.get_mapping(index="some") for _ in range(3)))
        await client.field_caps(index="some", fields="*")
        pool = own.report()
    counted_here = {kind: pool.calls[kind].requests_total for kind in pool.calls}
    assert counted_here == {kind: proxy.count(path=path) for kind, (_, path) in routes.items()}
    assert counted_here == {kind: route_calls(cluster, route) - before[kind] for kind, (route, _) in routes.items()}
    assert counted_here == {"search": 17, "count": 7, "doc": 6, "mapping": 3, "field_caps": 1}
    assert (pool.requests_total, proxy.count(), pool.failures_total) == (34, 34, 0)
    assert pool.success_percent == 100.0
    assert (pool.in_use, pool.waiting) == (0, 0)


async def test_failures_by_kind(settings: Settings, proxy: FaultProxy) -> None:
    """Each kind of failure, caused at the proxy or by the node: counted once per attempt, under its own name."""
    async with counted(settings, proxy.url, timeout=0.3) as own:
        client = own.client
        await client.search(index="some")
        proxy.reset()
        faults: list[tuple[dict[str, Any], int, str]] = [
            ({"status": 429}, 2, "429"),
            ({"status": 503}, 3, "503"),
            ({"status": 500}, 1, "500"),
            ({"status": 403}, 1, "403"),
            ({"cut": True}, 4, "ConnectionError"),
            ({"cut_after_bytes": 100}, 2, "ConnectionError"),
            ({"blackhole": True}, 2, "ConnectionTimeout"),
        ]
        for fault, times, ending in faults:
            with proxy.fault(path=SEARCH, **fault):
                assert [await failing(client.search(index="some")) for _ in range(times)] == [ending] * times
        assert await failing(client.search(index="some", query={"no_such_query": {}})) == "400"
        await client.search(index="some")
        pool = own.report()
        statuses = [exchange.status for exchange in proxy.requests]
    assert pool.failures == {
        "connect_timeout": 0,
        "request_timeout": 2,
        "connection": 6,
        "tls": 0,
        "too_large": 0,
        "status_429": statuses.count(429),
        "status_4xx": statuses.count(403) + statuses.count(400),
        "status_5xx": statuses.count(503) + statuses.count(500),
    }
    assert (pool.failures["status_429"], pool.failures["status_4xx"], pool.failures["status_5xx"]) == (2, 2, 4)
    assert pool.failures_total == pool.calls["search"].failures_total == 16
    assert pool.requests_total == proxy.count() + 1 == 18
    assert pool.success_percent == pytest.approx(100 * 2 / 18)


async def test_no_connection_and_no_trust(settings: Settings, node: Node) -> None:
    """A connection that isn't accepted is `connect_timeout`, one whose certificate nobody signed `tls`; neither counts
    as made.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as taken:
        for _ in range(4):
            filler = taken.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        await asyncio.sleep(0.1)
        async with counted(settings, f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.3) as own:
            assert await failing(own.client.search(index="some")) == "ConnectionTimeout"
            unconnected = own.report()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FaultProxy(node.url, ssl_context=context) as proxy:
        async with counted(settings, proxy.url) as own:
            assert await failing(own.client.search(index="some")) == "TlsError"
            untrusted = own.report()
        reached = proxy.count()
    assert (unconnected.failures["connect_timeout"], unconnected.failures_total) == (1, 1)
    assert (untrusted.failures["tls"], untrusted.failures_total) == (1, 1)
    assert reached == unconnected.connections_created_total == untrusted.connections_created_total == 0


async def test_retries(settings: Settings, proxy: FaultProxy, cluster: Elasticsearch) -> None:
    """Retries: the requests that the proxy saw beyond the calls; Elasticsearch saw only those that were let through."""
    before = route_calls(cluster, "/{index}/_search")
    async with counted(settings, proxy.url, max_retries=3) as own:
        for failures in (3, 2):
            with proxy.fault(path=SEARCH, status=503, times=failures):
                for _ in range(5):
                    await own.client.search(index="some")
        pool = own.report()
    assert proxy.count() == pool.requests_total == 15
    assert (pool.retries_total, pool.failures["status_5xx"]) == (5, 5)
    assert route_calls(cluster, "/{index}/_search") - before == 10


async def test_retries_that_the_breaker_refuses(settings: Settings, proxy: FaultProxy) -> None:
    """A retry that an opening breaker keeps from being sent is no retry: the numbers still add up to the proxy's."""
    policy = BreakerPolicy(minimum_calls=5, open_seconds=30.0)
    async with counted(settings, proxy.url, max_retries=3, policy=policy) as own:
        with proxy.fault(path=SEARCH, status=503):
            ended = [await failing(own.client.search(index="some")) for _ in range(3)]
        pool = own.report()
    assert ended == ["503", "BreakerOpen", "BreakerOpen"]
    assert proxy.count() == pool.requests_total == 5
    assert pool.requests_total == 2 + pool.retries_total
    assert pool.rejected["breaker_open"] == 2


async def test_connections(settings: Settings, proxy: FaultProxy) -> None:
    """Connections made, used again and open: those that the proxy accepted and still has."""
    async with counted(settings, proxy.url, limits=PoolLimits(4)) as own:
        assert own.connections() == (0, 0)
        for _ in range(3):
            await own.client.search(index="some")
        assert own.connections() == (proxy.connections_total, proxy.connections_open) == (1, 1)
        with proxy.fault(path=SEARCH, delay_seconds=0.2):
            await asyncio.gather(*(own.client.search(index="some") for _ in range(12)))
        assert own.connections() == (proxy.connections_total, proxy.connections_open) == (4, 4)
        with proxy.fault(path=SEARCH, cut=True):
            await failing(own.client.search(index="some"))
        assert (own.connections(), proxy.connections_total) == ((4, 3), 4 + LOOKS)
        await own.client.search(index="some")
        pool, accepted, requests = own.report(), proxy.connections_total - LOOKS, proxy.count()
        proxy.cut()
        await asyncio.sleep(0.1)
        assert (own.connections(), proxy.connections_open) == ((4, 0), 0)
    assert (pool.connections_created_total, pool.connections_reused_total) == (accepted, requests - accepted)
    assert (accepted, requests) == (4, 17)


async def test_overflow_and_rejections(settings: Settings, proxy: FaultProxy) -> None:
    """Of 10 searches at once on 3 connections and 2 more: 5 reach the proxy, 2 of them on connections that are closed
    after use, and 5 are rejected.
    """
    limits = PoolLimits(3, block=False, overflow=2)
    async with counted(settings, proxy.url, limits=limits) as own:
        with proxy.fault(path=SEARCH, delay_seconds=0.3):
            calls = [asyncio.create_task(own.client.search(index="some")) for _ in range(10)]
            await proxy.arrived(path=SEARCH, count=5)
            during = own.report()
            at_once = proxy.connections_open
            ended = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0.1)
        pool = own.report()
        assert own.connections() == (proxy.connections_total, proxy.connections_open) == (5, 3)
    assert (during.in_use, during.overflow_in_use, during.connections_open, at_once) == (3, 2, 5, 5)
    assert sum(isinstance(answer, ObjectApiResponse) for answer in ended) == proxy.count() == 5
    assert (pool.overflow_total, pool.overflow_in_use, pool.in_use) == (2, 0, 0)
    assert pool.rejected == {"pool_timeout": 0, "pool_exhausted": 5, "breaker_open": 0}
    assert (pool.requests_total, pool.failures_total) == (5, 0)


async def test_bytes(settings: Settings) -> None:
    """Bytes of bodies as they went over the wire, and after decompression: exactly those of bodies that the test
    knows.
    """
    plain = json.dumps(ANSWER).encode()
    packed = gzip.compress(plain)
    sent: list[bytes] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        sent.append(request.body)
        if "plain" in request.target:
            return ProxyResponse(plain)
        return ProxyResponse(packed, headers={"Content-Encoding": "gzip"})

    with FaultProxy("http://127.0.0.1:9") as proxy:
        proxy.respond(SEARCH, answer)
        async with counted(settings, proxy.url) as own:
            found = await own.client.search(index="some")
            zipped = own.report()
            await own.client.search(index="plain")
            await own.client.search(index="some", query={"match": {"a": "short"}})
            await own.client.search(index="some", query={"terms": {"a": ["long"] * 1000}})
            pool = own.report()
    assert found.body == ANSWER
    assert (zipped.received_bytes_total, zipped.decoded_bytes_total) == (len(packed), len(plain))
    assert pool.received_bytes_total == 3 * len(packed) + len(plain)
    assert pool.decoded_bytes_total == 4 * len(plain)
    assert pool.sent_bytes_total == sum(map(len, sent))
    assert len(sent[3]) < 1000 < len(gzip.decompress(sent[3]))


async def test_bytes_of_the_node(settings: Settings, proxy: FaultProxy, cluster: Elasticsearch) -> None:
    """What a real node sends is compressed: the wire has fewer bytes than the decoded body, and no more than the proxy
    passed on.
    """
    fields = {f"field_{number}": {"type": "keyword"} for number in range(200)}
    cluster.indices.put_mapping(index="some", properties=fields)
    async with counted(settings, proxy.url) as own:
        await own.client.indices.get_mapping(index="some")
        pool = own.report()
    (exchange,) = proxy.requests
    assert len(json.dumps(fields, separators=(",", ":"))) < pool.decoded_bytes_total
    assert pool.received_bytes_total < pool.decoded_bytes_total / 4
    assert exchange.response_bytes - 500 < pool.received_bytes_total < exchange.response_bytes


async def test_latency(settings: Settings, proxy: FaultProxy) -> None:
    """The largest latency is at least the delay that was injected once, the median is not; per kind alike."""
    delay = 0.4
    async with counted(settings, proxy.url) as own:
        for _ in range(20):
            await own.client.search(index="some")
        with proxy.fault(path=SEARCH, delay_seconds=delay):
            await own.client.search(index="some")
        await own.client.count(index="some")
        pool = own.report()
    latency, counts = pool.latency, pool.calls["count"].latency
    assert (latency.samples, counts.samples) == (22, 1)
    assert latency.p50_seconds is not None
    assert latency.p99_seconds is not None
    assert latency.max_seconds is not None
    assert counts.max_seconds is not None
    assert delay <= latency.max_seconds < 1.5 * delay + 0.5
    assert latency.p50_seconds <= latency.p99_seconds <= latency.max_seconds
    assert max(latency.p50_seconds, counts.max_seconds) < delay
    slowest = max(exchange.ended_at - exchange.started_at for exchange in proxy.requests)
    assert latency.max_seconds >= 0.99 * slowest
