"""The fault proxies do what the fault tests rely on; most of all, they count exactly."""

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse, Rule
from tests.support.small_server import CHUNKS, LARGE, PRODUCT, ZIPPED, SmallServer, eventually


@pytest.fixture
def upstream() -> Iterator[SmallServer]:
    with SmallServer() as server:
        yield server


@pytest.fixture
def proxy(upstream: SmallServer) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://127.0.0.1:{upstream.port}") as proxy:
        yield proxy


@contextlib.contextmanager
def client(proxy: FaultProxy, timeout: float = 5.0) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def fetch(
    connection: http.client.HTTPConnection, path: str = "/", method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes]:
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def get(proxy: FaultProxy, path: str = "/") -> tuple[int, bytes]:
    with client(proxy) as connection:
        return fetch(connection, path)


def test_bytes_pass_unchanged(proxy: FaultProxy, upstream: SmallServer) -> None:
    """Heads, chunks, trailers and compressed bodies arrive as they were sent, in both directions."""
    sent = (
        b"POST /chunked?q=%2F HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\nAccept-Encoding: gzip\r\n\r\n"
        + CHUNKS
    )
    expected = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (PRODUCT, len(CHUNKS), CHUNKS)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw:
        raw.sendall(sent)
        assert raw.makefile("rb").read(len(expected)) == expected
    assert upstream.received == [sent]
    [exchange] = proxy.requests
    assert (exchange.request_bytes, exchange.response_bytes) == (len(sent), len(expected))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chunked", b"hello world"),
        ("/zipped", ZIPPED),
        ("/empty", b""),
        ("/large", LARGE),
        ("/close-delimited", b"until the end"),
    ],
)
def test_every_framing_of_an_answer(proxy: FaultProxy, path: str, body: bytes) -> None:
    """Chunked, counted, empty and close-delimited answers pass, and the client can go on afterwards."""
    with client(proxy) as connection:
        assert fetch(connection, path)[1] == body
        assert fetch(connection, path)[1] == body


def test_head_has_no_body(proxy: FaultProxy) -> None:
    """A HEAD answer ends with its head, whatever its Content-Length says, from upstream and from a rule."""
    with client(proxy) as connection:
        assert fetch(connection, "/large", "HEAD") == (200, b"")
        with proxy.fault(status=404):
            assert fetch(connection, "/large", "HEAD") == (404, b"")
        assert fetch(connection, "/empty") == (204, b"")
    assert proxy.connections_total == 1


def test_connections_are_kept_alive_on_both_sides(proxy: FaultProxy, upstream: SmallServer) -> None:
    """Ten requests of one client need one connection here and one upstream."""
    with client(proxy) as connection:
        for _ in range(10):
            assert fetch(connection, "/echo", "POST", b"x" * 1000) == (200, b"x" * 1000)
        assert proxy.connections_open == 1
    eventually(lambda: proxy.connections_open == 0)
    assert (proxy.connections_total, upstream.connections_total) == (1, 1)


def test_a_closed_upstream_connection_is_reopened(proxy: FaultProxy, upstream: SmallServer) -> None:
    """Upstream closing an idle connection costs the client nothing."""
    with client(proxy) as connection:
        assert fetch(connection, "/close-quietly") == (200, b"ok")
        eventually(lambda: upstream.connections_open == 0)
        time.sleep(0.05)
        assert fetch(connection, "/close-quietly") == (200, b"ok")
    assert (proxy.connections_total, upstream.connections_total) == (1, 2)


