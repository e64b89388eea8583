"""The transport: each attempt of a call goes through retry( breaker( pool( node ))).

elastic-transport's own retries are switched off (`max_retries=0` for each attempt). It waits only after exceptions, so
it would try four times within milliseconds after a 503. And with our own retries around its retries, the numbers of
attempts would multiply.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from elastic_transport import (
    AsyncTransport,
    ConnectionTimeout,
    NodeConfig,
    OpenTelemetrySpan,
    SerializationError,
    TransportApiResponse,
    TransportError,
)
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import UnsupportedProductError

from esassistant.breaker import BreakerReport, Outcome
from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.answers import is_index_failure, is_partial
from esassistant.elasticsearch.causes import NodeFailure, unreachable
from esassistant.elasticsearch.errors import AnswerTooLarge, BreakerOpen, PoolExhausted, PoolTimeout
from esassistant.elasticsearch.node import Call, Node, current_call
from esassistant.elasticsearch.node_pool import NodePool, first_seconds, is_fixed, only_at
from esassistant.elasticsearch.pools import Pool, Pools
from esassistant.elasticsearch.retry import IDEMPOTENT_METHODS, RetryPolicy
from esassistant.elasticsearch.routing import READS, kind_of
from esassistant.elasticsearch.stats import PoolCounters, PoolReport
from esassistant.windows import Got, MinuteCounts, WindowReport

FAILURE_STATUSES = frozenset({502, 503, 504})
"""Statuses with which the cluster, or something in front of it, says that it can't serve. A 500 may be due to one
query.
"""

BAD_STATUSES = frozenset({401, 429})
"""Statuses below 500 that aren't the caller's fault: our credentials are refused, or the cluster is overloaded."""

AnswerT = TypeVar("AnswerT", TransportApiResponse, NodeApiResponse)
"""An answer whose body is decoded, or one whose body is bytes."""
SendOnce: TypeAlias = Callable[[float | None], Awaitable[AnswerT]]
"""Chooses a node and sends it the request once. The argument is the timeout in seconds."""

PING_SECONDS = 2.0
"""How long a node has to answer a ping, after a call of the public client has timed out there."""


class Transport(AsyncTransport):
    """elasticsearch-py's transport, with our own pools, breakers and retry policy. Lives as long as its client."""

    def __init__(
        self,
        nodes: list[NodeConfig],
        *args: Any,
        pools: Pools,
        retry: RetryPolicy,
        backs_up: bool,
        clock: Clock = monotonic,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            backs_up: Whether a second node is asked if the first one fails or takes half of the time. Not for the calls
                of other people's views, which may be costly and may need all their time.
        """
        super().__init__(nodes, *args, **kwargs)
        self._pools = pools
        self._retry = retry
        self._backs_up = backs_up
        self._clock = clock
        self._pings: dict[str, asyncio.Task[None]] = {}
        self._request_timeout = nodes[0].request_timeout

    @property
    def nodes(self) -> NodePool:
        """The nodes of the client."""
        return cast("NodePool", self.node_pool)

    @property
    def backs_up(self) -> bool:
        """True if the present call may go to a second node before its time is over."""
        return self._backs_up and len(self.node_pool) > 1 and not is_fixed()

    def report(self) -> dict[str, PoolReport]:
        """Return the report of each pool."""
        nodes = cast("list[Node]", self.node_pool.all())
        return self._pools.report(sum(node.open_connections for node in nodes))

    def windows(self) -> dict[str, dict[str, WindowReport]]:
        """Return what callers got lately: by pool, for searches and for other calls."""
        return self._pools.windows()

    def whole_minute(self, number: int) -> MinuteCounts:
        """Return what callers of searches got in one minute, which must have just ended."""
        return self._pools.whole_minute(number)

    def breaker_reports(self) -> dict[str, BreakerReport]:
        """Return the reports of the breakers, by pool."""
        return self._pools.breaker_reports()

    async def perform_request(  # type: ignore[override]
        self, method: str, target: str, *, request_timeout: float | DefaultType | None = DEFAULT, **kwargs: Any
    ) -> TransportApiResponse:
        """Make one call, with its retries. The arguments are those of `AsyncTransport.perform_request`, whose own retry
        arguments have no effect.

        `request_timeout` is the time for all attempts and the waits between them, from the moment the first is sent.

        Raises `PoolTimeout`, `PoolExhausted` or `BreakerOpen` if nothing may be sent, `UnsupportedProductError` for an
        answer that is not Elasticsearch's, and otherwise what elastic-transport raises.
        """
        allowed = self._request_timeout if isinstance(request_timeout, DefaultType) else request_timeout
        kwargs.update(max_retries=0, retry_on_status=(), retry_on_timeout=False)

        async def send(timeout: float | None) -> TransportApiResponse:
            # elastic-transport's own part: choose a node, send the request once, decode the answer.
            return await super(Transport, self).perform_request(method, target, request_timeout=timeout, **kwargs)

        return await self._call(method, target, allowed, send)

    async def pass_on(
        self,
        method: str,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        request_timeout: float,
        span: OpenTelemetrySpan,
    ) -> NodeApiResponse:
        """Make one call, with its retries, like `perform_request`; but body and answer stay bytes. `headers` are added
        to those of the nodes; `request_timeout` is in seconds; `span` is told which node answered.
        """

        async def send(timeout: float | None) -> NodeApiResponse:
            node = self.nodes.get()
            span.set_node_metadata(node.host, node.port, node.base_url, target)
            return await node.pass_on(method, target, body, headers, timeout)

        return await self._call(method, target, request_timeout, send)

    async def _call(self, method: str, target: str, allowed: float | None, send: SendOnce[AnswerT]) -> AnswerT:
        """Make one call, with its retries, and count what its caller got."""
        pool = self._pools.pool_for(target)
        kind = kind_of(target)
        began_at = self._clock()
        got: Got | None = Got.FAILURE
        try:
            idempotent = method in IDEMPOTENT_METHODS or kind in READS
            attempts = _Attempts(self, pool, kind, allowed, self._clock)
            response = await self._attempted(attempts, pool, send, idempotent=idempotent)
            got = got_by(kind, response.meta.status, response.body)
        except asyncio.CancelledError:
            got = None  # its caller has left
            raise
        except AnswerTooLarge:
            got = Got.ANSWER  # asking for so much is the caller's fault
            raise
        except (PoolTimeout, PoolExhausted):
            got = Got.REFUSAL  # the pool's refusal; that of a breaker counts as a failure, as earlier calls failed
            raise
        else:
            return response
        finally:
            if got is not None:
                pool.counters.call_ended(kind, got, self._clock() - began_at)

    async def _attempted(
        self, attempts: "_Attempts", pool: Pool, send: SendOnce[AnswerT], *, idempotent: bool
    ) -> AnswerT:
        """Make attempts until one is answered, or no further one is allowed."""
        pool.budget.note_call()
        while True:
            try:
                response = await attempts.next(send)
            except TransportError as error:
                if isinstance(error, ElasticConnectionError | ConnectionTimeout) and attempts.may_ask_second():
                    continue
                delay = self._retry.delay_after_error(attempts.number, error, idempotent=idempotent)
                if delay is None or not attempts.may_go_on(delay):
                    raise
            else:
                if is_index_failure(response.meta.status, response.body):
                    return response
                if response.meta.status in FAILURE_STATUSES and attempts.may_ask_second():
                    continue
                delay = self._retry.delay_after_status(
                    attempts.number,
                    response.meta.status,
                    response.meta.headers.get("retry-after"),
                    idempotent=idempotent,
                )
                if delay is None or not attempts.may_go_on(delay):
                    return response
            await asyncio.sleep(delay)

    async def attempt(self, send: SendOnce[AnswerT], timeout: float | None) -> AnswerT:
        """Send once, and mark the node by the result."""
        call, asked_at = current_call.get(), self._clock()
        try:
            response = await send(timeout)
        except ConnectionTimeout:
            if self._backs_up:
                self.nodes.marks.failed(call.url, asked_at)
            else:
                self._ping(call.url, asked_at)  # one heavy query can take long at a good node too
            raise
        except ElasticConnectionError:
            self.nodes.marks.failed(call.url, asked_at)
            raise
        except (SerializationError, UnsupportedProductError, AnswerTooLarge):
            self.nodes.marks.answered(call.url)
            raise
        self.nodes.marks.answered(call.url)
        return response

    async def close(self) -> None:  # type: ignore[override]
        """Close all connections, and cancel the pings under way."""
        pings = tuple(self._pings.values())
        for ping in pings:
            ping.cancel()
        await asyncio.gather(*pings, return_exceptions=True)
        await super().close()

    def _ping(self, url: str, asked_at: float) -> None:
        """Find out whether a node is there, if there are other nodes to use instead. There is one ping per node at a
        time.
        """
        if len(self.node_pool) > 1 and url not in self._pings:
            self._pings[url] = asyncio.create_task(self._mark_by_ping(url, asked_at), name=f"ping {url}")
            self._pings[url].add_done_callback(lambda _: self._pings.pop(url))

    async def _mark_by_ping(self, url: str, asked_at: float) -> None:
        with only_at(url):
            current_call.set(Call(PoolCounters(), "other"))
            try:
                await self.nodes.get().perform_request("HEAD", "/", request_timeout=PING_SECONDS)
            except (ElasticConnectionError, ConnectionTimeout):
                self.nodes.marks.failed(url, asked_at)
            except UnsupportedProductError:
                return  # something is there


class _Attempts:
    """The attempts of one call."""

    def __init__(self, transport: Transport, pool: Pool, kind: str, allowed: float | None, clock: Clock) -> None:
        self._transport = transport
        self._pool = pool
        self._kind = kind
        self._allowed = allowed
        self._clock = clock
        self._ends_at: float | None = None
        self._tried: tuple[str, ...] = ()
        self._refused_after = 0
        self.number = 0

    def may_go_on(self, delay: float) -> bool:
        """Return True if there is time and budget for another attempt in `delay` seconds, and take it out of the
        budget.
        """
        in_time = self._ends_at is None or self._clock() + delay < self._ends_at
        if in_time and self._pool.budget.spend():
            return True
        # Count this only once per attempt: both a second node and a retry may have been refused.
        self._pool.counters.retries_refused_total += self._refused_after != self.number
        self._refused_after = self.number
        return False

    def may_ask_second(self) -> bool:
        """Return True if a second node may be asked at once, after the first attempt; takes it out of the budget."""
        return self.number == 1 and self._transport.backs_up and self.may_go_on(0.0)

    async def next(self, send: SendOnce[AnswerT]) -> AnswerT:
        """Make one attempt, through breaker and pool."""
        self.number += 1
        breaker = self._pool.breaker
        try:
            breaker.check()
            asked_at = self._clock()
            async with self._pool.connection() as close_connection:
                self._waited(self._clock() - asked_at)
                # Check again: the breaker may have opened while this call waited for a connection.
                permit = breaker.enter()
                self._pool.counters.retries_total += self.number > 1
                seconds = breaker.time_for(permit, self._seconds_left())
                outcome = Outcome.NOTHING
                call = Call(self._pool.counters, self._kind, close_connection, self._tried, permit.probing)
                token = current_call.set(call)
                try:
                    response = await self._transport.attempt(send, seconds)
                except (ElasticConnectionError, ConnectionTimeout) as error:  # TLS among them
                    outcome = Outcome.FAILURE
                    self._pool.last_cause = error.__cause__.cause if isinstance(error.__cause__, NodeFailure) else None
                    raise
                except (SerializationError, UnsupportedProductError, AnswerTooLarge):
                    outcome = Outcome.ANSWER
                    raise
                else:
                    self._pool.last_cause = None
                    outcome = outcome_of(response.meta.status, response.body)
                    return response
                finally:
                    current_call.reset(token)
                    self._tried = (call.url,)
                    breaker.leave(permit, outcome)
        except BreakerOpen as error:
            self._pool.counters.rejected["breaker_open"] += 1
            if self._pool.last_cause is not None:
                error.add_cause(unreachable(self._pool.last_cause))
            raise

    def _waited(self, seconds: float) -> None:
        # The wait for a connection doesn't count: it isn't the cluster's slowness.
        if self._ends_at is not None:
            self._ends_at += seconds

    def _seconds_left(self) -> float | None:
        """Return how many seconds this attempt may take."""
        if self._allowed is None:
            return None
        if self._ends_at is None:
            self._ends_at = self._clock() + self._allowed
            return first_seconds(self._allowed) if self._transport.backs_up else self._allowed
        return max(0.001, self._ends_at - self._clock())


def got_by(kind: str, status: int, body: object) -> Got:
    """Return what the caller of a call got, by its status and its body (decoded or as bytes). An error that is the
    caller's own fault counts as an answer.
    """
    if status >= 500 or status in BAD_STATUSES:
        return Got.FAILURE
    return Got.PART if kind == "search" and is_partial(body) else Got.ANSWER


def outcome_of(status: int, body: object) -> Outcome:
    """Return what an answer says about the cluster. `body` is decoded or bytes."""
    if status in FAILURE_STATUSES:
        return Outcome.ANSWER if is_index_failure(status, body) else Outcome.FAILURE
    return Outcome.SUCCESS if status < 400 or status == 404 else Outcome.ANSWER
