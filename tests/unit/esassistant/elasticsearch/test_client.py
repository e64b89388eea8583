"""Our Elasticsearch clients, as their callers see them."""

import asyncio
import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import elasticsearch
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig, SerializationError
from elasticsearch import ApiError, TransportError

from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.breaker import BreakerPolicy, BreakerReport, BreakerState
from esassistant.elasticsearch.client import new_client, report, searches_of_minute, sync_client, unavailable
from esassistant.elasticsearch.errors import AnswerTooLarge, BreakerOpen, PoolTimeout
from esassistant.elasticsearch.health import ping_cluster, pools_health
from esassistant.elasticsearch.pools import Pool, PoolLimits
from esassistant.elasticsearch.stats import PoolReport
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Health, PingResult
from esassistant.windows import minutes_together
from tests.support.clients import Certificate, elasticsearch_config, pools
from tests.support.fakes import denied, minute_now

NO_AUTHORIZATION = "none"
CREDENTIALS = [
    ({"api_key": "secret"}, "ApiKey secret"),
    ({"username": "user", "password": "pass"}, f"Basic {base64.b64encode(b'user:pass').decode()}"),
    ({}, NO_AUTHORIZATION),
]


def client_of(proxy: FaultProxy, *, raw: bool = False, max_retries: int = 0, **changes: Any) -> Any:
    config = elasticsearch_config(proxy.url, **changes)
    return new_client(config, pools(), request_timeout=2, max_retries=max_retries, raw=raw)


def whoever_asks(proxy: FaultProxy) -> list[str]:
    """The Authorization headers of the requests that the proxy answers with `{}`."""
    seen: list[str] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        seen.append(request.headers.get("authorization", NO_AUTHORIZATION))
        return ProxyResponse()

    proxy.respond("", answer)
    return seen


@pytest.mark.parametrize(("changes", "header"), CREDENTIALS)
async def test_credentials(stub: FaultProxy, changes: dict[str, Any], header: str) -> None:
    """The API key, or user name and password, go with each request; without them there is no header."""
    seen = whoever_asks(stub)
    async with client_of(stub, **changes) as client:
        await client.info()
    assert seen == [header]


@pytest.mark.parametrize(("changes", "header"), CREDENTIALS)
def test_credentials_of_the_sync_client(stub: FaultProxy, changes: dict[str, Any], header: str) -> None:
    """The synchronous client knows the same credentials."""
    seen = whoever_asks(stub)
    with sync_client(elasticsearch_config(stub.url, **changes)) as client:
        client.info()
    assert seen == [header]


async def test_no_io_before_the_first_call(stub: FaultProxy) -> None:
    """Making and closing a client connects to nothing."""
    async with client_of(stub) as client:
        assert report(client)["default"].max_connections == 5
    assert stub.connections_total == 0


async def test_report_and_retries(stub: FaultProxy) -> None:
    """A client's report counts its own calls, retries included."""
    stub.respond("", lambda _: ProxyResponse())
    async with client_of(stub, max_retries=1) as client, client_of(stub) as other:
        with stub.fault(status=503, times=1):
            await client.info()
        counted = report(client)["default"]
        assert (counted.requests_total, counted.retries_total, counted.success_percent) == (2, 1, 50.0)
        assert report(other)["default"].requests_total == 0


async def test_searches_of_a_minute(stub: FaultProxy) -> None:
    """A client tells what callers of its searches got in one minute: whole calls, however often each was tried."""
    first = minute_now()
    stub.respond("", lambda _: ProxyResponse(b'{"took":1,"timed_out":false,"_shards":{"total":1,"failed":0}}'))
    async with client_of(stub, max_retries=1) as client, client_of(stub) as other:
        with stub.fault(status=503, times=1):
            await client.search(index="a")
        await client.info()
        numbers = range(first, minute_now() + 1)
        minute = minutes_together(searches_of_minute(client, number) for number in numbers)
        assert (minute.calls, minute.bad, sum(minute.times.values())) == (1, 0, 1)
        assert searches_of_minute(client, first - 1).calls == 0
        assert not any(searches_of_minute(other, number).calls for number in numbers)


