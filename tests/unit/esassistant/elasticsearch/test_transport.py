"""The transport tries again exactly as often as its policy says, counted where the requests arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, SerializationError
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import ApiError

from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.breaker import BreakerPolicy, Outcome
from esassistant.elasticsearch.client import MAX_ANSWER_BYTES, new_client
from esassistant.elasticsearch.errors import AnswerTooLarge, BreakerOpen, PoolExhausted
from esassistant.elasticsearch.node import EXTRAS, Node, NodeExtras, reading_at_most
from esassistant.elasticsearch.node_pool import NodeMarks, only_at
from esassistant.elasticsearch.pools import Pool, PoolLimits, Pools
from esassistant.elasticsearch.retry import RetryPolicy
from esassistant.elasticsearch.stats import PoolReport
from esassistant.elasticsearch.transport import Transport, got_by
from esassistant.windows import Got
from tests.support.clients import elasticsearch_config, node_pool, pools
from tests.support.fakes import FakeClock

NewTransport = Callable[..., Transport]


@pytest.fixture
async def new_transport(stub: FaultProxy) -> AsyncIterator[NewTransport]:
    """Makes transports to the cluster, which answers `{}`; they are closed at the end of the test."""
    stub.respond("", lambda _: ProxyResponse())
    async with AsyncExitStack() as stack:

        def make(max_retries: int = 0, base_seconds: float = 0.001, request_timeout: float = 2.0) -> Transport:
            config = url_to_node_config(stub.url).replace(
                request_timeout=request_timeout, _extras={EXTRAS: NodeExtras(2.0, MAX_ANSWER_BYTES)}
            )
            retry = RetryPolicy(max_retries, base_seconds, uniform=lambda _, high: high)
            transport = Transport(
                [config], node_class=Node, node_pool_class=node_pool(), retry=retry, pools=pools(), backs_up=False
            )
            stack.push_async_callback(transport.close)
            return transport

        yield make


def reported(transport: Transport) -> PoolReport:
    """What the one pool counted."""
    [report] = transport.report().values()
    return report


@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_attempts_on_a_passing_status(
    stub: FaultProxy, new_transport: NewTransport, max_retries: int, status: int
) -> None:
    """Exactly `max_retries` + 1 attempts, and the last answer is returned."""
    transport = new_transport(max_retries)
    with stub.fault(status=status):
        response = await transport.perform_request("GET", "/")
    assert response.meta.status == status
    assert stub.count() == max_retries + 1
    report = reported(transport)
    assert (report.requests_total, report.retries_total, report.failures_total, report.in_use) == (
        max_retries + 1,
        max_retries,
        max_retries + 1,
        0,
    )


@pytest.mark.parametrize("max_retries", [0, 3])
async def test_attempts_on_broken_connections(stub: FaultProxy, new_transport: NewTransport, max_retries: int) -> None:
    """Exactly `max_retries` + 1 attempts, and then the error."""
    transport = new_transport(max_retries)
    with stub.fault(cut=True), pytest.raises(ElasticConnectionError):
        await transport.perform_request("HEAD", "/")
    assert stub.count() == max_retries + 1
    assert reported(transport).retries_total == max_retries


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": True}])
async def test_retries_end_with_success(stub: FaultProxy, new_transport: NewTransport, fault: dict[str, Any]) -> None:
    """After two failures the third attempt's answer is returned, and there is no fourth."""
    with stub.fault(**fault, times=2):
        response = await new_transport(3).perform_request("GET", "/")
    assert (response.meta.status, response.body, stub.count()) == (200, {}, 3)


