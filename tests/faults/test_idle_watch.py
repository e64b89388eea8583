"""Case 40: what an idle watch costs while some indices, or all, have no number of fields."""

import asyncio
from contextlib import ExitStack

import pytest
from elasticsearch import Elasticsearch

from cacheapp.reports import WatchState
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp
from tests.support.running import QUIET_SECONDS, WATCHED, report, until

pytestmark = pytest.mark.django_db(transaction=True)

IDLE_SECONDS = 60.0
MOST_CALLS = 20
MOST_LOOKS = 2


def make_uncounted(cluster: Elasticsearch) -> None:
    """One closed index, and one that no node may hold."""
    make_index(cluster, "closed")
    cluster.indices.close(index="closed")
    settings = {"number_of_replicas": 0, "routing.allocation.require._name": "nowhere"}
    cluster.indices.create(index="red", settings=settings, wait_for_active_shards=0)


@pytest.mark.minutes
@pytest.mark.parametrize("refuses_counts", [False, True], ids=["uncounted", "refused"])
async def test_case_40_an_idle_watch(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, refuses_counts: bool
) -> None:
    """Neither a closed and a red index nor a cluster that refuses to count cost an idle watch more than two looks."""
    make_index(cluster, "open")
    make_uncounted(cluster)
    with FaultProxy(node.url) as proxy, ExitStack() as faults:
        if refuses_counts:
            faults.enter_context(proxy.fault(path="^/_nodes/stats", status=403))
        async with open_app(proxy.url, cache=WATCHED):
            await until(lambda: report().state is WatchState.WATCHING)
            await asyncio.sleep(QUIET_SECONDS)
            proxy.reset()
            await asyncio.sleep(IDLE_SECONDS)
            calls = proxy.count() - proxy.count(path="^/_cluster/health")
            looks, mappings = proxy.count(path="^/_settings"), proxy.count(path="/_mapping")
    figure(
        40,
        f"{'with the counts refused' if refuses_counts else 'one closed, one red index'}: {calls} requests in a "
        f"minute, {looks} looks, {mappings} for mappings",
    )
    assert calls <= MOST_CALLS, f"{looks} looks, {mappings} for mappings"
    assert looks <= MOST_LOOKS
