"""What goes wrong in a soak, made to happen: one thing after the other, as planned."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.soak.instances import Instance
from bench.soak.plan import Fault, Kind, Pace
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.faults.tcp_proxy import TcpProxy
from dev.servers.redis import RedisServer

SLOW_SECONDS = 0.4
FAILING_SHARE = 0.3
RECOVERY_SECONDS = 8.0
"""For requests to the cluster to end that were sent while something was wrong, and for the first good ones after it."""
OPEN_TIMES = 2.5
"""A breaker's time doubles while the cluster is away: so the last period is at most about as long as all before, and
the jitter comes on top.
"""


class Faults:
    """Makes faults happen, and knows when they did. Belongs to the main thread; others may ask."""

    def __init__(
        self,
        node: Node,
        elasticsearch: FaultProxy,
        redis: RedisServer,
        redis_proxy: TcpProxy,
        instances: Sequence[Instance],
    ) -> None:
        self.happened: Counter[str] = Counter()
        self._node = node
        self._elasticsearch = elasticsearch
        self._redis = redis
        self._redis_proxy = redis_proxy
        self._instances = instances
        self._now: Fault | None = None
        self._over_at = 0.0
        self._disturbed_until = 0.0

    def is_quiet(self, since_seconds: float) -> bool:
        """Whether nothing is wrong, nor was in the last seconds."""
        return self._now is None and time.monotonic() - self._over_at >= since_seconds

    def is_disturbed(self, at: float) -> bool:
        """Whether the cluster may not have been well at `at` or later."""
        now = self._now
        return (now is not None and now.kind.is_of_elasticsearch) or at < self._disturbed_until

    def carry_out(
        self, faults: Sequence[Fault], pace: Pace, stopping: threading.Event, on_fault: Callable[[Fault], None]
    ) -> None:
        """Returns after the last, or when it is to stop. A fault that took longer delays the next."""
        began_at = time.monotonic()
        for fault in faults:
            due_at = max(began_at + fault.at, self._over_at + pace.quiet[0])
            if stopping.wait(max(0.0, due_at - time.monotonic())):
                return
            happened_at = time.monotonic()
            on_fault(fault)
            self._now = fault
            try:
                with self._happening(fault):
                    stopping.wait(fault.seconds)
            finally:
                self._over_at = time.monotonic()
                if fault.kind.is_of_elasticsearch:
                    lasted = self._over_at - happened_at
                    self._disturbed_until = self._over_at + OPEN_TIMES * lasted + RECOVERY_SECONDS
                self._now = None
            self.happened[fault.kind] += 1

    @contextmanager
    def _happening(self, fault: Fault) -> Iterator[None]:
        match fault.kind:
            case Kind.ES_REFUSED:
                with self._refusing(self._elasticsearch):
                    yield
            case Kind.ES_BLACKHOLED:
                with self._elasticsearch.fault(blackhole=True):
                    yield
            case Kind.ES_SLOW:
                with self._elasticsearch.fault(delay_seconds=SLOW_SECONDS):
                    yield
            case Kind.ES_FAILING:
                with self._elasticsearch.fault(status=503, probability=FAILING_SHARE):
                    yield
            case Kind.ES_STOPPED:
                self._node.suspend()
                try:
                    yield
                finally:
                    self._node.resume()
            case Kind.REDIS_BLACKHOLED:
                self._redis_proxy.blackhole()
                try:
                    yield
                finally:
                    self._redis_proxy.restore()
            case Kind.REDIS_REFUSED:
                with self._refusing(self._redis_proxy):
                    yield
            case Kind.REDIS_RESTARTED:
                self._redis.kill()
                try:
                    yield
                finally:
                    self._redis.start()
            case Kind.INSTANCE_KILLED:
                assert fault.instance is not None
                instance = self._instances[fault.instance]
                instance.kill()
                yield
                instance.start()

    @contextmanager
    def _refusing(self, proxy: FaultProxy | TcpProxy) -> Iterator[None]:
        proxy.refuse()
        try:
            yield
        finally:
            proxy.accept()
