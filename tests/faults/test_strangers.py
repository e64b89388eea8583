"""Cases 54, 56, 59 and 60: strangers, however many and whatever they send, are never in the way of a probe."""

import math
import os
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from dev.faults.flood import KINDS, flooding, probe_during, processor_seconds, waited_percent
from dev.servers.process import wait_until
from dev.servers.service import ROOT, SERVE, TOKEN, Server, environment
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "http://127.0.0.1:9"
"""No cluster: none of this concerns it."""
STRANGE = {"ESASSISTANT_DETAILS": "authorized", "PYTHONWARNINGS": ""}
FLOOD_SECONDS = 2.0
NOISE = 1.5
"""Other processes share the two processors of a test."""
PROBE_TIMEOUT = 5.0
"""Who probes gives up after so long."""
MEBIBYTE = 2**20


@contextmanager
def serving(**settings: object) -> Iterator[Server]:
    with Server(NOWHERE, **STRANGE, **settings) as server:
        wait_until(lambda: server.get("/api/health").status_code == 503, 10)
        yield server


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    request.getfixturevalue("django_db_setup")
    with serving() as server:
        yield server


class Patience:
    """How much longer all takes than it would alone: where others use the processors, as much longer as the server and
    this process wait for one.
    """

    def __init__(self, pid: int) -> None:
        self._before = {pid: processor_seconds(pid) for pid in (pid, os.getpid())}

    def waited(self) -> list[float]:
        return [waited_percent(before, processor_seconds(pid)) for pid, before in self._before.items()]

    def times(self) -> float:
        return max(NOISE, math.prod(100 / (100 - min(waited, 90)) for waited in self.waited()))


