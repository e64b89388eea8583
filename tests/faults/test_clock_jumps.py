"""Case 30: somebody sets the clock of a running process. Only what people read may notice."""

import asyncio
import datetime as datetime_module
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.clock import now_utc
from esassistant.registry import registry
from tests.support.calls import ANSWERED, INDEX, REFUSED, SEARCH, breaker_state, make_index, outcome, outcomes, trip
from tests.support.fixtures import Figure, OpenApp, UseBreaker

HOUR = 3600.0
TTL_SECONDS = 2.0
OURS = ("esassistant", "cacheapp", "healthapp")

SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """`set_clock(3600)`: from now on the wall clock of this process is wrong by an hour, wherever our code reads it."""
    real_datetime, real_time = datetime_module.datetime, time.time
    offset = 0.0

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real_datetime)  # made before the clock moved, or by a driver

    class MovedDatetime(datetime_module.datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
            return real_datetime.now(tz) + datetime_module.timedelta(seconds=offset)

    monkeypatch.setattr(time, "time", lambda: real_time() + offset)
    monkeypatch.setattr(time, "time_ns", lambda: int((real_time() + offset) * 1e9))
    monkeypatch.setattr(datetime_module, "datetime", MovedDatetime)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS and getattr(module, "datetime", None) is real_datetime:
            monkeypatch.setattr(module, "datetime", MovedDatetime)

    def set_clock(seconds: float) -> None:
        nonlocal offset
        offset = seconds

    return set_clock


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_case_30_ages(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, set_clock: SetClock, figure: Figure, jump: float
) -> None:
    """An hour forward or back: a mapping stays fresh for its TTL and no longer, a name that isn't there is remembered
    for its own, and the health report keeps its age.
    """
    make_index(cluster)
    cache = {"ttl": TTL_SECONDS, "max_stale": 60.0, "negative_ttl": 60.0}
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache=cache, health={"ttl": 30.0}) as http:
            warm_at = time.monotonic()
            absent = [await http.get("/api/mappings/absent")]
            health = [await http.get("/api/health")]
            proxy.reset()
            before = now_utc()
            set_clock(jump)
            moved = (now_utc() - before).total_seconds()
            fresh = await http.get(f"/api/mappings/{INDEX}")
            fresh_after = time.monotonic() - warm_at
            absent.append(await http.get("/api/mappings/absent"))
            health.append(await http.get("/api/health"))
            calls = proxy.count(path="/_mapping")
            await asyncio.sleep(TTL_SECONDS)
            stale = await http.get(f"/api/mappings/{INDEX}")
            await proxy.arrived(path=f"/{INDEX}/_mapping", count=1)
    assert abs(moved - jump) < 60
    if fresh_after < TTL_SECONDS:
        assert (fresh.headers["X-Cache-State"], int(fresh.headers["Age"]) <= TTL_SECONDS) == ("fresh", True)
        assert calls == 0
    assert [answer.status_code for answer in absent] == [404, 404]
    assert [(answer.status_code, int(answer.headers["Age"]) <= 10) for answer in health] == [(200, True)] * 2
    assert stale.headers["X-Cache-State"] == "stale"
    assert TTL_SECONDS <= int(stale.headers["Age"]) < TTL_SECONDS + 10
    figure(30, f"{jump / HOUR:+.0f} h: stale at the age of {stale.headers['Age']} s, TTL {TTL_SECONDS:g} s")


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_case_30_the_breaker(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    brief_breaker: UseBreaker,
    set_clock: SetClock,
    figure: Figure,
    jump: float,
) -> None:
    """An hour forward or back: an open breaker refuses until its open time has passed, then one probe closes it."""
    policy = brief_breaker(open_seconds=1.5, longest_open_seconds=1.5)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=0):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            await trip(client, proxy)
            proxy.reset()
            set_clock(jump)
            refused = await outcomes(client, 100)
            calls_while_open = proxy.count(path=SEARCH)
            await asyncio.sleep(policy.open_seconds)
            recovered, state = await outcome(client), breaker_state()
    assert refused == {REFUSED: 100}
    assert calls_while_open == 0
    assert (recovered, state) == (ANSWERED, "closed")
    figure(30, f"{jump / HOUR:+.0f} h: 100 refused while open, closed by one probe after {policy.open_seconds:g} s")
