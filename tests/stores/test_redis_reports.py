"""What only Redis can do wrong with what instances say of themselves: what stays there, and what others wrote there."""

import json
import zlib
from collections.abc import AsyncIterator

import pytest

from cacheapp.stores.protocol import MAX_INSTANCES, MAX_REPORT_BYTES
from cacheapp.stores.redis.reports import MAX_INSTANCE_BYTES, MOMENT_DIGITS, REPORTING, REPORTS, ZLIB_BEGINS
from cacheapp.stores.redis.store import RedisStore, open_redis_store
from dev.servers.redis import RedisServer
from tests.support.states import LONG
from tests.support.stores import PATIENT


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with open_redis_store(redis_server.url, timeouts=PATIENT) as store:
        yield store


async def test_everything_expires(redis_server: RedisServer, store: RedisStore) -> None:
    """When the last instance has been silent for its time, nothing is left in Redis."""
    await store.report("one", b"{}", 2 * LONG)
    await store.report("two", b"{}", LONG)
    for key in (REPORTS, REPORTING):
        assert LONG * 1000 < redis_server.command("PTTL", key) <= 2 * LONG * 1000 + 100  # its clocks, rounded


async def test_what_is_kept_is_bounded(redis_server: RedisServer, store: RedisStore) -> None:
    """Redis keeps so many instances at most; one too many takes the place of the one that is forgotten next."""
    for number in range(MAX_INSTANCES + 10):
        await store.report(f"i-{number:04}", b"{}", LONG)
    assert redis_server.command("HLEN", REPORTS) == redis_server.command("ZCARD", REPORTING) == MAX_INSTANCES
    assert next(iter(await store.reports())) == "i-0010"


async def test_forgotten_are_removed(redis_server: RedisServer, store: RedisStore) -> None:
    """Each report takes those with it whose time is over."""
    await store.report("gone", b"{}", -1.0)
    await store.report("one", b"{}", LONG)
    assert redis_server.command("HKEYS", REPORTS) == [b"one"]


async def test_foreign_values(redis_server: RedisServer, store: RedisStore) -> None:
    """Case 25: what is none of ours is left out and counted; those of ours beside it are read."""
    await store.report("ours", b"{}", LONG)
    foreign = {
        "text": b"hello",
        "short": b"1" * (MOMENT_DIGITS - 1),
        "oversized": b"1" * (MOMENT_DIGITS + MAX_REPORT_BYTES + 1),
        "n" * (MAX_INSTANCE_BYTES + 1): b"1" * MOMENT_DIGITS,
        "damaged": b"1" * MOMENT_DIGITS + zlib.compress(b"{}")[:-1],
        "no zlib": b"1" * MOMENT_DIGITS + ZLIB_BEGINS + b"hello",
        "bomb": b"1" * MOMENT_DIGITS + zlib.compress(b" " * (MAX_REPORT_BYTES + 1)),
    }
    for name, value in foreign.items():
        redis_server.command("HSET", REPORTS, name, value)
        redis_server.command("ZADD", REPORTING, "4000000000000000", name)
    redis_server.command("ZADD", REPORTING, "4000000000000000", "nothing")
    assert list(await store.reports()) == ["ours"]
    assert store.link.poisoned_total == len(foreign)


async def test_reports_are_compressed(redis_server: RedisServer, store: RedisStore) -> None:
    """To less than half of what instances tell; the largest that there may be is read again; one of version 1.0 too."""
    report = json.dumps({f"resource_{number}": {"requests_total": number} for number in range(400)}).encode()
    await store.report("one", report, LONG)
    assert redis_server.command("HSTRLEN", REPORTS, "one") < len(report) / 2
    await store.report("largest", b" " * MAX_REPORT_BYTES, LONG)
    await store.report("old", b"{}", LONG)
    redis_server.command("HSET", REPORTS, "old", b"1" * MOMENT_DIGITS + report)
    told = await store.reports()
    assert (told["one"].report, told["old"].report, len(told["largest"].report)) == (report, report, MAX_REPORT_BYTES)


async def test_foreign_keys(redis_server: RedisServer, store: RedisStore) -> None:
    """Other types, moments that never come and fields that nobody reports stop nothing for good."""
    redis_server.command("SET", REPORTS, "hello")
    redis_server.command("SET", REPORTING, "hello")
    assert await store.reports() == {}
    await store.report("one", b"{}", LONG)
    redis_server.command("ZADD", REPORTING, "inf", "never")
    redis_server.command("HSET", REPORTS, "stray", "x" * 1000)
    await store.report("one", b"{}", LONG)
    await store.report("two", b"{}", LONG)
    assert list(await store.reports()) == ["one", "two"]
    assert redis_server.command("HLEN", REPORTS) == 2


async def test_clock_set_back(redis_server: RedisServer, store: RedisStore) -> None:
    """A report from a time to come is at least nothing old."""
    await store.report("one", b"{}", LONG)
    redis_server.command("HSET", REPORTS, "one", b"4000000000000000{}")
    assert (await store.reports())["one"].age_seconds == 0.0
