"""Looks at a server that fails: when, how often, and that they cost little; what they find on real servers is held by
tests/faults/test_causes.py.
"""

import asyncio
import json
import threading
import time

import aiohttp
import pytest
from elastic_transport import NodeConfig

from dev.faults.proxy import FaultProxy, ProxyResponse
from dev.faults.tcp_proxy import Connection, ThreadedServer
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.causes import NodeFailure, Product
from esassistant.elasticsearch.explain import KEPT_SECONDS, LOOK_SECONDS, Explainer
from tests.support.clients import Certificate
from tests.support.fakes import FakeClock

NOWHERE = "http://127.0.0.1:9"
OPENSEARCH = {"version": {"distribution": "opensearch", "number": "2.19.1"}, "tagline": "x"}


class Closing(ThreadedServer):
    """Closes each connection, or never says anything."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self._hangs = hangs

    async def serve(self, connection: Connection) -> None:
        await connection.reader.read(65_536)
        if self._hangs:
            await connection.reader.read()


def explainer(server: ThreadedServer, clock: FakeClock, scheme: str = "http", path: str = "") -> Explainer:
    return Explainer(NodeConfig(scheme, server.host, server.port, path_prefix=path), clock)


async def product(found: Explainer, *bodies: bytes) -> list[NodeFailure]:
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(found.foreign_answer(200, body, session, {}, None) for body in bodies))


async def test_calls_that_fail_together_share_one_look(fake_clock: FakeClock) -> None:
    """All of them are told what it found; the next look is a minute later."""
    with Closing() as server:
        found = explainer(server, fake_clock)
        error = aiohttp.ServerDisconnectedError()
        failures = await asyncio.gather(*(found.failure(error, None) for _ in range(20)))
        assert {failure.cause for failure in failures} == {Cause.CLOSED}
        assert {failure.at for failure in failures} == {f"{server.host}:{server.port}"}
        assert server.connections_total == 1
        fake_clock.advance(KEPT_SECONDS - 1)
        await found.failure(error, None)
        assert server.connections_total == 1
        fake_clock.advance(1)
        await found.failure(error, None)
        assert server.connections_total == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_silent_server_costs_a_bounded_time(fake_clock: FakeClock, scheme: str) -> None:
    """A look takes at most its own time, and at most what the call has left."""
    with Closing(hangs=True) as server:
        for left, most in ((None, LOOK_SECONDS + 1.0), (0.05, 0.8)):
            started_at = time.monotonic()
            failure = await explainer(server, fake_clock, scheme).failure(aiohttp.ServerDisconnectedError(), left)
            assert failure.cause is Cause.CLOSED
            assert time.monotonic() - started_at < most


async def test_what_is_clear_needs_no_look(fake_clock: FakeClock) -> None:
    """A connection that is refused, or cut amid an answer, says enough."""
    with Closing() as server:
        found = explainer(server, fake_clock)
        assert (await found.failure(ConnectionRefusedError(111, "refused"), None)).cause is Cause.REFUSED
        assert (await found.failure(aiohttp.ClientPayloadError("cut"), None)).cause is Cause.CUT
        assert server.connections_total == 0


async def test_the_product_is_asked_for_once_a_minute(fake_clock: FakeClock) -> None:
    """Also by calls that fail together; a page of a gateway needs no look at all."""
    with FaultProxy(NOWHERE) as proxy:
        proxy.respond("", lambda _: ProxyResponse(json.dumps(OPENSEARCH)))
        found = explainer(proxy, fake_clock, path="/es")
        [failure] = await product(found, b"<html>")
        assert (failure.product, failure.has_path, proxy.count()) == (None, True, 0)
        failures = await product(found, *[b"{}"] * 5)
        assert {failure.product for failure in failures} == {Product(is_opensearch=True, version="2.19.1")}
        assert (proxy.count("^/es/$"), proxy.count()) == (1, 1)
        proxy.stop_responding()
        proxy.respond("", lambda _: ProxyResponse("{}"))
        fake_clock.advance(KEPT_SECONDS)
        assert [failure.product for failure in await product(found, b"{}")] == [None]


async def test_the_root_is_read_within_a_bound(fake_clock: FakeClock) -> None:
    """What is larger than any root of ours is no product."""
    with FaultProxy(NOWHERE) as proxy:
        proxy.respond("", lambda _: ProxyResponse(json.dumps({**OPENSEARCH, "x": "y" * 200_000})))
        assert [failure.product for failure in await product(explainer(proxy, fake_clock), b"{}")] == [None]


async def test_a_page_that_names_tls_has_the_port_looked_at(fake_clock: FakeClock) -> None:
    """Such a page alone is no proof: the port has to speak TLS."""
    with Closing() as server:
        found = explainer(server, fake_clock)
        async with aiohttp.ClientSession() as session:
            failure = await found.foreign_answer(400, b"sent to an HTTPS server", session, {}, None)
            assert (failure.cause, server.connections_total) == (None, 1)
            fake_clock.advance(KEPT_SECONDS)
            await found.foreign_answer(400, b"bad request", session, {}, None)
            await found.foreign_answer(404, b"no HTTPS here", session, {}, None)
            assert server.connections_total == 1


def test_addresses() -> None:
    """Of version 6 too."""
    assert Explainer(NodeConfig("http", "::1", 9200)).at == "[::1]:9200"
    assert Explainer(NodeConfig("https", "es.example.org", 443)).at == "es.example.org:443"


class Silent(ThreadedServer):
    """Closes each connection once it may, and counts those that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.may_close = threading.Event()

    async def serve(self, connection: Connection) -> None:
        await connection.reader.read(65_536)
        while not self.may_close.is_set():  # noqa: ASYNC110  (set by another thread)
            await asyncio.sleep(0.001)


