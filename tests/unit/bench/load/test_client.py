"""The load generator of the benches: what it counts, against servers that count too."""

import time
from collections.abc import Iterator

import pytest

from bench.load.client import Job, LoadFailed, Target, bundled, paced, percentile, read_wrk
from dev.faults.tcp_proxy import Connection, ThreadedServer

SECONDS = 0.3
WRK = """Running 2s test @ http://127.0.0.1:39351/api/health
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.04ms  617.00us  12.18ms   89.84%
    Req/Sec    17.72k     1.53k   20.45k    66.67%
  Latency Distribution
     50%  870.00us
     75%    1.20ms
     90%    1.71ms
     99%    2.96ms
  36986 requests in 2.10s, 11.46MB read
"""
WRK_ERRORS = """  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 796
"""


class CountingServer(ThreadedServer):
    """Answers by path, in two pieces where it says so, and keeps every head that it has received."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.stall_seconds = 0.0

    async def serve(self, connection: Connection) -> None:
        while head := await connection.reader.readuntil(b"\r\n\r\n"):
            self.heads.append(head.decode())
            if self.stall_seconds:
                # All of the server, not one connection.
                stall, self.stall_seconds = self.stall_seconds, 0.0
                time.sleep(stall)  # noqa: ASYNC251
            match self.heads[-1].split()[1]:
                case "/missing":
                    answer = [b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\n"]
                case "/unchanged":
                    answer = [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"]
                case "/pieces":
                    answer = [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 10\r\n\r\n01234", b"56789"]
                case "/chunked":
                    answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
                case "/closes":
                    return
                case _:
                    answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
            for piece in answer:
                connection.writer.write(piece)
                await connection.writer.drain()


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def target(server: CountingServer, path: str = "/", **headers: str) -> Target:
    return Target(f"http://127.0.0.1:{server.port}", path, headers)


def test_every_request_is_counted_once(server: CountingServer) -> None:
    load = bundled(Job([target(server, Authorization="Bearer x")], 3, SECONDS))[0]
    assert load.requests == len(server.heads) == load.statuses["200"] > 10
    assert (load.errors, load.unexpected) == (0, 0)
    assert server.connections_total == 3
    assert server.heads[0] == f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer x\r\n\r\n"


def test_latencies_and_rate_fit_each_other(server: CountingServer) -> None:
    load = bundled(Job([target(server)], 1, SECONDS))[0]
    assert 0 < load.p50 <= load.p99 <= load.longest <= load.seconds
    assert load.seconds >= SECONDS
    # On one connection one request is under way at a time, and half of them take at least the median.
    assert load.p50 * load.requests / 2 <= load.seconds
    assert 0 < load.cpu_share < 1.1


@pytest.mark.parametrize(("path", "status", "unexpected"), [("/missing", "404", True), ("/unchanged", "304", False)])
def test_statuses(server: CountingServer, path: str, status: str, unexpected: bool) -> None:
    load = bundled(Job([target(server, path)], 2, SECONDS))[0]
    assert load.statuses == {status: load.requests}
    assert load.unexpected == (load.requests if unexpected else 0)


def test_an_answer_in_pieces_is_one(server: CountingServer) -> None:
    load = bundled(Job([target(server, "/pieces")], 2, SECONDS))[0]
    assert load.requests == load.statuses["200"] == len(server.heads)


@pytest.mark.parametrize(("path", "problem"), [("/chunked", "without content-length"), ("/closes", "no request")])
def test_what_can_not_be_measured_is_said(server: CountingServer, path: str, problem: str) -> None:
    with pytest.raises(LoadFailed, match=problem):
        bundled(Job([target(server, path)], 2, SECONDS))


def test_nothing_listens(server: CountingServer) -> None:
    server.refuse()
    with pytest.raises(LoadFailed):
        bundled(Job([target(server)], 2, SECONDS))


def test_paced_begins_so_many_requests_per_second(server: CountingServer) -> None:
    first, second = paced([target(server, "/a"), target(server, "/b")], per_second=100, seconds=0.5, connections=2)
    paths = [head.split()[1] for head in server.heads]
    assert first.requests == paths.count("/a") == 50
    assert second.requests == paths.count("/b") == 50
    assert first.seconds >= 49 / 100
    assert first.late_p99 is not None


def test_paced_counts_from_the_intended_start(server: CountingServer) -> None:
    server.stall_seconds = 0.4
    load = paced([target(server)], per_second=100, seconds=0.5, connections=1)[0]
    assert load.requests == 50
    # Forty requests would have begun during the stall: they waited 200 ms on average. Counted from when the only
    # connection was free for them, all but one would be short.
    assert load.longest >= 0.4
    assert load.p50 > 0.1


def test_reads_what_wrk_prints() -> None:
    load = read_wrk(WRK, 0.5)
    assert (load.requests, load.seconds, load.unexpected, load.errors) == (36986, 2.1, 0, 0)
    assert (load.p50, load.p99, load.longest) == pytest.approx((870e-6, 2.96e-3, 12.18e-3))
    assert not load.saturated
    load = read_wrk(WRK + WRK_ERRORS, 0.95)
    assert (load.unexpected, load.errors, load.saturated) == (796, 7, True)
    with pytest.raises(LoadFailed):
        read_wrk("unable to connect", 0.5)


def test_percentile() -> None:
    assert percentile([2.0], 99) == 2.0
    assert percentile([float(number) for number in range(101)], 99) == 99.0
