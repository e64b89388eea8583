"""Streams of a real server: clients that leave, take nothing or are too many, and the end of the server."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from esassistant.http.streams import ENDING_SECONDS, WRITE_SECONDS
from esassistant.management.commands.serve import GRACE_SECONDS
from tests.support.streaming import LIMIT, TICKS

pytestmark = pytest.mark.django_db(transaction=True)

BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORGOTTEN_SECONDS = 2.0
"""Within so long a client's leaving is noticed."""


@contextmanager
def serving(node: Node, *arguments: str, **settings: Any) -> Iterator[Server]:
    options = {"DJANGO_SETTINGS_MODULE": "tests.support.streaming_settings", "ESASSISTANT_DETAILS": "authorized"}
    with Server(node.url, *arguments, ESASSISTANT_ACCESS_LOG="true", **(options | settings)) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 40)
        yield server


@pytest.fixture(scope="module")
def server(node: Node, request: pytest.FixtureRequest) -> Iterator[Server]:
    request.getfixturevalue("django_db_setup")
    with serving(node) as server:
        yield server


@contextmanager
def following(server: Server, name: str) -> Iterator[Iterator[str]]:
    """The lines of a stream, whose first event has come."""
    with server.http.stream("GET", f"/api/ticks/{name}", headers=BEARER) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "id: 0"
        yield lines


def report(server: Server) -> dict[str, int]:
    found: dict[str, int] = server.get("/api/performance", headers=BEARER).json()["streams"]
    return found


def connected(server: Server, path: str) -> socket.socket:
    """A client that has asked, and reads nothing by itself."""
    address = urlsplit(server.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((address.hostname or "", address.port or 0))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    return client


def test_events_come_as_they_happen(server: Server) -> None:
    """Several at once, in order, on HTTP/1.1, with the headers of all answers; strangers get none."""
    with following(server, "a") as first, following(server, "b") as second:
        for lines, name in ((first, "a"), (second, "b")):
            found = [line for line in (next(lines) for _ in range(8)) if line]
            assert found == [f"data: {name}", "id: 1", f"data: {name}", "id: 2", f"data: {name}"]
        assert report(server)["open"] == 2
        assert server.get("/api/ticks/a").status_code == 401
    wait_until(lambda: report(server)["open"] == 0, FORGOTTEN_SECONDS)
    routes = server.get("/api/performance", headers=BEARER).json()["http"]["routes"]
    assert routes[TICKS]["doors"] == {"stream": 2}
    assert routes[TICKS]["latency"]["samples"] == 0
    assert 'esassistant_streams{worker="' in server.get("/metrics", headers=BEARER).text


def test_a_client_that_leaves_is_noticed(server: Server) -> None:
    """Its source is cancelled, and the access log has a line for the whole of it."""
    with following(server, "leaver"):
        pass
    wait_until(lambda: "the stream leaver is closed" in server.output(), FORGOTTEN_SECONDS)
    wait_until(lambda: any('"path":"/api/ticks/leaver"' in line for line in server.output().splitlines()), 5)
    line = next(json.loads(line) for line in server.output().splitlines() if '"path":"/api/ticks/leaver"' in line)
    assert (line["status"], line["door"], line["route"]) == (200, "stream", TICKS)
    assert line["bytes"] > 0


def test_one_too_many(server: Server) -> None:
    """Beyond the places 503 comes at once, and everything else is answered; who leaves makes place."""
    shed_before = report(server)["shed_total"]
    with ExitStack() as stack:
        for number in range(LIMIT):
            stack.enter_context(following(server, f"n{number}"))
        refused = server.get("/api/ticks/more", headers=BEARER)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert server.get("/api/health").status_code in (200, 503)
        found = report(server)
        assert (found["open"], found["limit"], found["shed_total"] - shed_before) == (LIMIT, LIMIT, 1)
    wait_until(lambda: report(server)["open"] == 0, FORGOTTEN_SECONDS)
    with following(server, "again"):
        pass


def test_a_client_that_takes_nothing(server: Server) -> None:
    """It is dropped after the deadline of a write, the server's memory doesn't grow for it, and no error is logged."""
    memory_before = resident_bytes(server)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server, "/api/pour")) for _ in range(5)]
        wait_until(lambda: report(server)["open"] == 5, 5)
        wait_until(lambda: report(server)["stalled_total"] == 5, WRITE_SECONDS + 5)
        assert report(server)["open"] == 0
        for client in clients:
            assert is_cut(client)
    assert resident_bytes(server) - memory_before < 20_000_000
    assert "without completing response" not in server.output()


def is_cut(client: socket.socket) -> bool:
    """Whether the connection ends without the end of its answer, once what had been sent is read."""
    client.settimeout(5)
    last = b""
    try:
        while data := client.recv(1 << 20):
            last = (last + data)[-5:]
    except ConnectionResetError:
        return True
    return last != b"0\r\n\r\n"


def resident_bytes(server: Server) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_of_the_server(node: Node, workers: int) -> None:
    """It serves streams through its drain, then tells them to end; who goes on is cancelled. Each client gets a whole
    answer, and the server ends long before its time of grace.
    """
    drain_seconds = 1.0
    with serving(node, "--workers", str(workers), ESASSISTANT_DRAIN_SECONDS=drain_seconds) as server:
        texts: dict[str, str] = {}

        def follow(name: str) -> None:
            texts[name] = httpx.get(f"{server.url}/api/ticks/{name}", headers=BEARER, timeout=30).text

        names = ["good1", "good2", "deaf"]
        threads = [threading.Thread(target=follow, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began_at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait(drain_seconds + GRACE_SECONDS)
        seconds = time.monotonic() - began_at
        for thread in threads:
            thread.join(5)
        assert sorted(texts) == sorted(names)
        assert drain_seconds <= seconds < drain_seconds + ENDING_SECONDS + 4
        for name in names:
            assert texts[name].endswith("event: end\n\n") == (name != "deaf")
            # It went on through the drain: more events than there were before the signal.
            assert texts[name].count("data:") > 12
        assert "Traceback" not in server.output()
