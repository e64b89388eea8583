"""Bad mappings, missing privileges and several servers, on a real node."""

import asyncio
import time

from elasticsearch import Elasticsearch

from cacheapp.reports import WatchState
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.fixtures import OpenApp
from tests.support.running import WATCHED, refreshed, report, watching


async def test_a_number_of_many_digits(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    async with open_app(node.url) as http:
        answer = await http.get("/api/indices?limit=" + "9" * 5000)
    assert answer.status_code == 400


async def test_one_bad_mapping_is_no_storm(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    with FaultProxy(node.url) as proxy:
        cluster.indices.create(index="good")
        async with watching(open_app, proxy.url):
            with proxy.fault(path="bad.*/_mapping", status=500):
                await asyncio.to_thread(cluster.indices.create, index="bad")
                await asyncio.sleep(2)
                proxy.reset()
                await asyncio.sleep(5)
                requests, state = proxy.count(), report().state
    assert (requests < 30, state) == (True, WatchState.WATCHING), (requests, state)


async def test_without_the_monitor_privilege(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """docs/settings.md: "Needs the cluster privilege `monitor`; where it is refused, full passes alone find
    changes".
    """
    cluster.indices.create(index="shop")
    with (
        FaultProxy(node.url) as proxy,
        proxy.fault(path="^/_cluster/state", status=403),
        proxy.fault(path="^/_nodes/stats", status=403),
    ):
        async with open_app(proxy.url, cache=WATCHED) as http:
            last = await refreshed(http)
            answer = await http.get("/readyz")
    assert (last.outcome.value, last.error, answer.status_code) == ("completed", None, 200)


def test_two_servers(node: Node, cluster: Elasticsearch, transactional_db: None) -> None:
    for name in ("one", "two"):
        cluster.indices.create(index=name)
    cluster.indices.put_alias(index="one", name="now")
    settings = {"MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": "240"}
    with Server(node.url, **settings) as first:
        wait_until(lambda: first.get("/readyz").status_code == 200, 10)
        time.sleep(2)
        with Server(node.url, **settings) as second:
            wait_until(lambda: second.get("/readyz").status_code == 200, 10)
            time.sleep(2)
            servers = (first, second)
            assert [list(server.get("/api/mappings/now").json()) for server in servers] == [["one"]] * 2
            cluster.indices.update_aliases(
                actions=[{"remove": {"index": "one", "alias": "now"}}, {"add": {"index": "two", "alias": "now"}}]
            )
            time.sleep(5)
            cluster.indices.delete(index="one")
            time.sleep(5)
            aliases = [list(server.get("/api/mappings/now").json()) for server in servers]
            gone = [server.get("/api/mappings/one").status_code for server in servers]
    assert (aliases, gone) == ([["two"]] * 2, [404, 404])
