"""Connection pools: exactly as many calls at once as there are connections, and what becomes of one more."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch
from hypothesis import given
from hypothesis import strategies as st

from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.breaker import BreakerState, Outcome
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.client import new_client, report
from esassistant.elasticsearch.errors import PoolExhausted, PoolTimeout
from esassistant.elasticsearch.pools import Pool, PoolLimits, Pools, pools_of
from esassistant.windows import Got, minutes_together
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import minute_now


def pool(**limits: Any) -> Pool:
    """A single pool, of two connections unless told otherwise."""
    return pools(**{"maxsize": 2, **limits}).pool_for("/")


def gauges(pool: Pool) -> tuple[int, int, int]:
    """In use, overflow connections in use, waiting."""
    counted = pool.report(None)
    return counted.in_use, counted.overflow_in_use, counted.waiting


async def hold(pool: Pool, until: asyncio.Event, order: list[int] | None = None, number: int = 0) -> bool:
    """A call that ends when told to; says whether its connection was one of the overflow."""
    async with pool.connection() as close_connection:
        if order is not None:
            order.append(number)
        await until.wait()
        return close_connection


async def settle() -> None:
    """Let every task go as far as it can without waiting for anything."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def client(stub: FaultProxy) -> AsyncIterator[Any]:
    """Makes clients of one pool; they are closed at the end of the test."""
    stub.respond("", lambda _: ProxyResponse())
    async with AsyncExitStack() as stack:

        async def make(**limits: Any) -> AsyncElasticsearch:
            config = elasticsearch_config(stub.url, connect_timeout=30.0)
            made = new_client(config, pools(**limits), request_timeout=60, max_retries=0)
            return await stack.enter_async_context(made)

        yield make


async def test_exactly_maxsize_connections(stub: FaultProxy, client: Any) -> None:
    """With 200 calls for 150 connections the proxy sees 150 calls and connections, never more; all are answered."""
    elasticsearch = await client(maxsize=150, wait_seconds=60)
    with stub.fault(blackhole=True) as rule:
        calls = [asyncio.create_task(elasticsearch.info()) for _ in range(200)]
        await stub.arrived(count=150, timeout_seconds=30)
        counted = report(elasticsearch)["default"]
        assert (counted.in_use, counted.waiting, counted.connections_open) == (150, 50, 150)
        assert (stub.in_flight, stub.connections_total) == (150, 150)
        stub.remove(rule)
        await asyncio.gather(*calls)
    assert (stub.max_in_flight, stub.connections_total, stub.count()) == (150, 150, 200)
    counted = report(elasticsearch)["default"]
    assert (counted.in_use, counted.waiting, counted.requests_total) == (0, 0, 200)
    assert (counted.connections_created_total, counted.connections_reused_total) == (150, 50)


async def test_overflow_connections_are_closed(stub: FaultProxy, client: Any) -> None:
    """With two connections and three of overflow: five calls on five connections, a sixth is refused at once;
    afterwards two connections are left, and are the ones that are used again.
    """
    elasticsearch = await client(maxsize=2, block=False, overflow=3)
    with stub.fault(blackhole=True) as rule:
        calls = [asyncio.create_task(elasticsearch.info()) for _ in range(5)]
        await stub.arrived(count=5)
        with pytest.raises(
            PoolExhausted, match="All 2 connections and 3 overflow connections of pool default are in use"
        ):
            await elasticsearch.info()
        counted = report(elasticsearch)["default"]
        assert (counted.in_use, counted.overflow_in_use, counted.waiting) == (2, 3, 0)
        stub.remove(rule)
        await asyncio.gather(*calls)
    counted = report(elasticsearch)["default"]
    assert (counted.in_use, counted.overflow_in_use, counted.overflow_total) == (0, 0, 3)
    assert (counted.connections_open, counted.rejected["pool_exhausted"]) == (2, 1)
    await asyncio.gather(*(elasticsearch.info() for _ in range(2)))
    assert report(elasticsearch)["default"].connections_created_total == stub.connections_total == 5
    assert stub.count() == 7
    async with asyncio.timeout(5):
        while stub.connections_open != 2:  # noqa: ASYNC110  (the proxy has no event)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("overflow", "told"), [(0, "All 2 connections of pool"), (1, "and 1 overflow connections of")])
