"""Connection pools: limit how many calls to some indices may be under way at once, and decide what happens to further
calls.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from esassistant.breaker import Breaker, BreakerPolicy, BreakerReport, OnTransition
from esassistant.clock import Clock, monotonic
from esassistant.config.pools import PoolRule
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.errors import BreakerOpen, PoolExhausted, PoolTimeout
from esassistant.elasticsearch.retry import RetryBudget
from esassistant.elasticsearch.routing import pool_of
from esassistant.elasticsearch.stats import PoolCounters, PoolReport
from esassistant.units import as_seconds
from esassistant.windows import MinuteCounts, WindowReport, minutes_together

MAX_WAITING = 10_000
POOL_RETRY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The limits of a pool. `maxsize` connections are kept and used again.

    If all are in use, a further call waits for up to `wait_seconds` (with `block`), but no more than `max_waiting`
    calls wait. Without `block` it gets one of `overflow` connections, which are closed after use. The words are those
    of urllib3.
    """

    maxsize: int
    block: bool = True
    overflow: int = 0
    wait_seconds: float = 10.0
    max_waiting: int = MAX_WAITING


class Pool:
    """The connections of one client for some indices, with the breaker, the retry budget and the counters of their
    calls.

    Lives as long as its client, on one loop. A connection is held for one attempt, and never during a backoff.
    """

    def __init__(
        self,
        name: str,
        limits: PoolLimits,
        policy: BreakerPolicy,
        *,
        clock: Clock = monotonic,
        on_transition: OnTransition = lambda _: None,
    ) -> None:
        """
        Args:
            policy, on_transition: The policy of the pool's breaker, and what is called when it changes its state.
        """
        self.name = name
        # The verdict tells of an outage once; a line for each failed probe would drown it.
        self.breaker = Breaker(
            f"pool {name}", policy, _refusal, log_level=logging.DEBUG, clock=clock, on_transition=on_transition
        )
        self.budget = RetryBudget()
        self.counters = PoolCounters()
        # Why the last failed call got no connection, as far as that is known.
        self.last_cause: Cause | None = None
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.maxsize)
        self._in_use = 0
        self._overflow_in_use = 0
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {self._in_use} of {self._limits.maxsize} in use, {self._waiting} waiting>"

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[bool]:
        """Hold one connection during the block. Yields True if the connection must be closed after use.

        Raise `PoolTimeout` if none became free in time, and `PoolExhausted` if the call may not wait.
        """
        if self._slots.locked() and not self._limits.block:
            self._take_overflow()
            try:
                yield True
            finally:
                self._overflow_in_use -= 1
            return
        await self._wait_for_slot()
        self._in_use += 1
        try:
            yield False
        finally:
            self._in_use -= 1
            self._slots.release()

    def report(self, open_connections: int | None) -> PoolReport:
        """Return the report. `open_connections` is the number for the whole client, as its pools share the
        connections.
        """
        return PoolReport(
            max_connections=self._limits.maxsize,
            max_overflow=0 if self._limits.block else self._limits.overflow,
            blocks=self._limits.block,
            in_use=self._in_use,
            overflow_in_use=self._overflow_in_use,
            waiting=self._waiting,
            connections_open=open_connections,
            breaker=self.breaker.report(),
            **self.counters.report(),
        )

    def _take_overflow(self) -> None:
        if self._overflow_in_use >= self._limits.overflow:
            self.counters.rejected["pool_exhausted"] += 1
            overflow = f" and {self._limits.overflow} overflow connections" if self._limits.overflow else ""
            raise PoolExhausted(
                f"All {self._limits.maxsize} connections{overflow} of pool {self.name} are in use.",
                retry_after_seconds=POOL_RETRY_AFTER_SECONDS,
            )
        self._overflow_in_use += 1
        self.counters.overflow_total += 1

    async def _wait_for_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            return
        if self._waiting >= self._limits.max_waiting:
            self.counters.rejected["pool_exhausted"] += 1
            raise PoolExhausted(
                f"{self._limits.max_waiting} calls wait already for a connection of pool {self.name}.",
                retry_after_seconds=POOL_RETRY_AFTER_SECONDS,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await self._slots.acquire()
        except TimeoutError:
            self.counters.rejected["pool_timeout"] += 1
            raise PoolTimeout(
                f"None of the {self._limits.maxsize} connections of pool {self.name} became free within "
                f"{as_seconds(self._limits.wait_seconds)}.",
                retry_after_seconds=POOL_RETRY_AFTER_SECONDS,
            ) from None
        finally:
            self._waiting -= 1


class Pools:
    """All pools of one client, by name. The pool for a request depends on the index that the request names."""

    def __init__(self, pools: Mapping[str, Pool], rules: Sequence[PoolRule] = ()) -> None:
        self._pools = pools
        self._rules = tuple(rules)

    def pool_for(self, target: str) -> Pool:
        if len(self._pools) == 1:
            return next(iter(self._pools.values()))
        return self._pools[pool_of(target, self._rules)]

    def breakers(self) -> list[Breaker]:
        return [pool.breaker for pool in self._pools.values()]

    def report(self, open_connections: int | None) -> dict[str, PoolReport]:
        return {name: pool.report(open_connections) for name, pool in self._pools.items()}

    def breaker_reports(self) -> dict[str, BreakerReport]:
        """Return the reports of the breakers by pool, without those that never trip."""
        found = {name: pool.breaker.report() for name, pool in self._pools.items()}
        return {name: report for name, report in found.items() if report is not None}

    def windows(self) -> dict[str, dict[str, WindowReport]]:
        """Return what callers got lately: by pool, for searches and for other calls."""
        return {name: pool.counters.windows() for name, pool in self._pools.items()}

    def whole_minute(self, number: int) -> MinuteCounts:
        """Return what callers of searches got from all pools in one minute, which must have just ended."""
        return minutes_together(pool.counters.whole_minute(number) for pool in self._pools.values())


def one_pool(
    name: str, limits: PoolLimits, policy: BreakerPolicy, on_transition: OnTransition = lambda _: None
) -> Pools:
    """Return a single pool, for a client of our own whose calls all belong together."""
    return Pools({name: Pool(name, limits, policy, on_transition=on_transition)})


def pools_of(
    rules: Sequence[PoolRule], limits_of: Callable[[PoolRule], PoolLimits], on_transition: OnTransition
) -> Pools:
    """Return a pool with a breaker for each rule; one of them must be `default`. `on_transition` is called for each
    breaker.
    """
    return Pools(
        {rule.name: Pool(rule.name, limits_of(rule), BreakerPolicy(), on_transition=on_transition) for rule in rules},
        rules,
    )


def _refusal(reason: str, retry_after_seconds: float) -> BreakerOpen:
    return BreakerOpen(f"Elasticsearch is not asked at the moment: {reason}.", retry_after_seconds=retry_after_seconds)
