"""Case 12 and its kind: how often a failing cluster is asked, counted by the proxy."""

import asyncio
import itertools
import re
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch, TransportError

from dev.elasticsearch.node import Node
from dev.faults.proxy import Exchange, FaultProxy
from esassistant.registry import registry
from tests.support.calls import ANSWERED, INDEX, SEARCH, health_known, make_index, outcome, outcomes, report
from tests.support.fixtures import Figure, OpenApp, UseBreaker

BUDGET_SHARE = 0.1
BUDGET_FLOOR = 10
BUDGET_SECONDS = 10.0
"""The window of the budget: share and floor are of so many seconds."""
RETRY_AFTER_SECONDS = 1
HEALTH = "/_cluster/health"


def attempts_of(proxy: FaultProxy) -> dict[str, list[Exchange]]:
    """The requests that were sent for each search, in their order; searches are told apart by their `preference`."""
    found: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in sorted(proxy.requests, key=lambda exchange: exchange.started_at):
        if preference := re.search("preference=([^&]+)", exchange.target):
            found[preference[1]].append(exchange)
    return found


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.minutes)])
async def test_case_12_too_many_requests(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, seconds: int
) -> None:
    """429 with Retry-After under load, for three seconds or a minute: nobody comes back sooner than asked, the cluster
    gets at most a tenth more requests than callers made, and ten more per ten seconds, and everybody is answered
    afterwards.
    """
    total = 40 * seconds
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            calls: list[asyncio.Task[str]] = []
            began_at = time.monotonic()
            with proxy.fault(path=SEARCH, status=429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}) as fault:
                for number in range(total):
                    calls.append(asyncio.create_task(outcome(client, preference=f"c{number}")))
                    await asyncio.sleep(0.025)
            ended = Counter(await asyncio.gather(*calls))
            windows = 1 + (time.monotonic() - began_at) // BUDGET_SECONDS
            afterwards = await outcomes(client, 20)
            attempts, pool = attempts_of(proxy), report()
    sent = sum(map(len, attempts.values()))
    retried = [exchanges for exchanges in attempts.values() if len(exchanges) > 1]
    pauses = [
        later.started_at - earlier.ended_at for exchanges in retried for earlier, later in itertools.pairwise(exchanges)
    ]
    assert len(attempts) == total
    assert sent <= (1 + BUDGET_SHARE) * total + BUDGET_FLOOR * windows
    assert len(retried) >= BUDGET_FLOOR / 3
    assert min(pauses) >= RETRY_AFTER_SECONDS - 0.05
    assert set(ended) <= {ANSWERED, "429"}
    assert afterwards == {ANSWERED: 20}
    failed = sum(exchange.rule is fault for exchanges in attempts.values() for exchange in exchanges)
    assert pool.failures["status_429"] == failed
    assert (pool.retries_total, pool.retries_refused_total > 0) == (sent - total, True)
    figure(
        12,
        f"{seconds} s: {sent} attempts for {total} requests ({sent / total:.2f} times), pauses of {min(pauses):.2f} s "
        "or more",
    )


async def test_a_long_retry_after_is_not_waited_for(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Who is asked to come back in a minute isn't kept waiting: one request, and the 429 at once."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            async with asyncio.timeout(5):
                with proxy.fault(path=SEARCH, status=429, headers={"Retry-After": "60"}):
                    ended = await outcome(client)
            calls = proxy.count(path=SEARCH)
    assert (ended, calls) == ("429", 1)


@pytest.mark.usefixtures("no_rechecks")
@pytest.mark.parametrize("max_retries", [0, 1, 3])
async def test_max_retries_means_exactly_that(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, max_retries: int
) -> None:
    """A call that may be repeated reaches a failing cluster once and ELASTICSEARCH_MAX_RETRIES times more, by either
    client; writes, timeouts and health checks once.
    """
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=max_retries, health={"ttl": 60.0}) as http:
            client: AsyncElasticsearch = registry.get("elasticsearch")
            health_client: AsyncElasticsearch = registry.get("elasticsearch_health")
            cluster.indices.create(index="cold")
            await health_known()

            async def requests(path: str, call: Any, **fault: Any) -> int:
                """How many requests a failing call makes."""
                proxy.reset()
                with proxy.fault(path=path, **fault):
                    try:
                        answer = await call
                    except (ApiError, TransportError):
                        pass
                    else:
                        assert answer.status_code == 503
                return proxy.count(path=path)

            # What follows is within the budget of so many calls.
            assert await outcomes(client, 80) == {ANSWERED: 80}
            document: dict[str, Any] = {"index": INDEX, "id": "1"}
            repeated = {
                "search, 503": await requests(SEARCH, client.search(index=INDEX), status=503),
                "search, 429": await requests(SEARCH, client.search(index=INDEX), status=429),
                "search, cut": await requests(SEARCH, client.search(index=INDEX), cut=True),
                "search, cut amid": await requests(SEARCH, client.search(index=INDEX), cut_after_bytes=100),
                "get, 502": await requests("/_doc/", client.get(**document), status=502),
                "mapping, 503": await requests("/cold/_mapping", http.get("/api/mappings/cold"), status=503),
            }
            once = {
                "index, 503": await requests("/_doc/", client.index(**document, document={}), status=503),
                "delete, cut": await requests("/_doc/", client.delete(**document), cut=True),
                "search, 500": await requests(SEARCH, client.search(index=INDEX), status=500),
                "search, 400": await requests(SEARCH, client.search(index=INDEX), status=400),
                "search, blackhole": await requests(
                    SEARCH, client.options(request_timeout=0.2).search(index=INDEX), blackhole=True
                ),
                "health, 503": await requests(HEALTH, health_client.cluster.health(), status=503),
                "health, cut": await requests(HEALTH, health_client.cluster.health(), cut=True),
            }
    assert repeated == dict.fromkeys(repeated, 1 + max_retries)
    assert once == dict.fromkeys(once, 1)


async def test_the_client_s_own_options_don_t_multiply(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """elasticsearch-py's own retry options change nothing: retries have one owner."""
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=1):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            eager = client.options(max_retries=5, retry_on_status=[503], retry_on_timeout=True)
            proxy.reset()
            with proxy.fault(path=SEARCH, status=503):
                ended = await outcome(eager)
            calls = proxy.count(path=SEARCH)
    assert (ended, calls) == ("503", 2)


async def test_the_budget_under_a_lasting_503(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, brief_breaker: UseBreaker
) -> None:
    """Of 300 calls that all fail, with a breaker that never trips: at most a tenth are tried again, and ten more."""
    brief_breaker(minimum_calls=None)
    make_index(cluster)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=3):
            client: AsyncElasticsearch = registry.get("elasticsearch")
            proxy.reset()
            with proxy.fault(path=SEARCH, status=503):
                ended: Counter[str] = Counter()
                for _ in range(10):
                    ended += await outcomes(client, 30)
            sent, pool = proxy.count(path=SEARCH), report()
    assert ended == {"503": 300}
    assert 300 + BUDGET_FLOOR <= sent <= (1 + BUDGET_SHARE) * 300 + BUDGET_FLOOR
    assert (pool.requests_total, pool.retries_total) == (sent, sent - 300)
    assert pool.retries_refused_total > 0
