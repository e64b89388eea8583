"""Two servers over one Redis: what one has read from the cluster, the other need not ask for."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.stores.redis.answers import MAX_ANSWER_BYTES
from cacheapp.stores.redis.link import PREFIX
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import TOKEN, Server
from tests.conftest import Figure

pytestmark = pytest.mark.django_db(transaction=True)

MAPPING = "/cold/_mapping"


@pytest.fixture
def proxy(node: Node, cluster: Elasticsearch) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def servers(proxy: FaultProxy, redis_server: RedisServer, cluster: Elasticsearch) -> Iterator[tuple[Server, Server]]:
    """Both warm, without schedule and watch, and with an index that was made since."""
    settings = {"REDIS_URL": redis_server.url, "MAPPING_CACHE_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        for server in (one, two):
            wait_until(lambda server=server: server.get("/readyz").status_code == 200, 10)  # type: ignore[misc]
        cluster.indices.create(index="cold", mappings={"properties": {"a": {"type": "keyword"}}})
        proxy.reset()
        yield one, two


def fields(answer: httpx.Response) -> list[str]:
    return list(answer.json()["cold"]["mappings"]["properties"])


def test_cold_here_is_a_hit_there(servers: tuple[Server, Server], proxy: FaultProxy) -> None:
    """A name asked for cold on one server is answered by the other without a call, also while the cluster is gone."""
    one, two = servers
    first = one.get("/api/mappings/cold")
    assert (fields(first), first.headers["x-cache-source"]) == (["a"], "elasticsearch")
    proxy.refuse()
    second = two.get("/api/mappings/cold")
    assert (fields(second), second.headers["x-cache-source"]) == (["a"], "store")
    assert second.headers["etag"] == first.headers["etag"]
    assert proxy.count(path=MAPPING) == 1


async def test_concurrent_cold_gets(servers: tuple[Server, Server], proxy: FaultProxy) -> None:
    """Of 100 concurrent cold gets, half on each server, one reaches Elasticsearch, and all are answered."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=30) as http:
        urls = [f"{server.url}/api/mappings/cold" for server in servers for _ in range(50)]
        with proxy.fault(path=MAPPING, delay_seconds=0.2):
            answers = await asyncio.gather(*map(http.get, urls))
    assert [answer.status_code for answer in answers] == [200] * 100
    assert all(fields(answer) == ["a"] for answer in answers)
    assert proxy.count(path=MAPPING) == 1


@pytest.mark.parametrize(
    "value", [b'{"properties":{"evil":{"type":"long"}}}', b"evil" * (MAX_ANSWER_BYTES // 4 + 1)], ids=["other", "large"]
)
def test_case_25_poison(
    servers: tuple[Server, Server], proxy: FaultProxy, redis_server: RedisServer, figure: Figure, value: bytes
) -> None:
    """A mapping in Redis that isn't the one it should be, or is too large, is ignored, counted, and read from the
    cluster again.
    """
    one, two = servers
    assert one.get("/api/mappings/cold").status_code == 200
    bodies = redis_server.command("KEYS", f"{PREFIX}body:*")
    assert len(bodies) == 1
    redis_server.command("SET", bodies[0], value)
    answer = two.get("/api/mappings/cold")
    assert (fields(answer), answer.headers["x-cache-source"]) == (["a"], "elasticsearch")
    assert proxy.count(path=MAPPING) == 2
    assert b"evil" not in redis_server.command("GET", bodies[0])
    counted = two.get("/api/cache/stats").json()["shared_answers"]["poisoned_total"]
    assert counted == 1
    figure(
        25, f"{len(value):,} bytes of others': {counted} counted, {proxy.count(path=MAPPING) - 1} call to read it again"
    )


def test_a_deleted_index(servers: tuple[Server, Server], cluster: Elasticsearch, proxy: FaultProxy) -> None:
    """An index that one server learns is gone is not answered by what it had shared before."""
    one, two = servers
    assert one.get("/api/mappings/cold").status_code == 200
    cluster.indices.delete(index="cold")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    one.http.post("/api/cache/refresh?wait=true&index=cold", headers=headers)
    assert two.get("/api/mappings/cold").status_code == 404
    assert one.get("/api/mappings/cold").status_code == 404


async def test_case_18_redis_gone(
    servers: tuple[Server, Server],
    cluster: Elasticsearch,
    proxy: FaultProxy,
    redis_server: RedisServer,
    figure: Figure,
) -> None:
    """Without Redis each server reads for itself, after one short timeout at most, and then without waiting for it:
    nobody waits for anybody.
    """
    cluster.indices.create(index="colder")
    redis_server.suspend()
    try:
        async with httpx.AsyncClient(timeout=30) as http:
            answers = [await http.get(f"{server.url}/api/mappings/cold") for server in servers]
            later = [await http.get(f"{server.url}/api/mappings/colder") for server in servers]
    finally:
        redis_server.resume()
    assert [answer.headers["x-cache-source"] for answer in answers + later] == ["elasticsearch"] * 4
    assert proxy.count(path=MAPPING) == 2
    first, then = ([1000 * answer.elapsed.total_seconds() for answer in some] for some in (answers, later))
    assert max(first) < 400 * 1.5
    assert max(then) < 100 * 1.5
    figure(18, f"two servers, Redis frozen: a miss {max(first):.0f} ms at most, the next one {max(then):.0f} ms")