async def test_a_timeout_is_not_tried_again(stub: FaultProxy, new_transport: NewTransport) -> None:
    """One attempt on a timeout, however the caller asks: a hanging server would get ever more work."""
    transport = new_transport(3, request_timeout=0.05)
    with stub.fault(blackhole=True), pytest.raises(ConnectionTimeout):
        await transport.perform_request("GET", "/", retry_on_timeout=True, max_retries=5)
    assert (stub.count(), reported(transport).retries_total) == (1, 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_writes_are_not_tried_again(stub: FaultProxy, new_transport: NewTransport, method: str) -> None:
    """One attempt for whatever may change something, on a passing status and on a broken connection."""
    transport = new_transport(3)
    with stub.fault(status=503):
        assert (await transport.perform_request(method, "/")).meta.status == 503
    with stub.fault(cut=True), pytest.raises(ElasticConnectionError):
        await transport.perform_request(method, "/")
    assert (stub.count(), reported(transport).retries_total) == (2, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_lasting_statuses_are_answers(stub: FaultProxy, new_transport: NewTransport, status: int) -> None:
    """One attempt where another would get the same answer, even if the caller lists the status."""
    with stub.fault(status=status):
        response = await new_transport(3).perform_request("GET", "/", retry_on_status=(status,), max_retries=5)
    assert (response.meta.status, stub.count()) == (status, 1)


async def test_an_answer_that_cannot_be_read_is_not_tried_again(stub: FaultProxy, new_transport: NewTransport) -> None:
    """A body that isn't what its type says is an error at once."""
    with stub.fault(status=200, body="{"), pytest.raises(SerializationError):
        await new_transport(3).perform_request("GET", "/")
    assert stub.count() == 1


@pytest.mark.parametrize(("retry_after", "attempts"), [("0", 4), ("3600", 1), ("Fri, 31 Dec 1999 23:59:59 GMT", 4)])
async def test_retry_after(stub: FaultProxy, new_transport: NewTransport, retry_after: str, attempts: int) -> None:
    """A server that wants to be left alone for long is; what can't be read doesn't change the retries."""
    with stub.fault(status=429, headers={"Retry-After": retry_after}):
        assert (await new_transport(3).perform_request("GET", "/")).meta.status == 429
    assert stub.count() == attempts


async def test_a_backoff_holds_nothing(stub: FaultProxy, new_transport: NewTransport) -> None:
    """A call that waits before its next attempt has no connection in use, and can be cancelled."""
    transport = new_transport(3, base_seconds=60, request_timeout=60)
    with stub.fault(status=503):
        call = asyncio.create_task(transport.perform_request("GET", "/"))
        async with asyncio.timeout(5):
            while reported(transport).failures["status_5xx"] == 0 or reported(transport).in_use:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert stub.count() == 1


async def test_a_probe_goes_to_a_node_that_answers(stub: FaultProxy, fake_clock: FakeClock) -> None:
    """What a half-open breaker lets through is not spent on finding out whether a node is back that failed: its failure
    would keep all calls from the node that answers.
    """
    stub.respond("", lambda _: ProxyResponse())
    config = elasticsearch_config(stub.url)
    gone = "http://127.0.0.1:1"
    marks = NodeMarks(fake_clock)
    pool = Pool("cache", PoolLimits(5), BreakerPolicy(jitter=0.0), clock=fake_clock)
    client = new_client(
        replace(config, urls=(gone, stub.url)),
        Pools({"cache": pool}),
        request_timeout=2.0,
        max_retries=0,
        marks=marks,
        backs_up=True,
    )
    async with client:
        marks.failed(gone, fake_clock())
        for _ in range(20):
            pool.breaker.leave(pool.breaker.enter(), Outcome.FAILURE)
        fake_clock.advance(10.0)
        await client.perform_request("GET", "/")
        assert (stub.count(), marks.is_marked(gone)) == (1, True)
        assert repr(pool.breaker) == "<Breaker pool cache: closed>"
        await client.perform_request("GET", "/")  # the next call does find out, and a second node answers it
        assert marks.rest_of(gone) > 0


GOT: dict[str, dict[str, Any]] = {
    "answer": {"body": b'{"took":1,"timed_out":false,"_shards":{"total":1,"failed":0}}'},
    "part": {"body": b'{"took":1,"timed_out":true,"_shards":{"total":1,"failed":0}}'},
    "failure": {"status": 500},
}


@pytest.mark.parametrize("got", GOT)
async def test_what_callers_got(stub: FaultProxy, new_transport: NewTransport, got: str) -> None:
    """A whole call is counted once, by what its caller got, of searches and of other calls apart."""
    transport = new_transport()
    wanted = GOT[got]
    stub.stop_responding()
    stub.respond("_search", lambda _: ProxyResponse(wanted.get("body", b"{}"), wanted.get("status", 200)))
    stub.respond("", lambda _: ProxyResponse())
    await transport.perform_request("GET", "/a/_search")
    await transport.perform_request("GET", "/")
    report = reported(transport)
    assert {name for name, count in report.got["search"].items() if count} == {got}
    assert report.got["other"]["answer"] == 1
    windows = transport.windows()["default"]
    assert (windows["search"].calls, windows["search"].last[0].got.value, windows["other"].calls) == (1, got, 1)


async def test_what_callers_got_without_an_answer(stub: FaultProxy, new_transport: NewTransport) -> None:
    """A timeout is a failure, and so is what an open breaker says; a full pool is a refusal, an answer too large is
    the caller's own fault, and a caller who leaves gets nothing.
    """
    transport = new_transport(request_timeout=0.2)
    with stub.fault(blackhole=True):
        with pytest.raises(ConnectionTimeout):
            await transport.perform_request("GET", "/a/_search")
        leaves = asyncio.create_task(transport.perform_request("GET", "/a/_search", request_timeout=9))
        await stub.arrived("/a/_search", 2)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
    stub.stop_responding()
    stub.respond("large", lambda _: ProxyResponse(b" " * 20))
    with reading_at_most(10), pytest.raises(AnswerTooLarge):
        await transport.perform_request("GET", "/large/_search")
    for error in (BreakerOpen("no", retry_after_seconds=1), PoolExhausted("no", retry_after_seconds=1)):
        with refusing(transport, error), pytest.raises(type(error)):
            await transport.perform_request("GET", "/a/_search")
    assert reported(transport).got["search"] == {"answer": 1, "part": 0, "failure": 2, "refusal": 1}
    assert transport.breaker_reports() == {}  # of a breaker that never trips


@contextmanager
def refusing(transport: Transport, error: Exception) -> Iterator[None]:
    """Have each call refused with this error, for the length of the block."""

    def refuse() -> None:
        raise error

    breaker = transport._pools.pool_for("/").breaker
    breaker.check = refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        del breaker.check


async def test_a_long_poll_has_no_latency(stub: FaultProxy, new_transport: NewTransport) -> None:
    """A call that waits on purpose is counted, and how long it took is not."""
    transport = new_transport()
    await transport.perform_request("GET", "/_cluster/state?wait_for_metadata_version=7")
    report = reported(transport)
    assert (report.requests_total, report.calls["long_poll"].requests_total) == (1, 1)
    assert (report.latency.samples, report.calls["long_poll"].latency.samples) == (0, 0)
    assert transport.windows() == {"default": {}}


@pytest.mark.parametrize(
    ("kind", "status", "got"),
    [
        ("search", 200, Got.ANSWER),
        ("search", 400, Got.ANSWER),
        ("search", 404, Got.ANSWER),
        ("search", 401, Got.FAILURE),
        ("search", 429, Got.FAILURE),
        ("search", 503, Got.FAILURE),
    ],
)
def test_who_is_to_blame(kind: str, status: int, got: Got) -> None:
    """What a caller is to blame for is an answer; that our credentials are refused, or the cluster is busy, is not."""
    assert got_by(kind, status, b"{}") is got
    assert got_by("count", 200, {"timed_out": True}) is Got.ANSWER


@pytest.mark.parametrize(
    ("answer", "rests"),
    [
        ({"cut": True}, True),
        ({"status": 200, "body": "{}", "headers": {"X-Elastic-Product": "Elasticsearch"}}, False),
        ({"status": 404, "body": "<html>", "headers": {"X-Elastic-Product": ""}}, False),
    ],
)
async def test_after_a_timeout_a_ping_decides_whether_a_node_rests(
    stub: FaultProxy, fake_clock: FakeClock, answer: dict[str, Any], rests: bool
) -> None:
    """A call of others that takes too long may be heavy: its node rests only where a ping finds nothing there."""
    marks = NodeMarks(fake_clock)
    config = replace(elasticsearch_config(stub.url), urls=(stub.url, "http://127.0.0.1:1"))
    client = new_client(config, pools(), request_timeout=0.2, max_retries=0, marks=marks, backs_up=False)
    async with client:
        with stub.fault(method="GET", blackhole=True), stub.fault(method="HEAD", **answer):
            with only_at(stub.url), pytest.raises(ConnectionTimeout):
                await client.perform_request("GET", "/")
            await stub.arrived(method="HEAD")
            async with asyncio.timeout(5):
                while cast("Transport", client.transport)._pings:  # noqa: ASYNC110  (the ping's task is the transport's own)
                    await asyncio.sleep(0.01)
        assert marks.is_marked(stub.url) is rests


async def test_pings_end_with_their_transport(stub: FaultProxy, fake_clock: FakeClock) -> None:
    """A ping under way is cancelled when the client is closed."""
    config = replace(elasticsearch_config(stub.url), urls=(stub.url, "http://127.0.0.1:1"))
    client = new_client(
        config, pools(), request_timeout=0.2, max_retries=0, marks=NodeMarks(fake_clock), backs_up=False
    )
    with stub.fault(blackhole=True):
        async with client:
            with only_at(stub.url), pytest.raises(ConnectionTimeout):
                await client.perform_request("GET", "/")
            await stub.arrived(method="HEAD")
            [ping] = cast("Transport", client.transport)._pings.values()
        assert ping.cancelled()


async def test_a_refused_attempt_is_counted_once(stub: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a budget neither a second node nor a retry is asked, which is one refusal."""
    config = replace(elasticsearch_config(stub.url), urls=(stub.url, stub.url.replace("127.0.0.1", "localhost")))
    pool = Pool("default", PoolLimits(5), BreakerPolicy(jitter=0.0))
    monkeypatch.setattr(pool.budget, "spend", lambda: False)
    client = new_client(config, Pools({"default": pool}), request_timeout=5.0, max_retries=2, backs_up=True)
    async with client:
        with stub.fault(status=503), pytest.raises(ApiError):
            await client.info()
        assert (stub.count(), reported(cast("Transport", client.transport)).retries_refused_total) == (1, 1)
