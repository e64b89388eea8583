"""The reader: what it asks the cluster, byte by byte, and what each kind of answer becomes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from elasticsearch import AsyncElasticsearch

from cacheapp.cluster.checked import MAX_MAPPING_BYTES
from cacheapp.cluster.reader import MAX_LISTING_BYTES, ClusterReader
from cacheapp.errors import MappingNotFound, NotCovered
from cacheapp.state.names import Selection
from cacheapp.state.readings import Listing
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.breaker import BreakerPolicy
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.pools import PoolLimits, one_pool
from esassistant.errors import ClusterUnavailable
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import denied, index_not_found

WITHOUT_HEADER = {"X-Elastic-Product": ""}


@pytest.fixture
def cluster() -> Iterator[FaultProxy]:
    """Answers only what a test tells it to: there is nothing behind it."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


@pytest.fixture
async def client(cluster: FaultProxy) -> AsyncIterator[AsyncElasticsearch]:
    config = elasticsearch_config(cluster.url, connect_timeout=5.0)
    async with new_client(config, pools(maxsize=2), request_timeout=5.0, max_retries=0, raw=True) as client:
        yield client


@pytest.fixture
def reader(client: AsyncElasticsearch) -> ClusterReader:
    return ClusterReader(client, Selection(), indices_timeout=5.0)


