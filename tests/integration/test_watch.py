"""The watch on a real cluster: what changes is known at once, and costs little."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.reports import PassOutcome, WatchState
from cacheapp.state.snapshot import Snapshot
from cacheapp.sync.look_policy import ASK_SECONDS
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.registry import registry
from tests.support.fixtures import Figure, OpenApp
from tests.support.nodes import NODE_VERSION
from tests.support.running import QUIET_SECONDS, WATCHED, refreshed, report, until, watching
from tests.support.simulated import mapping_requests, names_of

RECOVERY_SECONDS = 30.0


@pytest.fixture
async def watched(
    node: Node, cluster: Elasticsearch, open_app: OpenApp
) -> AsyncIterator[tuple[httpx.AsyncClient, FaultProxy]]:
    """The application with its watch on, behind a proxy that counts."""
    with FaultProxy(node.url) as proxy:
        async with watching(open_app, proxy.url) as http:
            yield http, proxy


async def fields(http: httpx.AsyncClient, name: str) -> set[str]:
    answer = await http.get(f"/api/mappings/{name}")
    return set(answer.json()[name]["mappings"].get("properties", {})) if answer.status_code == 200 else set()


async def test_an_added_field_is_known_at_once(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy]
) -> None:
    """A field that anybody adds is answered within a second, and costs the cluster at most five requests."""
    http, proxy = watched
    await asyncio.to_thread(cluster.indices.create, index="shop", mappings={"properties": {"a": {"type": "date"}}})
    await until(lambda: "shop" in registry.get("mapping_cache").snapshot.indices)
    await asyncio.sleep(QUIET_SECONDS)
    proxy.reset()
    await asyncio.to_thread(cluster.indices.put_mapping, index="shop", properties={"b": {"type": "date"}})
    started_at = time.monotonic()
    while await fields(http, "shop") != {"a", "b"}:
        assert time.monotonic() - started_at < 1.0
        await asyncio.sleep(0.005)
    # Beside the long poll that was woken: the listing in three, and the one mapping.
    # (Health asks for `/_cluster/health` in its own time.)
    assert proxy.count() - proxy.count(path="^/_cluster/") <= 4


async def test_indices_come_and_go(cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy]) -> None:
    """Created, deleted and recreated indices, and aliases that move, are known without any pass (case 32)."""
    http, _ = watched

    def snapshot() -> Snapshot:
        known: Snapshot = registry.get("mapping_cache").snapshot
        return known

    create = cluster.indices.create
    await asyncio.to_thread(create, index="one", mappings={"properties": {"a": {"type": "date"}}}, aliases={"now": {}})
    await until(lambda: snapshot().aliases.get("now") == ("one",))
    await asyncio.to_thread(create, index="two", mappings={"properties": {"b": {"type": "date"}}})
    moved = [{"remove": {"index": "one", "alias": "now"}}, {"add": {"index": "two", "alias": "now"}}]
    await asyncio.to_thread(cluster.indices.update_aliases, actions=moved)
    await until(lambda: snapshot().aliases.get("now") == ("two",))
    await asyncio.to_thread(cluster.indices.delete, index="one")
    # The same number of fields: only the uuid tells.
    await asyncio.to_thread(create, index="one", mappings={"properties": {"c": {"type": "date"}}})
    started_at = time.monotonic()
    while await fields(http, "one") != {"c"}:
        assert time.monotonic() - started_at < 2.0
        await asyncio.sleep(0.01)
    await asyncio.to_thread(cluster.indices.delete, index="two")
    await until(lambda: "two" not in snapshot().indices)
    assert (await http.get("/api/mappings/now")).status_code == 404


async def test_case_32_an_index_made_again(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy], figure: Figure
) -> None:
    """An index that is deleted and made again under its name, with as many fields but another mapping, is seen by its
    uuid at the next look, and costs one mapping.
    """
    http, proxy = watched
    create, delete = cluster.indices.create, cluster.indices.delete
    await asyncio.to_thread(create, index="shop", mappings={"properties": {"a": {"type": "date"}}})
    await until(lambda: "shop" in registry.get("mapping_cache").snapshot.indices)
    await asyncio.sleep(QUIET_SECONDS)
    proxy.reset()
    await asyncio.to_thread(delete, index="shop")
    await asyncio.to_thread(create, index="shop", mappings={"properties": {"b": {"type": "date"}}})
    started_at = time.monotonic()
    while (found := await fields(http, "shop")) != {"b"}:
        assert found <= {"a"}
        assert time.monotonic() - started_at < 2.0
        await asyncio.sleep(0.005)
    seconds = time.monotonic() - started_at
    calls = proxy.count(path="/_mapping")
    assert calls <= 2  # one of them may be of a caller who found it gone
    figure(32, f"answered {1000 * seconds:.0f} ms after it was made again, {calls} call(s) for its mapping")


async def test_an_unchanged_cluster_costs_one_request(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy]
) -> None:
    """A pass over a cluster in which nothing happened sends one request and renews every age; documents change
    nothing.
    """
    http, proxy = watched
    await asyncio.to_thread(cluster.indices.create, index="shop", mappings={"properties": {"a": {"type": "long"}}})
    await until(lambda: "shop" in registry.get("mapping_cache").snapshot.indices)
    assert (await refreshed(http)).outcome is PassOutcome.COMPLETED
    await asyncio.to_thread(cluster.index, index="shop", document={"a": 1}, refresh=True)
    await asyncio.sleep(1.0)
    unchanged = await refreshed(http)
    assert (unchanged.outcome, unchanged.requests_total <= 2) == (PassOutcome.UNCHANGED, True)
    proxy.reset()
    unchanged = await refreshed(http)
    assert (unchanged.outcome, unchanged.requests_total) == (PassOutcome.UNCHANGED, 1)
    assert proxy.count(path="wait_for_timeout=0ms") == 1
    assert (
        proxy.count(path="_mapping|_settings|_resolve|_nodes") == 0
    )  # health checks and long polls come when they come
    assert float((await http.get("/api/mappings/shop")).headers["age"]) < 1


CHANGES: dict[str, dict[str, Any]] = {
    "meta": {"properties": {"d": {"type": "date", "meta": {"unit": "ms"}}}},
    "format": {"runtime": {"r": {"type": "date", "format": "yyyy-MM-dd"}}},  # that of other fields can't be changed
    "ignore_above": {"properties": {"k": {"type": "keyword", "ignore_above": 20}}},
    "dynamic": {"dynamic": "strict"},
    "_meta": {"_meta": {"owner": "shop"}},
}
"""Changes that add no field, by the parameter that they set."""
PARAMETERS_SECONDS = 3.0
VERSIONS = "^/_cluster/state/metadata[?]"


def make_shop(cluster: Elasticsearch, name: str = "shop") -> None:
    fields = {"d": {"type": "date"}, "k": {"type": "keyword", "ignore_above": 10}}
    mappings = {"properties": fields, "runtime": {"r": {"type": "date", "format": "yyyy"}}}
    cluster.indices.create(index=name, mappings=mappings, settings={"number_of_replicas": 0})


async def settled(proxy: FaultProxy) -> None:
    """Wait until nothing that happened is owed a question any more, and the next one may be asked at once."""
    asked, since = proxy.count(path=VERSIONS), time.monotonic()
    while time.monotonic() - since < ASK_SECONDS + 1.0:
        await asyncio.sleep(0.1)
        if (now_asked := proxy.count(path=VERSIONS)) != asked:
            asked, since = now_asked, time.monotonic()


async def test_case_40_parameters_alone(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy], figure: Figure
) -> None:
    """Changes that show in no number of fields are known within seconds, each by one question and one mapping."""
    http, proxy = watched
    await asyncio.to_thread(make_shop, cluster)
    await asyncio.to_thread(make_shop, cluster, "other")
    await until(lambda: {"shop", "other"} <= set(registry.get("mapping_cache").snapshot.indices))
    seconds = {}
    for parameter, change in CHANGES.items():
        await settled(proxy)
        before = (await http.get("/api/mappings/shop")).headers["etag"]
        proxy.reset()
        await asyncio.to_thread(cluster.indices.put_mapping, index="shop", **change)
        started_at = time.monotonic()
        while (answer := await http.get("/api/mappings/shop")).headers["etag"] == before:
            assert time.monotonic() - started_at < PARAMETERS_SECONDS, parameter
            await asyncio.sleep(0.005)
        seconds[parameter] = time.monotonic() - started_at
        assert f'"{parameter}":' in answer.text
        assert proxy.count(path=VERSIONS) == 1
        assert [names_of(request.path) for request in mapping_requests(proxy)] == [["shop"]]
    slowest = max(seconds.values())
    figure(40, f"{', '.join(seconds)}: each answered at most {1000 * slowest:.0f} ms after it was set")


async def test_parameters_beside_a_new_field(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy]
) -> None:
    """Two changes within ten seconds, and one beside which a field is added to another index: none is slept over."""
    http, proxy = watched
    await asyncio.to_thread(make_shop, cluster)
    await asyncio.to_thread(make_shop, cluster, "other")
    await settled(proxy)
    proxy.reset()
    put = cluster.indices.put_mapping
    await asyncio.to_thread(put, index="shop", dynamic="strict")
    await asyncio.to_thread(put, index="other", properties={"new": {"type": "ip"}})
    for owner in ("first", "second"):
        await asyncio.to_thread(put, index="shop", meta={"owner": owner})
        await asyncio.sleep(1.0)

    async def shop() -> str:
        return (await http.get("/api/mappings/shop")).text

    started_at = time.monotonic()
    while '"second"' not in await shop():
        assert time.monotonic() - started_at < ASK_SECONDS + 2.0
        await asyncio.sleep(0.05)
    assert '"dynamic":"strict"' in await shop()
    assert await fields(http, "other") == {"d", "k", "new"}
    assert proxy.count(path=VERSIONS) <= 2


async def test_parameters_where_versions_are_refused(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Where the versions of mappings are refused the watch goes on, and doesn't ask again: the next full pass, which is
    not skipped, finds the change.
    """
    await asyncio.to_thread(make_shop, cluster)
    with FaultProxy(node.url) as proxy, proxy.fault(path=VERSIONS, status=403):
        async with watching(open_app, proxy.url) as http:
            for change in CHANGES.values():
                await asyncio.to_thread(cluster.indices.put_mapping, index="shop", **change)
                await asyncio.sleep(QUIET_SECONDS)
            assert (proxy.count(path=VERSIONS), report().state) == (1, WatchState.WATCHING)
            assert '"strict"' not in (await http.get("/api/mappings/shop")).text
            found = await refreshed(http)
            assert (found.outcome, found.changed_total) == (PassOutcome.COMPLETED, 1)
            assert '"strict"' in (await http.get("/api/mappings/shop")).text


