"""Case 23: a server that is told to end refuses nobody before its drain is over, and cuts nothing short."""

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from esassistant.management.commands.serve import GRACE_SECONDS
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

DRAIN_SECONDS = 3.0
SLOW_SECONDS = 5.0
"""Longer than the drain: what was under way ends in the time of grace after it."""
CALLERS = 4
EDGE_SECONDS = 0.2
"""What begins later than this before the end of the drain may meet its end."""


@dataclass
class Load:
    """Callers that ask again and again, until told to stop: half of them on a connection each, half on new ones."""

    server: Server
    answered_total: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    """When a request began that was not answered with 200, and what became of it."""

    @contextmanager
    def going_on(self) -> Iterator[None]:
        stopping = threading.Event()
        threads = [
            threading.Thread(target=self._ask, args=(stopping, number % 2 == 0), daemon=True)
            for number in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join(10)

    def _ask(self, stopping: threading.Event, keeps: bool) -> None:
        address = httpx.URL(self.server.url)
        connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
        while not stopping.is_set():
            began_at = time.monotonic()
            try:
                connection.request("GET", "/api/mappings/shop")
                answer = connection.getresponse()
                answer.read()
                outcome = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            if outcome == "200":
                self.answered_total += 1
            else:
                self.failures.append((began_at, outcome))
            if not keeps or outcome != "200":
                connection.close()
            time.sleep(0.002)
        connection.close()


@contextmanager
def idle_connections(server: Server, count: int) -> Iterator[None]:
    """So many connections on which nothing is asked."""
    address = httpx.URL(server.url)
    connections = [socket.create_connection((address.host, address.port or 0)) for _ in range(count)]
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


@contextmanager
def slow_searches(server: Server, proxy: FaultProxy, count: int) -> Iterator[list[int]]:
    """So many searches under way that take `SLOW_SECONDS`; their statuses are there after the block."""
    statuses: list[int] = []

    def search() -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        statuses.append(
            httpx.post(f"{server.url}/api/indices/shop/search", headers=headers, json={}, timeout=30).status_code
        )

    threads = [threading.Thread(target=search, daemon=True) for _ in range(count)]
    with proxy.fault(path="/shop/_search", delay_seconds=SLOW_SECONDS):
        for thread in threads:
            thread.start()
        proxy.wait_for(path="/shop/_search", count=count, timeout_seconds=10)
    yield statuses
    for thread in threads:
        thread.join(30)


@pytest.mark.parametrize("workers", [1, 4])
def test_case_23_nobody_is_refused_and_nothing_is_cut(
    node: Node, cluster: Elasticsearch, figure: Figure, workers: int
) -> None:
    """SIGTERM under load, with slow requests under way and idle connections open: /readyz turns 503 in every worker,
    every request that begins before the drain ends is answered, the slow ones too, and the server ends in time.
    """
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    with (
        FaultProxy(node.url) as proxy,
        Server(proxy.url, "--workers", str(workers), ESASSISTANT_DRAIN_SECONDS=DRAIN_SECONDS) as server,
    ):
        wait_until(lambda: all(status == 200 for status in readiness(server)), 30)
        load = Load(server)
        with idle_connections(server, 8), load.going_on(), slow_searches(server, proxy, 4) as slow:
            server.process.send_signal(signal.SIGTERM)
            told_at = time.monotonic()
            wait_until(lambda: all(status == 503 for status in readiness(server)), DRAIN_SECONDS - 1)
            code = server.wait(DRAIN_SECONDS + GRACE_SECONDS + 1)
            seconds = time.monotonic() - told_at
        assert [failure for failure in load.failures if failure[0] < told_at + DRAIN_SECONDS - EDGE_SECONDS] == []
        assert load.answered_total > 100
        assert slow == [200] * 4
        assert seconds < max(DRAIN_SECONDS, SLOW_SECONDS) + 3
        assert code in (0, -signal.SIGTERM)
        assert "Traceback" not in server.output()
    total, of = load.answered_total, DRAIN_SECONDS + GRACE_SECONDS + 1
    figure(
        23,
        f"{workers} worker(s): {total} requests, 0 refused, {len(slow)} slow ones ended; exit in {seconds:.1f} s of "
        f"{of:g} s",
    )


def readiness(server: Server) -> list[int]:
    """`/readyz` on so many new connections that each worker is likely to have answered."""
    with httpx.Client(headers={"Connection": "close"}) as client:  # one client: each makes a TLS context
        return [client.get(f"{server.url}/readyz").status_code for _ in range(16)]
