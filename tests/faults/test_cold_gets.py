"""Cases 1 to 3: many callers, one cold mapping."""

import asyncio

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.registry import registry
from tests.support.fixtures import Figure, OpenApp
from tests.support.nodes import route_calls

MAPPING_ROUTE = "/{index}/_mapping/"


async def test_case_1_a_thousand_cold_gets_are_one_call(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """1 000 concurrent gets of an index made after the warm-up reach Elasticsearch as one call, and all are
    answered.
    """
    async with open_app(node.url) as http:
        cluster.indices.create(index="cold", mappings={"properties": {"a": {"type": "keyword"}}})
        before = route_calls(cluster, MAPPING_ROUTE)
        answers = await asyncio.gather(*(http.get("/api/mappings/cold") for _ in range(1000)))
        calls = route_calls(cluster, MAPPING_ROUTE) - before
    assert [answer.status_code for answer in answers] == [200] * 1000
    assert calls == 1
    figure(1, f"{len(answers)} gets: {calls} call, 0 errors")


async def test_case_2_the_leader_is_cancelled(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """The request whose miss started the call is cancelled; all waiters are served by that same call."""
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url) as http:
            cluster.indices.create(index="cold")
            proxy.reset()
            with proxy.fault(path="/cold/_mapping", delay_seconds=0.5):
                leader = asyncio.create_task(http.get("/api/mappings/cold"))
                await proxy.arrived(path="/cold/_mapping", count=1, timeout_seconds=5)
                waiters = [asyncio.create_task(http.get("/api/mappings/cold")) for _ in range(100)]
                await asyncio.sleep(0.1)
                leader.cancel()
                await asyncio.gather(leader, return_exceptions=True)
                answers = await asyncio.gather(*waiters)
            calls = proxy.count(path="/cold/_mapping")
    assert [answer.status_code for answer in answers] == [200] * 100
    assert leader.cancelled()
    assert calls == 1
    figure(2, f"{len(answers)} of {len(waiters)} waiters served, {calls} call")


@pytest.mark.parametrize("max_retries", [0, 3])
async def test_case_3_a_failed_flight_is_remembered(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, max_retries: int
) -> None:
    """When the call and its retries fail, all who waited get the error, who comes within a second gets it too, and
    nobody is stuck.
    """
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, max_retries=max_retries) as http:
            cluster.indices.create(index="cold")
            proxy.reset()
            with proxy.fault(path="/cold/_mapping", status=503, delay_seconds=0.2):
                failed = await asyncio.gather(*(http.get("/api/mappings/cold") for _ in range(50)))
                again = await http.get("/api/mappings/cold")
                calls = proxy.count(path="/cold/_mapping")
            await asyncio.sleep(1.0)
            recovered = await http.get("/api/mappings/cold")
            in_flight = registry.read("mapping_cache").in_flight
    assert {answer.status_code for answer in failed} == {503}
    assert again.status_code == 503
    assert calls == 1 + max_retries
    assert recovered.status_code == 200
    assert in_flight == 0
    figure(3, f"{len(failed) + 1} gets, {max_retries} retries: {calls} calls, 0 stuck; read again after 1 s")