def test_expect_continue(proxy: FaultProxy, upstream: SmallServer) -> None:
    """A client that asks before it sends its body is told to go on."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw:
        raw.sendall(b"PUT /echo HTTP/1.1\r\nhost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"ok")
        expected = b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok" % PRODUCT
        with raw.makefile("rb") as answer:
            assert answer.read(len(expected)) == expected
    assert b"Expect" not in upstream.received[0]


def test_status_rule_answers_alone(proxy: FaultProxy, upstream: SmallServer) -> None:
    """An injected status looks like Elasticsearch's, keeps the connection, and never reaches upstream."""
    rule = proxy.add(Rule(method="GET", path="_mapping", status=429, headers={"Retry-After": "1"}))
    with client(proxy) as connection:
        connection.request("GET", "/logs-%2A/_mapping")
        response = connection.getresponse()
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert response.headers["X-Elastic-Product"] == "Elasticsearch"
        assert json.load(response)["status"] == 429
        assert fetch(connection, "/logs/_mapping", "POST")[0] == 200
        proxy.remove(rule)
        assert fetch(connection, "/logs/_mapping")[0] == 200
    assert proxy.connections_total == 1
    assert len(upstream.received) == 2
    assert [exchange.rule for exchange in proxy.requests] == [rule, None, None]


def test_path_is_matched_as_it_was_sent(proxy: FaultProxy) -> None:
    """Rules and counts see the raw target: percent-encoding and query included."""
    get(proxy, "/a%2Cb/_mapping?x=1")
    assert proxy.count("a%2Cb/_mapping") == proxy.count(r"\?x=1$") == proxy.count(method="GET") == 1
    assert proxy.count("a,b") == proxy.count(method="POST") == 0
    assert (proxy.requests[0].target, proxy.requests[0].path) == ("/a%2Cb/_mapping?x=1", "/a%2Cb/_mapping")


def test_first_rule_wins_and_times_limits_it(proxy: FaultProxy) -> None:
    """A rule with `times` makes way for the next one when it has been applied so often."""
    proxy.add(Rule(status=503, times=2))
    proxy.add(Rule(status=429, body="later"))
    assert [get(proxy)[0] for _ in range(4)] == [503, 503, 429, 429]
    proxy.clear()
    assert get(proxy)[0] == 200


def test_probability_is_seeded(upstream: SmallServer) -> None:
    """The same seed gives the same faults, about as many as asked for."""

    def statuses(seed: int) -> list[int]:
        with FaultProxy(f"http://127.0.0.1:{upstream.port}", seed=seed) as proxy, client(proxy) as connection:
            proxy.add(Rule(probability=0.3, status=503))
            return [fetch(connection)[0] for _ in range(200)]

    first = statuses(1)
    assert first == statuses(1) != statuses(2)
    assert 35 <= first.count(503) <= 85


def test_delay_lets_500_requests_wait_at_once(proxy: FaultProxy) -> None:
    """500 concurrent requests, each delayed by 200 ms, overlap and are all counted."""

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"GET /many HTTP/1.1\r\nhost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer[:12]

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(500)))

    started_at = time.monotonic()
    with proxy.fault(delay_seconds=0.2):
        assert asyncio.run(all_at_once()) == [b"HTTP/1.1 200"] * 500
    assert time.monotonic() - started_at < 10
    assert proxy.count("/many") == len(proxy.requests) == 500
    assert all(exchange.ended_at - exchange.started_at >= 0.19 for exchange in proxy.requests)
    assert (proxy.in_flight, proxy.max_in_flight > 100) == (0, True)


def test_blackhole_until_the_client_leaves(proxy: FaultProxy, upstream: SmallServer) -> None:
    """A blackholed request is counted, never answered, never forwarded, and recorded as aborted."""
    with proxy.fault(blackhole=True) as rule:
        with client(proxy, timeout=0.1) as connection, pytest.raises(TimeoutError):
            fetch(connection)
        eventually(lambda: len(proxy.requests) == 1)
    [exchange] = proxy.requests
    assert (exchange.status, exchange.aborted, exchange.rule) == (None, True, rule)
    assert upstream.received == []


