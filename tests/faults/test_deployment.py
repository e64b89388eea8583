"""Cases 19 to 22: several processes of one deployment, over Redis and over SQLite; one of them works, all follow."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from elasticsearch import Elasticsearch

from cacheapp.stores.redis.store import CHANNEL
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server, manage
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

TAKEN_OVER_SECONDS = {"redis": 5.0, "sqlite": 8.0}
"""For a change to be answered by every process, on a busy machine. What it takes on a quiet one is measured by bench/.
"""
LEASE_SECONDS = 10.0
"""Of the watch."""
REFRESH_LEASE_SECONDS = 30.0
CHANGES = 24
CHANGE_SECONDS = 1.5
SCHEDULE_SECONDS = 12
"""20 times as often as by default."""
ASKED = (
    "wait_for_metadata_version",
    "_mapping[?]",
    "_settings/index.uuid",
    "/_resolve/",
    "/_nodes/stats/indices/mappings",
)
"""The version of the metadata, mappings, and what lists of indices are made of."""


@pytest.fixture
def proxy(node: Node, cluster: Elasticsearch) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


def is_ready(server: Server) -> bool:
    return server.get("/readyz").status_code == 200


def fields(server: Server, index: str = "shop") -> set[str]:
    answer = server.get(f"/api/mappings/{index}")
    return set(answer.json()[index]["mappings"].get("properties", {})) if answer.status_code == 200 else set()


def generation(server: Server) -> int:
    """Of the published state that it follows."""
    return int(server.get("/api/cache/stats").json()["refresh"]["store_generation"])


def watches(server: Server) -> bool:
    return bool(server.get("/api/cache/stats").json()["watch"]["state"] == "watching")


def add_field(cluster: Elasticsearch, name: str) -> None:
    cluster.indices.put_mapping(index="shop", properties={name: {"type": "ip"}})


def test_case_21_another_watches_on(
    store: tuple[str, str], node: Node, cluster: Elasticsearch, proxy: FaultProxy, figure: Figure
) -> None:
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
        watcher.kill()
        taken_over = wait_until(lambda: watches(other), 2 * LEASE_SECONDS)
        add_field(cluster, "c")
        wait_until(lambda: fields(other) == {"a", "b", "c"}, TAKEN_OVER_SECONDS[kind])
    proxy.refuse()
    with Server(proxy.url, **settings, MAPPING_CACHE_TTL=0.1) as later:
        wait_until(lambda: is_ready(later), 10)
        answer = later.get("/api/mappings/shop")
        assert set(answer.json()["shop"]["mappings"]["properties"]) == {"a", "b", "c"}
        assert (answer.headers["x-cache-source"], answer.headers["x-cache-state"]) == ("store", "stale")
        assert int(answer.headers["age"]) >= 0
    figure(21, f"{kind}: another watched {taken_over:.1f} s after kill -9, lease {LEASE_SECONDS:g} s")


def test_case_19_redis_restarts(cluster: Elasticsearch, proxy: FaultProxy, figure: Figure) -> None:
    """Redis is killed and comes back empty: what one server then publishes is answered by the other, from the store,
    long before its own mapping would have been read anew.
    """
    ttl = 10.0
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with RedisServer() as redis:
        settings = {"REDIS_URL": redis.url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
        with Server(proxy.url, **settings) as one, Server(proxy.url, **settings, MAPPING_CACHE_TTL=ttl) as two:
            wait_until(lambda: is_ready(one) and is_ready(two), 20)
            subscribers = redis.command("PUBSUB", "NUMSUB", CHANNEL)[1]
            redis.kill()
            assert fields(two) == {"a"}
            time.sleep(1.5)  # they notice
            redis.start()
            wait_until(lambda: redis.command("PUBSUB", "NUMSUB", CHANNEL)[1] == subscribers, 5)
            assert one.refresh().status_code == two.refresh().status_code == 200
            add_field(cluster, "b")
            added_at = time.monotonic()
            assert one.refresh().status_code == 200
            published_at = time.monotonic()
            wait_until(lambda: fields(two) == {"a", "b"}, ttl, every=0.005)
            now = time.monotonic()
            source = two.get("/api/mappings/shop").headers["x-cache-source"]
    assert source == "store"
    assert now - added_at <= ttl
    figure(
        19, f"subscribed anew; the next change was answered {now - published_at:.2f} s after publication, TTL {ttl:g} s"
    )


def test_case_20_two_commands_at_once(
    store: tuple[str, str], cluster: Elasticsearch, proxy: FaultProxy, figure: Figure
) -> None:
    """Of two refreshes at once one runs, and the other says so and exits with 75; one that is willing to wait
    runs afterwards.
    """
    kind, redis_url = store
    cluster.indices.create(index="shop")
    ended: dict[str, subprocess.CompletedProcess[str]] = {}

    def run(name: str, *arguments: str) -> None:
        ended[name] = manage(
            *("refresh_cache", "--force", "--format", "json", *arguments),
            elasticsearch_url=proxy.url,
            REDIS_URL=redis_url,
            ELASTICSEARCH_INDICES_TIMEOUT=120,
            MAPPING_CACHE_FETCH_TIMEOUT=120,
        )

    with proxy.fault(path="/shop/_mapping", blackhole=True, times=1) as held:
        first = threading.Thread(target=run, args=("first",))
        first.start()
        proxy.wait_for(path="/shop/_mapping", timeout_seconds=30)
        second = threading.Thread(target=run, args=("patient", "--wait-for-lease", "60"))
        second.start()
        run("second")
        proxy.remove(held)
        first.join()
        second.join()
    assert {name: done.returncode for name, done in ended.items()} == {"first": 0, "second": 75, "patient": 0}
    refused = json.loads(ended["second"].stdout)
    assert refused["outcome"] == "overlap"
    assert refused["retry_after_seconds"] > 0
    assert json.loads(ended["patient"].stdout)["outcome"] == "completed"
    figure(20, f"{kind}: one exit 0, the other exit {ended['second'].returncode}; one that waits exit 0")


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # half a minute: the other store's leases are tested alone
def test_case_21_a_killed_holder(
    store: tuple[str, str], cluster: Elasticsearch, proxy: FaultProxy, figure: Figure
) -> None:
    """When the process that refreshes is killed, the next pass waits for its lease to end, and no longer."""
    kind, redis_url = store
    cluster.indices.create(index="shop")
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        wait_until(lambda: is_ready(one) and is_ready(two), 20)
        with proxy.fault(path="/shop/_mapping", blackhole=True):
            proxy.reset()
            assert one.refresh("").status_code == 202
            proxy.wait_for(path="/shop/_mapping", timeout_seconds=10)
            one.kill()
        refused = two.refresh()
        assert refused.status_code == 429
        killed_at = time.monotonic()
        wait_until(lambda: two.refresh().status_code == 200, 45, every=1.0)
        seconds = time.monotonic() - killed_at
    assert seconds < 40
    figure(21, f"{kind}: the next pass {seconds:.0f} s after kill -9, lease {REFRESH_LEASE_SECONDS:g} s")


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_case_21_a_late_write_is_refused(
    store: tuple[str, str], cluster: Elasticsearch, proxy: FaultProxy, figure: Figure
) -> None:
    """A process that is stopped amid its pass, until its lease has ended and another has published, then gives out
    nothing of what it had read: the newer state stays.
    """
    kind, redis_url = store
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    settings = {"REDIS_URL": redis_url, "MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with Server(proxy.url, **settings) as one, Server(proxy.url, **settings) as two:
        wait_until(lambda: is_ready(one) and is_ready(two), 20)
        proxy.reset()
        with proxy.fault(path="/shop/_mapping", delay_seconds=1.0, times=1):
            assert one.refresh("").status_code == 202
            proxy.wait_for(path="/shop/_mapping", timeout_seconds=10)
            one.suspend()
            time.sleep(2.0)  # the answer, without the new field, is now waiting for it
        try:
            add_field(cluster, "b")
            wait_until(lambda: two.refresh().status_code == 200, 45, every=1.0)
            assert fields(two) == {"a", "b"}
            published = generation(two)
        finally:
            one.resume()
        wait_until(lambda: fields(one) == {"a", "b"}, 10)
        time.sleep(2.0)
        late = one.get("/api/cache/stats").json()["refresh"]["last"]
        proxy.refuse()  # what a later server knows, it has from the store
        with Server(proxy.url, **settings) as later:
            wait_until(lambda: is_ready(later), 10)
            assert fields(two) == fields(later) == {"a", "b"}
        assert generation(two) == published
    assert late["published"] is False
    assert "took over the refresh lease" in late["error"]
    figure(21, f"{kind}: the late write of a stopped holder was refused, generation {published} stayed")


@pytest.mark.minutes
@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_case_22_the_clusters_load_does_not_grow(
    store: tuple[str, str], node: Node, cluster: Elasticsearch, figure: Figure
) -> None:
    """Four instances with watch and schedule ask the cluster as often as one does: for its version, lists and
    mappings.
    """
    kind, redis_url = store
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    calls = {number: _calls_of(number, redis_url, node, cluster, f"{kind}{number}") for number in (1, 4)}
    one, four = (sum(calls[number].values()) for number in (1, 4))
    assert four <= 1.1 * one, calls
    figure(
        22,
        f"one instance {one} calls, four {four}: {four / one:.2f} times; {CHANGES} changes, a pass every "
        f"{SCHEDULE_SECONDS} s",
    )


def _calls_of(instances: int, redis_url: str, node: Node, cluster: Elasticsearch, prefix: str) -> dict[str, int]:
    """Calls by which `instances` servers learn of changes, in a time of always the same length."""
    settings = {
        "REDIS_URL": redis_url,
        "MAPPING_CACHE_WATCH": "true",
        "MAPPING_CACHE_REFRESH_INTERVAL": SCHEDULE_SECONDS,
        "MIN_REFRESH_INTERVAL": 0,
    }
    with FaultProxy(node.url) as proxy, ExitStack() as stack:
        servers = [stack.enter_context(Server(proxy.url, **settings)) for _ in range(instances)]
        wait_until(lambda: all(map(is_ready, servers)) and any(map(watches, servers)), 60)
        time.sleep(SCHEDULE_SECONDS)  # the watch's first looks, and the first passes
        proxy.reset()
        ends_at = time.monotonic() + CHANGES * CHANGE_SECONDS
        for number in range(CHANGES):
            name = f"{prefix}x{number}"
            add_field(cluster, name)
            wait_until(lambda name=name: all(name in fields(server) for server in servers), 10)  # type: ignore[misc]
            time.sleep(max(0.0, ends_at - (CHANGES - 1 - number) * CHANGE_SECONDS - time.monotonic()))
        return {path: proxy.count(path=path) for path in ASKED}
