"""The attempts of one call, by way of retry, breaker and pool: what is asked, how often, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, HttpHeaders, SerializationError
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import UnsupportedProductError

from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.breaker import BreakerPolicy, BreakerState, Outcome
from esassistant.elasticsearch.answers import INDEX_FAILURES
from esassistant.elasticsearch.client import MAX_ANSWER_BYTES
from esassistant.elasticsearch.errors import AnswerTooLarge, BreakerOpen, PoolExhausted, PoolTimeout
from esassistant.elasticsearch.node import EXTRAS, Node, NodeExtras
from esassistant.elasticsearch.node_pool import NodeMarks
from esassistant.elasticsearch.pools import Pool, PoolLimits, Pools
from esassistant.elasticsearch.retry import BUDGET_FLOOR, RetryPolicy
from esassistant.elasticsearch.stats import PoolReport
from esassistant.elasticsearch.transport import Transport, outcome_of
from tests.support.clients import node_pool
from tests.support.fakes import FakeClock

PRODUCT_HEADER = {"X-Elastic-Product": "Elasticsearch"}


@dataclass
class Path:
    """A transport over one pool, with what its test looks at."""

    transport: Transport
    pool: Pool
    clock: FakeClock
    timeouts: list[float | None] = field(default_factory=list)
    """Those of the attempts that were sent."""

    async def get(self, target: str = "/", **options: Any) -> int:
        return (await self.transport.perform_request("GET", target, **options)).meta.status

    @property
    def report(self) -> PoolReport:
        return self.transport.report()["default"]

    def trip(self) -> None:
        for _ in range(20):
            self.pool.breaker.leave(self.pool.breaker.enter(), Outcome.FAILURE)
        assert self.state() is BreakerState.OPEN

    def state(self) -> BreakerState:
        assert self.report.breaker is not None
        return self.report.breaker.state


NewPath = Callable[..., Path]


@pytest.fixture
def marks(fake_clock: FakeClock) -> NodeMarks:
    return NodeMarks(fake_clock)


@pytest.fixture
async def new_path(stub: FaultProxy, fake_clock: FakeClock, marks: NodeMarks) -> AsyncIterator[NewPath]:
    """Makes such a path to the cluster, which answers `{}`; without pauses between attempts."""
    stub.respond("", lambda _: ProxyResponse())
    async with AsyncExitStack() as stack:

        def make(
            max_retries: int = 0,
            request_timeout: float = 10.0,
            policy: Any = None,
            max_answer_bytes: int = MAX_ANSWER_BYTES,
            **limits: Any,
        ) -> Path:
            pool_limits = PoolLimits(**{"maxsize": 5, "wait_seconds": 60.0, **limits})
            pool = Pool("default", pool_limits, policy or BreakerPolicy(jitter=0.0), clock=fake_clock)
            config = url_to_node_config(stub.url).replace(
                request_timeout=request_timeout, _extras={EXTRAS: NodeExtras(10.0, max_answer_bytes)}
            )
            retry = RetryPolicy(max_retries, uniform=lambda low, _: low)
            transport = Transport(
                [config],
                node_class=Node,
                node_pool_class=node_pool(marks),
                retry=retry,
                pools=Pools({"default": pool}),
                backs_up=False,
                clock=fake_clock,
            )
            stack.push_async_callback(transport.close)
            path = Path(transport, pool, fake_clock)
            attempt = transport.attempt

            async def spy(send: Any, timeout: float | None) -> Any:
                path.timeouts.append(timeout)
                return await attempt(send, timeout)

            transport.attempt = spy  # type: ignore[method-assign]
            return path

        yield make


@pytest.fixture
def no_node_is_blamed(stub: FaultProxy, marks: NodeMarks) -> Iterator[None]:
    """At the end of the test the node isn't marked as one that failed."""
    yield
    assert not marks.is_marked(stub.url)


