"""Case 24: an outage of the cluster is no reason to restart anything."""

import threading
import time
from collections import Counter

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

ACCELERATED = 60
OUTAGE_SECONDS = 600 / ACCELERATED


def test_case_24_ten_minutes_without_a_cluster(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """Ten minutes without a cluster, sixty times as fast: /livez is 200 all the time and /readyz too, warm mappings are
    answered, no background task crashes, and everything is healthy again by itself.
    """
    cluster.indices.create(index="warm", settings={"number_of_replicas": 0})
    intervals = {
        "HEALTH_CACHE_TTL": 30 / ACCELERATED,
        "HEALTH_TIMEOUT": 0.5,
        "MAPPING_CACHE_REFRESH_INTERVAL": 240 / ACCELERATED,
        "MAPPING_CACHE_TTL": 300 / ACCELERATED,
        "MAPPING_CACHE_WATCH": "true",
    }
    seen: Counter[tuple[str, int]] = Counter()
    with FaultProxy(node.url) as proxy, Server(proxy.url, **intervals) as server:
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 15)
        stopping = threading.Event()

        def probe() -> None:
            with httpx.Client(base_url=server.url) as http:
                while not stopping.wait(0.01):
                    for path in ("/livez", "/readyz", "/api/mappings/warm"):
                        seen[path, http.get(path).status_code] += 1

        probing = threading.Thread(target=probe, daemon=True)
        probing.start()
        proxy.refuse()
        wait_until(lambda: server.get("/api/health").status_code == 503, 5)
        time.sleep(OUTAGE_SECONDS)
        proxy.accept()
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 15)
        stopping.set()
        probing.join(10)
        tasks = server.get("/api/performance").json()["background_tasks"]
        assert not server.has_ended
    assert {path for path, _ in seen} == {"/livez", "/readyz", "/api/mappings/warm"}
    assert {status for _, status in seen} == {200}
    assert min(seen.values()) > 100
    assert [task for task in tasks if task["crashes_total"] or not task["running"]] == []
    figure(24, f"/livez 200 {seen['/livez', 200]} times of {seen['/livez', 200]}; 0 restarts, 0 crashed tasks")