async def test_another_node_stands_in(stub: FaultProxy) -> None:
    """With one node of two down, a call that hits it is tried again on the other: no caller notices."""
    stub.respond("", lambda _: ProxyResponse())
    config = elasticsearch_config(stub.url)
    with FaultProxy("http://127.0.0.1:9") as down:
        down.refuse()
        both = replace(config, urls=(down.url, stub.url))
        async with new_client(both, pools(), request_timeout=2, max_retries=1) as client:
            for _ in range(4):
                await client.info()
            assert report(client)["default"].max_connections == 5
            assert report(client)["default"].retries_total >= 1
    assert stub.count() == 4


@pytest.mark.parametrize("kind", ["application/json", "application/vnd.elasticsearch+json;compatible-with=8"])
async def test_raw_bodies(stub: FaultProxy, kind: str) -> None:
    """A raw client leaves bodies as the bytes that came; the usual one reads them."""
    stub.respond("", lambda _: ProxyResponse(b'{"a" : 1}', headers={"content-type": kind}))
    async with client_of(stub, raw=True) as raw, client_of(stub) as usual:
        assert (await raw.indices.get_mapping()).body == b'{"a" : 1}'
        assert (await usual.indices.get_mapping()).body == {"a": 1}


@pytest.mark.parametrize("body", [b"secret" * 10_000, b'{"a":' * 5_000, b"\xff"])
async def test_what_is_no_json(stub: FaultProxy, body: bytes) -> None:
    """An answer that can't be decoded fails without being repeated in the error, which would take several times as
    much memory; one that is empty is None.
    """
    stub.respond("", lambda _: ProxyResponse(body))
    async with client_of(stub) as client:
        with pytest.raises(SerializationError) as caught:
            await client.info()
        stub.stop_responding()
        stub.respond("", lambda _: ProxyResponse(b""))
        assert (await client.info()).body is None
    assert len(str(caught.value)) < 200


async def test_a_raw_client_sends_bytes(stub: FaultProxy) -> None:
    """What would send another body fails before it is sent."""
    async with client_of(stub, raw=True) as client:
        with pytest.raises((TypeError, SerializationError), match="sends bytes"):
            await client.search(index="logs", query={"match_all": {}})
        assert stub.count() == 0
        stub.respond("", lambda _: ProxyResponse(b"{}"))
        await client.perform_request("GET", "/logs", body=b'{"a":1}', headers={"content-type": "application/json"})
    assert stub.count() == 1
    async with client_of(stub) as usual:
        await usual.search(index="logs", query={"match_all": {}})
    assert stub.count() == 2