def failing_after(stub: FaultProxy, clock: FakeClock, seconds: float, headers: dict[str, str]) -> None:
    """Have the cluster answer 503 each time, after so many seconds of the fake clock."""

    def answer(_: ProxyRequest) -> ProxyResponse:
        clock.now += seconds
        return ProxyResponse(status=503, headers=headers)

    stub.stop_responding()
    stub.respond("", answer)


async def test_one_deadline_for_all_attempts(stub: FaultProxy, new_path: NewPath) -> None:
    """Each attempt has what those before it left; when nothing is left there is no further one, and that is counted."""
    path = new_path(max_retries=10)
    failing_after(stub, path.clock, 0.75, {})
    assert await path.get(request_timeout=2.0) == 503
    assert path.timeouts == [2.0, 1.25, 0.5]
    assert stub.count() == 3
    assert (path.report.requests_total, path.report.retries_total, path.report.retries_refused_total) == (3, 2, 1)


async def test_no_deadline(stub: FaultProxy, new_path: NewPath) -> None:
    """A call that asks for none is tried as often as may be, without a timeout."""
    path = new_path(max_retries=3)
    failing_after(stub, path.clock, 1000.0, {})
    assert await path.get(request_timeout=None) == 503
    assert path.timeouts == [None] * 4


async def test_the_clients_own_timeout(new_path: NewPath) -> None:
    """A call that says nothing of a timeout has its client's."""
    path = new_path(request_timeout=7.0)
    await path.get()
    assert path.timeouts == [7.0]


@pytest.mark.parametrize(("wish", "attempts"), [("0", 4), ("1", 1), ("2", 1)])
async def test_retry_after_beyond_the_deadline(stub: FaultProxy, new_path: NewPath, wish: str, attempts: int) -> None:
    """A `Retry-After` that doesn't fit into the call's time ends the retries at once, instead of sleeping in vain."""
    path = new_path(max_retries=3)
    with stub.fault(status=429, headers={"Retry-After": wish}):
        assert await path.get(request_timeout=1.0) == 429
    assert stub.count() == attempts
    assert path.report.retries_refused_total == (attempts == 1)


async def test_waiting_takes_nothing_from_the_deadline(stub: FaultProxy, new_path: NewPath) -> None:
    """The time of a call begins when its first attempt is sent: a full pool is not the cluster's slowness."""
    path = new_path(maxsize=1)
    with stub.fault(blackhole=True) as rule:
        calls = [asyncio.create_task(path.get(request_timeout=10.0)) for _ in range(2)]
        await stub.arrived()
        path.clock.now += 100.0
        stub.remove(rule)
        assert await asyncio.gather(*calls) == [200, 200]
    assert path.timeouts == [10.0, 10.0]


async def test_an_attempt_always_has_some_time(stub: FaultProxy, new_path: NewPath) -> None:
    """If the deadline passes between the decision for another attempt and the attempt, it gets a moment, not 0, which
    would mean no timeout at all.
    """
    path = new_path(max_retries=1)
    budget = path.pool.budget
    spend = budget.spend

    def late() -> bool:
        path.clock.now += 60.0
        return spend()

    budget.spend = late  # type: ignore[method-assign]
    with stub.fault(status=503, times=1), pytest.raises(ConnectionTimeout), stub.fault(blackhole=True):
        await path.get(request_timeout=10.0)
    assert path.timeouts == [10.0, 0.001]


@pytest.mark.parametrize(
    ("method", "target", "attempts"),
    [
        ("POST", "/logs/_search", 3),
        ("POST", "/_msearch", 3),
        ("POST", "/logs/_count", 3),
        ("GET", "/logs/_doc/1", 3),
        ("HEAD", "/logs", 3),
        ("POST", "/logs/_doc", 1),
        ("PUT", "/logs/_doc/1", 1),
        ("POST", "/_bulk", 1),
        ("DELETE", "/logs", 1),
        ("POST", "/_search/scroll", 1),
        ("POST", "/logs/_update_by_query", 1),
    ],
)
async def test_only_reads_are_tried_again(
    stub: FaultProxy, new_path: NewPath, method: str, target: str, attempts: int
) -> None:
    """What changes nothing is tried again, by whichever method; what may change something isn't, a scroll neither."""
    path = new_path(max_retries=2)
    with stub.fault(cut=True), pytest.raises(ElasticConnectionError):
        await path.transport.perform_request(method, target)
    with stub.fault(status=503):
        await path.transport.perform_request(method, target)
    assert (stub.count(), path.report.requests_total) == (2 * attempts, 2 * attempts)
    assert path.report.retries_total == 2 * (attempts - 1)


