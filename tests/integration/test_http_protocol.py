"""What reaches the application of what a client sends, and of its leaving: bytes on a socket, to a real server."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server

SEARCH = "POST /api/indices/orders/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
AUTHORIZATION = f"Authorization: Bearer {TOKEN}\r\n"


@pytest.fixture(scope="module")
def proxy(node: Node) -> Iterator[FaultProxy]:
    with FaultProxy(node.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(proxy: FaultProxy, request: pytest.FixtureRequest) -> Iterator[Server]:
    request.getfixturevalue("django_db_setup")
    with Server(proxy.url, ESASSISTANT_DETAILS="authorized") as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 40)
        yield server


@pytest.fixture(autouse=True)
def orders(cluster: Elasticsearch) -> None:
    cluster.indices.create(index="orders")


def connected(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)


def answered(server: Server, request: str) -> str:
    """The status line of the answer."""
    with connected(server) as client:
        client.sendall(request.encode())
        return client.recv(4096).decode().partition("\r\n")[0]


@pytest.mark.parametrize(
    ("head", "trailer", "status"),
    [
        (AUTHORIZATION, "", "200 OK"),
        ("", AUTHORIZATION, "401 Unauthorized"),
        (AUTHORIZATION, "Host: evil\r\n", "200 OK"),
    ],
)
def test_trailers_are_no_headers(server: Server, head: str, trailer: str, status: str) -> None:
    """What comes after a chunked body authorizes nobody, and names no host."""
    request = f"{SEARCH}{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n{trailer}\r\n"
    assert answered(server, request) == f"HTTP/1.1 {status}"


@pytest.mark.parametrize("behind", ["", "GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_a_client_that_leaves_is_noticed(server: Server, proxy: FaultProxy, behind: str) -> None:
    """Its search is given up, also when it had sent another request behind it."""
    with proxy.fault(path="_search", blackhole=True):
        with connected(server) as client:
            client.sendall(f"{SEARCH}{AUTHORIZATION}Content-Length: 2\r\n\r\n{{}}{behind}".encode())
            wait_until(lambda: proxy.in_flight == 1, 10)
        wait_until(lambda: proxy.in_flight == 0, 3)
    assert "Traceback" not in server.output()


def test_slow_bodies_hold_up_nobody_else(server: Server) -> None:
    """More of them than may make calls at once; each ends with 408, and whoever sends a body at once is served."""
    head = f"{SEARCH}Content-Length: 10\r\n\r\n".encode()
    slow = [connected(server) for _ in range(210)]
    try:
        for client in slow:
            client.sendall(head)
        good = f"{SEARCH}{AUTHORIZATION}Content-Length: 2\r\n\r\n{{}}"
        assert answered(server, good) == "HTTP/1.1 200 OK"
        slow[0].settimeout(10)
        received = b""
        while piece := slow[0].recv(4096):
            received += piece
        assert received.startswith(b"HTTP/1.1 408 ")
    finally:
        for client in slow:
            client.close()
