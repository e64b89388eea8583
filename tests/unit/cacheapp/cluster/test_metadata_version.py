"""The metadata version: found by asking, waited for, told apart from another era's; and what each failure becomes."""

import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheapp.cluster.metadata_version import Era, MetadataClock, MetadataVersion, Seen
from cacheapp.errors import WatchRefused
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.errors import ClusterUnavailable
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import denied

QUIET = settings(
    deadline=None, max_examples=40, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Cluster:
    """Answers as a cluster whose metadata has a version that the test sets."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.uuid, self.term, self.version, self.state_uuid = "uuid", 3, 100, "state-1"
        self.changes: dict[int, int] = {}
        self.requests = 0
        proxy.respond("^/_cluster/state/", self._answer)

    def _answer(self, request: ProxyRequest) -> ProxyResponse:
        self.requests += 1
        self.version = self.changes.get(self.requests, self.version)
        wanted = re.search(r"wait_for_metadata_version=(\d+)", request.target)
        assert wanted is not None
        if int(wanted[1]) > self.version:
            return ProxyResponse('{"wait_for_timed_out":true}')
        term = {"cluster_coordination": {"term": self.term}}
        seen = {
            "cluster_uuid": self.uuid,
            "version": self.version + 12,
            "state_uuid": self.state_uuid,
            "metadata": term,
        }
        return ProxyResponse(json.dumps({"wait_for_timed_out": False, **seen}))

    def known(self) -> MetadataVersion:
        return MetadataVersion(Era(self.uuid, self.term), self.version, self.state_uuid)


@pytest.fixture
def cluster(stub: FaultProxy) -> Iterator[Cluster]:
    return Cluster(stub)  # type: ignore[return-value]


@pytest.fixture
async def clock(stub: FaultProxy) -> AsyncIterator[MetadataClock]:
    config = elasticsearch_config(stub.url)
    async with new_client(config, pools(maxsize=1), request_timeout=2.0, max_retries=0, raw=True) as client:
        yield MetadataClock(client)


async def test_reached(cluster: Cluster, clock: MetadataClock) -> None:
    """A version that the cluster has shows its era and state; one that it has not is None; both are one request."""
    assert await clock.reached(100) == Seen(Era("uuid", 3), "state-1", 112)
    assert await clock.reached(101) is None
    assert clock.requests_total == cluster.requests == 2


async def test_what_is_asked(cluster: Cluster, clock: MetadataClock, stub: FaultProxy) -> None:
    """The wait is in the request, in milliseconds, and no index's metadata is asked for."""
    await clock.reached(100, within_seconds=1.5)
    [exchange] = stub.requests
    assert exchange.path == "/_cluster/state/version,metadata/X*"
    assert exchange.target.endswith("&wait_for_metadata_version=100&wait_for_timeout=1500ms")


@QUIET
@given(version=st.integers(1, 10**7), at_least=st.integers(1, 10**7))
async def test_the_version_is_found(stub: FaultProxy, clock: MetadataClock, version: int, at_least: int) -> None:
    """Whatever the version is and wherever the search begins, it is found exactly, in about 2·log₂ of the way."""
    stub.stop_responding()
    cluster = Cluster(stub)
    cluster.version = version
    assert await clock.now(at_least) == cluster.known()
    way = version - at_least if version >= at_least else version
    assert cluster.requests <= 2 * math.log2(way + 13) + 4


@QUIET
@given(
    version=st.integers(1, 1000),
    changes=st.dictionaries(st.integers(2, 20), st.integers(1, 50), max_size=5),
)
async def test_what_changes_meanwhile_is_never_missed(
    stub: FaultProxy, clock: MetadataClock, version: int, changes: dict[int, int]
) -> None:
    """While the version grows under the search, what it finds lies between those of before and after."""
    stub.stop_responding()
    cluster = Cluster(stub)
    cluster.version = grown = version
    for request in sorted(changes):
        grown += changes[request]
        cluster.changes[request] = grown
    found = await clock.now()
    assert version <= found.number <= cluster.version


async def test_a_version_that_fell(cluster: Cluster, clock: MetadataClock) -> None:
    """After a full restart the version is lower, in another era: it is searched for from the start."""
    cluster.version, cluster.term = 7, 4
    assert await clock.now(100) == MetadataVersion(Era("uuid", 4), 7, "state-1")


async def test_an_era_that_changes_meanwhile(cluster: Cluster, clock: MetadataClock) -> None:
    """When the era changes as the search gallops it begins anew; later, what it finds isn't the version any more."""
    answer = cluster._answer
    change_at = 1

    def restarted(request: ProxyRequest) -> ProxyResponse:
        if cluster.requests == change_at:
            cluster.term, cluster.version = 4, 50
        return answer(request)

    cluster.proxy.stop_responding()
    cluster.proxy.respond("^/_cluster/state/", restarted)
    assert await clock.now() == MetadataVersion(Era("uuid", 4), 50, "state-1")
    cluster.term, cluster.version, cluster.requests, change_at = 3, 100, 0, 4
    assert not await clock.is_still(await clock.now())


async def test_nothing_happened(cluster: Cluster, clock: MetadataClock) -> None:
    """While the cluster's state is the very same, one request says so."""
    assert await clock.is_still(cluster.known())
    assert cluster.requests == 1


async def test_only_the_state_moved(cluster: Cluster, clock: MetadataClock) -> None:
    """When shards moved but the metadata is the same, it takes two requests."""
    known = cluster.known()
    cluster.state_uuid = "state-2"
    assert await clock.is_still(known)
    assert cluster.requests == 2


@pytest.mark.parametrize(
    "change",
    [
        {"version": 101, "state_uuid": "state-2"},
        {"term": 4},
        {"uuid": "another"},
        {"version": 99, "term": 4, "state_uuid": "state-2"},
        {"version": 5000, "uuid": "another"},
    ],
)
async def test_it_changed(cluster: Cluster, clock: MetadataClock, change: dict[str, int | str]) -> None:
    """Another version, term or cluster is a change."""
    known = cluster.known()
    for name, value in change.items():
        setattr(cluster, name, value)
    assert not await clock.is_still(known)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410])