def test_blackhole_ends_with_its_rule(proxy: FaultProxy) -> None:
    """Requests still waiting when the rule is removed are forwarded, like packets after an outage."""
    rule = proxy.add(Rule(blackhole=True))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(get, proxy)
        proxy.wait_for(count=1)
        assert proxy.in_flight == 1
        proxy.remove(rule)
        assert answer.result(5)[0] == 200


def test_cut_resets_the_connection(proxy: FaultProxy, upstream: SmallServer) -> None:
    """A cut comes as a reset, before upstream hears of the request; the next connection works."""
    with proxy.fault(cut=True, times=1), client(proxy) as connection:
        with pytest.raises(ConnectionResetError):
            fetch(connection)
        assert upstream.received == []
        connection.close()
        assert fetch(connection)[0] == 200
    assert [(exchange.status, exchange.aborted) for exchange in proxy.requests] == [(None, False), (200, False)]


@pytest.mark.parametrize("replayed", [False, True])
def test_cut_after_bytes(proxy: FaultProxy, replayed: bool) -> None:
    """Exactly so many bytes of an answer arrive, of a replayed one too, and then the end of the stream."""
    if replayed:
        proxy.respond("/large", lambda _: ProxyResponse(LARGE))
    with (
        proxy.fault(cut_after_bytes=100_000),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw,
    ):
        raw.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        assert len(raw.makefile("rb").read()) == 100_000
    assert (proxy.requests[0].status, proxy.requests[0].response_bytes) == (200, 100_000)


def test_client_leaving_ends_the_upstream_request(proxy: FaultProxy, upstream: SmallServer) -> None:
    """When a client gives up, upstream sees its connection close, and the exchange is recorded as aborted."""
    with client(proxy, timeout=0.1) as connection, pytest.raises(TimeoutError):
        fetch(connection, "/hang")
    assert upstream.client_left.wait(5)
    eventually(lambda: [exchange.aborted for exchange in proxy.requests] == [True])
    assert (proxy.in_flight, proxy.count("/hang")) == (0, 1)


def test_refuse_and_accept(proxy: FaultProxy) -> None:
    """`refuse` cuts open connections and refuses new ones; `accept` brings the same port back."""
    with client(proxy) as connection:
        assert fetch(connection)[0] == 200
        for _ in range(3):
            proxy.refuse()
            with pytest.raises(ConnectionError):
                fetch(connection)
            connection.close()
            with pytest.raises(ConnectionRefusedError):
                fetch(connection)
            connection.close()
            proxy.accept()
            assert fetch(connection)[0] == 200


def test_upstream_down_is_a_cut_not_a_502(proxy: FaultProxy, upstream: SmallServer) -> None:
    """The proxy never invents an answer for an upstream that isn't there."""
    upstream.refuse()
    with pytest.raises(ConnectionResetError):
        get(proxy)
    upstream.accept()
    assert get(proxy)[0] == 200
    assert [exchange.status for exchange in proxy.requests] == [None, 200]


def test_replayed_answers(proxy: FaultProxy, upstream: SmallServer) -> None:
    """A responder sees the decoded request, may leave it to upstream, and its failure shows as a 500."""
    seen: list[ProxyRequest] = []

    def responder(request: ProxyRequest) -> ProxyResponse | None:
        seen.append(request)
        if request.path == "/replay/broken":
            raise ValueError("no such replay")
        return ProxyResponse("mine", headers={"content-type": "text/plain"}) if request.body == b"hello world" else None

    proxy.respond("^/replay", responder)
    with client(proxy) as connection:
        connection.request("POST", "/replay?x", iter([b"hello", b" world"]), encode_chunked=True)
        response = connection.getresponse()
        assert (response.read(), response.headers.get_all("Content-Type")) == (b"mine", ["text/plain"])
        assert fetch(connection, "/replay", "POST", b"other") == (200, b"other")
        assert fetch(connection, "/replay/broken")[0] == 500
    assert seen[0].headers["transfer-encoding"] == "chunked"
    assert len(upstream.received) == 1
    proxy.stop_responding()
    assert get(proxy, "/replay/broken")[0] == 200


