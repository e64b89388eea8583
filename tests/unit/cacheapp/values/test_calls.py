"""How the cluster is asked for field values: what is sent, and what becomes of each answer."""

from collections.abc import AsyncIterator

import pytest
from elasticsearch import ApiError, NotFoundError

from cacheapp.values.calls import ClusterCalls, open_calls
from cacheapp.values.question import search_target
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from tests.support.clients import elasticsearch_config

BODY = b'{"size":0}'


@pytest.fixture
async def calls(stub: FaultProxy) -> AsyncIterator[ClusterCalls]:
    async with open_calls(elasticsearch_config(stub.url)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("answer", "indices"),
    [
        (b'{"logs-1":{"aliases":{"logs":{}}},"logs-2":{"aliases":{"logs":{"is_hidden":true}}}}', {"logs-1", "logs-2"}),
        (b'{"logs-1":{"aliases":{"logs":{}}},"logs-2":{"aliases":{"logs":{"filter":{"term":{"a":1}}}}}}', set()),
        (b'{"logs-1":{"aliases":{"logs":{}}},"logs-2":{"aliases":{"other":{}}}}', set()),
        (b'{"logs-1":{"aliases":{"logs":{}}},"logs-2":{}}', set()),
        (b"{}", set()),
    ],
)
async def test_an_alias(stub: FaultProxy, calls: ClusterCalls, answer: bytes, indices: set[str]) -> None:
    """An alias stands for its indices, unless it has a filter in any of them, or one isn't said to have it: then the
    indices may have more than the alias shows.
    """
    stub.respond("/_alias/logs$", lambda _: ProxyResponse(answer))
    assert await calls.unfiltered("logs") == indices


async def test_the_name_of_an_alias_is_encoded(stub: FaultProxy, calls: ClusterCalls) -> None:
    """A name with a slash or a question mark asks for itself, and for nothing else."""
    stub.respond("", lambda _: ProxyResponse())
    await calls.unfiltered("a/b?c")
    assert stub.count(path=r"/_alias/a%2Fb%3Fc$") == 1


@pytest.mark.parametrize("answer", [b"no JSON", b"[]", b'{"logs-1":{"aliases":5}}'])
async def test_what_cannot_be_read(stub: FaultProxy, calls: ClusterCalls, answer: bytes) -> None:
    """An answer that isn't one about aliases is an error that callers know, and never an empty alias."""
    stub.respond("", lambda _: ProxyResponse(answer))
    with pytest.raises(ValueError, match=r"."):
        await calls.unfiltered("logs")


async def test_a_search(stub: FaultProxy, calls: ClusterCalls) -> None:
    """The body is sent, and the answer returned, byte for byte."""
    seen: list[ProxyRequest] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        seen.append(request)
        return ProxyResponse(b'{"took": 1 }')

    stub.respond("", answer)
    assert await calls.search(["logs-1", "logs-2"], BODY) == b'{"took": 1 }'
    [request] = seen
    assert (request.method, request.target, request.body) == ("POST", search_target(["logs-1", "logs-2"]), BODY)


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (429, ApiError), (503, ApiError)])
async def test_no_call_is_repeated(stub: FaultProxy, calls: ClusterCalls, status: int, error: type[ApiError]) -> None:
    """Whatever the cluster answers instead, it is asked once: field values are never worth more."""
    stub.respond("", lambda _: ProxyResponse(b"{}", status))
    with pytest.raises(error):
        await calls.search(["logs"], BODY)
    with pytest.raises(error):
        await calls.unfiltered("logs")
    assert stub.count() == 2


async def test_nothing_is_sent_before_the_first_call(stub: FaultProxy) -> None:
    """To open and close the calls connects to nothing."""
    async with open_calls(elasticsearch_config(stub.url)):
        pass
    assert stub.connections_total == 0
