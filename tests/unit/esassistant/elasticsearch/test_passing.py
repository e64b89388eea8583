"""Calls that pass bytes: the same attempts, counts and errors as the client's own calls, and nothing decoded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import elasticsearch
import pytest

from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.elasticsearch.client import new_client, report
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.elasticsearch.passing import PassingCalls
from esassistant.elasticsearch.stats import PoolReport
from tests.support.clients import elasticsearch_config, pools

TARGET = "/shop/_search?timeout=1s"


class Passing:
    """Passing calls of one client, and what its pool counted."""

    def __init__(self, client: elasticsearch.AsyncElasticsearch) -> None:
        self._client = client
        self._calls = PassingCalls(client, 2.0)

    async def post(self, body: bytes = b"{}") -> bytes:
        return await self._calls.post(TARGET, body, endpoint="search", path_parts={"index": "shop"})

    @property
    def counted(self) -> PoolReport:
        (pool,) = report(self._client).values()
        return pool


@asynccontextmanager
async def passing(
    url: str, *, max_retries: int = 0, max_answer_bytes: int = 10_000, **config: Any
) -> AsyncIterator[Passing]:
    async with new_client(
        elasticsearch_config(url, **config),
        pools(),
        request_timeout=2.0,
        max_retries=max_retries,
        max_answer_bytes=max_answer_bytes,
    ) as client:
        yield Passing(client)


async def test_bytes_go_and_come(stub: FaultProxy) -> None:
    """Body and answer are the bytes that they were, with the client's credentials, and are counted as a search."""
    seen: list[ProxyRequest] = []
    answer = '{ "took" : 1 }'

    def respond(request: ProxyRequest) -> ProxyResponse:
        seen.append(request)
        return ProxyResponse(answer, headers={"Content-Type": "application/cbor"})

    stub.respond("", respond)
    body = b'{ "query" : {} }' + b" " * 2000
    async with passing(stub.url, api_key="c2VjcmV0") as calls:
        assert await calls.post(body) == answer.encode()
        counted = calls.counted
    (request,) = seen
    assert (request.target, request.body) == (TARGET, body)
    assert request.headers["authorization"] == "ApiKey c2VjcmV0"
    assert (request.headers["accept-encoding"], request.headers["accept"]) == ("identity", "application/json")
    assert (counted.requests_total, counted.failures_total, counted.in_use) == (1, 0, 0)
    assert (counted.sent_bytes_total, counted.received_bytes_total) == (len(body), len(answer))
    assert counted.calls["search"].requests_total == counted.latency.samples == 1
    assert (counted.connections_created_total, counted.connections_reused_total) == (1, 0)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, elasticsearch.BadRequestError),
        (404, elasticsearch.NotFoundError),
        (429, elasticsearch.ApiError),
        (301, elasticsearch.ApiError),
    ],
)
async def test_errors_are_elasticsearch_pys(stub: FaultProxy, status: int, error: type[elasticsearch.ApiError]) -> None:
    """Any other answer raises what the client raises, with its body as bytes."""
    stub.respond("", lambda _: ProxyResponse('{"error":"x"}', status))
    async with passing(stub.url) as calls:
        with pytest.raises(error) as caught:
            await calls.post()
    assert (caught.value.status_code, caught.value.body) == (status, b'{"error":"x"}')


async def test_retries(stub: FaultProxy) -> None:
    """A search is tried again, as it changes nothing, and each attempt is counted."""
    answers = [ProxyResponse("{}", 503, {"Retry-After": "0"}), ProxyResponse()]
    stub.respond("", lambda _: answers.pop(0))
    async with passing(stub.url, max_retries=2) as calls:
        assert await calls.post() == b"{}"
        counted = calls.counted
    assert (counted.requests_total, counted.retries_total, counted.failures["status_5xx"]) == (2, 1, 1)
    assert counted.connections_created_total + counted.connections_reused_total == 2


async def test_what_isnt_elasticsearchs(stub: FaultProxy) -> None:
    """Each answer is looked at, good ones too."""
    stub.respond("", lambda _: ProxyResponse("{}", headers={"X-Elastic-Product": ""}))
    async with passing(stub.url) as calls:
        for _ in range(2):
            with pytest.raises(elasticsearch.UnsupportedProductError):
                await calls.post()


async def test_too_large_an_answer(stub: FaultProxy) -> None:
    """It is dropped at the bound, whatever its caller would do with it."""
    stub.respond("", lambda _: ProxyResponse(b"x" * 1001))
    async with passing(stub.url, max_answer_bytes=1000) as calls:
        with pytest.raises(AnswerTooLarge):
            await calls.post()
        assert calls.counted.failures["too_large"] == 1
