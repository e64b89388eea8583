"""Answers that instances share by way of Redis: what is found again, what is bounded, and what others wrote there."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.redis.answers import MAX_ANSWER_BYTES, MAX_INDICES_BYTES, RedisAnswers
from cacheapp.stores.redis.link import PREFIX, RedisLink
from cacheapp.stores.redis.store import open_redis_store
from cacheapp.stores.shared_answers import LONGEST_SHARED_SECONDS, SharedAnswers
from dev.servers.redis import RedisServer
from esassistant.clock import monotonic
from esassistant.errors import StoreUnavailable
from tests.conftest import Figure
from tests.support.fakes import spawn
from tests.support.states import A_MAPPING, B_MAPPING, JITTER, LONG, A, B

ANSWER = f"{PREFIX}answer:scope:a"
CLAIM = f"{PREFIX}claim:scope:a"
BODY = f"{PREFIX}body:{A}"
ONCE_SECONDS = 0.4
NOISE = 1.5


async def opened(server: RedisServer, scope: str = "scope") -> AsyncIterator[RedisAnswers]:
    link = RedisLink(server.url, monotonic)
    try:
        yield RedisAnswers(link, spawn, scope=scope)
    finally:
        await link.close()


@pytest.fixture
async def answers(redis_server: RedisServer, patient: None) -> AsyncIterator[RedisAnswers]:
    async for one in opened(redis_server):
        yield one


@pytest.fixture
async def impatient(redis_server: RedisServer) -> AsyncIterator[RedisAnswers]:
    """With the timeouts of production."""
    async for one in opened(redis_server):
        yield one


@pytest.fixture
async def others(redis_server: RedisServer) -> AsyncIterator[RedisAnswers]:
    """As another instance sees the same data."""
    async for one in opened(redis_server):
        yield one


def keys(server: RedisServer) -> set[str]:
    return {name.decode().removeprefix(PREFIX) for name in server.command("KEYS", "*")}


def test_it_is_what_is_asked_for(redis_server: RedisServer) -> None:
    """The class has the protocol's methods, and shows where Redis is."""
    answers: SharedAnswers = RedisAnswers(RedisLink(redis_server.url, monotonic), spawn, scope="scope")
    assert repr(answers) == f"<RedisAnswers 127.0.0.1:{redis_server.port}>"


async def test_round_trip(answers: RedisAnswers, others: RedisAnswers) -> None:
    """What one instance read, another finds byte by byte, and as old as it is by now."""
    assert await others.fetch("logs") is None
    mappings = {"a": A_MAPPING, "b": B_MAPPING, "ü": A_MAPPING}
    await answers.share("logs", mappings, age_seconds=7.0, ttl_seconds=LONG)
    await asyncio.sleep(0.05)
    found = await others.fetch("logs")
    assert found is not None
    assert found.mappings == mappings
    assert 7.05 <= found.age_seconds < 7.05 + JITTER
    assert await others.fetch("a") is None
    assert answers.poisoned_total == others.poisoned_total == 0


