"""`manage.py serve` as an operator sees it: real processes, real signals, a real node."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import ROOT, Server, environment, manage

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_starts_without_a_cluster_and_turns_ready_by_itself(node: Node, cluster: Elasticsearch) -> None:
    """No cluster: serves, /livez 200, /readyz 503, health 503; the cluster appears: ready and healthy without a
    restart.
    """
    with FaultProxy(node.url) as proxy:
        proxy.refuse()
        with Server(proxy.url, HEALTH_CACHE_TTL=1, HEALTH_TIMEOUT=1) as server:
            assert server.get("/livez").status_code == 200
            assert server.get("/readyz").status_code == 503
            wait_until(lambda: server.get("/api/health").status_code == 503, 5)
            assert server.get("/api/mappings/any").status_code == 503
            proxy.accept()
            wait_until(lambda: server.get("/readyz").status_code == 200, 15)
            wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 10)


def test_a_stopped_node(node: Node, cluster: Elasticsearch) -> None:
    """SIGSTOP of the node: unhealthy within TTL and timeout, /livez 200, a warm mapping still answers; SIGCONT:
    healthy.
    """
    cluster.indices.create(index="warm", settings={"number_of_replicas": 0})
    with Server(node.url, HEALTH_CACHE_TTL=1, HEALTH_TIMEOUT=1) as server:
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 10)
        node.suspend()
        try:
            wait_until(lambda: server.get("/api/health").json()["status"] == "unhealthy", 4)
            report = server.get("/api/health")
            assert report.status_code == 503
            assert "did not answer within 0.9 s" in report.json()["services"]["elasticsearch"]["error"]
            assert server.get("/livez").status_code == 200
            assert server.get("/readyz").status_code == 200
            assert server.get("/api/mappings/warm").status_code == 200
        finally:
            node.resume()
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 10)


def test_disconnected_clients_harm_nobody(node: Node, cluster: Elasticsearch) -> None:
    """20 clients hang up amid a cold mapping behind a slow proxy; the 20 others get it, by one call."""
    with FaultProxy(node.url) as proxy, Server(proxy.url, MAPPING_CACHE_REFRESH_INTERVAL=0) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        cluster.indices.create(index="cold", mappings={"properties": {"a": {"type": "date"}}})
        proxy.reset()
        address = httpx.URL(server.url)
        request = b"GET /api/mappings/cold HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        statuses: list[int] = []
        with proxy.fault(path="/cold/_mapping", delay_seconds=1.5):
            leaving = [socket.create_connection((address.host, address.port or 0)) for _ in range(20)]
            for connection in leaving:
                connection.sendall(request)
            proxy.wait_for(path="/cold/_mapping", count=1, timeout_seconds=5)
            staying = [
                threading.Thread(
                    target=lambda: statuses.append(httpx.get(f"{server.url}/api/mappings/cold").status_code)
                )
                for _ in range(20)
            ]
            for thread in staying:
                thread.start()
            time.sleep(0.3)
            for connection in leaving:
                connection.close()
            for thread in staying:
                thread.join(10)
        assert statuses == [200] * 20
        assert proxy.count(path="/cold/_mapping") == 1


def test_draining(node: Node, cluster: Elasticsearch) -> None:
    """SIGTERM: /readyz 503 at once while requests are still served, then the end in time, without an error."""
    with Server(node.url, ESASSISTANT_DRAIN_SECONDS=2) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        server.process.send_signal(signal.SIGTERM)
        started_at = time.monotonic()
        wait_until(lambda: server.get("/readyz").status_code == 503, 1)
        assert "draining" in server.get("/readyz").text
        assert server.get("/api/health").status_code == 200
        assert server.get("/livez").status_code == 200
        server.http.close()
        code = server.wait()
        seconds = time.monotonic() - started_at
    assert 2 <= seconds < 2 + 3
    assert code in (0, -signal.SIGTERM)
    assert "Traceback" not in server.output()
    assert "Warning" not in server.output()


def test_a_second_signal_ends_the_drain(node: Node, cluster: Elasticsearch) -> None:
    """A second signal doesn't wait for the drain."""
    with Server(node.url, ESASSISTANT_DRAIN_SECONDS=60) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/readyz").status_code == 503, 2)
        started_at = time.monotonic()
        server.end(signal.SIGINT)
        assert time.monotonic() - started_at < 5


def test_several_workers_end_with_their_parent(node: Node, cluster: Elasticsearch) -> None:
    """When the parent of several workers is killed with -9, the workers end by themselves and free the port."""
    with Server(node.url, "--workers", "2") as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 20)
        server.kill()

        def refused() -> bool:
            try:
                httpx.get(f"{server.url}/livez", timeout=1)
            except httpx.TransportError:
                return True
            return False

        wait_until(refused, 15)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_failed_start_is_an_exit_code(tmp_path: Path, workers: str) -> None:
    """A start-up that fails ends the whole server with a code other than 0, with several workers too."""
    app = tmp_path / "brokenapp.py"
    app.write_text(
        "from contextlib import asynccontextmanager\n"
        "from django.apps import AppConfig\n"
        "@asynccontextmanager\n"
        "async def broken(_):\n"
        "    raise OSError('no such device')\n"
        "    yield\n"
        "class BrokenConfig(AppConfig):\n"
        "    name = 'brokenapp'\n"
        "    path = '.'\n"
        "    def ready(self):\n"
        "        from esassistant.registry import registry\n"
        "        registry.register('broken', broken)\n"
    )
    (tmp_path / "brokensettings.py").write_text(
        "from esassistant.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'brokenapp.BrokenConfig']\n"
    )
    env = environment("http://127.0.0.1:9", DJANGO_SETTINGS_MODULE="brokensettings", PYTHONPATH=tmp_path)
    ended = subprocess.run(
        [sys.executable, "manage.py", "serve", "--port", "0", "--workers", workers],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode not in (0, None)
    assert "resource broken failed to open" in ended.stderr


def test_a_taken_port_is_said_plainly() -> None:
    """A taken port: one sentence with the remedy, no traceback, exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = manage("serve", "--port", str(port), elasticsearch_url="http://127.0.0.1:9")
    assert ended.returncode == 1
    assert f"Port {port} is taken" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    """Not served on another: the C library takes such a number modulo 65536."""
    ended = manage("serve", f"--port={port}", elasticsearch_url="http://127.0.0.1:9")
    assert ended.returncode == 1
    assert "--port must be from 0 to 65535" in ended.stderr


def test_sqlite_is_migrated(tmp_path: Path) -> None:
    """The server makes and migrates its SQLite file, once, and says so."""
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    for migrates in (True, False):
        with Server("http://127.0.0.1:9", DATABASE_URL=url) as server:
            assert server.get("/livez").status_code == 200
        assert ("The SQLite database was migrated" in server.output()) == migrates


def test_a_database_that_can_not_be_read_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """The server serves without it, and says why."""
    with Server("http://127.0.0.1:9", DATABASE_URL=f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite3'}") as server:
        assert server.get("/livez").status_code == 200
    assert "The database could not be opened: its folder is missing" in server.output()
    assert "Serving without it." in server.output()
