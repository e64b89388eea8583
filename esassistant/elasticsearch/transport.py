"""The transport: each call of elasticsearch-py goes retry( breaker( pool( node ))), attempt by attempt.

elastic-transport's own retries are off (`max_retries=0` on each attempt): it sleeps only after exceptions, so that a
503 is tried four times within milliseconds, and a loop of ours around its own would multiply attempts.
"""

import asyncio
from typing import Any, cast

from elastic_transport import (
    AsyncTransport,
    ConnectionTimeout,
    NodeConfig,
    SerializationError,
    TransportApiResponse,
    TransportError,
)
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import UnsupportedProductError

from esassistant.breaker import Outcome
from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.answers import is_index_failure
from esassistant.elasticsearch.errors import BreakerOpen
from esassistant.elasticsearch.node import Call, Node, NodePool, current_call
from esassistant.elasticsearch.pools import Pool, Pools
from esassistant.elasticsearch.retry import IDEMPOTENT_METHODS, RetryPolicy
from esassistant.elasticsearch.routing import READS, kind_of
from esassistant.elasticsearch.stats import PoolReport

FAILURE_STATUSES = frozenset({502, 503, 504})
"""Statuses by which a cluster, or what stands before it, says that it can't serve. 500 may be one query's fault."""


class Transport(AsyncTransport):
    """elasticsearch-py's transport with pools, breakers and a retry policy of ours. Lives as long as its client."""

    def __init__(
        self,
        nodes: list[NodeConfig],
        *args: Any,
        pools: Pools,
        retry: RetryPolicy,
        clock: Clock = monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(nodes, *args, **{"node_pool_class": NodePool, **kwargs})
        self._pools = pools
        self._retry = retry
        self._clock = clock
        self._request_timeout = nodes[0].request_timeout

    def report(self) -> dict[str, PoolReport]:
        """What each pool counted so far."""
        nodes = cast("list[Node]", self.node_pool.all())
        return self._pools.report(sum(node.open_connections for node in nodes))

    async def perform_request(  # type: ignore[override]
        self, method: str, target: str, *, request_timeout: float | DefaultType | None = DEFAULT, **kwargs: Any
    ) -> TransportApiResponse:
        """One call with its retries. The arguments are those of `AsyncTransport.perform_request`; its retry arguments
        are overruled.

        `request_timeout` is for all attempts and the pauses between them together, from the moment the first is sent.
        Raises `PoolTimeout`, `PoolExhausted` or `BreakerOpen` when nothing may be sent, `UnsupportedProductError` for
        an answer that is not Elasticsearch's, else what elastic-transport raises.
        """
        allowed = self._request_timeout if isinstance(request_timeout, DefaultType) else request_timeout
        kwargs.update(max_retries=0, retry_on_status=(), retry_on_timeout=False)
        pool = self._pools.pool_for(target)
        kind = kind_of(target)
        attempts = _Attempts(self, pool, kind, allowed, self._clock)
        idempotent = method in IDEMPOTENT_METHODS or kind in READS
        pool.budget.note_call()
        while True:
            try:
                response = await attempts.next(method, target, kwargs)
            except TransportError as error:
                delay = self._retry.delay_after_error(attempts.number, error, idempotent=idempotent)
                if delay is None or not attempts.may_go_on(delay):
                    raise
            else:
                if is_index_failure(response.meta.status, response.body):
                    return response
                delay = self._retry.delay_after_status(
                    attempts.number,
                    response.meta.status,
                    response.meta.headers.get("retry-after"),
                    idempotent=idempotent,
                )
                if delay is None or not attempts.may_go_on(delay):
                    return response
            await asyncio.sleep(delay)

    async def attempt(
        self, method: str, target: str, timeout: float | None, kwargs: dict[str, Any]
    ) -> TransportApiResponse:
        """What elastic-transport does of itself: choose a node, ask it once, decode the answer."""
        return await super().perform_request(method, target, request_timeout=timeout, **kwargs)


class _Attempts:
    """The attempts of one call."""

    def __init__(self, transport: Transport, pool: Pool, kind: str, allowed: float | None, clock: Clock) -> None:
        self._transport = transport
        self._pool = pool
        self._kind = kind
        self._allowed = allowed
        self._clock = clock
        self._ends_at: float | None = None
        self.number = 0

    def may_go_on(self, delay: float) -> bool:
        """Whether there is time and budget for another attempt in `delay` seconds; takes it out of the budget."""
        in_time = self._ends_at is None or self._clock() + delay < self._ends_at
        if in_time and self._pool.budget.spend():
            return True
        self._pool.counters.retries_refused_total += 1
        return False

    async def next(self, method: str, target: str, kwargs: dict[str, Any]) -> TransportApiResponse:
        """One attempt, by way of breaker and pool."""
        self.number += 1
        breaker = self._pool.breaker
        try:
            breaker.check()
            asked_at = self._clock()
            async with self._pool.connection() as close_connection:
                self._waited(self._clock() - asked_at)
                # Again: it may have opened while this call waited for a connection.
                permit = breaker.enter()
                self._pool.counters.retries_total += self.number > 1
                seconds = breaker.time_for(permit, self._seconds_left())
                outcome = Outcome.NOTHING
                token = current_call.set(Call(self._pool.counters, self._kind, close_connection))
                try:
                    response = await self._transport.attempt(method, target, seconds, kwargs)
                except (ElasticConnectionError, ConnectionTimeout):  # TLS among them
                    outcome = Outcome.FAILURE
                    raise
                except (SerializationError, UnsupportedProductError):
                    outcome = Outcome.ANSWER
                    raise
                else:
                    outcome = outcome_of(response.meta.status, response.body)
                    return response
                finally:
                    current_call.reset(token)
                    breaker.leave(permit, outcome)
        except BreakerOpen:
            self._pool.counters.rejected["breaker_open"] += 1
            raise

    def _waited(self, seconds: float) -> None:
        # Waiting for a connection is not the cluster's slowness: it isn't counted.
        if self._ends_at is not None:
            self._ends_at += seconds

    def _seconds_left(self) -> float | None:
        """How long this attempt may take."""
        if self._allowed is None:
            return None
        if self._ends_at is None:
            self._ends_at = self._clock() + self._allowed
            return self._allowed
        return max(0.001, self._ends_at - self._clock())


def outcome_of(status: int, body: object) -> Outcome:
    """What an answer with this status and body, decoded or as bytes, says of the cluster."""
    if status in FAILURE_STATUSES:
        return Outcome.ANSWER if is_index_failure(status, body) else Outcome.FAILURE
    return Outcome.SUCCESS if status < 400 or status == 404 else Outcome.ANSWER
