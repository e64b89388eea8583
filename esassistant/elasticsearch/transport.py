"""The transport: each call of elasticsearch-py goes retry( breaker( pool( node ))), attempt by attempt.

elastic-transport's own retries are off (`max_retries=0` on each attempt): it sleeps only after exceptions, so that a
503 is tried four times within milliseconds, and a loop of ours around its own would multiply attempts.
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
"""Statuses by which a cluster, or what stands before it, says that it can't serve. 500 may be one query's fault."""

BAD_STATUSES = frozenset({401, 429})
"""Statuses below 500 that are no caller's fault: our credentials are refused, or the cluster has too much to do."""

AnswerT = TypeVar("AnswerT", TransportApiResponse, NodeApiResponse)
"""Its body is decoded, or bytes."""
SendOnce: TypeAlias = Callable[[float | None], Awaitable[AnswerT]]
"""Chooses a node and asks it once, for at most so many seconds."""

PING_SECONDS = 2.0
"""Within this a node answers that is there, after a call of others has timed out at it."""


class Transport(AsyncTransport):
    """elasticsearch-py's transport with pools, breakers and a retry policy of ours. Lives as long as its client."""

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
        """`backs_up`: whether a second node is asked when the first fails or takes half of the time. Not for calls of
        others, which may be costly, and take as long as they take.
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
        """Whether the call that asks may go to a second node before its time is over."""
        return self._backs_up and len(self.node_pool) > 1 and not is_fixed()

    def report(self) -> dict[str, PoolReport]:
        """What each pool counted so far."""
        nodes = cast("list[Node]", self.node_pool.all())
        return self._pools.report(sum(node.open_connections for node in nodes))

    def windows(self) -> dict[str, dict[str, WindowReport]]:
        """What callers got of late, by pool, of searches and of other calls."""
        return self._pools.windows()

    def whole_minute(self, number: int) -> MinuteCounts:
        """What callers of searches got in one minute, one that has just ended."""
        return self._pools.whole_minute(number)

    def breaker_reports(self) -> dict[str, BreakerReport]:
        """The breakers by pool."""
        return self._pools.breaker_reports()

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

        async def send(timeout: float | None) -> TransportApiResponse:
            # What elastic-transport does of itself: choose a node, ask it once, decode the answer.
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
        """One call with its retries, like `perform_request`, whose body and answer stay the bytes that they are, and
        whose headers are these and those of the nodes.
        """

        async def send(timeout: float | None) -> NodeApiResponse:
            node = self.nodes.get()
            span.set_node_metadata(node.host, node.port, node.base_url, target)
            return await node.pass_on(method, target, body, headers, timeout)

        return await self._call(method, target, request_timeout, send)

    async def _call(self, method: str, target: str, allowed: float | None, send: SendOnce[AnswerT]) -> AnswerT:
        """One call with its retries, by way of `send`. Counts what its caller got."""
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
            got = Got.ANSWER  # whoever asks for so much is to blame
            raise
        except (PoolTimeout, PoolExhausted):
            got = Got.REFUSAL  # not by the breaker: it refuses since calls failed
            raise
        else:
            return response
        finally:
            if got is not None:
                pool.counters.call_ended(kind, got, self._clock() - began_at)

    async def _attempted(
        self, attempts: "_Attempts", pool: Pool, send: SendOnce[AnswerT], *, idempotent: bool
    ) -> AnswerT:
        """Attempts, until one is answered or they are to end."""
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
        """Send once. The node's marks tell what became of it."""
        call, asked_at = current_call.get(), self._clock()
        try:
            response = await send(timeout)
        except ConnectionTimeout:
            if self._backs_up:
                self.nodes.marks.failed(call.url, asked_at)
            else:
                self._ping(call.url, asked_at)  # one heavy query takes long at a good node, too
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
        """Close all connections, and end the pings under way."""
        pings = tuple(self._pings.values())
        for ping in pings:
            ping.cancel()
        await asyncio.gather(*pings, return_exceptions=True)
        await super().close()

    def _ping(self, url: str, asked_at: float) -> None:
        """Find out whether a node is there, one ping at a time, if there are others to ask instead."""
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
        """Whether there is time and budget for another attempt in `delay` seconds; takes it out of the budget."""
        in_time = self._ends_at is None or self._clock() + delay < self._ends_at
        if in_time and self._pool.budget.spend():
            return True
        # Once an attempt: it may have been asked for a second node, and then for a retry.
        self._pool.counters.retries_refused_total += self._refused_after != self.number
        self._refused_after = self.number
        return False

    def may_ask_second(self) -> bool:
        """Whether a second node may be asked at once, after the first attempt; takes it out of the budget."""
        return self.number == 1 and self._transport.backs_up and self.may_go_on(0.0)

    async def next(self, send: SendOnce[AnswerT]) -> AnswerT:
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
        # Waiting for a connection is not the cluster's slowness: it isn't counted.
        if self._ends_at is not None:
            self._ends_at += seconds

    def _seconds_left(self) -> float | None:
        """How long this attempt may take."""
        if self._allowed is None:
            return None
        if self._ends_at is None:
            self._ends_at = self._clock() + self._allowed
            return first_seconds(self._allowed) if self._transport.backs_up else self._allowed
        return max(0.001, self._ends_at - self._clock())


def got_by(kind: str, status: int, body: object) -> Got:
    """What the caller of a call of this kind got, by its status and body, decoded or as bytes. Errors that are the
    caller's own are answers.
    """
    if status >= 500 or status in BAD_STATUSES:
        return Got.FAILURE
    return Got.PART if kind == "search" and is_partial(body) else Got.ANSWER


def outcome_of(status: int, body: object) -> Outcome:
    """What an answer with this status and body, decoded or as bytes, says of the cluster."""
    if status in FAILURE_STATUSES:
        return Outcome.ANSWER if is_index_failure(status, body) else Outcome.FAILURE
    return Outcome.SUCCESS if status < 400 or status == 404 else Outcome.ANSWER