def answer(cluster: FaultProxy, body: str | bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
    cluster.stop_responding()
    cluster.respond("", lambda _: ProxyResponse(body, status, headers or {}))


def targets(cluster: FaultProxy) -> list[str]:
    return [f"{exchange.method} {exchange.target}" for exchange in cluster.requests]


async def test_mapping_is_split_unchanged(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Each index's mapping comes out as the very bytes that the cluster sent; other members are left aside."""
    answer(cluster, '{"a":{"mappings":{"b" :1, "a":"é"}},"b":{"warning":{},"mappings":{}}}')
    assert await reader.mapping("both") == {"a": '{"b" :1, "a":"é"}'.encode(), "b": b"{}"}
    assert targets(cluster) == ["GET /both/_mapping?expand_wildcards=all"]


@pytest.mark.parametrize("name", ["logs-2026.01.01", "a%2fb", "a%2cb", "é", "a+b", "a&b=c;d", "...", "日本"])
async def test_name_is_one_path_segment(cluster: FaultProxy, reader: ClusterReader, name: str) -> None:
    """A name reaches the cluster as one path segment that decodes to it, whatever is between does to URLs."""
    answer(cluster, "{}")
    await reader.mapping(name)
    (target,) = targets(cluster)
    before, sent, after = target.split("/")
    assert (before, after) == ("GET ", "_mapping?expand_wildcards=all")
    assert unquote(sent) == name
    assert "," not in sent


async def test_several_names_in_one_request(cluster: FaultProxy, reader: ClusterReader) -> None:
    """A batch is one request, names apart by literal commas; an index that is absent from the answer is gone."""
    answer(cluster, '{"a":{"mappings":{}}}')
    assert await reader.mappings(["a", "gone", "é"]) == {"a": b"{}"}
    assert targets(cluster) == ["GET /a,gone,%C3%A9/_mapping?expand_wildcards=all&ignore_unavailable=true"]


async def test_empty_list_is_refused(cluster: FaultProxy, reader: ClusterReader) -> None:
    """No names must never become a request: it would read every mapping."""
    with pytest.raises(ValueError, match="at least one"):
        await reader.mappings([])
    assert cluster.count() == 0


FIELD_STATS: dict[str, Any] = {
    "_nodes": {"total": 3},
    "nodes": {
        "n1": {"indices": {"indices": {"a": {"mappings": {"total_count": 7}}, "b": {"mappings": {"total_count": 2}}}}},
        "n2": {"indices": {"indices": {"a": {"mappings": {"total_count": 5}}}}},
        "n3": {"indices": {}},
    },
}


def answer_listing(cluster: FaultProxy, uuids: dict[str, str], resolved: dict[str, Any]) -> None:
    cluster.stop_responding()
    settings = {name: {"settings": {"index.uuid": uuid}} for name, uuid in uuids.items()}
    cluster.respond("^/_settings/", lambda _: ProxyResponse(json.dumps(settings)))
    cluster.respond("^/_resolve/", lambda _: ProxyResponse(json.dumps(resolved)))
    cluster.respond("^/_nodes/stats", lambda _: ProxyResponse(json.dumps(FIELD_STATS)))
    cluster.respond(r"^/\?", lambda _: ProxyResponse('{"cluster_uuid":"c"}'))


async def test_listing(cluster: FaultProxy, reader: ClusterReader) -> None:
    """The uuid of every index, and what aliases and data streams stand for, in three small requests."""
    resolved = {
        "indices": [{"name": "a", "aliases": ["x"], "attributes": ["open"]}],
        "aliases": [{"name": "x", "indices": ["a", "b"]}],
        "data_streams": [{"name": "d", "backing_indices": [".ds-d-1"], "timestamp_field": "@timestamp"}],
    }
    answer_listing(cluster, {"a": "u1", ".hidden": "u2"}, resolved)
    assert await reader.listing() == Listing(
        "c",
        {"a": "u1", ".hidden": "u2"},
        {"x": ("a", "b"), "d": (".ds-d-1",)},
        frozenset({"d"}),
        {"a": 7, "b": 2},
        nodes_total=3,
        field_limits={"a": 1000, ".hidden": 1000},
    )
    assert sorted(target.partition("?")[0] for target in targets(cluster)) == [
        "GET /",
        "GET /_nodes/stats/indices/mappings",
        "GET /_resolve/index/*",
        "GET /_settings/index.uuid,index.mapping.total_fields.limit",
    ]


async def test_what_is_closed_and_hidden(cluster: FaultProxy, reader: ClusterReader) -> None:
    """A listing tells which indices are; not of those that hide by their dot, nor of what isn't selected or no name."""
    attributes = {"a": ["open"], "b": ["closed"], "c": ["closed", "hidden"], ".d": ["hidden", "open"], "no": ["closed"]}
    resolved = {"indices": [{"name": name, "attributes": each} for name, each in attributes.items()]}
    answer_listing(cluster, {"a": "1", "b": "2", "c": "3", ".d": "4", "untold": "5"}, resolved)
    listing = await reader.listing()
    assert (listing.closed, listing.hidden) == (frozenset({"b", "c"}), frozenset({"c"}))


async def test_field_limits(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Of each selected index how many fields it may have, which settings tell as a string, or not at all."""
    answer_listing(cluster, {}, {})
    cluster.stop_responding()
    settings = {
        "a": {"index.uuid": "1", "index.mapping.total_fields.limit": "20"},
        "b": {"index.uuid": "2"},
        "c": {"index.uuid": "3", "index.mapping.total_fields.limit": "0"},
    }
    body = json.dumps({name: {"settings": each} for name, each in settings.items()})
    cluster.respond("^/_settings/", lambda _: ProxyResponse(body))
    cluster.respond("^/_resolve/", lambda _: ProxyResponse("{}"))
    cluster.respond("^/_nodes/stats", lambda _: ProxyResponse("{}", 403))
    assert (await reader.listing("known")).field_limits == {"a": 20, "b": 1000, "c": 0}


async def test_listing_of_a_known_cluster(cluster: FaultProxy, reader: ClusterReader) -> None:
    """The cluster's uuid isn't asked for when it is known."""
    answer_listing(cluster, {"a": "u1"}, {})
    cluster.stop_responding()
    cluster.respond("^/_settings/", lambda _: ProxyResponse('{"a":{"settings":{"index.uuid":"u1"}}}'))
    cluster.respond("^/_resolve/", lambda _: ProxyResponse("{}"))
    cluster.respond("^/_nodes/stats", lambda _: ProxyResponse(json.dumps(FIELD_STATS)))
    counts = {"a": 7, "b": 2}
    assert await reader.listing("known") == Listing(
        "known", {"a": "u1"}, {}, frozenset(), counts, nodes_total=3, field_limits={"a": 1000}
    )
    assert cluster.count() == 3


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"cut": True}, {"status": 403}, {"status": 404, "headers": {"X-Elastic-Product": ""}}]
)
async def test_no_counts_in_time(cluster: FaultProxy, reader: ClusterReader, fault: dict[str, Any]) -> None:
    """A listing without the counts of fields, which some node or privilege keeps from us, is a listing."""
    answer_listing(cluster, {"a": "u1"}, {})
    with cluster.fault(path="^/_nodes/stats", **fault):
        listing = await reader.listing()
    assert (listing.uuids, listing.field_counts, listing.is_counted) == ({"a": "u1"}, {}, False)


async def test_a_listing_is_bounded(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Names take several times as much memory once they are taken apart: fewer bytes of them are read."""
    cluster.stop_responding()
    cluster.respond("", lambda _: ProxyResponse(b" " * (MAX_LISTING_BYTES + 1)))
    with pytest.raises(ClusterUnavailable, match="more than 24 MB"):
        await reader.listing()


async def test_unknown_name(cluster: FaultProxy, reader: ClusterReader) -> None:
    """404 to one name means that it doesn't exist, if Elasticsearch says so of that very name."""
    answer(cluster, index_not_found("gone"), 404)
    with pytest.raises(MappingNotFound, match="gone"):
        await reader.mapping("gone")
    with pytest.raises(ClusterUnavailable, match="404"):
        await reader.mapping("other")


async def test_a_name_that_the_role_does_not_cover(cluster: FaultProxy, reader: ClusterReader) -> None:
    """A denial of one name is about that name, which may not be there; its privilege is kept for where it is known."""
    answer(cluster, denied("on indices [a]", "index privileges [view_index_metadata,all]"), 403, WITHOUT_HEADER)
    with pytest.raises(NotCovered, match="named 'a', or this service's role in Elasticsearch doesn't") as caught:
        await reader.mapping("a")
    assert "lacks the index privilege view_index_metadata" in caught.value.denial.detail


async def test_a_denied_listing(cluster: FaultProxy, reader: ClusterReader) -> None:
    """A listing, or a batch, that is denied names the privilege; without the right to count, the listing goes on."""
    answer_listing(cluster, {"a": "u"}, {})
    counts = denied("", "cluster privileges [monitor,manage,all]")
    names = denied("", "index privileges [monitor,view_index_metadata,all]")
    with cluster.fault(path="^/(_nodes|[?])", status=403, body=counts, headers=WITHOUT_HEADER):
        listing = await reader.listing()
    assert (listing.uuids, listing.field_counts, listing.cluster_uuid) == ({"a": "u"}, {}, "")
    with cluster.fault(status=403, body=names, headers=WITHOUT_HEADER):
        for call in (lambda: reader.mappings(["a"]), lambda: reader.listing("c")):
            with pytest.raises(ClusterUnavailable, match="lacks the index privilege view_index_metadata") as caught:
                await call()
            assert "sensitive" not in caught.value.detail


async def test_404_to_a_batch_is_no_answer(cluster: FaultProxy, reader: ClusterReader) -> None:
    """With `ignore_unavailable` 404 isn't expected: it must not pass for "all of them are deleted"."""
    answer(cluster, index_not_found("a"), 404)
    with pytest.raises(ClusterUnavailable, match="404"):
        await reader.mappings(["a", "b"])


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_refusals_are_unavailable(cluster: FaultProxy, reader: ClusterReader, status: int) -> None:
    """Every other status is `ClusterUnavailable` that names it, says when to come back and repeats none of the body."""
    answer(cluster, json.dumps({"error": "sensitive text", "status": status}), status)
    for call in (lambda: reader.mapping("a"), lambda: reader.mappings(["a"]), reader.listing):
        with pytest.raises(ClusterUnavailable, match=str(status)) as caught:
            await call()
        assert "sensitive" not in caught.value.detail
        assert caught.value.retry_after_seconds is not None


async def test_no_connection_is_unavailable(cluster: FaultProxy, reader: ClusterReader) -> None:
    """A connection that breaks is `ClusterUnavailable`, and its request counts as sent."""
    sent: list[None] = []
    with cluster.fault(cut=True), pytest.raises(ClusterUnavailable, match="could not be reached"):
        await reader.mappings(["a"], lambda: sent.append(None))
    assert len(sent) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>login</html>",
        b"[]",
        b'{"a":{}}',
        b'{"a":{"mappings":{"properties":',
        b'{"\xff":{"mappings":{}}}',
        b"null",
        b"",
    ],
)
async def test_garbage_is_unavailable(cluster: FaultProxy, reader: ClusterReader, body: bytes) -> None:
    """An answer of 200 that isn't what was asked for is `ClusterUnavailable`, never an empty cluster."""
    answer(cluster, body)
    for call in (lambda: reader.mapping("a"), lambda: reader.mappings(["a"]), reader.listing):
        with pytest.raises(ClusterUnavailable):
            await call()


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (200, "{}", "application/json"),
        (200, "<html>login</html>", "text/html"),
        (302, "", "text/html"),
        (403, "<html>blocked</html>", "text/html"),
        (404, "404 page not found", "text/plain"),
        (404, index_not_found("a"), "application/json"),
        (404, "404 page not found", "application/json"),
        (410, "", "image/png"),
    ],
)
async def test_a_gateway_is_no_cluster(
    cluster: FaultProxy, reader: ClusterReader, status: int, body: str, content_type: str
) -> None:
    """An answer without Elasticsearch's header says nothing of names: the cluster can't be asked, and why is told."""
    answer(cluster, body, status, {"Content-Type": content_type, "X-Elastic-Product": ""})
    for call in (lambda: reader.mapping("a"), lambda: reader.mappings(["a"]), reader.listing):
        with pytest.raises(ClusterUnavailable, match=rf"not Elasticsearch \(status {status}\)") as caught:
            await call()
        assert caught.value.retry_after_seconds is not None