def test_waiting_for_arrivals(proxy: FaultProxy) -> None:
    """Both waits count from the last reset, end as soon as enough has arrived, and have a deadline."""
    get(proxy, "/a")
    proxy.wait_for("/a", timeout_seconds=0)
    proxy.reset()
    assert (proxy.count(), proxy.requests) == (0, [])
    with pytest.raises(TimeoutError, match="1 more requests for /a"):
        proxy.wait_for("/a", timeout_seconds=0.01)

    async def wait_in_loop() -> None:
        waiting = asyncio.create_task(proxy.arrived("/a", count=2))
        await asyncio.gather(waiting, asyncio.to_thread(get, proxy, "/a"), asyncio.to_thread(get, proxy, "/a"))
        with pytest.raises(TimeoutError):
            await proxy.arrived("/b", timeout_seconds=0.01)

    asyncio.run(wait_in_loop())
    assert proxy.count("/a") == 2


def test_what_a_client_has_seen_is_recorded(proxy: FaultProxy) -> None:
    """No race: the moment that an answer is read, its exchange is in the list and out of the gauge."""
    with client(proxy) as connection:
        for number in range(1, 301):
            fetch(connection, "/echo")
            assert (len(proxy.requests), proxy.in_flight) == (number, 0)


def test_authorize(upstream: SmallServer) -> None:
    """Without the right header the answer is Elasticsearch's 401, and upstream isn't asked."""
    url = f"http://127.0.0.1:{upstream.port}"
    with (
        FaultProxy(url, authorize=lambda headers: headers.get("authorization") == "ApiKey good") as proxy,
        client(proxy) as connection,
    ):
        status, body = fetch(connection)
        assert (status, json.loads(body)["error"]["type"]) == (401, "security_exception")
        connection.request("GET", "/", headers={"Authorization": "ApiKey good"})
        assert connection.getresponse().status == 200
    assert len(upstream.received) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_tls(upstream: SmallServer, tmp_path: Path) -> None:
    """With a certificate the proxy speaks https; cuts and aborts work there too."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=str(certificate))
    with FaultProxy(f"http://127.0.0.1:{upstream.port}", ssl_context=server_context) as proxy:
        assert proxy.url == f"https://127.0.0.1:{proxy.port}"
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=0.5, context=client_context)
        with contextlib.closing(connection):
            assert fetch(connection, "/large") == (200, LARGE)
            with proxy.fault(cut=True), pytest.raises(ConnectionResetError):
                fetch(connection)
            connection.close()
            with pytest.raises(TimeoutError):
                fetch(connection, "/hang")
        eventually(lambda: len(proxy.requests) == 3)
        assert [exchange.aborted for exchange in proxy.requests] == [False, False, True]


def test_closing_amid_requests(upstream: SmallServer) -> None:
    """Leaving the block ends hanging requests and the thread at once, and frees the port for the next proxy."""
    url = f"http://127.0.0.1:{upstream.port}"
    with ThreadPoolExecutor() as pool:
        with FaultProxy(url) as proxy:
            proxy.add(Rule(path="/held", blackhole=True))
            hanging = [pool.submit(get, proxy, path) for path in ("/held", "/hang")]
            proxy.wait_for(count=2)
            started_at = time.monotonic()
        assert time.monotonic() - started_at < 2
        assert all(isinstance(answer.exception(5), ConnectionError) for answer in hanging)
    assert proxy.count() == 2
    assert "FaultProxy" not in [thread.name for thread in threading.enumerate()]
    with FaultProxy(url, port=proxy.port) as again:
        assert get(again)[0] == 200


def test_a_rule_has_one_action() -> None:
    """Contradictory rules are refused where they are made."""
    with pytest.raises(ValueError, match="at most one"):
        Rule(status=503, cut=True)
