"""The way to Redis on uvloop, on which the server runs, and which says some things otherwise than asyncio's own
loop.
"""

from collections.abc import Awaitable, Callable

import pytest
import uvloop
from redis.asyncio import Redis

from cacheapp.stores.redis.link import RedisLink
from dev.servers.redis import RedisServer
from esassistant.clock import monotonic
from esassistant.errors import StoreUnavailable


async def send_on_closed(client: Redis) -> None:
    """What a reset connection comes to that is noticed between choosing it and sending on it."""
    connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        connection._writer.transport.abort()
        await connection.send_command("PING")
    finally:
        await client.connection_pool.release(connection)


async def raise_another(client: Redis) -> None:
    raise RuntimeError("a mistake of ours")


def on_uvloop(url: str, function: Callable[[RedisLink], Awaitable[None]]) -> None:
    async def run() -> None:
        link = RedisLink(url, monotonic)
        try:
            await function(link)
        finally:
            await link.close()

    uvloop.run(run())


def test_a_connection_closed_before_sending(redis_server: RedisServer) -> None:
    """It is an outage like any other: who calls hears `StoreUnavailable`, and the breaker counts it."""

    async def check(link: RedisLink) -> None:
        with pytest.raises(StoreUnavailable, match="could not be reached"):
            await link.call(send_on_closed)
        assert link.breaker.wait_seconds() == pytest.approx(1.0, abs=0.5)

    on_uvloop(redis_server.url, check)


def test_other_errors_stay(redis_server: RedisServer) -> None:
    """A mistake in the program isn't taken for an outage of Redis."""

    async def check(link: RedisLink) -> None:
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            await link.call(raise_another)
        assert link.breaker.wait_seconds() is None

    on_uvloop(redis_server.url, check)
