"""Pings: when they are sent, and what the breakers hear of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from elastic_transport import (
    ApiResponseMeta,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    SerializationError,
    TransportError,
)
from elastic_transport import ConnectionError as ElasticConnectionError
from elasticsearch import ApiError, UnsupportedProductError

from esassistant.breaker import Breaker, BreakerPolicy, BreakerState, Outcome
from esassistant.elasticsearch.errors import AnswerTooLarge, PoolTimeout
from esassistant.elasticsearch.pings import PAUSE_SECONDS, PING_SECONDS, Pings, is_answer, pause_until
from esassistant.errors import ClusterUnavailable, EsassistantError
from esassistant.resource import Health, PingResult
from esassistant.windows import Got, MinuteCounts
from tests.support.fakes import FakeClock

WELL = PingResult(Health.HEALTHY)


def new_breaker(clock: FakeClock) -> Breaker:
    return Breaker("test", BreakerPolicy(jitter=0.0), lambda why, _: EsassistantError(why), clock=clock)


def state_of(breaker: Breaker) -> BreakerState:
    report = breaker.report()
    assert report is not None
    return report.state


def meta(status: int) -> ApiResponseMeta:
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "es", 9200))


def unavailable(cause: Exception | None) -> ClusterUnavailable:
    error = ClusterUnavailable("x")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "answered"),
    [
        (ElasticConnectionError("x"), False),
        (ConnectionTimeout("x"), False),
        (TransportError("x"), False),
        (ApiError("x", meta(503), {}), False),
        (ApiError("x", meta(503), {"error": {"type": "no_shard_available_action_exception"}}), True),
        (ApiError("x", meta(401), {}), True),
        (ApiError("x", meta(500), {}), True),
        (UnsupportedProductError("x", meta(200), {}), True),
        (SerializationError("x"), True),
        (AnswerTooLarge(1_000_000), True),
        (None, True),
        (PoolTimeout("x", retry_after_seconds=1.0), None),
    ],
)
def test_what_an_error_says(cause: Exception | None, answered: bool | None) -> None:
    """Whatever is answered is an answer, as for a probe; a ping that was not sent says nothing."""
    assert is_answer(unavailable(cause)) is answered


async def ping_with(ask: Callable[[], Awaitable[PingResult]], clock: FakeClock, timeout: float = 5.0) -> Breaker:
    """A breaker with a call that has waited for 2 s, after a ping."""
    breaker = new_breaker(clock)
    pings = Pings(ask, timeout, clock=clock)
    pings.attach([breaker])
    breaker.enter()
    clock.advance(2.0)
    with suppress(ClusterUnavailable):
        await pings.ping()
    return breaker


async def test_breakers_hear_of_a_ping(fake_clock: FakeClock) -> None:
    """One that fails, one that is answered and one that was not even sent: only the first opens a breaker."""
    for cause, state in (
        (ConnectionTimeout("x"), BreakerState.OPEN),
        (ApiError("x", meta(401), {}), BreakerState.CLOSED),
        (PoolTimeout("x", retry_after_seconds=1.0), BreakerState.CLOSED),
    ):

        async def ask(cause: Exception = cause) -> PingResult:
            raise unavailable(cause)

        assert state_of(await ping_with(ask, fake_clock)) is state

    async def well() -> PingResult:
        return WELL

    assert state_of(await ping_with(well, fake_clock)) is BreakerState.CLOSED


async def test_a_ping_that_takes_long_has_failed(fake_clock: FakeClock) -> None:
    """Breakers hear of it before its timeout, which may cancel it; that it is answered after all, they hear too."""
    breaker: list[BreakerState] = []
    end = asyncio.Event()

    async def ask() -> PingResult:
        await end.wait()
        return WELL

    watched = new_breaker(fake_clock)
    pings = Pings(ask, 0.05, clock=fake_clock)
    pings.attach([watched])
    watched.enter()
    fake_clock.advance(2.0)
    ping = asyncio.create_task(pings.ping())
    await asyncio.sleep(0)
    breaker.append(state_of(watched))
    await asyncio.sleep(0.1)
    breaker.append(state_of(watched))
    end.set()
    assert await ping is WELL
    breaker.append(state_of(watched))
    assert breaker == [BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN]


async def test_a_cancelled_ping_says_nothing(fake_clock: FakeClock) -> None:
    """Who is cancelled before the ping is overdue has learnt nothing, and nothing is told later."""
    breaker = new_breaker(fake_clock)
    pings = Pings(lambda: asyncio.sleep(60, WELL), 0.05, clock=fake_clock)
    pings.attach([breaker])
    breaker.enter()
    fake_clock.advance(2.0)
    ping = asyncio.create_task(pings.ping())
    await asyncio.sleep(0)
    ping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ping
    await asyncio.sleep(0.06)
    assert state_of(breaker) is BreakerState.CLOSED


def asking(clock: FakeClock, seconds: float, *causes: Exception | None) -> Callable[[], Awaitable[PingResult]]:
    """Return what is asked by pings that take this many seconds each, and fail for these causes in turn. None: it is
    answered.
    """
    left = list(causes)

    async def ask() -> PingResult:
        clock.advance(seconds)
        if (cause := left.pop(0)) is not None:
            raise unavailable(cause)
        return WELL

    return ask


async def test_pings_are_remembered(fake_clock: FakeClock) -> None:
    """How long each took and whether it was answered; also of one that is cancelled when it was overdue."""
    pings = Pings(
        asking(fake_clock, 1.0, None, ConnectionTimeout("x"), PoolTimeout("x", retry_after_seconds=1)),
        5.0,
        clock=fake_clock,
    )
    assert pings.window() is None
    for _ in range(3):
        with suppress(ClusterUnavailable):
            await pings.ping()
    window = pings.window()
    assert window is not None
    assert [(call.seconds, call.got) for call in window.last] == [(1.0, Got.FAILURE), (1.0, Got.ANSWER)]

    async def hang() -> PingResult:
        fake_clock.advance(9.0)
        raise asyncio.CancelledError

    hanging = Pings(hang, 5.0, clock=fake_clock)
    with pytest.raises(asyncio.CancelledError):
        await hanging.ping()
    window = hanging.window()
    assert window is not None
    assert [(call.seconds, call.got) for call in window.last] == [(9.0, Got.FAILURE)]


async def test_pings_of_a_minute(fake_clock: FakeClock) -> None:
    """A minute has the pings that ended in it: here one that was answered late and one that failed."""
    pings = Pings(asking(fake_clock, 4.0, ConnectionTimeout("x"), None, ConnectionTimeout("x")), 5.0, clock=fake_clock)
    for sent_at in (5995.0, 5999.0, 6040.0):
        fake_clock.now = sent_at
        with suppress(ClusterUnavailable):
            await pings.ping()
    minute = pings.whole_minute(100)
    assert (minute.calls, minute.bad, sum(minute.times.values())) == (2, 1, 1)
    assert pings.whole_minute(99) == MinuteCounts(calls=1, bad=1)


class Background:
    """The background task on a fake clock: its pauses are recorded, and end when the test says so."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sent_at: list[float] = []
        self.pauses: list[float] = []
        self.fails = False
        self.woken_early = 0
        self._over = asyncio.Event()
        self.breaker = new_breaker(clock)
        self.pings = Pings(self.ask, 5.0, clock=clock, pause=self.pause)
        self.pings.attach([self.breaker])

    async def ask(self) -> PingResult:
        self.sent_at.append(self.clock.now - 1000.0)
        if self.fails:
            raise unavailable(ConnectionTimeout("x"))
        return WELL

    async def pause(self, stirred: asyncio.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        self._over.clear()
        waits = [asyncio.create_task(stirred.wait()), asyncio.create_task(self._over.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        self.woken_early += stirred.is_set()
        for one in waits:
            one.cancel()

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._over.set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def background(fake_clock: FakeClock) -> AsyncIterator[Background]:
    running = Background(fake_clock)
    task = asyncio.create_task(running.pings.keep_pinging())
    await running.settle()
    yield running
    task.cancel()
    await asyncio.wait([task])


async def test_a_call_that_waits_has_a_ping_sent(background: Background) -> None:
    """2 s after it began, not before, and once; a call that ends earlier has none."""
    assert background.pauses == [float("inf")]
    quick = background.breaker.enter()
    await background.settle()
    background.breaker.leave(quick, Outcome.SUCCESS)
    slow = background.breaker.enter()
    await background.advance(1.9)
    assert background.sent_at == []
    await background.advance(0.1)
    assert background.sent_at == [2.0]
    await background.advance(60.0)
    assert background.sent_at == [2.0]
    background.breaker.leave(slow, Outcome.SUCCESS)


async def test_quick_calls_wake_nobody(background: Background) -> None:
    """A stream of calls that are answered at once wakes the task once per 2 s at most, and sends no ping."""
    for _ in range(1000):
        background.breaker.leave(background.breaker.enter(), Outcome.SUCCESS)
        await background.settle()
    assert (background.sent_at, background.woken_early) == ([], 1)


async def test_pings_have_pauses(background: Background) -> None:
    """However many calls fail, a ping a second is enough."""
    for _ in range(5):
        background.breaker.leave(background.breaker.enter(), Outcome.FAILURE)
        await background.advance(0.25)
    for _ in range(9):
        background.breaker.leave(background.breaker.enter(), Outcome.FAILURE)
        await background.advance(0.125)
    assert background.sent_at == [1.25, 1.25 + PAUSE_SECONDS]


async def test_a_failed_ping_opens_and_the_task_goes_on(background: Background) -> None:
    """A ping that fails opens the breaker and leaves the task running."""
    background.fails = True
    background.breaker.enter()
    await background.advance(2.0)
    assert state_of(background.breaker) is BreakerState.OPEN
    background.fails = False
    await background.pings.ping()
    assert state_of(background.breaker) is BreakerState.HALF_OPEN
    background.breaker.enter()
    await background.settle()
    await background.advance(2.0)
    assert background.sent_at == [2.0, 2.0, 4.0]


async def test_pause_until() -> None:
    """It ends with its time or with the event."""
    stirred = asyncio.Event()
    await pause_until(stirred, 0.001)
    stirred.set()
    await pause_until(stirred, float("inf"))


@pytest.mark.parametrize(("timeout", "seconds"), [(5.0, PING_SECONDS), (1.0, 0.8)])
def test_when_a_ping_has_failed(timeout: float, seconds: float) -> None:
    """After 3 s, or earlier where the health check itself has less time."""
    pings: Any = Pings(lambda: asyncio.sleep(0, WELL), timeout)
    assert pings._failed_after == seconds
