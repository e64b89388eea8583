"""Many small questions to Redis at once: together, in order, and each with its own answer or error."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.stores.redis.answers import RedisAnswers
from cacheapp.stores.redis.link import RedisLink
from cacheapp.stores.redis.pipe import BYTES_AT_ONCE, SCRIPTS_AT_ONCE, RedisPipe
from cacheapp.stores.shared_answers import SharedReader
from dev.servers.redis import RedisServer
from esassistant.clock import monotonic
from esassistant.errors import StoreUnavailable
from tests.support.fakes import A_MAPPING, FakeReader, cache_config, spawn

APPEND = "return redis.call('APPEND', KEYS[1], ARGV[1])"


@pytest.fixture
async def pipe(redis_server: RedisServer) -> AsyncIterator[RedisPipe]:
    link = RedisLink(redis_server.url, monotonic)
    try:
        yield RedisPipe(link, spawn)
    finally:
        await link.close()


def noting_batches(pipe: RedisPipe, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many scripts went together, from now on."""
    batches: list[int] = []
    run_all = pipe.link.run_all

    async def noted(scripts: Any) -> list[Any]:
        batches.append(len(scripts))
        return await run_all(scripts)

    monkeypatch.setattr(pipe.link, "run_all", noted)
    return batches


async def test_together_and_in_order(patient: None, pipe: RedisPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked at once goes at once, in the order of asking, and each caller gets his own answer."""
    batches = noting_batches(pipe, monkeypatch)
    answers = await asyncio.gather(*(pipe.run(APPEND, ["key"], [chr(97 + number)]) for number in range(26)))
    assert answers == list(range(1, 27))
    assert batches == [26]
    assert await pipe.run("return redis.call('GET', KEYS[1])", ["key"]) == bytes(range(97, 123))


async def test_batches_are_bounded(patient: None, pipe: RedisPipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has so many scripts at most, and carries so many bytes, but for one that is larger alone."""
    batches = noting_batches(pipe, monkeypatch)
    await asyncio.gather(*(pipe.run("return 1", []) for _ in range(SCRIPTS_AT_ONCE + 1)))
    assert batches == [SCRIPTS_AT_ONCE, 1]
    batches.clear()
    sizes = [BYTES_AT_ONCE // 2, BYTES_AT_ONCE // 2, 1, 2 * BYTES_AT_ONCE, 1]
    await asyncio.gather(*(pipe.run("return 1", [], bytes_carried=size) for size in sizes))
    assert batches == [2, 1, 1, 1]


async def test_one_that_fails(patient: None, pipe: RedisPipe) -> None:
    """A script that fails is its caller's alone; the others of the batch have their answers."""
    scripts = ("return 1", "return redis.call('NONSENSE')", "return 2")
    answers: list[Any] = await asyncio.gather(*(pipe.run(script, []) for script in scripts), return_exceptions=True)
    one, failed, two = answers
    assert (one, two) == (1, 2)
    assert isinstance(failed, StoreUnavailable)
    assert failed.retry_after_seconds is not None
    assert pipe.link.breaker.wait_seconds() is None


async def test_a_cancelled_caller(patient: None, pipe: RedisPipe) -> None:
    """What a cancelled caller asked for is done all the same, before what he asks for next."""
    call = asyncio.create_task(pipe.run(APPEND, ["key"], ["a"]))
    await asyncio.sleep(0)
    call.cancel()
    assert await pipe.run(APPEND, ["key"], ["b"]) == 2
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_the_owner_closes(redis_server: RedisServer) -> None:
    """When the task that sends is ended, those who wait hear that there is no store, and nobody is stuck."""
    tasks: list[asyncio.Task[Any]] = []

    def keep(function: Any) -> asyncio.Task[Any]:
        tasks.append(spawn(function))
        return tasks[-1]

    link = RedisLink(redis_server.url, monotonic)
    redis_server.suspend()
    try:
        pipe = RedisPipe(link, keep)
        calls = [asyncio.create_task(pipe.run("return 1", [])) for _ in range(SCRIPTS_AT_ONCE + 5)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        redis_server.resume()
        await link.close()
    assert {type(error) for error in ended} == {StoreUnavailable}


async def test_many_misses(patient: None, redis_server: RedisServer) -> None:
    """Hundreds of misses at once use one connection, and still travel to the cluster several at a time."""
    connections = len(redis_server.command("CLIENT", "LIST").splitlines())
    link = RedisLink(redis_server.url, monotonic)
    reader = FakeReader({f"i{number}": A_MAPPING for number in range(300)})
    shared = SharedReader(RedisAnswers(link, spawn, scope="scope"), 10.0)
    try:
        for requests in (6, 0):
            reader.requests_total = 0
            cache = MappingCache(reader, cache_config(), spawn, shared=shared)
            await asyncio.gather(*map(cache.get, reader.indices))
            assert reader.requests_total <= 2 * requests
        assert len(redis_server.command("CLIENT", "LIST").splitlines()) == connections + 1
    finally:
        await link.close()


async def test_many_misses_of_a_frozen_redis(redis_server: RedisServer) -> None:
    """While Redis is frozen, hundreds of misses cost one short timeout together."""
    link = RedisLink(redis_server.url, monotonic)
    reader = FakeReader({f"i{number}": A_MAPPING for number in range(300)})
    shared = SharedReader(RedisAnswers(link, spawn, scope="scope"), 10.0)
    cache = MappingCache(reader, cache_config(), spawn, shared=shared)
    redis_server.suspend()
    try:
        started = time.monotonic()
        await asyncio.gather(*map(cache.get, reader.indices))
        assert time.monotonic() - started < 1.0
    finally:
        redis_server.resume()
        await link.close()