async def test_refused(stub: FaultProxy, clock: MetadataClock, status: int) -> None:
    """Where credentials may not ask, or there is nothing to ask, asking again won't help."""
    with stub.fault(status=status), pytest.raises(WatchRefused, match=str(status)):
        await clock.now()


async def test_denied(stub: FaultProxy, clock: MetadataClock) -> None:
    """Where a privilege is missing, it is named."""
    body = denied("", "cluster privileges [read_ccr,transport_client,monitor,all]")
    stub.respond("", lambda _: ProxyResponse(body, 403, {"X-Elastic-Product": ""}))
    with pytest.raises(WatchRefused, match=r"\(403, this service's role lacks the cluster privilege monitor\)"):
        await clock.now()


async def test_a_blocked_cluster(stub: FaultProxy, clock: MetadataClock) -> None:
    """A block may be lifted at any time: it is no refusal."""
    reason = "blocked by: [FORBIDDEN/5/read-only (api)];"
    body = json.dumps({"error": {"root_cause": [], "type": "cluster_block_exception", "reason": reason}})
    stub.respond("", lambda _: ProxyResponse(body, 403, {"X-Elastic-Product": ""}))
    with pytest.raises(ClusterUnavailable, match="read-only"):
        await clock.now()


async def test_a_cluster_that_hides_its_term(stub: FaultProxy, clock: MetadataClock) -> None:
    """An answer without the term can't tell eras apart: refused, too."""
    stub.respond("", lambda _: ProxyResponse('{"wait_for_timed_out":false,"cluster_uuid":"u","state_uuid":"s"}'))
    with pytest.raises(WatchRefused, match="term"):
        await clock.now()


@pytest.mark.parametrize(
    "fault",
    [{"status": status} for status in (401, 429, 500, 503)]
    + [
        {"status": status, "body": "no", "headers": {"X-Elastic-Product": ""}}
        for status in (200, 400, 403, 404, 405, 410)
    ]
    + [{"cut": True}, {"cut_after_bytes": 20}, {"status": 200, "body": "<html>"}, {"status": 200, "body": "[]"}],
    ids=str,
)
async def test_unavailable(cluster: Cluster, clock: MetadataClock, stub: FaultProxy, fault: dict[str, Any]) -> None:
    """A cluster that fails, is cut off, or says something else can't be asked now; later it can. So it is with a
    gateway's refusals: they are not Elasticsearch's.
    """
    with stub.fault(**fault), pytest.raises(ClusterUnavailable):
        await clock.now()
    assert (await clock.now()).number == 100


async def test_a_cluster_that_has_not_recovered(cluster: Cluster, clock: MetadataClock) -> None:
    """A cluster that waits for its nodes has version 0: unavailable, after one request, not asked without end."""
    cluster.version = 0
    with pytest.raises(ClusterUnavailable):
        await clock.now()
    assert cluster.requests <= 2
