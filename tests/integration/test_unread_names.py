"""Names that one process lists but can't read, and another has read, over each kind of store."""

from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["redis", "sqlite"])
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """`REDIS_URL`; empty: the database is the store."""
    if request.param == "sqlite":
        yield ""
        return
    with RedisServer() as redis:
        yield redis.url


def generation(server: Server) -> int:
    return int(server.get("/api/cache/stats").json()["refresh"]["store_generation"] or 0)


def test_what_another_process_could_not_read_stays(redis_url: str, node: Node, cluster: Elasticsearch) -> None:
    """A later pass of a process that can't read a mapping doesn't take it from one that has read it."""
    for name in ("good", "bad"):
        cluster.indices.create(index=name)
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with (
        FaultProxy(node.url) as broken,
        FaultProxy(node.url) as sound,
        broken.fault(path="/bad/_mapping", status=500),
        Server(broken.url, **settings, MAPPING_CACHE_BATCH_SIZE=1) as publisher,
    ):
        wait_until(lambda: publisher.get("/readyz").status_code == 200, 20)
        with Server(sound.url, **settings) as reader:
            wait_until(lambda: generation(reader) == generation(publisher) > 0, 20)
            assert reader.get("/api/mappings/bad").headers["x-cache-source"] == "elasticsearch"
            before = generation(publisher)
            report = publisher.refresh().json()
            assert (report["outcome"], report["published"], report["failed_total"]) == ("partial", True, 1)
            wait_until(lambda: generation(reader) > before, 10)
            sound.refuse()
            assert reader.get("/api/mappings/bad").status_code == 200