async def test_retries_are_within_the_budget(stub: FaultProxy, new_path: NewPath) -> None:
    """When everything fails there are a tenth more requests than calls, and ten; each retry that isn't made is
    counted.
    """
    path = new_path(max_retries=1, policy=BreakerPolicy(minimum_calls=None))
    with stub.fault(status=503):
        for _ in range(40):
            await path.get()
    assert stub.count() == path.report.requests_total == 40 + 4 + BUDGET_FLOOR
    assert (path.report.retries_total, path.report.retries_refused_total) == (14, 26)


@pytest.mark.usefixtures("no_node_is_blamed")
@pytest.mark.parametrize(
    ("limits", "error"),
    [({"block": False}, PoolExhausted), ({"wait_seconds": 0.05}, PoolTimeout)],
)
async def test_a_full_pool_is_not_the_clusters_fault(
    stub: FaultProxy, new_path: NewPath, limits: dict[str, Any], error: type[Exception]
) -> None:
    """A call that gets no connection is refused once, blames no node and doesn't count for the breaker."""
    path = new_path(max_retries=3, maxsize=1, **limits)
    with stub.fault(blackhole=True) as rule:
        call = asyncio.create_task(path.get())
        await stub.arrived()
        with pytest.raises(error):
            await path.get()
        stub.remove(rule)
        assert await call == 200
    report = path.report
    assert (report.requests_total, report.retries_total, sum(report.rejected.values())) == (1, 0, 1)
    assert report.breaker is not None
    assert (report.breaker.calls, report.breaker.failures) == (1, 0)


@pytest.mark.usefixtures("no_node_is_blamed")
async def test_an_open_breaker_refuses(stub: FaultProxy, new_path: NewPath) -> None:
    """While the breaker is open nothing is sent, tried again or taken from the pool; each refusal is counted."""
    path = new_path(max_retries=3)
    path.trip()
    for _ in range(5):
        with pytest.raises(BreakerOpen) as caught:
            await path.get()
        assert (caught.value.status, caught.value.retry_after_seconds) == (503, 5.0)
        assert caught.value.detail == "Elasticsearch is not asked at the moment: 20 of 20 calls failed within 10 s."
    assert (stub.connections_total, path.report.requests_total, path.report.in_use) == (0, 0, 0)
    assert path.report.rejected == {"pool_timeout": 0, "pool_exhausted": 0, "breaker_open": 5}


async def test_opening_while_a_call_waits(stub: FaultProxy, new_path: NewPath) -> None:
    """A call that waited for a connection while the breaker opened is refused without having been sent."""
    path = new_path(maxsize=1)
    with stub.fault(blackhole=True) as rule:
        first, second = (asyncio.create_task(path.get()) for _ in range(2))
        await stub.arrived()
        path.trip()
        stub.remove(rule)
        assert await first == 200
        with pytest.raises(BreakerOpen):
            await second
    assert (stub.count(), path.report.rejected["breaker_open"], path.report.in_use) == (1, 1, 0)
    assert path.state() is BreakerState.OPEN


async def test_an_open_breaker_says_why_the_last_call_failed(stub: FaultProxy, new_path: NewPath) -> None:
    """Whoever is refused hears the cause and its remedy; of a cluster that answers 503 there is none to tell."""
    path = new_path(policy=BreakerPolicy(minimum_calls=1))
    with stub.fault(cut=True), pytest.raises(ElasticConnectionError):
        await path.get()
    with pytest.raises(BreakerOpen) as caught:
        await path.get()
    assert "failed within 10 s. The last failure: Elasticsearch could not be reached: " in caught.value.detail
    assert str(stub.port) not in caught.value.detail
    path.pool.last_cause = None
    with pytest.raises(BreakerOpen) as caught:
        await path.get()
    assert caught.value.detail.endswith("failed within 10 s.")


