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
from esassistant.elasticsearch.client import MAX_SMALL_ANSWER_BYTES, new_client
from esassistant.errors import ClusterUnavailable
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import denied

QUIET = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


async def test_the_answer_is_small(clock: MetadataClock, stub: FaultProxy) -> None:
    """A few hundred bytes are expected, so little is read, whatever the client reads else."""
    stub.respond("", lambda _: ProxyResponse(b" " * (MAX_SMALL_ANSWER_BYTES + 1)))
    with pytest.raises(ClusterUnavailable, match="more than 1 MB"):
        await clock.now()


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


async def test_two_clusters_behind_one_url(cluster: Cluster, clock: MetadataClock, stub: FaultProxy) -> None:
    """Answers of two clusters in turn are no version: that is said, after a few requests."""
    seen = iter(range(100))

    def alternate(request: ProxyRequest) -> ProxyResponse:
        cluster.uuid = ("one", "other")[next(seen) % 2]
        return cluster._answer(request)

    stub.stop_responding()
    stub.respond("^/_cluster/state/", alternate)
    cluster.version = 10**6
    with pytest.raises(ClusterUnavailable, match="several clusters"):
        await clock.now()
    assert cluster.requests <= 12


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


Two = tuple[Cluster, Cluster, MetadataClock]


@pytest.fixture
async def two(stub: FaultProxy) -> AsyncIterator[Two]:
    """Two nodes of a cluster at version 100, and what waits at both of them."""
    with FaultProxy("http://127.0.0.1:9") as other:
        config = elasticsearch_config("", urls=(stub.url, other.url))
        async with new_client(config, pools(), request_timeout=2.0, max_retries=0, raw=True, backs_up=True) as client:
            yield Cluster(stub), Cluster(other), MetadataClock(client)


async def later(clock: MetadataClock) -> Seen | None:
    """What is later than version 100 of the third term."""
    return await clock.later_than(MetadataVersion(Era("uuid", 3), 100, "state-1"), within_seconds=0.1)


async def test_both_nodes_are_quiet(two: Two) -> None:
    """Nothing is later: each was asked once, for the next version."""
    one, other, clock = two
    assert await later(clock) is None
    assert (one.requests, other.requests) == (1, 1)


async def test_the_node_that_is_ahead_counts(two: Two) -> None:
    """The change is told with the node that has it, though the other one lags behind, or waits on."""
    one, other, clock = two
    other.version = 101
    with one.proxy.fault(delay_seconds=30.0):
        assert await later(clock) == Seen(Era("uuid", 3), "state-1", 113, url=other.proxy.url)
    one.term, one.version = 2, 500
    assert await later(clock) == Seen(Era("uuid", 3), "state-1", 113, url=other.proxy.url)


async def test_a_later_era_at_one_node(two: Two) -> None:
    """After an election, or with another cluster in its place, the answer counts whatever its number is."""
    one, _, clock = two
    one.term, one.version = 4, 101
    assert await later(clock) == Seen(Era("uuid", 4), "state-1", 113, url=one.proxy.url)
    one.uuid, one.term = "new", 1
    assert await later(clock) == Seen(Era("new", 1), "state-1", 113, url=one.proxy.url)


async def test_an_earlier_era_at_both_nodes(two: Two) -> None:
    """Nodes that don't know yet of the term that is known tell nothing."""
    one, other, clock = two
    one.term = other.term = 2
    one.version = other.version = 500
    assert await later(clock) is None


async def test_one_node_fails(two: Two) -> None:
    """The other one decides; it alone is waited for afterwards, as long as the first one rests."""
    one, other, clock = two
    with one.proxy.fault(cut=True):
        assert await later(clock) is None
        other.version = 101
        assert await later(clock) == Seen(Era("uuid", 3), "state-1", 113, url=other.proxy.url)


async def test_one_node_hangs(two: Two) -> None:
    """One that answers nothing is waited for a moment longer than the one that was quiet."""
    one, other, clock = two
    with one.proxy.fault(delay_seconds=30.0):
        assert await later(clock) is None
    assert other.requests == 1


async def test_both_nodes_fail(two: Two) -> None:
    """Then the cluster can't be asked; a refusal is told as that."""
    one, other, clock = two
    with one.proxy.fault(cut=True), other.proxy.fault(cut=True), pytest.raises(ClusterUnavailable):
        await later(clock)
    with one.proxy.fault(status=403), other.proxy.fault(status=403), pytest.raises(WatchRefused):
        await later(clock)