async def test_who_waits_for_a_look_makes_none(fake_clock: FakeClock) -> None:
    """A call that fails while another looks, at scheme or at product, is told what that one found."""
    with Silent() as server, FaultProxy(NOWHERE) as proxy:
        found = explainer(server, fake_clock)
        first = asyncio.create_task(found.failure(aiohttp.ServerDisconnectedError(), None))
        async with asyncio.timeout(5):
            while not server.connections_total:  # noqa: ASYNC110  (a counter is read, nothing is signalled)
                await asyncio.sleep(0.001)
        second = asyncio.create_task(found.failure(aiohttp.ServerDisconnectedError(), None))
        await asyncio.sleep(0)
        server.may_close.set()
        assert {failure.cause for failure in await asyncio.gather(first, second)} == {Cause.CLOSED}
        assert server.connections_total == 1
        proxy.respond("", lambda _: ProxyResponse(json.dumps(OPENSEARCH)))
        looked = explainer(proxy, fake_clock)
        assert len(await product(looked, b"{}", b"{}")) == 2
        assert proxy.count() == 1


@pytest.mark.parametrize(
    ("scheme", "cause"),
    [("http", Cause.TLS_PORT), ("https", Cause.PLAIN_PORT)],
)
async def test_a_port_of_the_other_scheme(
    certificate: Certificate, fake_clock: FakeClock, scheme: str, cause: Cause
) -> None:
    """A port that closes the connection of a call, and answers the other scheme, is named as that."""
    with FaultProxy(NOWHERE, ssl_context=certificate.server_context() if scheme == "http" else None) as proxy:
        proxy.respond("", lambda _: ProxyResponse("{}"))
        failure = await explainer(proxy, fake_clock, scheme).failure(aiohttp.ServerDisconnectedError(), None)
        assert failure.cause is cause


async def test_a_page_of_a_tls_port(certificate: Certificate, fake_clock: FakeClock) -> None:
    """The page alone is no proof; that the port speaks TLS is."""
    with FaultProxy(NOWHERE, ssl_context=certificate.server_context()) as proxy:
        async with aiohttp.ClientSession() as session:
            found = explainer(proxy, fake_clock)
            failure = await found.foreign_answer(400, b"sent to an HTTPS port", session, {}, None)
        assert failure.cause is Cause.TLS_PORT


class InPieces(ThreadedServer):
    """Answers with OpenSearch's root, the second half of it somewhat later."""

    async def serve(self, connection: Connection) -> None:
        await connection.reader.read(65_536)
        body = json.dumps(OPENSEARCH).encode()
        connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:10]))
        await connection.writer.drain()
        await asyncio.sleep(0.05)
        connection.writer.write(body[10:])


async def test_a_root_that_comes_in_pieces(fake_clock: FakeClock) -> None:
    """It is read to its end."""
    with InPieces() as server:
        [failure] = await product(explainer(server, fake_clock), b"{}")
        assert failure.product == Product(is_opensearch=True, version="2.19.1")
