"""Fault tests use the application in the test's own loop, like the integration tests."""

from collections.abc import Callable
from typing import Any

import pytest

from esassistant.breaker import BreakerPolicy
from tests.integration.conftest import open_app

__all__ = ["open_app"]

BRIEF: dict[str, Any] = {
    "minimum_calls": 10,
    "open_seconds": 0.5,
    "longest_open_seconds": 0.5,
    "jitter": 0.0,
    "probe_seconds": 0.5,
}

UseBreaker = Callable[..., BreakerPolicy]


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