def opened(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def resident_bytes(server: Server) -> int:
    pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def livez_seconds(url: str) -> float:
    started_at = time.monotonic()
    assert httpx.get(f"{url}/livez", timeout=10).status_code == 200
    return time.monotonic() - started_at


# How long a probe takes is asserted where nothing else uses the processors.
@pytest.mark.parametrize(
    ("connections", "most_seconds"),
    [
        (500, PROBE_TIMEOUT),
        pytest.param(500, 0.25, marks=pytest.mark.minutes),
        pytest.param(2000, 1.0, marks=pytest.mark.minutes),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_case_54_a_flood(server: Server, kind: str, connections: int, most_seconds: float, figure: Figure) -> None:
    """Whatever so many strangers ask for at once, each is answered, and so is a probe all the while; hardly anything is
    logged.
    """
    said, patience = len(server.output()), Patience(server.pid)
    with flooding(server.url, kind, connections, FLOOD_SECONDS) as flood:
        probed = probe_during(flood, server.url)
        statuses = flood.wait()
    # 400: `/api/health` knows no parameter `x`.
    assert set(statuses) <= {"200", "302", "400", "404", "503"}, statuses
    assert probed.failed == 0
    p99, waited = probed.percentile(99), patience.waited()[0]
    assert p99 <= most_seconds * patience.times()
    assert len(server.output()) - said < 2000
    figure(
        54,
        f"{connections} at once, {kind}: /livez p99 {p99 * 1000:.0f} ms ({waited:.0f} % without a processor)",
    )


def test_case_54_all_connections_are_taken(figure: Figure) -> None:
    """At the limit a probe is answered and anything else is 503, far beyond it nobody is, which is logged once. Who
    says nothing is sent away, and then everybody is answered again.
    """
    with serving(ESASSISTANT_MAX_CONNECTIONS=50) as server, ExitStack() as stack:
        server.http.close()
        silent = [stack.enter_context(opened(server.url)) for _ in range(60)]
        wait_until(lambda: httpx.get(f"{server.url}/livez").status_code == 200, 2)
        refused = httpx.get(f"{server.url}/api/health")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["title"] == "Overloaded"
        silent += [stack.enter_context(opened(server.url)) for _ in range(100)]
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/livez")
        waited = wait_until(lambda: all(select.select([one], [], [], 0)[0] for one in silent), 25)
        assert httpx.get(f"{server.url}/api/health").json().get("title") != "Overloaded"
        report = httpx.get(f"{server.url}/api/performance", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert server.output().count("the limit of 50 connections is reached") == 1
    assert report["connections"]["refused_total"] > 40
    figure(54, f"160 silent connections of 50 allowed: /livez answered at the limit; all closed after {waited:.0f} s")


def test_case_56_pipelining(server: Server, figure: Figure) -> None:
    """60 clients that send 20 000 requests each, and read nothing, cost little memory, and a probe is answered."""
    before = resident_bytes(server)
    request = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20_000
    most, slowest, sent = 0, 0.0, 0
    with ExitStack() as stack:
        clients = [(stack.enter_context(opened(server.url)), [0]) for _ in range(60)]
        for client, _ in clients:
            client.setblocking(False)
        ends_at = time.monotonic() + 4
        while time.monotonic() < ends_at:
            for client, done in clients:
                try:
                    done[0] += client.send(request[done[0] : done[0] + 2**18])
                except (BlockingIOError, ConnectionError):
                    continue
            slowest = max(slowest, livez_seconds(server.url))
            most = max(most, resident_bytes(server) - before)
        sent = sum(done[0] for _, done in clients)
    assert sent > 10 * MEBIBYTE, "it is more than the sockets hold"
    assert most <= 20 * MEBIBYTE
    assert slowest <= PROBE_TIMEOUT
    wait_until(lambda: server.get("/livez").status_code == 200, 5)
    figure(56, f"{sent / 1e6:.0f} MB sent: {most / MEBIBYTE:+.0f} MiB, /livez at most {slowest * 1000:.0f} ms")


def test_case_59_nobody_reads_the_log(figure: Figure) -> None:
    """With pipes for logs that nobody reads, everything is answered and the process ends in time; what is lost is
    counted.
    """
    settings = environment(
        NOWHERE, **STRANGE, ESASSISTANT_ACCESS_LOG="true", DJANGO_SETTINGS_MODULE="tests.support.failing_settings"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(SERVE, cwd=ROOT, env=settings, process_group=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            url = process.stdout.readline().decode().split()[2]
            wait_until(lambda: is_alive(url), 20)
            with httpx.Client(base_url=url) as http:
                # Each has its traceback logged; a pipe takes 64 KiB.
                assert {http.get("/broken").status_code for _ in range(400)} == {500}
                slowest = max(livez_seconds(url) for _ in range(50))
                with opened(url) as client:
                    client.sendall(b"nonsense\r\n\r\n")
                    assert client.recv(100).startswith(b"HTTP/1.1 400")
                assert slowest <= PROBE_TIMEOUT
                report = http.get("/api/performance", headers={"Authorization": f"Bearer {TOKEN}"}).json()
            assert report["log"]["lost_records_total"] > 0
            process.terminate()
            assert process.wait(10) == -signal.SIGTERM  # as uvicorn ends, in order
        finally:
            process.kill()
    figure(
        59, f"/livez at most {slowest * 1000:.0f} ms; {report['log']['lost_records_total']} records lost, and counted"
    )


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


NONSENSE = (
    b"nonsense\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
)
REFUSED = (
    b"GET /api/indices HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /missing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /missing%0aGET%20/forged HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /missing HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx",
    b"DELETE /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /api/mappings/A HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /static/missing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /?%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % (b"x" * 9000),
)


BATCH = NONSENSE * 40 + REFUSED * 4
NONSENSE_SHARE = len(NONSENSE * 40) / len(BATCH)


def test_case_60_bad_requests_are_not_logged(server: Server, figure: Figure) -> None:
    """10 000 requests that are no HTTP, or that are answered 4xx, are counted, and the log doesn't grow with them."""
    said, malformed = len(server.output()), malformed_total(server)
    sent, statuses = 0, Counter[str]()
    while sent < 10_000:
        with ExitStack() as stack:
            clients = [(stack.enter_context(opened(server.url)), request) for request in BATCH]
            for client, request in clients:
                client.sendall(request)
            statuses.update(client.recv(4096)[9:12].decode() for client, _ in clients)
        sent += len(clients)
    assert set(statuses) <= {"400", "401", "403", "404", "405", "414", "503"}, statuses
    assert malformed_total(server) - malformed >= sent * NONSENSE_SHARE
    output = server.output()[said:]
    assert "Traceback" not in output
    assert len(output) <= 10_000
    figure(60, f"{sent} bad requests: {len(output)} bytes of log; {dict(sorted(statuses.items()))}")


def malformed_total(server: Server) -> int:
    report = server.get("/api/performance", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    return int(report["connections"]["malformed_total"])
