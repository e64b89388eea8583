"""Two servers over one Redis: what a pass of one has read, the other need not ask for; the rest each reads itself."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.redis.link import TIMEOUTS
from cacheapp.stores.redis.state import MAX_PIECE_BYTES
from cacheapp.stores.redis.store import PIECES
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server
from tests.support.fixtures import Figure

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
    settings = {"REDIS_URL": redis_server.url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        for server in (one, two):
            wait_until(lambda server=server: is_ready(server), 10)  # type: ignore[misc]
        cluster.indices.create(index="cold", mappings={"properties": {"a": {"type": "keyword"}}})
        proxy.reset()
        yield one, two


def is_ready(server: Server) -> bool:
    return server.get("/readyz").status_code == 200


def generation(server: Server) -> int:
    return int(server.get("/api/cache/stats").json()["refresh"]["store_generation"])


def fields(answer: httpx.Response) -> list[str]:
    return list(answer.json()["cold"]["mappings"]["properties"])


def test_a_pass_here_is_a_hit_there(servers: tuple[Server, Server], proxy: FaultProxy) -> None:
    """A name that a pass of one server found is answered by the other without a call, also while the cluster is
    gone.
    """
    one, two = servers
    assert one.refresh().status_code == 200
    wait_until(lambda: generation(two) == generation(one), 5)
    proxy.refuse()
    first, second = one.get("/api/mappings/cold"), two.get("/api/mappings/cold")
    assert (fields(first), first.headers["x-cache-source"]) == (["a"], "memory")
    assert (fields(second), second.headers["x-cache-source"]) == (["a"], "store")
    assert second.headers["etag"] == first.headers["etag"]
    assert proxy.count(path=MAPPING) <= 1


async def test_concurrent_cold_gets(servers: tuple[Server, Server], proxy: FaultProxy) -> None:
    """Of 100 concurrent cold gets, half on each server, one of each server reaches Elasticsearch; all are answered."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=30) as http:
        urls = [f"{server.url}/api/mappings/cold" for server in servers for _ in range(50)]
        with proxy.fault(path=MAPPING, delay_seconds=0.2):
            answers = await asyncio.gather(*map(http.get, urls))
    assert [answer.status_code for answer in answers] == [200] * 100
    assert all(fields(answer) == ["a"] for answer in answers)
    assert proxy.count(path=MAPPING) == 2


@pytest.mark.parametrize(
    "value", [b'{"properties":{"evil":{"type":"long"}}}', b"evil" * (MAX_PIECE_BYTES // 4 + 1)], ids=["other", "large"]
)
def test_case_25_poison(
    servers: tuple[Server, Server], proxy: FaultProxy, redis_server: RedisServer, figure: Figure, value: bytes
) -> None:
    """A mapping in Redis that isn't the one it should be, or is too large, is ignored, counted, told, and read from the
    cluster again.
    """
    one, _ = servers
    assert one.refresh().status_code == 200
    listed = one.get("/api/indices").json()["names"]
    [piece] = [each["mapping_hash"] for each in listed if each["name"] == "cold"]
    assert mapping_hash(redis_server.command("HGET", PIECES, piece)) == piece
    redis_server.command("HSET", PIECES, piece, value)
    settings = {"REDIS_URL": redis_server.url, "MAPPING_CACHE_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as later:
        wait_until(lambda: is_ready(later), 10)
        proxy.reset()
        answer = later.get("/api/mappings/cold")
        assert (fields(answer), answer.headers["x-cache-source"]) == (["a"], "elasticsearch")
        assert proxy.count(path=MAPPING) == 1
        assert redis_server.command("HGET", PIECES, piece) is None
        told = later.get("/api/cache/stats").json()["store"]
        # The schedule and who follows the store may both come upon it before it is removed.
        assert (told["kind"], told["writable"]) == ("redis", True)
        assert told["poisoned_total"] in (1, 2)
        performance = later.get("/api/performance").json()
        assert performance["store"] == told
        assert "store.poisoned_total" in {each["metric"] for each in performance["recommendations"]}
        [sample] = [line for line in later.get("/metrics").text.splitlines() if "_store_poisoned_values_total{" in line]
        assert float(sample.rpartition(" ")[2]) == told["poisoned_total"]
    figure(25, f"{len(value):,} bytes of others': counted, 1 call to read it again")


async def test_case_18_redis_gone(
    servers: tuple[Server, Server],
    cluster: Elasticsearch,
    proxy: FaultProxy,
    redis_server: RedisServer,
    figure: Figure,
) -> None:
    """Without Redis each server reads for itself, and no request waits for Redis."""
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
    assert max(first) < 1000 * TIMEOUTS.socket
    assert max(then) < 100 * 1.5
    figure(18, f"two servers, Redis frozen: a miss {max(first):.0f} ms at most, the next one {max(then):.0f} ms")
