"""Cases 20 to 22: several processes of one deployment, over Redis and over SQLite; one of them works, all follow."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from tests.proxy import FaultProxy
from tests.redis_server import RedisServer
from tests.server import Server, manage, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TAKEN_OVER_SECONDS = {"redis": 5.0, "sqlite": 8.0}
"""For a change to be answered by every process, on a busy machine. What it takes on a quiet one is measured by bench/.
"""
LEASE_SECONDS = 10.0


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The kind of store, and `REDIS_URL`."""
    if request.param == "sqlite":
        yield "sqlite", ""
        return
    with RedisServer() as redis:
        yield "redis", redis.url


@pytest.fixture
def proxy(node: Node, cluster: Elasticsearch) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


def is_ready(server: Server) -> bool:
    return server.get("/readyz").status_code == 200


def fields(server: Server, index: str = "shop") -> set[str]:
    answer = server.get(f"/api/mappings/{index}")
    return set(answer.json()[index]["mappings"].get("properties", {})) if answer.status_code == 200 else set()


def watches(server: Server) -> bool:
    return bool(server.get("/api/cache/stats").json()["watch"]["state"] == "watching")


def add_field(cluster: Elasticsearch, name: str) -> None:
    cluster.indices.put_mapping(index="shop", properties={name: {"type": "ip"}})


def test_a_change_reaches_all(store: tuple[str, str], node: Node, cluster: Elasticsearch, proxy: FaultProxy) -> None:
    """A field that is added is answered by both servers without any command; when the one that watches is killed, the
    other takes over; and with the cluster gone, a server that starts answers from the store, marked stale, with its
    age.
    """
    kind, redis_url = store
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        both = (one, two)
        wait_until(lambda: all(map(is_ready, both)) and any(map(watches, both)), 20)
        assert [watches(one), watches(two)].count(True) == 1
        add_field(cluster, "b")
        wait_until(lambda: all(fields(server) == {"a", "b"} for server in both), TAKEN_OVER_SECONDS[kind])
        watcher, other = both if watches(one) else (two, one)
        watcher.process.kill()
        watcher.process.wait()
        wait_until(lambda: watches(other), 2 * LEASE_SECONDS)
        add_field(cluster, "c")
        wait_until(lambda: fields(other) == {"a", "b", "c"}, TAKEN_OVER_SECONDS[kind])
    proxy.refuse()
    with Server(proxy.url, **settings, MAPPING_CACHE_TTL=0.1) as later:
        wait_until(lambda: is_ready(later), 10)
        answer = later.get("/api/mappings/shop")
        assert set(answer.json()["shop"]["mappings"]["properties"]) == {"a", "b", "c"}
        assert (answer.headers["x-cache-source"], answer.headers["x-cache-state"]) == ("store", "stale")
        assert int(answer.headers["age"]) >= 0


def test_case_20_two_commands_at_once(store: tuple[str, str], cluster: Elasticsearch, proxy: FaultProxy) -> None:
    """Case 20: of two refreshes at once one runs, and the other says so and exits with 75; one that is willing to wait
    runs afterwards.
    """
    _, redis_url = store
    cluster.indices.create(index="shop")
    ended: dict[str, subprocess.CompletedProcess[str]] = {}

    def run(name: str, *arguments: str) -> None:
        ended[name] = manage(
            *("refresh_cache", "--force", "--format", "json", *arguments),
            elasticsearch_url=proxy.url,
            REDIS_URL=redis_url,
        )

    with proxy.fault(path="/shop/_mapping", delay_seconds=8.0, times=1):
        first = threading.Thread(target=run, args=("first",))
        first.start()
        proxy.wait_for(path="/shop/_mapping", timeout_seconds=30)
        second = threading.Thread(target=run, args=("patient", "--wait-for-lease", "60"))
        second.start()
        run("second")
        first.join()
        second.join()
    assert {name: done.returncode for name, done in ended.items()} == {"first": 0, "second": 75, "patient": 0}
    refused = json.loads(ended["second"].stdout)
    assert refused["outcome"] == "overlap"
    assert refused["retry_after_seconds"] > 0
    assert json.loads(ended["patient"].stdout)["outcome"] == "completed"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # half a minute: the other store's leases are tested alone
def test_case_21_a_killed_holder(store: tuple[str, str], cluster: Elasticsearch, proxy: FaultProxy) -> None:
    """Case 21: when the process that refreshes is killed, the next pass waits for its lease to end, and no longer."""
    _, redis_url = store
    cluster.indices.create(index="shop")
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        wait_until(lambda: is_ready(one) and is_ready(two), 20)
        with proxy.fault(path="/shop/_mapping", blackhole=True):
            proxy.reset()
            assert one.refresh("").status_code == 202
            proxy.wait_for(path="/shop/_mapping", timeout_seconds=10)
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
        refused = two.refresh()
        assert refused.status_code == 429
        killed_at = time.monotonic()
        wait_until(lambda: two.refresh().status_code == 200, 45, every=1.0)
        assert time.monotonic() - killed_at < 40


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_case_22_the_clusters_load_does_not_grow(store: tuple[str, str], node: Node, cluster: Elasticsearch) -> None:
    """Case 22: four instances with watch and schedule ask the cluster for mappings as often as one does, save one
    pass when leases are given out.
    """
    kind, redis_url = store
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    calls = {number: _calls_of(number, redis_url, node, cluster, f"{kind}{number}") for number in (1, 4)}
    assert calls[4] <= 1.1 * calls[1] + 4, calls


def _calls_of(instances: int, redis_url: str, node: Node, cluster: Elasticsearch, prefix: str) -> int:
    """Calls by which `instances` servers learn of five changes: lists, field counts and mappings."""
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 3600}
    with FaultProxy(node.url) as proxy, ExitStack() as stack:
        servers = [stack.enter_context(Server(proxy.url, **settings)) for _ in range(instances)]
        wait_until(lambda: all(map(is_ready, servers)) and any(map(watches, servers)), 30)
        time.sleep(1.5)  # the watch's first looks
        proxy.reset()
        for number in range(5):
            name = f"{prefix}x{number}"
            add_field(cluster, name)
            wait_until(lambda name=name: all(name in fields(server) for server in servers), 10)  # type: ignore[misc]
            time.sleep(0.7)  # no second look is under way
        return sum(
            proxy.count(path=path)
            for path in ("/shop/_mapping", "_settings/index.uuid", "/_resolve/", "/_nodes/stats/indices/mappings")
        )