@pytest.mark.parametrize("path", ["^/_settings/", "^/_resolve/", r"^/\?"])
async def test_a_gateway_on_one_request_of_the_listing(cluster: FaultProxy, reader: ClusterReader, path: str) -> None:
    """A gateway that lets through a part of the listing alone is no refusal of Elasticsearch: there is no listing."""
    answer_listing(cluster, {"a": "u"}, {})
    gateway = cluster.fault(path=path, status=404, headers={"X-Elastic-Product": ""})
    with gateway, pytest.raises(ClusterUnavailable, match="not Elasticsearch"):
        await reader.listing()
    assert (await reader.listing()).uuids == {"a": "u"}


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_path_too_many(cluster: FaultProxy, reader: ClusterReader, status: int) -> None:
    """Elasticsearch that has nothing to list at the address says what that is probably due to."""
    answer(cluster, index_not_found("path"), status)
    with pytest.raises(ClusterUnavailable, match=f"status {status}.: is there a path in ELASTICSEARCH_URL"):
        await reader.listing()


ILLEGAL = ["", ".", "..", "_all", "-a", "a,b", "*", "a b", "a/b", "a\n", "é" * 200]


@pytest.mark.parametrize("name", [*ILLEGAL, "Upper"])
async def test_what_can_be_no_index_is_left_out(
    cluster: FaultProxy, reader: ClusterReader, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """An index of the cluster's with a name that no caller may send is in no answer and no listing, counted each time
    and said once, at no length.
    """
    answer(cluster, json.dumps({"a": {"mappings": {}}, name: {"mappings": {}}}))
    assert await reader.mapping("a") == await reader.mappings(["a", name]) == {"a": b"{}"}
    resolved = {"aliases": [{"name": "x", "indices": ["a", name, "new"]}, {"name": "y", "indices": [name]}]}
    answer_listing(cluster, {"a": "u", name: "u"}, resolved)
    listing = await reader.listing()
    assert (listing.uuids, listing.aliases) == ({"a": "u"}, {"x": ("a", "new")})
    assert reader.illegal_names_total == 5
    (said,) = caplog.messages
    assert said.startswith(f"left out a name that the cluster gave, as is every such: {ascii(name)[:20]}".rstrip("'"))
    assert len(said) < 700


@pytest.mark.parametrize("name", ILLEGAL)
async def test_what_can_be_no_alias_is_left_out(cluster: FaultProxy, reader: ClusterReader, name: str) -> None:
    """Aliases alone may have upper case, data streams not; what can be neither is left out."""
    stream = {"backing_indices": ["a"], "timestamp_field": "@timestamp"}
    resolved = {
        "aliases": [{"name": name, "indices": ["a"]}, {"name": "Alias", "indices": ["a"]}],
        "data_streams": [{"name": name, **stream}, {"name": "Stream", **stream}, {"name": "stream", **stream}],
    }
    answer_listing(cluster, {"a": "u"}, resolved)
    listing = await reader.listing()
    assert listing.aliases == {"Alias": ("a",), "stream": ("a",)}
    assert listing.data_streams == {"stream"}
    assert reader.illegal_names_total == 3


async def test_illegal_names_alone_are_unavailable(cluster: FaultProxy, reader: ClusterReader) -> None:
    """An answer that tells of nothing that can be an index is none, and doesn't mean that the name is gone."""
    answer(cluster, '{"":{"mappings":{}}}')
    for call in (partial(reader.mapping, "a"), partial(reader.mappings, ["a"])):
        with pytest.raises(ClusterUnavailable, match="nothing that can be an index"):
            await call()


async def test_what_was_not_asked_for_is_left_out(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Of several indices only those are taken that were asked for."""
    answer(cluster, '{"a":{"mappings":{}},"b":{"mappings":{}}}')
    assert await reader.mappings(["a", "c"]) == {"a": b"{}"}


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_name_that_comes_twice(cluster: FaultProxy, reader: ClusterReader, size: int) -> None:
    """Which of the two is right? Neither is taken, nor anything else of that answer, however large it is."""
    twice = '{"a":{"mappings":{}},"b":{"mappings":{"_meta":{"x":"%s"}}},"\\u0061":{"mappings":{"x":1}}}'
    answer(cluster, twice % ("x" * size))
    for call in (partial(reader.mapping, "x"), partial(reader.mappings, ["a", "b"])):
        with pytest.raises(ClusterUnavailable, match="the same name twice"):
            await call()
    answer_listing(cluster, {"a": "u"}, {})
    names = ["a", *(f"b{number}" for number in range(size // 20)), "a"]
    body = ",".join(f'"{name}":{{"settings":{{"index.uuid":"u"}}}}' for name in names)
    listing = cluster.fault(path="^/_settings/", status=200, body=f"{{{body}}}")
    with listing, pytest.raises(ClusterUnavailable, match="the same name twice"):
        await reader.listing()


TOO_LARGE = b'{"x":"%b"}' % (b"x" * MAX_MAPPING_BYTES)
TWICE = [b'{"a":1,"a":1}', b'{"a":[{"b":1,"\\u0062":2}]}']
NUMBERS = [b'{"a":1e999}', b'{"a":[-1e999]}', b'{"a":%b}' % (b"1" * 5_000)]
UNREADABLE = [b"[]", b"null", b'"x"', b"1", b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', TOO_LARGE, *TWICE, *NUMBERS]


@pytest.mark.parametrize("mapping", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_unreadable_mappings(cluster: FaultProxy, reader: ClusterReader, mapping: bytes) -> None:
    """What is no JSON object in UTF-8, or far too large, or read by parsers in different ways or not at all, is no
    mapping: among others it is left out, and a name that it is a part of can't be answered.
    """
    answer(cluster, b'{"good":{"mappings":{"a":"\xc3\xa9"}},"bad":{"mappings":%b}}' % mapping)
    assert await reader.mappings(["good", "bad"]) == {"good": '{"a":"é"}'.encode()}
    with pytest.raises(ClusterUnavailable, match="no JSON object of at most 8 MB with") as caught:
        await reader.mapping("alias")
    assert caught.value.retry_after_seconds is not None


async def test_an_unreadable_mapping_that_is_left_out(client: AsyncElasticsearch, cluster: FaultProxy) -> None:
    """A mapping that nobody is to see needn't be readable."""
    reader = ClusterReader(client, Selection(("*",), ("secret*",)), indices_timeout=5.0)
    answer(cluster, b'{"a":{"mappings":{}},"secret-1":{"mappings":[]}}')
    assert await reader.mapping("x") == {"a": b"{}"}


@pytest.mark.parametrize("path", ["^/_settings/", r"^/\?"])
async def test_ids_are_bounded(cluster: FaultProxy, reader: ClusterReader, path: str) -> None:
    """What is kept of each index is small, whatever the cluster says."""
    answer_listing(cluster, {"a": "u"}, {})
    long = "u" * 129
    body = json.dumps({"a": {"settings": {"index.uuid": long}}} if "settings" in path else {"cluster_uuid": long})
    with cluster.fault(path=path, status=200, body=body), pytest.raises(ClusterUnavailable, match="not what was asked"):
        await reader.listing()


async def test_requests_are_counted(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Whoever asks is told of each request that goes over the wire."""
    sent: list[None] = []
    answer(cluster, "{}")
    await reader.mappings(["a", "b"], lambda: sent.append(None))
    answer_listing(cluster, {}, {})
    await reader.listing(sent=lambda: sent.append(None))
    assert len(sent) == cluster.count() == 5


async def test_selection(client: AsyncElasticsearch, cluster: FaultProxy) -> None:
    """Indices that are left out are neither listed nor answered, by no name."""
    reader = ClusterReader(client, Selection(("*",), ("secret*",)), indices_timeout=5.0)
    resolved = {
        "aliases": [{"name": "x", "indices": ["a", "secret-1"]}, {"name": "y", "indices": ["secret-1"]}],
        "data_streams": [{"name": "d", "backing_indices": ["secret-2"]}],
    }
    answer_listing(cluster, {"a": "u", "secret-1": "u"}, resolved)
    assert await reader.listing() == Listing(
        "c", {"a": "u"}, {"x": ("a",)}, frozenset(), {"a": 7, "b": 2}, nodes_total=3, field_limits={"a": 1000}
    )
    answer(cluster, json.dumps({name: {"mappings": {}} for name in ("a", "secret-1")}))
    assert set(await reader.mapping("x")) == {"a"}
    answer(cluster, json.dumps({"secret-1": {"mappings": {}}}))
    with pytest.raises(MappingNotFound, match="left out"):
        await reader.mapping("y")


async def test_a_listing_closes_a_half_open_breaker(cluster: FaultProxy) -> None:
    """Of the calls of a listing the first is the probe, and the others are refused: it is answered all the same, so
    that the next listing succeeds.
    """
    answer_listing(cluster, {"a": "u"}, {})
    policy = BreakerPolicy(failures_in_a_row=1, row_seconds=0.0, minimum_calls=1, open_seconds=0.05, jitter=0.0)
    limited = one_pool("cache", PoolLimits(maxsize=8), policy)
    config = elasticsearch_config(cluster.url, connect_timeout=5.0)
    async with new_client(config, limited, request_timeout=5.0, max_retries=0, raw=True) as client:
        reader = ClusterReader(client, Selection(), indices_timeout=5.0)
        with cluster.fault(status=503), pytest.raises(ClusterUnavailable):
            await reader.listing()
        await asyncio.sleep(0.06)
        with cluster.fault(delay_seconds=0.05), pytest.raises(ClusterUnavailable, match="not asked"):
            await reader.listing()
        assert (await reader.listing()).uuids == {"a": "u"}


async def test_what_is_hidden(cluster: FaultProxy, client: AsyncElasticsearch) -> None:
    """Of names that aren't listed any more: those that are, without the selection, and those that our role doesn't
    cover; the cluster is asked for its list, and for the privileges on what that lacks.
    """
    reader = ClusterReader(client, Selection(exclude=("left-*",)), indices_timeout=5.0)
    listed = {"left-out": {"settings": {"index.uuid": "u"}}}
    granted = {"index": {"denied": {"view_index_metadata": False}, "gone": {"view_index_metadata": True}}}
    cluster.respond("index.uuid", lambda _: ProxyResponse(json.dumps(listed)))
    asked: list[Any] = []

    def privileges(request: ProxyRequest) -> ProxyResponse:
        asked.append(json.loads(request.body))
        return ProxyResponse(json.dumps(granted))

    cluster.respond("/_security/user/_has_privileges", privileges)
    assert await reader.hidden_among(["left-out", "denied", "gone"]) == {"left-out", "denied"}
    assert asked == [{"index": [{"names": ["denied", "gone"], "privileges": ["view_index_metadata"]}]}]
    assert await reader.hidden_among(["left-out"]) == {"left-out"}


async def test_nothing_is_hidden_where_nobody_says_so(cluster: FaultProxy, reader: ClusterReader) -> None:
    """Without security there are no privileges to lack; a cluster that can't be asked says nothing."""
    cluster.respond("index.uuid", lambda _: ProxyResponse("{}"))
    cluster.respond("_has_privileges", lambda _: ProxyResponse('{"error":"no handler found"}', 400))
    assert await reader.hidden_among(["gone"]) == frozenset()
    answer(cluster, "{}", 503)
    assert await reader.hidden_among(["gone"]) == frozenset()
