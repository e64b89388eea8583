"""Make the planned faults of a soak happen, one after the other."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from bench.soak.instances import Instance
from bench.soak.plan import Fault, Kind, Pace
from dev.elasticsearch.cluster import START_SECONDS, Cluster
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.faults.tcp_proxy import TcpProxy
from dev.servers.redis import RedisServer

SLOW_SECONDS = 0.4
FAILING_SHARE = 0.3
RECOVERY_SECONDS = 8.0
"""How long requests that were sent during a fault may take to end, until the first good ones have come."""
OPEN_TIMES = 2.5
"""The factor for waiting until a breaker has closed. Its time doubles while the cluster is away, so the last period is
at most about as long as all before together; the jitter comes on top.
"""


class Faults:
    """Makes faults happen, and knows when they did. Belongs to the main thread; other threads may ask."""

    def __init__(
        self,
        cluster: Node | Cluster,
        proxies: Sequence[FaultProxy],
        redis: RedisServer,
        redis_proxy: TcpProxy,
        instances: Sequence[Instance],
    ) -> None:
        """Make the faults. `proxies`: one before each node, in the order of the nodes."""
        self.happened: Counter[str] = Counter()
        self._cluster = cluster
        self._nodes = nodes_of(cluster)
        self._proxies = proxies
        self._redis = redis
        self._redis_proxy = redis_proxy
        self._instances = instances
        self._chance = random.Random(len(instances))
        self._now: Fault | None = None
        self._over_at = 0.0
        self._disturbed_until = 0.0

    def is_quiet(self, since_seconds: float) -> bool:
        """Return whether nothing is wrong, and nothing was wrong in the last seconds."""
        return self._now is None and time.monotonic() - self._over_at >= since_seconds

    def is_disturbed(self, at: float) -> bool:
        """Return whether the cluster may not have been well at `at` or later."""
        now = self._now
        return (now is not None and now.kind.is_of_elasticsearch) or at < self._disturbed_until

    def carry_out(
        self, faults: Sequence[Fault], pace: Pace, stopping: threading.Event, on_fault: Callable[[Fault], None]
    ) -> None:
        """Carry out the faults. Return after the last one, or when `stopping` is set. A fault that takes longer delays
        the next one.
        """
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

    def _happening(self, fault: Fault) -> AbstractContextManager[None]:
        """Return a context manager that makes the fault happen for the length of its block."""
        match fault.kind:
            case Kind.ES_REFUSED:
                return self._refusing(*self._proxies)
            case Kind.ES_BLACKHOLED:
                return self._everywhere(blackhole=True)
            case Kind.ES_SLOW:
                return self._everywhere(delay_seconds=SLOW_SECONDS)
            case Kind.ES_FAILING:
                return self._everywhere(status=503, probability=FAILING_SHARE)
            case Kind.ES_STOPPED:
                return self._stopped(*self._nodes)
            case Kind.REDIS_BLACKHOLED:
                return self._redis_blackholed()
            case Kind.REDIS_REFUSED:
                return self._refusing(self._redis_proxy)
            case Kind.REDIS_RESTARTED:
                return self._redis_killed()
            case Kind.INSTANCE_KILLED:
                assert fault.instance is not None
                return self._instance_killed(self._instances[fault.instance])
        return self._at_one_node(fault.kind, self._one_of_several())

    def _at_one_node(self, kind: Kind, number: int) -> AbstractContextManager[None]:
        match kind:
            case Kind.NODE_KILLED:
                return self._node_killed(self._nodes[number])
            case Kind.NODE_STOPPED:
                return self._stopped(self._nodes[number])
            case _:
                return self._refusing(self._proxies[number])

    @contextmanager
    def _redis_blackholed(self) -> Iterator[None]:
        self._redis_proxy.blackhole()
        try:
            yield
        finally:
            self._redis_proxy.restore()

    @contextmanager
    def _redis_killed(self) -> Iterator[None]:
        self._redis.kill()
        try:
            yield
        finally:
            self._redis.start()

    @contextmanager
    def _instance_killed(self, instance: Instance) -> Iterator[None]:
        instance.kill()
        yield
        instance.start()

    @contextmanager
    def _node_killed(self, node: Node) -> Iterator[None]:
        node.kill()
        try:
            yield
        finally:
            node.start(START_SECONDS)
            self._wait_until_joined()

    @contextmanager
    def _everywhere(self, **fields: Any) -> Iterator[None]:
        """Apply `Rule(**fields)` before all nodes."""
        with ExitStack() as stack:
            for proxy in self._proxies:
                stack.enter_context(proxy.fault(**fields))
            yield

    @contextmanager
    def _refusing(self, *proxies: FaultProxy | TcpProxy) -> Iterator[None]:
        for proxy in proxies:
            proxy.refuse()
        try:
            yield
        finally:
            for proxy in proxies:
                proxy.accept()

    @contextmanager
    def _stopped(self, *nodes: Node) -> Iterator[None]:
        for node in nodes:
            node.suspend()
        try:
            yield
        finally:
            for node in nodes:
                node.resume()
            self._wait_until_joined()

    def _wait_until_joined(self) -> None:
        if isinstance(self._cluster, Cluster):
            self._cluster.wait_until_joined()

    def _one_of_several(self) -> int:
        """Return the number of a node that may fail. It isn't the first one, which the writer talks to, nor the master:
        Elasticsearch itself may apply a change twice if the master dies during it, and then nobody could tell what is
        true.
        """
        assert isinstance(self._cluster, Cluster)
        master = self._cluster.master(self._nodes[0])
        return self._chance.choice([number for number, node in enumerate(self._nodes) if number and node is not master])


def nodes_of(cluster: Node | Cluster) -> tuple[Node, ...]:
    return cluster.nodes if isinstance(cluster, Cluster) else (cluster,)
