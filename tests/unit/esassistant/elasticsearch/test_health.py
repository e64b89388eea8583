"""The ping of a cluster that doesn't tell its health: what is said then, and when it is asked again."""

from collections.abc import AsyncIterator

import pytest
from elasticsearch import AsyncElasticsearch

from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.health import REFUSED_SECONDS, ClusterPing
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Health, PingResult
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import FakeClock, denied

HEALTH, NAMES = "^/_cluster/health", "^/_resolve/index/X"
WITHOUT_HEADER = {"X-Elastic-Product": ""}
MONITOR = ProxyResponse(denied("", "cluster privileges [monitor,manage,all]"), 403, WITHOUT_HEADER)
GREEN = ProxyResponse('{"status":"green","number_of_nodes":1}')


@pytest.fixture
async def client(stub: FaultProxy) -> AsyncIterator[AsyncElasticsearch]:
    stub.respond(NAMES, lambda _: ProxyResponse('{"indices":[]}'))
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2, max_retries=0) as client:
        yield client


def unknown(missing: str) -> PingResult:
    return PingResult(Health.HEALTHY, None, {"status": "unknown", "missing": missing})


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (MONITOR, "the cluster privilege monitor"),
        (ProxyResponse("{}", 410), "cluster health (status 410)"),
        (ProxyResponse("{}", 404), "cluster health (status 404)"),
    ],
    ids=["no monitor", "410", "404"],
)
async def test_health_that_is_refused(
    stub: FaultProxy,
    client: AsyncElasticsearch,
    caplog: pytest.LogCaptureFixture,
    answer: ProxyResponse,
    missing: str,
) -> None:
    """Without the cluster's health the service is healthy while names can be asked for; what is missing and what that
    costs is logged once, and health is not asked for again before ten minutes have passed.
    """
    stub.respond(HEALTH, lambda _: answer)
    clock = FakeClock()
    ping = ClusterPing(client, clock=clock)
    for _ in range(3):
        assert await ping() == unknown(missing)
    assert (stub.count(HEALTH), stub.count(NAMES)) == (1, 3)
    clock.advance(REFUSED_SECONDS)
    assert await ping() == unknown(missing)
    assert (stub.count(HEALTH), stub.count(NAMES)) == (2, 4)
    [said] = [record.getMessage() for record in caplog.records if record.name.endswith("elasticsearch.health")]
    assert missing in said
    assert "red or yellow isn't noticed" in said


async def test_permitted_later(stub: FaultProxy, client: AsyncElasticsearch) -> None:
    """A role that is given the privilege has the cluster's health again, ten minutes later at the latest."""
    answers = [MONITOR, GREEN, GREEN]
    stub.respond(HEALTH, lambda _: answers.pop(0))
    clock = FakeClock()
    ping = ClusterPing(client, clock=clock)
    assert (await ping()).facts["status"] == "unknown"
    clock.advance(REFUSED_SECONDS)
    assert [(await ping()).facts["status"] for _ in range(2)] == ["green", "green"]
    assert stub.count(NAMES) == 1


async def test_nothing_is_permitted(stub: FaultProxy, client: AsyncElasticsearch) -> None:
    """Credentials that don't even allow names make the service unhealthy, and the privilege is named."""
    names = ProxyResponse(denied("", "index privileges [view_index_metadata,all]"), 403, WITHOUT_HEADER)
    stub.stop_responding()
    stub.respond(HEALTH, lambda _: MONITOR)
    stub.respond(NAMES, lambda _: names)
    with pytest.raises(ClusterUnavailable, match="lacks the index privilege view_index_metadata"):
        await ClusterPing(client)()


@pytest.mark.parametrize(
    "answer",
    [
        ProxyResponse("{}", 401),
        ProxyResponse("{}", 503),
        ProxyResponse("<html>", 403, WITHOUT_HEADER),
        ProxyResponse('{"status":"blue"}'),
    ],
    ids=["401", "503", "gateway", "nonsense"],
)
async def test_what_is_no_refusal(stub: FaultProxy, client: AsyncElasticsearch, answer: ProxyResponse) -> None:
    """A failure, credentials that are refused, and a gateway are no refusal of health alone: the ping fails."""
    stub.respond(HEALTH, lambda _: answer)
    with pytest.raises(ClusterUnavailable):
        await ClusterPing(client)()
    assert stub.count(NAMES) == 0
