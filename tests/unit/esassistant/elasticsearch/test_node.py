"""One node: it says which timeout ran out, compresses, counts, and gives its connections back."""

import asyncio
import gzip
import io
import random
import socket
import ssl
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import product, repeat
from typing import Any

import aiohttp
import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, HttpHeaders, TlsError
from elastic_transport.client_utils import DEFAULT, DefaultType, url_to_node_config
from elasticsearch import UnsupportedProductError

from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.elasticsearch.node import (
    COMPRESS_FROM_BYTES,
    EXTRAS,
    LARGE_RATIO,
    MAX_ERROR_BYTES,
    MAX_INTERIM_ANSWERS,
    Call,
    Node,
    NodeExtras,
    current_call,
    reading_at_most,
)
from esassistant.elasticsearch.stats import PoolCounters
from esassistant.elasticsearch.unpacking import UNPACKED_AT_ONCE_BYTES, gunzip
from esassistant.long_work import LARGE_BYTES
from tests.support.clients import Certificate
from tests.support.hostile import (
    BLANKS,
    HostileProxy,
    Pieces,
    bomb,
    endless,
    endless_headers,
    packed,
    with_length,
    zipped,
)
from tests.support.small_server import SmallServer

NewNode = Callable[..., Node]
LARGE_PACKED_BYTES = LARGE_BYTES // LARGE_RATIO
MAX_BYTES = 2_000_000


@pytest.fixture
def counters() -> PoolCounters:
    return PoolCounters()


@pytest.fixture
async def new_node(counters: PoolCounters) -> AsyncIterator[NewNode]:
    """Makes nodes that are closed at the end of the test; their calls are searches, counted in `counters`."""
    current_call.set(Call(counters, "search"))
    async with AsyncExitStack() as stack:

        def make(
            url: str,
            *,
            connect_timeout: float = 2.0,
            request_timeout: float = 2.0,
            max_answer_bytes: int = MAX_BYTES,
            **options: Any,
        ) -> Node:
            config = url_to_node_config(url).replace(
                request_timeout=request_timeout,
                ssl_show_warn=False,
                _extras={EXTRAS: NodeExtras(connect_timeout, max_answer_bytes)},
                **options,
            )
            node = Node(config)
            stack.push_async_callback(node.close)
            return node

        yield make


@pytest.fixture
def seen(stub: FaultProxy) -> list[ProxyRequest]:
    """The requests that the cluster got; it answers each with `{}`."""
    requests: list[ProxyRequest] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        requests.append(request)
        return ProxyResponse()

    stub.respond("", answer)
    return requests


def failures(counters: PoolCounters) -> dict[str, int]:
    """The kinds of failure that there were, and how many of each."""
    report = counters.report()
    assert sum(report["failures"].values()) == report["failures_total"] == report["calls"]["search"].failures_total
    return {kind: number for kind, number in report["failures"].items() if number}


