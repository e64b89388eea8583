"""What fault tests change of the application: a breaker with short times, a health monitor without rechecks; and what
its processes share.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from dev.servers.redis import RedisServer
from esassistant.breaker import BreakerPolicy
from healthapp.monitor import HealthMonitor
from tests.support.fixtures import UseBreaker

BRIEF: dict[str, Any] = {
    "minimum_calls": 10,
    "open_seconds": 0.5,
    "longest_open_seconds": 0.5,
    "jitter": 0.0,
    "probe_seconds": 0.5,
}


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The kind of store, and `REDIS_URL`."""
    if request.param == "sqlite":
        yield "sqlite", ""
        return
    with RedisServer() as redis:
        yield "redis", redis.url


@pytest.fixture
def brief_breaker(monkeypatch: pytest.MonkeyPatch) -> UseBreaker:
    """`brief_breaker(probes=3)`: the public client opened after it has breakers of that policy, with short times that
    don't grow, unless told otherwise.
    """

    def use(**fields: Any) -> BreakerPolicy:
        policy = BreakerPolicy(**{**BRIEF, **fields})
        monkeypatch.setattr("esassistant.elasticsearch.pools.BreakerPolicy", lambda: policy)
        return policy

    return use


@pytest.fixture
def no_rechecks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application opened after it does not check health again soon after a change, but a minute later."""
    monkeypatch.setattr("healthapp.apps.HealthMonitor", partial(HealthMonitor, first_recheck_seconds=60.0))