@pytest.fixture
def hashed_folder(certificate: Certificate, tmp_path: Path) -> Path:
    """A folder of certificates as OpenSSL wants it: files named by their subject's hash."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate.certificate)]
    subject = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / f"{subject}.0").write_bytes(certificate.certificate.read_bytes())
    return tmp_path


async def test_tls(certificate: Certificate, hashed_folder: Path) -> None:
    """The CA comes from a file or a folder; without it the call fails, unless verification is off."""
    with FaultProxy("http://127.0.0.1:9", ssl_context=certificate.server_context()) as proxy:
        proxy.respond("", lambda _: ProxyResponse())
        for changes in (
            {"ca_certs": str(certificate.certificate)},
            {"ca_certs": str(hashed_folder)},
            {"verify_certs": False},
        ):
            async with client_of(proxy, **changes) as client:
                await client.info()
            with sync_client(elasticsearch_config(proxy.url, **changes)) as plain:
                await asyncio.to_thread(plain.info)
        assert proxy.count() == 6
        async with client_of(proxy) as client:
            with pytest.raises(ClusterUnavailable, match="in ELASTICSEARCH_CA_CERTS"):
                await ping_cluster(client)
        assert proxy.count() == 6


@pytest.mark.parametrize("body", ['{"status":"mauve"}', "{}", "[]"])
async def test_ping_that_makes_no_sense(stub: FaultProxy, body: str) -> None:
    """An answer that isn't a cluster's health is an outage, said plainly."""
    stub.respond("^/_cluster/health", lambda _: ProxyResponse(body))
    async with client_of(stub) as client:
        with pytest.raises(ClusterUnavailable, match="something else"):
            await ping_cluster(client)


def meta(status: int) -> ApiResponseMeta:
    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "es", 9200))


REVOKED = {"error": {"additional_unsuccessful_credentials": "API key: api key [secret] has been invalidated"}}
DENIED = json.loads(denied("on indices [secret]", "index privileges [read,all]"))
PATH_TOO_MUCH = {"error": "no handler found for uri [/es/_mapping] and method [GET]"}
BLOCKED = {
    "error": {
        "root_cause": [],
        "type": "cluster_block_exception",
        "reason": "index [shop] blocked by: [FORBIDDEN/7/index read (api)];",
    }
}


@pytest.mark.parametrize(
    ("error", "detail", "retry_after"),
    [
        (elasticsearch.AuthenticationException("secret", meta(401), {}), "refused our credentials (401).", 5),
        (elasticsearch.AuthenticationException("secret", meta(401), REVOKED), "(401): the API key has been invalid", 5),
        (elasticsearch.AuthorizationException("secret", meta(403), {}), "refused the call (403)", 30),
        (elasticsearch.AuthorizationException("secret", meta(403), DENIED), "lacks the index privilege read.", 30),
        (
            elasticsearch.AuthorizationException("secret", meta(403), BLOCKED),
            "forbids it: index read (api) of shop.",
            30,
        ),
        (ApiError("secret", meta(503), BLOCKED), "forbids it: index read (api) of shop.", 5),
        (elasticsearch.ConnectionTimeout("no answer within 5 s"), "did not answer within 5 s.", 5),
        (elasticsearch.ConnectionTimeout("no connection within 1 s"), "in time: no connection within 1 s.", 5),
        (elasticsearch.SSLError("secret"), "TLS failed", 30),
        (elasticsearch.ConnectionError("secret"), "could not be reached", 5),
        (elasticsearch.SerializationError("secret"), "can't be read", 5),
        (ApiError("secret", meta(503), {}), "answered with status 503", 5),
        (elasticsearch.UnsupportedProductError("secret", meta(200), {}), "not Elasticsearch", 30),
        (TransportError("secret"), "could not be reached", 5),
        (ApiError("secret", meta(400), PATH_TOO_MUCH), "a path too many", 30),
        (AnswerTooLarge(64_000_000), "answers with more than 64 MB.", 30),
        (PoolTimeout("None became free.", retry_after_seconds=1), "None became free.", 1),
        (BreakerOpen("It is not asked.", retry_after_seconds=3.5), "It is not asked.", 3.5),
    ],
)
def test_unavailable(error: ApiError | TransportError, detail: str, retry_after: float) -> None:
    """Each kind of failure is told in a sentence of its own, never with the raw text of the error."""
    told = unavailable(error)
    assert detail in told.detail
    assert "secret" not in told.detail
    assert (told.status, told.retry_after_seconds) == (503, retry_after)


@pytest.mark.parametrize(
    ("status", "shards", "pending", "health", "detail"),
    [
        ("green", 0, 0, Health.HEALTHY, None),
        ("green", 0, 100, Health.HEALTHY, None),
        ("green", 0, 101, Health.DEGRADED, "101 tasks wait for the cluster's master"),
        ("yellow", 1, 0, Health.DEGRADED, "cluster status yellow, 1 shard unassigned"),
        ("yellow", 3, 101, Health.DEGRADED, "cluster status yellow, 3 shards unassigned"),
        ("red", 3, 0, Health.UNHEALTHY, "cluster status red, 3 shards unassigned"),
    ],
)
async def test_ping(
    stub: FaultProxy, status: str, shards: int, pending: int, health: Health, detail: str | None
) -> None:
    """The cluster's colour becomes its health, and a master that is behind degrades it; asked for in one small request
    that never waits for a colour.
    """
    facts: dict[str, Any] = {"status": status, "nodes": 1, "unassigned_shards": shards, "pending_tasks": pending}
    answer = {"status": status, "number_of_nodes": 1, "unassigned_shards": shards}
    body = json.dumps({**answer, "number_of_pending_tasks": pending})
    stub.respond("^/_cluster/health", lambda _: ProxyResponse(body))
    async with client_of(stub) as client:
        assert await ping_cluster(client) == PingResult(health, detail, facts)
    [exchange] = stub.requests
    assert "wait_for" not in exchange.target
    assert "filter_path=" in exchange.target


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        ({"status": 401}, "refused our credentials"),
        ({"status": 403}, "refused the call"),
        ({"status": 503}, "answered with status 503"),
        ({"cut": True}, "could not be reached"),
        ({"blackhole": True}, "did not answer within 0.1 s"),
    ],
)
async def test_ping_of_a_failing_cluster(stub: FaultProxy, fault: dict[str, Any], detail: str) -> None:
    """A ping that fails says how, at once and after one attempt."""
    product = {"headers": {"X-Elastic-Product": "Elasticsearch"}} if "status" in fault else {}
    config = elasticsearch_config(stub.url)
    async with new_client(config, pools(), request_timeout=0.1, max_retries=0) as client:
        with stub.fault(**fault, **product), pytest.raises(ClusterUnavailable, match=detail) as caught:
            await ping_cluster(client)
    assert isinstance(caught.value.__cause__, ApiError | TransportError)
    assert stub.count() == 1


async def test_ping_of_something_else(stub: FaultProxy) -> None:
    """A server that isn't Elasticsearch is told as such, instead of by its status; also after it was."""
    green = ProxyResponse('{"status":"green"}')
    answers = [ProxyResponse(status=status, headers={"X-Elastic-Product": "Other"}) for status in (200, 403, 404)]
    async with client_of(stub) as client:
        for answer in answers:
            for given in (green, answer):
                stub.stop_responding()
                stub.respond("", lambda _, given=given: given)  # type: ignore[misc]
                if given is green:
                    assert (await ping_cluster(client)).health is Health.HEALTHY
                else:
                    with pytest.raises(ClusterUnavailable, match=f"not Elasticsearch .status {answer.status}"):
                        await ping_cluster(client)