async def test_scopes_are_apart(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """An instance of another cluster, or one that reads other indices of it, finds nothing and claims for itself."""
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    assert await answers.claim("b", "one", LONG)
    async for other in opened(redis_server, "other"):
        assert await other.fetch("a") is None
        assert await other.claim("b", "two", LONG)


async def test_layout(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """A distinct mapping is kept once, every key has the layout's version, and all of it expires."""
    for name in ("a", "b"):
        await answers.share(name, {name: A_MAPPING}, age_seconds=10.0, ttl_seconds=LONG)
    await answers.claim("c", "one", 3.0)
    assert keys(redis_server) == {"answer:scope:a", "answer:scope:b", f"body:{A}", "claim:scope:c"}
    for key in (ANSWER, BODY):
        assert (LONG - 10.0 - JITTER) * 1000 < redis_server.command("PTTL", key) <= (LONG - 10.0) * 1000
    assert 0 < redis_server.command("PTTL", f"{PREFIX}claim:scope:c") <= 3000


async def test_expiry(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """An answer is over when it is as old as it may be, however old it was when it was shared."""
    await answers.share("a", {"a": A_MAPPING}, age_seconds=LONG, ttl_seconds=LONG)
    assert keys(redis_server) == set()
    await answers.share("a", {"a": A_MAPPING}, age_seconds=LONG, ttl_seconds=LONG + 0.1)
    await asyncio.sleep(0.2)
    assert await answers.fetch("a") is None
    assert keys(redis_server) == set()


async def test_a_body_lives_as_long_as_it_is_needed(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """A body that two answers have stays as long as the one that ends later."""
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    await answers.share("b", {"b": A_MAPPING}, 0.0, 1.0)
    assert redis_server.command("PTTL", BODY) > 1000
    redis_server.command("PERSIST", BODY)
    await answers.share("b", {"b": A_MAPPING}, 0.0, 1.0)
    assert 0 < redis_server.command("PTTL", BODY) <= LONGEST_SHARED_SECONDS * 1000


async def test_older_news_are_none(answers: RedisAnswers, others: RedisAnswers) -> None:
    """What was read earlier doesn't replace what was read later, in whatever order it arrives."""
    await answers.share("a", {"a": A_MAPPING}, 1.0, LONG)
    await others.share("a", {"a": B_MAPPING}, 5.0, LONG)
    found = await others.fetch("a")
    assert found is not None
    assert found.mappings == {"a": A_MAPPING}
    await others.share("a", {"a": B_MAPPING}, 0.0, LONG)
    found = await answers.fetch("a")
    assert found is not None
    assert found.mappings == {"a": B_MAPPING}


async def test_forgotten(answers: RedisAnswers, others: RedisAnswers) -> None:
    """A name that the cluster says there isn't has no answer any more."""
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    await others.forget("a")
    assert await answers.fetch("a") is None
    await others.forget("never")


async def test_nothing_is_not_shared(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """A name without any index leaves nothing in Redis."""
    await answers.share("a", {}, 0.0, LONG)
    assert keys(redis_server) == set()


async def test_too_large(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """What is too much for a short timeout isn't shared, be it mappings or names; just below, it is."""
    body = b'{"_":"%b"}' % (b"x" * (MAX_ANSWER_BYTES - 8))
    await answers.share("a", {"a": body, "b": b"{}"}, 0.0, LONG)
    names = {f"{number:0200}": A_MAPPING for number in range(MAX_INDICES_BYTES // 200)}
    await answers.share("a", names, 0.0, LONG)
    assert keys(redis_server) == set()
    await answers.share("a", {"a": body}, 0.0, LONG)
    found = await answers.fetch("a")
    assert found is not None
    assert found.mappings == {"a": body}


async def test_claims(answers: RedisAnswers, others: RedisAnswers) -> None:
    """One holder at a time reads a name; a claim given back is free, another's is left alone."""
    assert await answers.claim("a", "one", LONG)
    assert not await others.claim("a", "two", LONG)
    assert await others.claim("b", "two", LONG)
    await others.release("a", "two")
    assert not await others.claim("a", "two", LONG)
    await answers.release("a", "one")
    assert await others.claim("a", "two", LONG)


async def test_claims_end(answers: RedisAnswers, others: RedisAnswers) -> None:
    """A claim whose holder died is over by itself; of many who ask at once, one gets it."""
    assert await answers.claim("a", "one", 0.05)
    await asyncio.sleep(0.1)
    claimed = await asyncio.gather(*((answers, others)[n % 2].claim("a", f"holder-{n}", LONG) for n in range(16)))
    assert sum(claimed) == 1


async def test_foreign_claim(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """What is no claim of ours, or never ends, holds nobody up."""
    for command in (("SET", CLAIM, "hello"), ("SET", CLAIM, "hello", "EX", "1000"), ("RPUSH", CLAIM, "hello")):
        redis_server.command("DEL", CLAIM)
        redis_server.command(*command)
        assert await answers.claim("a", "one", 3.0), command
    redis_server.command("DEL", CLAIM)
    redis_server.command("RPUSH", CLAIM, "hello")
    await answers.release("a", "one")


FOREIGN: dict[str, tuple[tuple[bytes | str | int, ...], ...]] = {
    "other type": (("SET", ANSWER, "hello"),),
    "other fields": (("DEL", ANSWER), ("HSET", ANSWER, "hello", "world")),
    "no moment": (("HSET", ANSWER, "at", "yesterday"),),
    "long moment": (("HSET", ANSWER, "at", "1" * 17),),
    "no size": (("HDEL", ANSWER, "bytes"),),
    "too large a size": (("HSET", ANSWER, "bytes", MAX_ANSWER_BYTES + 1),),
    "too small a size": (("HSET", ANSWER, "bytes", len(A_MAPPING) - 1),),
    "no document": (("HSET", ANSWER, "indices", b"\x80\x04\x95"),),
    "broken text": (("HSET", ANSWER, "indices", b'{"\xff":"%b"}' % A.encode()),),
    "no indices": (("HSET", ANSWER, "indices", "{}"),),
    "no hash": (("HSET", ANSWER, "indices", '{"a":"short"}'),),
    "no name": (("HSET", ANSWER, "indices", f'{{"":"{A}"}}'),),
    "oversized indices": (("HSET", ANSWER, "indices", b" " * MAX_INDICES_BYTES + b"{}"),),
    "other body": (("SET", BODY, B_MAPPING),),
    "empty body": (("SET", BODY, ""),),
    "oversized body": (("SET", BODY, b"x" * (MAX_ANSWER_BYTES + 1)),),
    "body of another type": (("DEL", BODY), ("RPUSH", BODY, "hello")),
}


@pytest.mark.parametrize("commands", FOREIGN.values(), ids=FOREIGN)
async def test_poison(
    redis_server: RedisServer,
    answers: RedisAnswers,
    commands: tuple[tuple[bytes | str | int, ...], ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Case 25: what is none of ours is no answer, is counted once, removed, and replaced by the next who shares."""
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    for command in commands:
        redis_server.command(*command)
    assert await answers.fetch("a") is None
    assert answers.poisoned_total == 1
    assert "is not what this store writes" in caplog.text
    assert await answers.fetch("a") is None
    assert answers.poisoned_total == 1
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    found = await answers.fetch("a")
    assert found is not None
    assert found.mappings == {"a": A_MAPPING}


async def test_forged_body(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """A body that has its hash but is no mapping is poison too: it would break the answers that it gets into."""
    for forged in (b"hello", b"[]", b'{"a":', b'"\xff"'):
        await answers.share("a", {"a": forged}, 0.0, LONG)
        assert await answers.fetch("a") is None
        assert not redis_server.command("EXISTS", f"{PREFIX}body:{mapping_hash(forged)}")
    assert answers.poisoned_total == 4


async def test_too_many_bodies(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """Bodies that are each small enough, but together more than was ever shared, aren't carried over the network."""
    body = b'{"_":"%b"}' % (b"x" * (MAX_ANSWER_BYTES // 2))
    more = body.replace(b"_", b"-")
    await answers.share("b", {"b": body}, 0.0, LONG)
    await answers.share("c", {"c": more}, 0.0, LONG)
    document = f'{{"b":"{mapping_hash(body)}","c":"{mapping_hash(more)}"}}'
    redis_server.command("HSET", ANSWER, "at", "1000000", "bytes", MAX_ANSWER_BYTES, "indices", document)
    assert await answers.fetch("a") is None
    assert answers.poisoned_total == 1


async def test_lost_body(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """A body that Redis gave up for want of memory makes a miss, and is nobody's fault."""
    await answers.share("a", {"a": A_MAPPING, "b": B_MAPPING}, 0.0, LONG)
    redis_server.command("DEL", f"{PREFIX}body:{B}")
    assert await answers.fetch("a") is None
    assert answers.poisoned_total == 0


async def test_clock_set_back(redis_server: RedisServer, answers: RedisAnswers) -> None:
    """An answer from a time to come has no age, so it isn't one; what is shared now replaces it."""
    await answers.share("a", {"a": B_MAPPING}, 0.0, LONG)
    redis_server.command("HSET", ANSWER, "at", "4000000000000000")
    assert await answers.fetch("a") is None
    await answers.share("a", {"a": A_MAPPING}, 0.0, LONG)
    assert await answers.fetch("a") is not None
    assert answers.poisoned_total == 0


async def test_one_count_for_the_store_too(redis_server: RedisServer, patient: None) -> None:
    """What was poisoned among the store's own values counts in the same place."""
    async with open_redis_store(redis_server.url) as store:
        answers = RedisAnswers(store.link, spawn, scope="scope")
        redis_server.command("SET", f"{PREFIX}published", "hello")
        assert await store.generation() == 0
        assert answers.poisoned_total == store.link.poisoned_total == 1


async def test_case_18_frozen_redis(redis_server: RedisServer, impatient: RedisAnswers, figure: Figure) -> None:
    """Case 18: a frozen Redis costs one short timeout, then nothing, whatever is asked of it."""
    await impatient.share("a", {"a": A_MAPPING}, 0.0, LONG)
    redis_server.suspend()
    try:
        started = time.monotonic()
        for operation in (
            impatient.fetch("a"),
            impatient.claim("a", "one", 3.0),
            impatient.release("a", "one"),
            impatient.share("a", {"a": B_MAPPING}, 0.0, LONG),
            impatient.forget("a"),
        ):
            with pytest.raises(StoreUnavailable):
                await operation
        seconds = time.monotonic() - started
    finally:
        redis_server.resume()
    assert seconds < ONCE_SECONDS * NOISE
    figure(18, f"shared answers, frozen: 5 operations {1000 * seconds:.0f} ms together")


async def test_late_execution(
    redis_server: RedisServer, impatient: RedisAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a frozen Redis does only after it goes on has the age that it has by then, not the one it was sent with."""
    waited = 1.0
    run_all, sent = impatient._link.run_all, 0

    async def freeze_before_the_writing(*arguments: object) -> object:
        nonlocal sent
        sent += 1
        if sent == 2:
            redis_server.suspend()
        return await run_all(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(impatient._link, "run_all", freeze_before_the_writing)
    try:
        with pytest.raises(StoreUnavailable):
            await impatient.share("a", {"a": A_MAPPING}, 0.0, LONG)
        await asyncio.sleep(waited)
    finally:
        redis_server.resume()
    assert sent == 2
    async for other in opened(redis_server):
        found = await other.fetch("a")
        assert found is not None
        assert found.age_seconds >= waited