async def test_a_call_that_trips_the_breaker(stub: FaultProxy, new_path: NewPath) -> None:
    """Retries stop when the breaker opens between two attempts, and only those that were sent are counted."""
    path = new_path(max_retries=9, policy=BreakerPolicy(minimum_calls=3))
    with stub.fault(cut=True), pytest.raises(BreakerOpen, match="3 of 3 calls failed"):
        await path.get()
    assert (stub.count(), path.report.requests_total, path.report.retries_total) == (3, 3, 2)
    assert path.report.rejected["breaker_open"] == 1


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"status": 503}, BreakerState.OPEN),
        ({"cut": True}, BreakerState.OPEN),
        ({"blackhole": True}, BreakerState.OPEN),
        ({"status": 500}, BreakerState.CLOSED),
        ({"status": 401}, BreakerState.CLOSED),
        ({"status": 200, "body": "{"}, BreakerState.CLOSED),
        ({}, BreakerState.CLOSED),
    ],
)
async def test_what_a_probe_finds(
    stub: FaultProxy, new_path: NewPath, fault: dict[str, Any], state: BreakerState
) -> None:
    """A probe that the cluster answers closes the breaker, whatever the answer; one that fails opens it again. It may
    take no longer than a probe may.
    """
    path = new_path(policy=BreakerPolicy(jitter=0.0, probe_seconds=0.1 if "blackhole" in fault else 5.0))
    path.trip()
    path.clock.now += 5.0
    with stub.fault(**fault):
        try:
            await path.get()
        except (ElasticConnectionError, ConnectionTimeout, SerializationError) as error:
            assert ("status" in fault) == isinstance(error, SerializationError)  # noqa: PT017
    assert path.state() is state
    assert path.timeouts == [0.1 if "blackhole" in fault else 5.0]


async def test_one_probe_at_a_time(stub: FaultProxy, new_path: NewPath) -> None:
    """Of fifty calls that come when an open breaker is due, one is sent; cancelled, it makes room for the next."""
    path = new_path(maxsize=100)
    path.trip()
    path.clock.now += 5.0
    with stub.fault(blackhole=True):
        calls = [asyncio.create_task(path.get()) for _ in range(50)]
        await stub.arrived()
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        done, pending = await asyncio.wait(calls, timeout=0.01)
        assert (stub.count(), len(done), len(pending)) == (1, 49, 1)
        assert {type(call.exception()) for call in done} == {BreakerOpen}
        pending.pop().cancel()
        await asyncio.wait(calls)
    assert path.state() is BreakerState.HALF_OPEN
    assert await path.get() == 200
    assert path.state() is BreakerState.CLOSED


async def test_a_callers_mistake_says_nothing(new_path: NewPath) -> None:
    """A request that can't be sent says nothing of the cluster, and gives its place back."""
    path = new_path()
    with pytest.raises(ValueError, match="header"):
        await path.get(headers=HttpHeaders({"x": "a\r\nb: c"}))
    assert path.report.breaker is not None
    assert (path.report.breaker.calls, path.report.in_use) == (0, 0)


async def test_the_slot_is_given_back_before_the_backoff(stub: FaultProxy, new_path: NewPath) -> None:
    """While a call waits for its next attempt another one uses the only connection."""
    path = new_path(max_retries=1, maxsize=1, request_timeout=60.0)
    with stub.fault(path="^/slow", status=429, headers={"Retry-After": "5"}):
        slow = asyncio.create_task(path.get("/slow"))
        await stub.arrived("^/slow")
        assert await path.get("/quick") == 200
        assert not slow.done()
        slow.cancel()
        await asyncio.wait([slow])
    assert path.report.in_use == 0