async def test_an_answer(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """An answer comes with status, headers, body and duration, and is counted with its latency."""
    stub.respond("", lambda _: ProxyResponse("moved", 301, {"Location": "/elsewhere"}))
    meta, body = await new_node(stub.url).perform_request("GET", "/here")
    assert (meta.status, meta.headers["location"], body) == (301, "/elsewhere", b"moved")
    assert stub.count() == 1
    report = counters.report()
    assert (report["requests_total"], report["failures_total"], report["calls"]["search"].requests_total) == (1, 1, 1)
    assert report["failed_latency"].max_seconds == pytest.approx(meta.duration, rel=0.01, abs=2e-6)
    assert report["latency"].samples == 0


@pytest.mark.parametrize(
    ("method", "status"),
    [*product(["GET", "HEAD"], [200, 302, 400, 404, 405, 410]), ("GET", 403)],
)
async def test_what_is_not_elasticsearch(
    stub: FaultProxy, counters: PoolCounters, new_node: NewNode, method: str, status: int
) -> None:
    """An answer without Elasticsearch's header is refused each time, also after good ones, and is counted."""
    stub.respond("^/good", lambda _: ProxyResponse())
    stub.respond("^/bad", lambda _: ProxyResponse("<html>", status, {"X-Elastic-Product": ""}))
    node = new_node(stub.url)
    await node.perform_request(method, "/good")
    with pytest.raises(UnsupportedProductError) as caught:
        await node.perform_request(method, "/bad")
    assert caught.value.status_code == status
    assert counters.report()["calls"]["search"].requests_total == 2
    await node.perform_request(method, "/good")
    assert (counters.connections_created_total, counters.connections_reused_total) == (1, 2)


@pytest.mark.parametrize(
    ("method", "body"), [("HEAD", ""), ("GET", '{"error":{"root_cause":[],"type":"security_exception"},"status":403}')]
)
async def test_forbidden(stub: FaultProxy, new_node: NewNode, method: str, body: str) -> None:
    """A 403 of Elasticsearch, which has no header, comes as the answer that it is; so does one without a body, which
    nothing tells from a gateway's.
    """
    stub.respond("", lambda _: ProxyResponse(body, 403, {"X-Elastic-Product": ""}))
    meta, read = await new_node(stub.url).perform_request(method, "/a")
    assert (meta.status, read) == (403, body.encode())


@pytest.mark.usefixtures("seen")
async def test_connections_are_kept(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """Calls one after the other share a connection: one is created, the others reuse it."""
    node = new_node(stub.url)
    for _ in range(5):
        await node.perform_request("GET", "/")
    assert (counters.connections_created_total, counters.connections_reused_total) == (1, 4)
    assert stub.connections_total == 1


@pytest.mark.parametrize(
    "target", ["/a%2Bb,c/_mapping?x=%2F%20%2B", "/%3Clogs-%7Bnow%2Fd%7D%3E/_search", "/%C3%BC/_doc/1"]
)
async def test_the_target_arrives_as_it_is(
    stub: FaultProxy, seen: list[ProxyRequest], new_node: NewNode, target: str
) -> None:
    """Nobody decodes or encodes a name on its way to the cluster."""
    await new_node(stub.url).perform_request("GET", target)
    assert [request.target for request in seen] == [target]


@pytest.mark.parametrize(
    ("size", "compress", "compressed"),
    [
        (COMPRESS_FROM_BYTES, True, True),
        (COMPRESS_FROM_BYTES - 1, True, False),
        (COMPRESS_FROM_BYTES, False, False),
        (0, True, False),
    ],
)
async def test_large_bodies_are_compressed(
    stub: FaultProxy, seen: list[ProxyRequest], new_node: NewNode, size: int, compress: bool, compressed: bool
) -> None:
    """From a certain size on a request body travels compressed and says so; smaller ones travel as they are."""
    body = b"x" * size
    node = new_node(stub.url, http_compress=compress)
    await node.perform_request("POST", "/", body=body, headers=HttpHeaders({"content-type": "text/plain"}))
    [request] = seen
    assert (request.headers.get("content-encoding") == "gzip") == compressed
    assert (gzip.decompress(request.body) if compressed else request.body) == body
    assert request.headers["content-type"] == "text/plain"
    await node.perform_request("GET", "/")
    assert "content-encoding" not in seen[1].headers


def gzipped(stub: FaultProxy, packed: bytes) -> list[str | None]:
    """Have the cluster answer that, as gzip; gives the encodings that it is asked for."""
    wanted: list[str | None] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        wanted.append(request.headers.get("accept-encoding"))
        return ProxyResponse(packed, headers={"content-encoding": "gzip"})

    stub.respond("", answer)
    return wanted


async def test_compressed_answers_are_decoded(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """Answers are asked for compressed and arrive decoded; their bytes are counted as they went and as they came
    out.
    """
    packed = gzip.compress(b"answer" * 1000, mtime=0)
    wanted = gzipped(stub, packed)
    _, body = await new_node(stub.url, http_compress=True).perform_request("GET", "/")
    assert (wanted, body) == (["gzip"], b"answer" * 1000)
    assert (counters.received_bytes_total, counters.decoded_bytes_total) == (len(packed), 6000)


async def test_bytes_of_plain_bodies(
    stub: FaultProxy, seen: list[ProxyRequest], counters: PoolCounters, new_node: NewNode
) -> None:
    """Bodies count as they are sent: a compressed one by its compressed size; what isn't compressed counts alike
    twice.
    """
    node = new_node(stub.url, http_compress=True)
    headers = HttpHeaders({"content-type": "text/plain"})
    await node.perform_request("POST", "/", body=b"x" * COMPRESS_FROM_BYTES, headers=headers)
    await node.perform_request("POST", "/", body=b"x" * 10, headers=headers)
    assert counters.sent_bytes_total == sum(len(request.body) for request in seen) < 100
    assert counters.received_bytes_total == counters.decoded_bytes_total == 2 * len(b"{}")


@pytest.mark.parametrize("size", [LARGE_PACKED_BYTES - 1, LARGE_PACKED_BYTES])
async def test_large_answers_are_unpacked_elsewhere(
    stub: FaultProxy, new_node: NewNode, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """From a certain compressed size on an answer is unpacked in a thread, so that the loop stays free."""
    packed = gzip.compress(random.Random(0).randbytes(size), compresslevel=0)
    packed = gzip.compress(random.Random(0).randbytes(size - (len(packed) - size)), compresslevel=0)
    assert len(packed) == size
    gzipped(stub, packed)
    threads: list[int] = []

    def spy(packed: io.BytesIO, max_bytes: int) -> bytes:
        threads.append(threading.get_ident())
        return gunzip(packed, max_bytes)

    monkeypatch.setattr("esassistant.elasticsearch.node.gunzip", spy)
    _, body = await new_node(stub.url, http_compress=True).perform_request("GET", "/")
    assert body == gzip.decompress(packed)
    assert [thread == threading.get_ident() for thread in threads] == [size < LARGE_PACKED_BYTES]


ANSWER = gzip.compress(b"answer", mtime=0)
NOT_GZIP = [
    *(b"answer", b"x" * LARGE_BYTES),
    *(ANSWER[:-1], ANSWER[:5], ANSWER[:10] + b"\xff" * 20, ANSWER[:-4] + b"????", ANSWER + b"more", 2 * ANSWER),
]


@pytest.mark.parametrize("packed", NOT_GZIP)
async def test_broken_compression(stub: FaultProxy, counters: PoolCounters, new_node: NewNode, packed: bytes) -> None:
    """What can't be unpacked is a broken connection, and counted as one, though its status says 200."""
    gzipped(stub, packed)
    with pytest.raises(ElasticConnectionError, match="can't be decompressed") as caught:
        await new_node(stub.url, http_compress=True).perform_request("GET", "/")
    assert type(caught.value) is ElasticConnectionError
    report = counters.report()
    assert (failures(counters), report["success_percent"], report["latency"].samples) == ({"connection": 1}, 0.0, 0)
    assert (counters.received_bytes_total, counters.decoded_bytes_total) == (len(packed), 0)


@pytest.mark.parametrize("compress", [bytes, zipped])
@pytest.mark.parametrize("excess", [0, 1])
async def test_the_bound_of_an_answer(
    stub: FaultProxy, counters: PoolCounters, new_node: NewNode, compress: Callable[[bytes], bytes], excess: int
) -> None:
    """An answer may have as many bytes as allowed, on the wire and unpacked; with one more the call has failed."""
    body = random.Random(0).randbytes(1000) * (MAX_BYTES // 1000) + b"x" * excess
    headers = {"content-encoding": "gzip"} if compress is zipped else {}
    stub.respond("", lambda _: ProxyResponse(compress(body), headers=headers))
    call = new_node(stub.url, http_compress=True).perform_request("GET", "/")
    if not excess:
        assert (await call).body == body
        assert failures(counters) == {}
        return
    with pytest.raises(AnswerTooLarge, match=r"^Elasticsearch answers with more than 2 MB\.$"):
        await call
    assert (failures(counters), counters.report()["latency"].samples) == ({"too_large": 1}, 0)
    assert counters.decoded_bytes_total == 0


@pytest.mark.parametrize("headers", [b"", b"Content-Encoding: gzip\r\n"])
@pytest.mark.parametrize("piece", [BLANKS, b"x"])
async def test_an_endless_answer(counters: PoolCounters, new_node: NewNode, headers: bytes, piece: bytes) -> None:
    """Of a body that never ends hardly more is read than allowed, whatever it says of its encoding and in however
    small chunks it comes; its connection is closed, and the next call gets a new one.
    """
    with HostileProxy() as proxy:
        proxy.poured["/endless"] = endless(piece=piece, headers=headers)
        proxy.respond("", lambda _: ProxyResponse())
        most = MAX_BYTES if piece == BLANKS else 20_000
        node = new_node(proxy.url, max_answer_bytes=most, request_timeout=60)
        with pytest.raises(AnswerTooLarge):
            await node.perform_request("GET", "/endless")
        assert node.open_connections == 0
        assert (await node.perform_request("GET", "/")).body == b"{}"
        assert (proxy.connections_total, failures(counters)) == (2, {"too_large": 1})
    assert counters.received_bytes_total <= MAX_BYTES + 3 * UNPACKED_AT_ONCE_BYTES


async def test_a_bomb(counters: PoolCounters, new_node: NewNode) -> None:
    """600 kB that unpack to 600 MB are unpacked no further than allowed."""
    small = bomb(600)
    assert 500_000 < len(small) < 700_000
    with HostileProxy() as proxy:
        proxy.poured[""] = packed(small)
        node = new_node(proxy.url, http_compress=True)
        tracemalloc.start()
        with pytest.raises(AnswerTooLarge):
            await node.perform_request("GET", "/")
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most_bytes < 2 * MAX_BYTES + 2 * UNPACKED_AT_ONCE_BYTES
    assert failures(counters) == {"too_large": 1}


ZIPPED = b"Content-Encoding: gzip\r\n"
LARGE_ERRORS = [endless(), endless(headers=ZIPPED), packed(bomb(600)), with_length(b"x" * (MAX_ERROR_BYTES + 1))]


@pytest.mark.parametrize(("status", "counted"), [(302, {"status_4xx": 1}), (404, {}), (503, {"status_5xx": 1})])
@pytest.mark.parametrize("pieces", LARGE_ERRORS, ids=["endless", "endless gzip", "bomb", "large"])
async def test_a_large_error(
    counters: PoolCounters, new_node: NewNode, status: int, counted: dict[str, int], pieces: Pieces
) -> None:
    """An error is known by its status, however large its body, of which little is read: it counts as any other."""
    with HostileProxy() as proxy:
        proxy.poured[""] = lambda: (piece.replace(b" 200 OK", b" %d Bad" % status, 1) for piece in pieces())
        meta, body = await new_node(proxy.url, max_answer_bytes=10**8).perform_request("GET", "/")
    assert (meta.status, body) == (status, b"")
    assert counters.received_bytes_total <= MAX_ERROR_BYTES + 3 * UNPACKED_AT_ONCE_BYTES
    assert failures(counters) == counted


async def test_less_than_the_client_reads(stub: FaultProxy, new_node: NewNode) -> None:
    """Calls may be bounded further than their client, never less; what an error says within its bound is passed on."""
    stub.respond("", lambda _: ProxyResponse(b"x" * MAX_ERROR_BYTES, status=400))
    assert len((await new_node(stub.url).perform_request("GET", "/")).body) == MAX_ERROR_BYTES
    stub.stop_responding()
    stub.respond("", lambda _: ProxyResponse(b"x" * 11))
    node = new_node(stub.url)
    with reading_at_most(10), pytest.raises(AnswerTooLarge):
        await node.perform_request("GET", "/")
    assert len((await node.perform_request("GET", "/")).body) == 11
    stub.stop_responding()
    stub.respond("", lambda _: ProxyResponse(b"x" * (MAX_BYTES + 1)))
    with reading_at_most(2 * MAX_BYTES), pytest.raises(AnswerTooLarge):
        await node.perform_request("GET", "/")


async def test_an_endless_head(counters: PoolCounters, new_node: NewNode) -> None:
    """aiohttp bounds the head of an answer."""
    with HostileProxy() as proxy:
        proxy.poured[""] = endless_headers
        node = new_node(proxy.url)
        with pytest.raises(ElasticConnectionError):
            await node.perform_request("GET", "/")
        assert node.open_connections == 0
    assert failures(counters) == {"connection": 1}


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_interim_answers(counters: PoolCounters, new_node: NewNode) -> None:
    """Some may come before the answer, on each call of a connection; without end they are a broken connection, and
    the loop isn't held.
    """
    with HostileProxy() as proxy:
        proxy.poured["/endless"] = lambda: repeat(INTERIM * 1000)
        proxy.poured["/some"] = lambda: (INTERIM * MAX_INTERIM_ANSWERS, *with_length(b"{}")())
        node = new_node(proxy.url, request_timeout=20.0)
        for _ in range(2):
            assert (await node.perform_request("GET", "/some")).body == b"{}"
        assert proxy.connections_total == 1
        async with asyncio.timeout(10):
            with pytest.raises(ElasticConnectionError, match="interim"):
                await node.perform_request("GET", "/endless")
        assert (failures(counters), node.open_connections) == ({"connection": 1}, 0)


async def test_wrong_lengths(counters: PoolCounters, new_node: NewNode) -> None:
    """A body that is shorter or longer than it says is a broken connection."""
    with HostileProxy() as proxy:
        proxy.poured["/short"] = lambda: (*with_length(b"{}", 3)(), *cut())
        proxy.poured["/long"] = lambda: (b"".join(with_length(b"{}and more", 2)()),)
        node = new_node(proxy.url)
        for path in ("/short", "/long"):
            with pytest.raises(ElasticConnectionError):
                await node.perform_request("GET", path)
    assert (failures(counters), node.open_connections) == ({"connection": 2}, 0)


def cut() -> Iterator[bytes]:
    """Instead of the rest of an answer."""
    raise ConnectionResetError
    yield b""


async def test_nothing_to_unpack(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """HEAD gets no body, whatever the header says of its encoding."""
    gzipped(stub, b"")
    meta, body = await new_node(stub.url, http_compress=True).perform_request("HEAD", "/")
    assert (meta.status, body, counters.received_bytes_total) == (200, b"", 0)


@pytest.mark.parametrize(("own_timeout", "per_call"), [(0.05, DEFAULT), (2.0, 0.05)])
async def test_request_timeout(
    stub: FaultProxy, counters: PoolCounters, new_node: NewNode, own_timeout: float, per_call: DefaultType | float
) -> None:
    """A server that takes the request and says nothing is told apart from one that can't be reached."""
    node = new_node(stub.url, request_timeout=own_timeout)
    with stub.fault(blackhole=True), pytest.raises(ConnectionTimeout) as caught:
        await node.perform_request("GET", "/", request_timeout=per_call)
    assert caught.value.message == "no answer within 50 ms"
    report = counters.report()
    assert (failures(counters), report["success_percent"]) == ({"request_timeout": 1}, 0.0)


@pytest.mark.usefixtures("seen")
async def test_no_request_timeout(stub: FaultProxy, new_node: NewNode) -> None:
    """A call may ask for no timeout of its own: it then waits longer than the node's."""
    with stub.fault(delay_seconds=0.1):
        node = new_node(stub.url, request_timeout=0.05)
        assert (await node.perform_request("GET", "/", request_timeout=None)).body == b"{}"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connect_timeout(counters: PoolCounters, new_node: NewNode, scheme: str) -> None:
    """A connection that isn't made in time, TLS included, ends at the connect timeout, long before the other one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        if scheme == "http":  # a full queue: the kernel answers no further connection
            for _ in range(2):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(listener.getsockname())
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        context = ssl.create_default_context() if scheme == "https" else None
        node = new_node(url, connect_timeout=0.05, request_timeout=5, ssl_context=context)
        with pytest.raises(ConnectionTimeout) as caught:
            await node.perform_request("GET", "/")
        assert caught.value.message == "no connection within 50 ms"
        for occupant in waiting:
            occupant.close()
    assert failures(counters) == {"connect_timeout": 1}
    assert counters.connections_created_total == 0


async def test_refused(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """A refused connection is a failure, but neither a timeout nor one of TLS."""
    stub.refuse()
    with pytest.raises(ElasticConnectionError) as caught:
        await new_node(stub.url).perform_request("GET", "/")
    assert type(caught.value) is ElasticConnectionError
    assert caught.value.message
    assert failures(counters) == {"connection": 1}


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("fault", [{"cut": True}, {"cut_after_bytes": 20}, {"cut_after_bytes": 100}])
async def test_cut_off(stub: FaultProxy, counters: PoolCounters, new_node: NewNode, fault: dict[str, Any]) -> None:
    """A connection that breaks before or within the answer is a failure, and the next call gets a new one."""
    node = new_node(stub.url)
    with stub.fault(**fault, times=1):
        with pytest.raises(ElasticConnectionError) as caught:
            await node.perform_request("GET", "/")
        assert type(caught.value) is ElasticConnectionError
        assert (await node.perform_request("GET", "/")).body == b"{}"
    assert (failures(counters), counters.connections_created_total) == ({"connection": 1}, 2)
    assert counters.report()["success_percent"] == 50.0


async def test_a_callers_mistake_is_no_transport_error(stub: FaultProxy, new_node: NewNode) -> None:
    """A request that can't be put into bytes is raised as it is: trying again would not help."""
    with pytest.raises(ValueError, match="header"):
        await new_node(stub.url).perform_request("GET", "/", headers=HttpHeaders({"x": "a\r\nsecret: b"}))


async def test_tls(certificate: Certificate, counters: PoolCounters, new_node: NewNode) -> None:
    """A trusted certificate is accepted; an untrusted one is an error of TLS, neither a timeout nor a refusal."""
    with FaultProxy("http://127.0.0.1:9", ssl_context=certificate.server_context()) as proxy:
        proxy.respond("", lambda _: ProxyResponse("secure"))
        trusting = ssl.create_default_context(cafile=str(certificate.certificate))
        assert (await new_node(proxy.url, ssl_context=trusting).perform_request("GET", "/")).body == b"secure"
        with pytest.raises(TlsError):
            await new_node(proxy.url, ssl_context=ssl.create_default_context()).perform_request("GET", "/")
    assert failures(counters) == {"tls": 1}


async def test_a_cancelled_call_counts_neither_way(stub: FaultProxy, counters: PoolCounters, new_node: NewNode) -> None:
    """A call that its caller gives up is counted as cancelled, neither for nor against, and its connection is
    closed.
    """
    node = new_node(stub.url)
    with stub.fault(blackhole=True):
        call = asyncio.create_task(node.perform_request("GET", "/"))
        await stub.arrived()
        assert node.open_connections == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    report = counters.report()
    assert (report["requests_total"], report["cancelled_total"], failures(counters)) == (1, 1, {})
    assert report["success_percent"] is None
    assert node.open_connections == 0


async def test_a_call_that_is_cancelled_amid_its_answer(counters: PoolCounters, new_node: NewNode) -> None:
    """The connection is closed: the rest of the answer would be taken for the next one's."""
    with HostileProxy() as proxy:
        proxy.poured["/"] = endless()
        node = new_node(proxy.url, max_answer_bytes=10**12)
        call = asyncio.create_task(node.perform_request("GET", "/"))
        async with asyncio.timeout(5):
            while not counters.received_bytes_total:  # noqa: ASYNC110  (nothing is signalled)
                await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (node.open_connections, counters.cancelled_total) == (0, 1)


@pytest.mark.usefixtures("seen")
async def test_more_connections_than_aiohttp_allows(stub: FaultProxy, new_node: NewNode) -> None:
    """aiohttp's own limit of 100 connections doesn't apply."""
    node = new_node(stub.url)
    with stub.fault(blackhole=True) as rule:
        calls = [asyncio.create_task(node.perform_request("GET", "/")) for _ in range(120)]
        await stub.arrived(count=120)
        stub.remove(rule)
        await asyncio.gather(*calls)
    assert stub.max_in_flight == 120


async def test_open_connections(stub: FaultProxy, new_node: NewNode) -> None:
    """Connections in use and idle are counted, by names that aiohttp keeps private: `BaseConnector._acquired` and
    `BaseConnector._conns`. When this fails after an update of aiohttp, look for what they are called now.
    """
    node = new_node(stub.url)
    assert node.open_connections == 0
    stub.respond("", lambda _: ProxyResponse())
    with stub.fault(blackhole=True) as rule:
        calls = [asyncio.create_task(node.perform_request("GET", "/")) for _ in range(3)]
        await stub.arrived(count=3)
        assert node.session is not None
        connector: Any = node.session.connector
        for name in ("_acquired", "_conns"):
            assert hasattr(connector, name), f"aiohttp's BaseConnector has no {name} any more"
        assert (len(connector._acquired), node.open_connections) == (3, 3)
        stub.remove(rule)
        await asyncio.gather(*calls)
    assert sum(map(len, connector._conns.values())) == node.open_connections == stub.connections_open == 3
    await node.close()
    assert node.open_connections == 0


def test_aiohttp_sends_nothing_twice() -> None:
    """aiohttp's own retry is turned off by a private name: if an update changes it, look for what it is called now."""
    assert "_retry_connection" in aiohttp.ClientSession.ATTRS


async def test_connections_closed_after_use(counters: PoolCounters, new_node: NewNode) -> None:
    """An overflow connection is new, and closed by us after use though the server would keep it; idle ones stay."""
    with SmallServer() as server:
        node = new_node(f"http://{server.host}:{server.port}")
        await node.perform_request("GET", "/")
        token = current_call.set(Call(counters, "search", close_connection=True))
        for number in range(1, 4):
            assert (await node.perform_request("GET", "/")).meta.status == 200
            assert (node.open_connections, server.connections_total) == (1, 1 + number)
        current_call.reset(token)
        async with asyncio.timeout(5):
            while server.connections_open != 1:  # noqa: ASYNC110  (the server has no event)
                await asyncio.sleep(0.01)
        await node.perform_request("GET", "/")
        assert server.connections_total == 4
        assert (counters.connections_created_total, counters.connections_reused_total) == (4, 1)
        await node.close()
        await node.close()
        async with asyncio.timeout(5):
            while server.connections_open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
