"""The Redis store while Redis is frozen, killed or restarted: what it costs, and how soon it is over."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from cacheapp.stores.redis.link import MAX_CONNECTIONS, OUTAGES, RedisLink
from cacheapp.stores.redis.store import CHANNEL, RedisStore, open_redis_store
from dev.faults.tcp_proxy import TcpProxy
from dev.ports import HOST
from dev.servers.redis import RedisServer
from esassistant.errors import StoreUnavailable
from tests.support.fixtures import Figure
from tests.support.states import FIRST, LONG, load, take
from tests.support.stores import PATIENT

ONCE_SECONDS = 0.4
AT_ONCE_SECONDS = 0.05
"""For many calls together."""
NOTICED_SECONDS = 0.1
NOISE = 1.5


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with open_redis_store(redis_server.url) as store:
        yield store


@pytest.fixture
async def patient_store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with open_redis_store(redis_server.url, timeouts=PATIENT) as store:
        yield store


@pytest.fixture
def frozen(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Freezes the server; it goes on at the end of the test."""
    yield redis_server.suspend
    redis_server.resume()


@pytest.fixture
def killed(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Kills the server; it runs again at the end of the test."""
    yield redis_server.kill
    redis_server.kill()
    redis_server.start()


async def refused_after(store: RedisStore) -> float:
    """Seconds until a call was refused."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.generation()
    return time.monotonic() - started


async def costs(store: RedisStore) -> tuple[float, float]:
    """What an absent Redis costs, held to its limits: milliseconds of the first call, and of the next 100 together."""
    once = await refused_after(store)
    assert once < ONCE_SECONDS * NOISE
    then = sum([await refused_after(store) for _ in range(100)])
    assert then < AT_ONCE_SECONDS * NOISE
    return 1000 * once, 1000 * then


async def back_within(store: RedisStore, longest_seconds: float) -> None:
    deadline = time.monotonic() + longest_seconds * NOISE
    while True:
        try:
            await store.generation()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            return


@pytest.mark.parametrize("connected", [True, False])
async def test_case_18_frozen(
    redis_server: RedisServer, store: RedisStore, frozen: Callable[[], None], figure: Figure, *, connected: bool
) -> None:
    """Case 18: a frozen Redis costs one short timeout, then nothing; when it goes on, it is found again."""
    if connected:
        await store.publish(FIRST, await take(store))
    frozen()
    once, then = await costs(store)
    redis_server.resume()
    await back_within(store, 1.0)
    assert (await store.load(()) is not None) is connected
    figure(18, f"frozen, connected={connected}: {once:.0f} ms once, the next 100 together {then:.1f} ms")


async def test_many_callers_of_a_frozen_redis(store: RedisStore, frozen: Callable[[], None]) -> None:
    """Callers at the same time wait at the same time, more of them than there are connections too."""
    await store.generation()
    frozen()
    started = time.monotonic()
    await asyncio.gather(*(refused_after(store) for _ in range(MAX_CONNECTIONS * 4)))
    assert time.monotonic() - started < ONCE_SECONDS * NOISE
    assert store.link.breaker.wait_seconds() == pytest.approx(1.0, abs=0.5)


async def test_case_18_no_way_to_redis(redis_server: RedisServer, figure: Figure) -> None:
    """Case 18 again, the network lost rather than the server."""
    with TcpProxy(HOST, redis_server.port) as proxy:
        async with open_redis_store(f"redis://{HOST}:{proxy.port}/0") as store:
            await store.publish(FIRST, await take(store))
            proxy.blackhole()
            once, then = await costs(store)
            proxy.restore()
            await back_within(store, 1.0)
            # The late answers to what was asked before are nobody's.
            assert (await load(store)).state.indices == FIRST.indices
    figure(18, f"blackholed: {once:.0f} ms once, the next 100 together {then:.1f} ms")


async def test_killed_and_restarted(redis_server: RedisServer, store: RedisStore, killed: Callable[[], None]) -> None:
    """A killed Redis is refused at once from the first call on; a restarted one is found again."""
    await store.publish(FIRST, await take(store))
    killed()
    await costs(store)
    redis_server.start()
    await back_within(store, 1.0)
    assert await store.load(()) is None
    await store.publish(FIRST, await take(store))
    assert (await load(store)).state.indices == FIRST.indices


async def test_quick_restart(redis_server: RedisServer, store: RedisStore) -> None:
    """Connections that a restart ended while nobody used them fail no call."""
    await asyncio.gather(*(store.generation() for _ in range(MAX_CONNECTIONS)))
    await asyncio.to_thread(redis_server.stop)
    await asyncio.to_thread(redis_server.start)
    assert await store.generation() == 0


async def test_cancelled_calls(
    redis_server: RedisServer, patient_store: RedisStore, frozen: Callable[[], None]
) -> None:
    """A call that is cancelled ends as cancelled, trips nothing, and leaves neither a connection taken nor an answer
    that a later call would take for its own.
    """
    await patient_store.publish(FIRST, await take(patient_store))
    frozen()
    calls = [asyncio.create_task(patient_store.generation()) for _ in range(MAX_CONNECTIONS * 2)]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [result for result in ended if not isinstance(result, asyncio.CancelledError)] == []
    assert patient_store.link.breaker.wait_seconds() is None
    redis_server.resume()
    loads = await asyncio.gather(*(load(patient_store) for _ in range(MAX_CONNECTIONS * 2)))
    assert all(loaded.state.indices == FIRST.indices for loaded in loads)


async def test_forgotten_cancellation(store: RedisStore) -> None:
    """A cancellation that the client library forgets ends the call all the same."""

    async def forget(_: object) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return 1

    call = asyncio.create_task(store.link.call(forget))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_connections_end_with_the_store(redis_server: RedisServer) -> None:
    """The end of the block ends the connections, that of a subscription too."""

    def connections() -> int:
        return len(redis_server.command("CLIENT", "LIST").splitlines())

    before = connections()
    async with open_redis_store(redis_server.url) as store:
        await store.wait_for_change(1.0)
        await asyncio.gather(*(store.generation() for _ in range(4 * MAX_CONNECTIONS)))
        assert before + 2 <= connections() <= before + MAX_CONNECTIONS
    deadline = time.monotonic() + 2
    while connections() > before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_closing_a_frozen_redis(store: RedisStore, redis_server: RedisServer, frozen: Callable[[], None]) -> None:
    """A store ends in time when Redis doesn't answer."""
    started = time.monotonic()
    async with open_redis_store(redis_server.url) as other:
        await other.wait_for_change(1.0)
        frozen()
        started = time.monotonic()
    assert time.monotonic() - started < 1.0


# From here on: news.


async def publish_after(store: RedisStore, seconds: float) -> float:
    """When the publication was done."""
    lease = await take(store)
    await asyncio.sleep(seconds)
    await store.publish(FIRST, lease)
    return time.monotonic()


async def test_news(redis_server: RedisServer, store: RedisStore) -> None:
    """Who waits learns of a publication within 100 ms; without one the wait ends when it should."""
    async with open_redis_store(redis_server.url) as other:
        await store.wait_for_change(5.0)  # the first one subscribes
        publication = asyncio.create_task(publish_after(other, 0.2))
        await store.wait_for_change(5.0)
        noticed_at = time.monotonic()
        assert noticed_at - await publication < NOTICED_SECONDS * NOISE
        assert await store.generation() > 0
        started = time.monotonic()
        await store.wait_for_change(0.2)
        assert 0.19 <= time.monotonic() - started < 0.2 + NOTICED_SECONDS * NOISE


async def test_news_while_nobody_waits(redis_server: RedisServer, store: RedisStore) -> None:
    """What is published between two waits ends the second one at once."""
    async with open_redis_store(redis_server.url) as other:
        await store.wait_for_change(5.0)
        await publish_after(other, 0.0)
        started = time.monotonic()
        await store.wait_for_change(5.0)
        assert time.monotonic() - started < NOTICED_SECONDS * NOISE


async def test_two_who_wait(store: RedisStore) -> None:
    """Two who wait at once disturb nobody: each wait ends, at the latest when it should."""
    await store.wait_for_change(1.0)
    started = time.monotonic()
    await asyncio.gather(store.wait_for_change(0.2), store.wait_for_change(0.2))
    assert time.monotonic() - started < 0.4 * NOISE


async def test_case_19_restart_amid_news(
    redis_server: RedisServer, store: RedisStore, killed: Callable[[], None], figure: Figure
) -> None:
    """Case 19: Redis restarts under a subscription; waits go on, one of them ends by the new subscription, and what is
    published afterwards is news again.
    """
    await store.wait_for_change(5.0)
    await publish_after(store, 0.0)
    await store.wait_for_change(5.0)
    waiting = asyncio.create_task(store.wait_for_change(0.5))
    await asyncio.sleep(0.05)
    killed()
    started = time.monotonic()
    await waiting
    assert 0.3 < time.monotonic() - started < 0.5 * NOISE, "an absent Redis must not make the follower spin"
    redis_server.start()
    async with open_redis_store(redis_server.url) as other:
        await publish_after(other, 0.0)
        deadline = time.monotonic() + 3 * NOISE
        while not redis_server.command("PUBSUB", "NUMSUB", CHANNEL)[1]:
            assert time.monotonic() < deadline
            await store.wait_for_change(0.5)
        assert await store.generation() == await other.generation() > 0
        publication = asyncio.create_task(publish_after(other, 0.2))
        await store.wait_for_change(5.0)
        noticed = time.monotonic() - await publication
        assert noticed < NOTICED_SECONDS * NOISE
    figure(19, f"subscribed anew; the next publication noticed after {1000 * noticed:.0f} ms")


async def test_silent_subscription(redis_server: RedisServer) -> None:
    """After an outage the subscription is made anew: it may have died without a word."""
    with TcpProxy(HOST, redis_server.port) as proxy:
        async with open_redis_store(f"redis://{HOST}:{proxy.port}/0") as store:
            await store.wait_for_change(5.0)
            subscriber = redis_server.command("CLIENT", "LIST", "TYPE", "pubsub").split()[0]
            proxy.blackhole()
            await refused_after(store)
            started = time.monotonic()
            await store.wait_for_change(0.2)
            assert 0.19 <= time.monotonic() - started < 0.5 * NOISE
            proxy.restore()
            await back_within(store, 1.0)
            await store.wait_for_change(5.0)
            clients = redis_server.command("CLIENT", "LIST", "TYPE", "pubsub").split()
            assert clients
            assert subscriber not in clients
            async with open_redis_store(redis_server.url) as other:
                publication = asyncio.create_task(publish_after(other, 0.1))
                await store.wait_for_change(5.0)
                assert time.monotonic() - await publication < NOTICED_SECONDS * NOISE


async def test_waiting_without_redis() -> None:
    """Where no Redis is, each wait takes its time, and raises nothing."""
    async with open_redis_store("redis://127.0.0.1:9/0") as store:
        started = time.monotonic()
        for _ in range(3):
            await store.wait_for_change(0.1)
        assert 0.3 <= time.monotonic() - started < 0.3 * NOISE


async def test_waiting_on_a_frozen_redis(store: RedisStore, frozen: Callable[[], None]) -> None:
    """Subscribing to a frozen Redis costs no more than the wait, and one short timeout where that is longer."""
    frozen()
    for longest, most in ((0.0, ONCE_SECONDS), (0.2, 0.2)):
        started = time.monotonic()
        await store.wait_for_change(longest)
        assert longest - 0.01 <= time.monotonic() - started < most * NOISE


async def test_cancelled_wait(redis_server: RedisServer, store: RedisStore) -> None:
    """A wait that is cancelled ends at once, and the next one still hears what comes."""
    await store.wait_for_change(5.0)
    waiting = asyncio.create_task(store.wait_for_change(LONG))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    publication = asyncio.create_task(publish_after(store, 0.1))
    await store.wait_for_change(5.0)
    assert time.monotonic() - await publication < NOTICED_SECONDS * NOISE


# From here on: what the breaker does of it, with a clock of the test's own and without a Redis.


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def link(clock: Clock) -> AsyncIterator[RedisLink]:
    link = RedisLink("redis://127.0.0.1:9/0", clock)
    yield link
    await link.close()


async def fail(link: RedisLink, error: type[BaseException] = RedisConnectionError) -> BaseException:
    """What a call that fails with `error` raises."""

    async def function(_: object) -> None:
        raise error

    with pytest.raises(StoreUnavailable if issubclass(error, OUTAGES) else error) as caught:
        await link.call(function)
    return caught.value


async def succeed(link: RedisLink) -> None:
    async def function(_: object) -> None:
        pass

    await link.call(function)


async def test_pauses_grow(link: RedisLink, clock: Clock) -> None:
    """The pause after a failure is 1 s, and doubles with each failed try up to 5 s; a success ends all that."""
    assert link.breaker.wait_seconds() is None
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        error = await fail(link)
        assert isinstance(error, StoreUnavailable)
        assert (error.retry_after_seconds, link.breaker.wait_seconds()) == (pause, pause)
        clock.now += pause - 0.001
        assert link.breaker.wait_seconds() is not None
        clock.now += 0.002
        assert link.breaker.wait_seconds() is None

    async def function(_: object) -> None:
        with pytest.raises(StoreUnavailable):
            await succeed(link)  # one call tries, no other beside it

    await link.call(function)
    assert link.breaker.wait_seconds() is None
    await fail(link)
    assert link.breaker.wait_seconds() == 1.0


async def test_one_failure_is_enough(link: RedisLink) -> None:
    """However many calls were answered just before."""
    for _ in range(1000):
        await succeed(link)
    await fail(link)
    assert link.breaker.wait_seconds() == 1.0


async def test_failures_together_count_once(link: RedisLink) -> None:
    """Calls that were under way when the first of them failed don't make the pause longer."""

    async def function(_: object) -> None:
        await fail(link)
        raise TimeoutError

    with pytest.raises(StoreUnavailable):
        await link.call(function)
    assert link.breaker.wait_seconds() == 1.0


async def test_cancelled_try(link: RedisLink, clock: Clock) -> None:
    """A try that is cancelled says nothing: the next call tries."""
    await fail(link)
    clock.now += 1.1
    await fail(link, asyncio.CancelledError)
    assert link.breaker.wait_seconds() is None
    await fail(link)
    assert link.breaker.wait_seconds() == 2.0
    clock.now += 2.1
    await succeed(link)
    assert link.breaker.wait_seconds() is None


async def test_an_answer_is_an_answer(link: RedisLink, clock: Clock) -> None:
    """An error that Redis itself answers means that it is there."""
    await fail(link)
    clock.now += 1.1
    await fail(link, ValueError)
    assert link.breaker.wait_seconds() is None
    await fail(link)
    assert link.breaker.wait_seconds() == 1.0


async def test_tries_are_not_logged(link: RedisLink, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """An outage of hours, with a try every five seconds, writes no warnings; who shares mappings writes one."""
    with caplog.at_level(logging.INFO):
        for _ in range(10):
            await fail(link)
            clock.now += 5.1
        await succeed(link)
    assert caplog.records == []
