"""Case 70: two deployments of different clusters share one store; and a cluster is built anew at its URL."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from cacheapp.sync.sharing import Foreign
from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import Server, manage
from tests.support.fixtures import Figure
from tests.support.other_cluster import OtherCluster, other_cluster

pytestmark = pytest.mark.django_db(transaction=True)

FORGOTTEN_SECONDS = 15.0
"""So long after its last report an instance counts as running."""
SETTINGS: dict[str, Any] = {
    "MAPPING_CACHE_WATCH": "true",
    "MIN_REFRESH_INTERVAL": 0,
    "HEALTH_CACHE_TTL": 1,
    "HEALTH_TIMEOUT": 1,
}


@pytest.fixture
def other(node: Node, cluster: Elasticsearch) -> Iterator[OtherCluster]:
    """Another cluster, in whose index `shop` the field `first` is called `other`."""
    cluster.indices.create(index="shop", mappings={"properties": {"first": {"type": "date"}}})
    with other_cluster(node.url, cluster.info()["cluster_uuid"], "first", "other") as found:
        yield found


def fields(server: Server) -> set[str]:
    answer = server.get("/api/mappings/shop")
    return set(answer.json()["shop"]["mappings"]["properties"]) if answer.status_code == 200 else set()


def stats(server: Server) -> Any:
    return server.get("/api/cache/stats").json()


def watches(server: Server) -> bool:
    return bool(stats(server)["watch"]["state"] == "watching")


def store_health(server: Server) -> tuple[str, str | None]:
    found = server.get("/api/health").json()["services"]["store"]
    return found["status"], found["error"]


def test_case_70_a_store_of_another_cluster(
    store: tuple[str, str], node: Node, cluster: Elasticsearch, other: OtherCluster, figure: Figure
) -> None:
    """The second deployment answers and watches by itself and says what is wrong, a command of it publishes nothing and
    fails, and the first one notices nothing. When that has ended the second takes the store.
    """
    kind, redis_url = store
    settings = {**SETTINGS, "REDIS_URL": redis_url}
    with ExitStack() as second:
        with Server(node.url, **settings) as theirs:
            wait_until(lambda: fields(theirs) == {"first"} and watches(theirs), 20)
            generation = stats(theirs)["refresh"]["store_generation"]
            ours = second.enter_context(Server(other.url, **settings))
            wait_until(lambda: fields(ours) == {"other"} and watches(ours), 20)
            wait_until(lambda: store_health(ours) == ("degraded", Foreign.USED.value), 20)
            assert stats(ours)["refresh"]["store_error"] == Foreign.USED.value
            assert ours.output().count(f"cacheapp.sync.sharing: {Foreign.USED.value}") == 1
            command = manage("warm_cache", elasticsearch_url=other.url, REDIS_URL=redis_url)
            assert (command.returncode, Foreign.USED.value in command.stdout) == (1, True)
            assert stats(theirs)["refresh"]["store_generation"] == generation
            assert store_health(theirs) == ("healthy", None)
            cluster.indices.put_mapping(index="shop", properties={"b": {"type": "ip"}})
            wait_until(lambda: fields(ours) == {"other", "b"} and fields(theirs) == {"first", "b"}, 8)
        seconds = wait_until(lambda: store_health(ours) == ("healthy", None), FORGOTTEN_SECONDS + 15)
        assert stats(ours)["refresh"]["store_generation"] > generation
        command = manage("warm_cache", elasticsearch_url=other.url, REDIS_URL=redis_url)
        assert command.returncode == 0
    figure(
        70, f"{kind}: a second cluster's deployment is told apart; the store is its own {seconds:.0f} s after the first"
    )


def test_case_70_a_cluster_that_is_built_anew(
    store: tuple[str, str], cluster: Elasticsearch, other: OtherCluster, figure: Figure
) -> None:
    """Two servers find another cluster at their URL: both answer with its mappings, and share them again, without any
    command.
    """
    kind, redis_url = store
    other.is_other = False
    settings = {**SETTINGS, "REDIS_URL": redis_url, "MAPPING_CACHE_REFRESH_INTERVAL": 0}
    with Server(other.url, **settings) as one, Server(other.url, **settings) as two:
        both = (one, two)
        wait_until(lambda: all(fields(server) == {"first"} for server in both) and any(map(watches, both)), 20)
        before = stats(one)["refresh"]["store_generation"]
        other.is_other = True
        cluster.indices.put_mapping(index="shop", properties={"b": {"type": "ip"}})

        def is_over() -> bool:
            return all(
                fields(server) == {"other", "b"}
                and store_health(server) == ("healthy", None)
                and stats(server)["refresh"]["store_generation"] not in (None, before)
                for server in both
            )

        seconds = wait_until(is_over, 60)
        wait_until(lambda: [watches(one), watches(two)].count(True) == 1, 20)
    figure(70, f"{kind}: two servers, a cluster built anew at its URL: shared again after {seconds:.0f} s")
