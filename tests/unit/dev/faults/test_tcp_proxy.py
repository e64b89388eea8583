"""The plain TCP proxy, as the tests of Redis failures need it."""

import socket
from collections.abc import Iterator

import pytest

from dev.faults.tcp_proxy import TcpProxy
from tests.support.small_server import SmallServer, eventually


@pytest.fixture
def upstream() -> Iterator[SmallServer]:
    with SmallServer() as server:
        yield server


@pytest.fixture
def tcp(upstream: SmallServer) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", upstream.port) as proxy:
        yield proxy


def test_tcp_blackhole_and_restore(tcp: TcpProxy, upstream: SmallServer) -> None:
    """A TCP blackhole is mute to old and new connections, and delivers what it held back when it ends."""
    request = b"GET /empty HTTP/1.1\r\nhost: x\r\n\r\n"
    address = ("127.0.0.1", tcp.port)
    with socket.create_connection(address, timeout=5) as old:
        old.sendall(request)
        answer = old.recv(1000)
        assert tcp.bytes_forwarded == len(request) + len(answer)
        tcp.blackhole()
        with socket.create_connection(address, timeout=5) as new:
            for raw in (old, new):
                raw.sendall(request)
                raw.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    raw.recv(1000)
                raw.settimeout(5)
            assert len(upstream.received) == 1
            tcp.restore()
            assert old.recv(1000) == new.recv(1000) == answer
    eventually(lambda: tcp.connections_open == 0)


def test_tcp_refuse_and_cut(tcp: TcpProxy) -> None:
    """`cut` closes what is open and takes new connections, `refuse` takes none until `restore`."""
    address = ("127.0.0.1", tcp.port)
    with socket.create_connection(address, timeout=5) as raw:
        eventually(lambda: tcp.connections_open == 1)
        tcp.cut()
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    with socket.create_connection(address, timeout=5):
        tcp.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    tcp.restore()
    socket.create_connection(address, timeout=5).close()