async def test_parameters_where_versions_are_slow(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Where the versions take more than a second a full pass comes early."""
    await asyncio.to_thread(make_shop, cluster)
    with FaultProxy(node.url) as proxy, proxy.fault(path=VERSIONS, delay_seconds=1.2):
        async with watching(open_app, proxy.url) as http:
            await asyncio.to_thread(cluster.indices.put_mapping, index="shop", dynamic="false")
            await until(lambda: proxy.count(path=VERSIONS) == 2)  # one more than at the beginning
            await asyncio.sleep(1.2 + QUIET_SECONDS)
            await asyncio.to_thread(cluster.indices.put_mapping, index="shop", dynamic="strict")
            await until(lambda: registry.read("refresher").passes_total == 2)
            assert registry.read("refresher").last.trigger == "watch"
            assert '"strict"' in (await http.get("/api/mappings/shop")).text
            assert proxy.count(path=VERSIONS) == 2


async def test_where_it_is_refused(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Credentials that may not read the cluster's state: said once, and passes go on without it."""
    with FaultProxy(node.url) as proxy, proxy.fault(path="^/_cluster/state", status=403):
        async with open_app(proxy.url, cache=WATCHED) as http:
            await until(lambda: report().state is WatchState.REFUSED)
            assert "full passes alone" in (report().last_error or "")
            await asyncio.to_thread(cluster.indices.create, index="shop")
            assert (await refreshed(http)).outcome is PassOutcome.COMPLETED
            assert (await http.get("/api/mappings/shop")).headers["x-cache-source"] == "memory"


async def test_a_broken_connection_misses_nothing(
    cluster: Elasticsearch, watched: tuple[httpx.AsyncClient, FaultProxy]
) -> None:
    """What changes while the connection is down is found when it is back."""
    http, proxy = watched
    proxy.refuse()
    await until(lambda: report().state is WatchState.RECONNECTING)
    await asyncio.to_thread(cluster.indices.create, index="meanwhile", mappings={"properties": {"a": {"type": "ip"}}})
    proxy.accept()
    await until(lambda: "meanwhile" in registry.get("mapping_cache").snapshot.indices)
    assert await fields(http, "meanwhile") == {"a"}


@pytest.mark.minutes
async def test_case_31_a_restarted_cluster(open_app: OpenApp, tmp_path: Path, figure: Figure) -> None:
    """After a full restart the watch anchors anew, misses nothing of what follows, and there is no storm of requests
    while 1 000 indices, which the restarted cluster has yet to allocate, are recovered.
    """
    total = 1000
    settings = {"cluster.max_shards_per_node": "2000"}
    with (
        Node(tmp_path, version=NODE_VERSION, settings=settings) as node,
        FaultProxy(node.url) as proxy,
        Elasticsearch(node.url, request_timeout=60) as cluster,
    ):
        await asyncio.to_thread(make_many, cluster, total)
        async with watching(open_app, proxy.url) as http:
            await asyncio.to_thread(node.stop)
            await until(lambda: report().state is WatchState.RECONNECTING)
            proxy.reset()
            await asyncio.to_thread(node.start)
            started_at = time.monotonic()
            await asyncio.to_thread(allocate, cluster)
            anchored = await until(lambda: report().state is WatchState.WATCHING, 60.0)
            await asyncio.to_thread(
                cluster.indices.create,
                index="new",
                mappings={"properties": {"a": {"type": "ip"}}},
                wait_for_active_shards=0,
            )
            await until(lambda: "new" in registry.get("mapping_cache").snapshot.indices, 60.0)
            assert await fields(http, "new") == {"a"}
            assert len(registry.get("mapping_cache").snapshot.indices) == total + 1
            await asyncio.sleep(max(0.0, started_at + RECOVERY_SECONDS - time.monotonic()))
            seconds = time.monotonic() - started_at
            calls, mappings, at_once = proxy.count(), proxy.count(path="/_mapping"), proxy.max_in_flight
            names = sum(len(names_of(one.path)) for one in mapping_requests(proxy))
            recovered = (await asyncio.to_thread(cluster.cluster.health)).body["active_shards"]
    assert recovered >= 50
    assert at_once <= 12
    assert calls < 30 * seconds
    assert names <= 3 * total, f"{calls} calls in {seconds:.0f} s, {mappings} for mappings, of {names} names in all"
    figure(
        31,
        f"{total} indices, {recovered} recovered in {seconds:.0f} s: watching after {anchored:.1f} s; {calls} calls, "
        f"{mappings} for mappings, of {names} names in all, {at_once} at once",
    )


async def test_case_31_another_cluster_with_a_lower_version(open_app: OpenApp, tmp_path: Path, figure: Figure) -> None:
    """When the cluster comes back as another, whose metadata version begins anew, the watch follows that one: what was
    there is gone, what is new is known, without a storm.
    """
    with Node(tmp_path / "first", version=NODE_VERSION) as first, FaultProxy(first.url) as proxy:
        with Elasticsearch(first.url, request_timeout=30) as cluster:
            for number in range(20):
                await asyncio.to_thread(
                    cluster.indices.create, index=f"old-{number}", settings={"number_of_replicas": 0}
                )
        async with watching(open_app, proxy.url) as http:
            await asyncio.to_thread(first.stop)
            await until(lambda: report().state is WatchState.RECONNECTING)
            proxy.reset()
            second = Node(tmp_path / "second", port=int(first.url.rpartition(":")[2]), version=NODE_VERSION)
            with second, Elasticsearch(second.url, request_timeout=30) as cluster:
                anchored = await until(lambda: report().state is WatchState.WATCHING, 60.0)
                create = cluster.indices.create
                await asyncio.to_thread(create, index="new", mappings={"properties": {"a": {"type": "ip"}}})
                known = await until(lambda: set(registry.get("mapping_cache").snapshot.indices) == {"new"}, 30.0)
                assert await fields(http, "new") == {"a"}
                calls = proxy.count() - proxy.count(path="^/_cluster/health")
    assert calls < 100
    figure(
        31, f"another cluster: watching after {anchored:.1f} s, its new index known {known:.2f} s later, {calls} calls"
    )


def make_many(cluster: Elasticsearch, total: int) -> None:
    """So many indices, none of which is allocated yet: only that takes long."""
    cluster.cluster.put_settings(persistent={"cluster.routing.allocation.enable": "none"})

    def create(number: int) -> None:
        cluster.indices.create(index=f"old-{number:04}", settings={"number_of_replicas": 0}, wait_for_active_shards=0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(total)))


def allocate(cluster: Elasticsearch) -> None:
    """Let the cluster allocate what it has."""
    cluster.cluster.put_settings(persistent={"cluster.routing.allocation.enable": None})