async def test_calls_are_counted_by_kind(stub: FaultProxy, new_path: NewPath) -> None:
    """Each attempt counts for its kind of call, as the cluster saw it."""
    path = new_path(max_retries=2)
    with stub.fault(path="_search", status=503, times=2):
        await path.transport.perform_request("POST", "/logs/_search")
    await path.get("/_cat/indices")
    calls = {kind: (calls.requests_total, calls.failures_total) for kind, calls in path.report.calls.items()}
    assert calls == {"search": (3, 2), "cat": (1, 0)}
    assert (stub.count("_search"), stub.count("_cat")) == (3, 1)


@pytest.mark.usefixtures("no_node_is_blamed")
async def test_a_gateway_counts_for_nothing(stub: FaultProxy, new_path: NewPath) -> None:
    """An answer that is not Elasticsearch's isn't tried again, trips no breaker and is enough for a probe."""
    path = new_path(max_retries=3)
    stub.stop_responding()
    stub.respond("", lambda _: ProxyResponse("404 page not found", 404, {"X-Elastic-Product": ""}))
    for _ in range(60):
        with pytest.raises(UnsupportedProductError):
            await path.get()
    assert (stub.count(), path.state()) == (60, BreakerState.CLOSED)
    path.trip()
    path.clock.advance(60.0)
    with pytest.raises(UnsupportedProductError):
        await path.get()
    assert path.state() is BreakerState.CLOSED


@pytest.mark.usefixtures("no_node_is_blamed")
async def test_too_large_an_answer_counts_for_nothing(stub: FaultProxy, new_path: NewPath) -> None:
    """An answer beyond the bound isn't tried again, trips no breaker and is enough for a probe: the question may be to
    blame.
    """
    path = new_path(max_retries=3, max_answer_bytes=1)
    for _ in range(60):
        with pytest.raises(AnswerTooLarge):
            await path.get()
    assert (stub.count(), path.state(), path.report.failures["too_large"]) == (60, BreakerState.CLOSED, 60)
    path.trip()
    path.clock.advance(60.0)
    with pytest.raises(AnswerTooLarge):
        await path.get()
    assert path.state() is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 304, 404), Outcome.SUCCESS),
        ((400, 401, 403, 409, 429, 500, 501), Outcome.ANSWER),
        ((502, 503, 504), Outcome.FAILURE),
    ],
)
def test_outcomes(statuses: tuple[int, ...], outcome: Outcome) -> None:
    """Only statuses by which a cluster says that it can't serve count against it."""
    assert {outcome_of(status, {"error": {"type": "some_exception"}}) for status in statuses} == {outcome}


@pytest.mark.parametrize("kind", sorted(INDEX_FAILURES))
@pytest.mark.usefixtures("no_node_is_blamed")
async def test_the_failure_of_an_index(stub: FaultProxy, new_path: NewPath, kind: str) -> None:
    """It is not tried again, blames no node and trips no breaker: the index is red, the cluster is there."""
    path = new_path(max_retries=3)
    with stub.fault(status=503, headers=PRODUCT_HEADER, body=f'{{"error":{{"type":"{kind}"}},"status":503}}'):
        for _ in range(60):
            assert await path.get() == 503
    assert (stub.count(), path.state()) == (60, BreakerState.CLOSED)
    assert path.report.failures["status_5xx"] == 60
    assert path.report.breaker is not None
    assert path.report.breaker.calls == 0


@pytest.mark.usefixtures("no_node_is_blamed")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_no_answer_blames_a_node(stub: FaultProxy, new_path: NewPath, status: int) -> None:
    """Whatever a node answers, it is there; a 503 is the master's who is away as often as its own."""
    with stub.fault(status=status):
        await new_path().get()


async def test_silence_blames_the_node(stub: FaultProxy, new_path: NewPath, marks: NodeMarks) -> None:
    """A connection that is cut says that the node isn't there, until it answers."""
    path = new_path()
    with stub.fault(cut=True), pytest.raises(ElasticConnectionError):
        await path.get()
    assert marks.is_marked(stub.url)
    await path.get()
    assert not marks.is_marked(stub.url)
