"""A store backend under test."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from cacheapp.stores.protocol import Store
from cacheapp.stores.redis.link import RedisTimeouts


@dataclass(frozen=True)
class Backend:
    """A store backend. `open` opens one more store on the same data, as another process would. `stop` and `start` act
    on the server, if there is one.
    """

    name: str
    open: Callable[[], AbstractAsyncContextManager[Store]]
    stop: Callable[[], object] | None = None
    start: Callable[[], object] | None = None


PATIENT = RedisTimeouts(socket=10.0, call=15.0)
"""Timeouts that are long enough for a busy machine, for tests that are not about timeouts."""