def pool_report(**fields: Any) -> PoolReport:
    return replace(pools("default", maxsize=2).pool_for("/").report(None), **fields)


def breaker_report(state: BreakerState, probing: int = 0) -> BreakerReport:
    closed = Pool("x", PoolLimits(1), BreakerPolicy()).report(None).breaker
    assert closed is not None
    return replace(closed, state=state, probing=probing, reason="20 of 20 calls failed")


@pytest.mark.parametrize(
    ("pool", "detail"),
    [
        (pool_report(), None),
        (pool_report(in_use=2), None),
        (pool_report(in_use=2, overflow_in_use=1), "pool default is full (3 in use, 0 waiting)"),
        (pool_report(in_use=2, waiting=5), "pool default is full (2 in use, 5 waiting)"),
        (pool_report(breaker=breaker_report(BreakerState.CLOSED)), None),
        (
            pool_report(breaker=breaker_report(BreakerState.OPEN)),
            "the breaker of pool default pauses its calls (20 of 20 calls failed)",
        ),
        (pool_report(breaker=breaker_report(BreakerState.HALF_OPEN)), None),
        (
            pool_report(breaker=breaker_report(BreakerState.HALF_OPEN, probing=1)),
            "the breaker of pool default pauses its calls (20 of 20 calls failed)",
        ),
    ],
)
def test_pools_health(pool: PoolReport, detail: str | None) -> None:
    """A full pool, and a breaker that refuses calls, degrade; one that waits for a call does not. The facts are of
    all pools together.
    """
    quiet = pool_report(in_use=1)
    found = pools_health([{"cache": quiet}, {"default": pool}])
    assert (found.health, found.detail) == (Health.HEALTHY if detail is None else Health.DEGRADED, detail)
    assert found.facts == {
        "in_use": 1 + pool.in_use + pool.overflow_in_use,
        "waiting": pool.waiting,
        "open_breakers": int(detail is not None and "breaker" in detail),
    }