async def test_without_block_nobody_waits(overflow: int, told: str) -> None:
    """A pool that doesn't block refuses without a turn of the loop, and says what is in use."""
    full = pool(block=False, overflow=overflow)
    end = asyncio.Event()
    calls = [asyncio.create_task(hold(full, end)) for _ in range(2 + overflow)]
    await settle()
    with pytest.raises(PoolExhausted, match=told) as caught:
        full.connection().__aenter__().send(None)
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 1.0)
    end.set()
    assert await asyncio.gather(*calls) == [False, False, *[True] * overflow]
    assert gauges(full) == (0, 0, 0)
    assert full.report(None).rejected == {"pool_timeout": 0, "pool_exhausted": 1, "breaker_open": 0}


async def test_waiting_is_first_in_first_out() -> None:
    """Who waits longest is served first; who comes when a connection is just given back doesn't get in between."""
    narrow = pool(maxsize=1, wait_seconds=60)
    order: list[int] = []
    ends = [asyncio.Event() for _ in range(6)]
    calls = [asyncio.create_task(hold(narrow, ends[number], order, number)) for number in range(5)]
    await settle()
    assert (order, gauges(narrow)) == ([0], (1, 0, 4))
    ends[0].set()
    await calls[0]
    calls.append(asyncio.create_task(hold(narrow, ends[5], order, 5)))
    for end in ends:
        end.set()
    await asyncio.gather(*calls)
    assert order == [0, 1, 2, 3, 4, 5]
    assert gauges(narrow) == (0, 0, 0)


async def test_waiting_ends_in_time() -> None:
    """A call that gets no connection in time fails with `PoolTimeout`, is counted and leaves no trace."""
    full = pool(maxsize=1, wait_seconds=0.05)
    end = asyncio.Event()
    call = asyncio.create_task(hold(full, end))
    await settle()
    async with asyncio.timeout(5):
        with pytest.raises(PoolTimeout, match="None of the 1 connections of pool default became free within 50 ms"):
            await hold(full, end)
    assert gauges(full) == (1, 0, 0)
    assert full.report(None).rejected["pool_timeout"] == 1
    end.set()
    await call
    assert await hold(full, end) is False


async def test_waiting_calls_are_bounded() -> None:
    """Beyond so many waiting calls the next one is refused at once; there is room again when one of them leaves."""
    full = pool(maxsize=1, wait_seconds=60, max_waiting=3)
    end = asyncio.Event()
    calls = [asyncio.create_task(hold(full, end)) for _ in range(4)]
    await settle()
    with pytest.raises(PoolExhausted, match="3 calls wait already"):
        await hold(full, end)
    assert (gauges(full), full.report(None).rejected["pool_exhausted"]) == ((1, 0, 3), 1)
    calls.pop().cancel()
    await settle()
    calls.append(asyncio.create_task(hold(full, end)))
    end.set()
    assert await asyncio.gather(*calls) == [False] * 4


@pytest.mark.parametrize("limits", [{}, {"block": False, "overflow": 2}])
async def test_cancelled_in_use(stub: FaultProxy, client: Any, limits: dict[str, Any]) -> None:
    """Calls that are given up while under way give their connections back, overflow ones too."""
    elasticsearch = await client(maxsize=2, **limits)
    with stub.fault(blackhole=True):
        calls = [asyncio.create_task(elasticsearch.info()) for _ in range(2 + limits.get("overflow", 0))]
        await stub.arrived(count=len(calls))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    counted = report(elasticsearch)["default"]
    assert (counted.in_use, counted.overflow_in_use, counted.connections_open) == (0, 0, 0)
    assert (counted.cancelled_total, counted.requests_total, counted.failures_total) == (len(calls), len(calls), 0)
    await asyncio.gather(*(elasticsearch.info() for _ in calls))


async def test_cancelled_while_waiting() -> None:
    """Calls that are given up while they wait let those behind them through, and never sent anything."""
    full = pool(maxsize=1, wait_seconds=60)
    end = asyncio.Event()
    calls = [asyncio.create_task(hold(full, end)) for _ in range(4)]
    await settle()
    calls[1].cancel()
    calls[2].cancel()
    await settle()
    assert gauges(full) == (1, 0, 1)
    end.set()
    assert [await calls[0], await calls[3]] == [False, False]
    assert full.report(None).rejected["pool_timeout"] == 0


async def test_cancelled_when_its_turn_comes() -> None:
    """A call that is given up at the very moment at which it gets a connection passes it on."""
    full = pool(maxsize=1, wait_seconds=60)
    first, end = asyncio.Event(), asyncio.Event()
    calls = [asyncio.create_task(hold(full, event)) for event in (first, end, end)]
    await settle()
    first.set()
    await calls[0]  # the slot is the second call's now, which has had no turn since
    calls[1].cancel()
    await settle()
    assert (calls[1].cancelled(), gauges(full)) == (True, (1, 0, 0))
    end.set()
    assert await calls[2] is False


