"""Looks at a server that fails: when, how often, and that they cost little; what they find on real servers is held by
tests/faults/test_causes.py.
"""

import asyncio
import json
import time

import aiohttp
import pytest
from elastic_transport import NodeConfig

from dev.faults.proxy import FaultProxy, ProxyResponse
from dev.faults.tcp_proxy import Connection, ThreadedServer
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.causes import NodeFailure, Product
from esassistant.elasticsearch.explain import KEPT_SECONDS, LOOK_SECONDS, Explainer
from tests.support.fakes import FakeClock

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
    with FaultProxy("http://127.0.0.1:9") as proxy:
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
    with FaultProxy("http://127.0.0.1:9") as proxy:
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
