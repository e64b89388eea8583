"""Which cluster this is: asked beside everything else, kept while it can't be asked, and short."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from elasticsearch import AsyncElasticsearch

from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.identity import AGAIN_SECONDS, KNOWN_SECONDS, ClusterIdentity, IdentityWatch
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import denied

ROOT = "^/($|[?])"
WITHOUT_HEADER = {"X-Elastic-Product": ""}
KNOWN = ProxyResponse('{"cluster_name":"shop","version":{"number":"9.5.3"}}')


@pytest.fixture
async def client(stub: FaultProxy) -> AsyncIterator[AsyncElasticsearch]:
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2, max_retries=0) as client:
        yield client


async def asked(watch_of: AsyncElasticsearch, times: int) -> tuple[ClusterIdentity, list[float]]:
    """What is known after so many questions, and the pauses after each."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == times:
            raise asyncio.CancelledError

    is_there = asyncio.Event()
    watch = IdentityWatch(watch_of, is_there.wait, sleep=sleep)
    asking = asyncio.create_task(watch.keep_asking())
    await asyncio.sleep(0)
    assert (watch.report(), pauses) == (ClusterIdentity(), [])
    is_there.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    return watch.report(), pauses


async def test_known_and_kept(stub: FaultProxy, client: AsyncElasticsearch) -> None:
    """Once it is known it is asked again only after a while; what was known stays while the cluster fails."""
    answers = [KNOWN, ProxyResponse("{}", 503), ProxyResponse("<html>", 404, WITHOUT_HEADER)]
    stub.respond(ROOT, lambda _: answers.pop(0))
    known, pauses = await asked(client, 3)
    assert known == ClusterIdentity("shop", "9.5.3")
    assert pauses == [KNOWN_SECONDS, AGAIN_SECONDS, AGAIN_SECONDS]


async def test_refused(stub: FaultProxy, client: AsyncElasticsearch) -> None:
    """A role that may not know it isn't asked for it every few seconds."""
    refusal = ProxyResponse(denied("", "cluster privileges [monitor,manage,all]"), 403, WITHOUT_HEADER)
    stub.respond(ROOT, lambda _: refusal)
    assert await asked(client, 1) == (ClusterIdentity(), [KNOWN_SECONDS])


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        ("[]", ClusterIdentity()),
        ('{"version":"9"}', ClusterIdentity()),
        ('{"cluster_name":7,"version":{"number":[]}}', ClusterIdentity()),
        (f'{{"cluster_name":"{"x" * 1000}"}}', ClusterIdentity("x" * 80)),
    ],
)
async def test_nonsense(stub: FaultProxy, client: AsyncElasticsearch, body: str, identity: ClusterIdentity) -> None:
    """What isn't a text is no name, and a name that is too long to be shown is cut."""
    stub.respond(ROOT, lambda _: ProxyResponse(body))
    assert (await asked(client, 1))[0] == identity