EVENTS = st.lists(st.tuples(st.sampled_from(["call", "end", "cancel", "turn"]), st.integers(0, 30)), max_size=60)


@given(EVENTS, st.integers(1, 3), st.booleans(), st.integers(0, 2))
def test_nothing_leaks(events: list[tuple[str, int]], maxsize: int, block: bool, overflow: int) -> None:
    """Whenever calls come, end and are given up: never more than allowed are under way, and in the end nothing is."""

    async def run() -> None:
        some = pool(maxsize=maxsize, block=block, overflow=overflow, wait_seconds=60)
        calls: list[tuple[asyncio.Task[bool], asyncio.Event]] = []
        for event, number in events:
            if event == "call":
                end = asyncio.Event()
                calls.append((asyncio.create_task(hold(some, end)), end))
            elif event == "turn":
                await asyncio.sleep(0)
            elif calls:
                task, end = calls[number % len(calls)]
                end.set() if event == "end" else task.cancel()
            in_use, overflow_in_use, waiting = gauges(some)
            assert in_use <= maxsize
            assert overflow_in_use <= (0 if block else overflow)
            assert block or not waiting
        for _, end in calls:
            end.set()
        await asyncio.gather(*(task for task, _ in calls), return_exceptions=True)
        assert gauges(some) == (0, 0, 0)
        done = asyncio.Event()
        again = [asyncio.create_task(hold(some, done)) for _ in range(maxsize)]
        await settle()
        assert gauges(some) == (maxsize, 0, 0)
        done.set()
        assert await asyncio.gather(*again) == [False] * maxsize

    asyncio.run(run())


def test_pools_of_rules(caplog: pytest.LogCaptureFixture) -> None:
    """Each rule has a pool of its limits with a breaker of its own, whose transitions are told and logged."""
    heard: list[BreakerState] = []
    rules = (PoolRule("logs", ("logs-*",), 3), PoolRule("default", ("*",), 2))
    made = pools_of(rules, lambda rule: PoolLimits(rule.maxsize, block=False, overflow=7), heard.append)
    reports = made.report(9)
    assert {name: (one.max_connections, one.max_overflow, one.blocks) for name, one in reports.items()} == {
        "logs": (3, 7, False),
        "default": (2, 7, False),
    }
    assert {one.connections_open for one in reports.values()} == {9}
    assert [made.pool_for(target).name for target in ("/logs-1/_search", "/x/_search", "/_cat")] == [
        "logs",
        "default",
        "default",
    ]
    caplog.set_level(logging.DEBUG, "esassistant.breaker")
    breaker = made.pool_for("/logs-1").breaker
    for _ in range(20):
        breaker.leave(breaker.enter(), Outcome.FAILURE)
    assert heard == [BreakerState.OPEN]
    assert caplog.messages[0].startswith(
        "breaker of pool logs opened: 20 of 20 calls failed within 10 s; it probes in "
    )
    states = {name: one.breaker.state for name, one in made.report(9).items() if one.breaker is not None}
    assert states == {"logs": BreakerState.OPEN, "default": BreakerState.CLOSED}


def test_a_minute_of_all_pools() -> None:
    """The searches of a minute are those of all pools together."""
    rules = (PoolRule("logs", ("logs-*",), 3), PoolRule("default", ("*",), 2))
    made = pools_of(rules, lambda rule: PoolLimits(rule.maxsize), lambda _: None)
    first = minute_now()
    for target, got in (("/logs-1", Got.ANSWER), ("/x", Got.FAILURE), ("/x", Got.PART)):
        made.pool_for(target).counters.call_ended("search", got, 0.1)
    minute = minutes_together(map(made.whole_minute, range(first, minute_now() + 1)))
    assert (minute.calls, minute.bad, minute.parts, sum(minute.times.values())) == (3, 1, 1, 2)
    assert made.whole_minute(first - 1).calls == 0


def test_a_pool_that_blocks_has_no_overflow() -> None:
    """A report doesn't promise overflow connections that are never used."""
    assert pool(block=True, overflow=7).report(None).max_overflow == 0


def test_one_pool_takes_everything() -> None:
    """A client of a single pool asks no rules."""
    made: Pools = pools("cache")
    assert {made.pool_for(target).name for target in ("/", "/logs-1/_search", "/_cat")} == {"cache"}


async def test_repr() -> None:
    """It tells its name, its size and what goes on."""
    some = pool()
    async with some.connection():
        assert repr(some) == "<Pool default: 1 of 2 in use, 0 waiting>"
