"""What a search may be made of: bounded, and without scripts unless they are permitted."""

import json
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError
from hypothesis import given
from hypothesis import strategies as st

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import BadSearch, MappingNotFound
from cacheapp.search import DEFAULT_SIZE, MAX_BODY_BYTES, MAX_SIZE, Searches, _reason, parse_search
from cacheapp.state.names import Selection
from dev.faults.proxy import FaultProxy, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.errors import ClusterUnavailable, EsassistantError
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import A_MAPPING, FakeReader, cache_config, denied, index_not_found, spawn

SCRIPT = {"source": "while (true) {}"}
SCRIPTED: list[dict[str, Any]] = [
    {"query": {"script": {"script": SCRIPT}}},
    {"query": {"bool": {"filter": [{"script": {"script": SCRIPT}}]}}},
    {"query": {"function_score": {"script_score": {"script": SCRIPT}}}},
    {"query": {"terms_set": {"a": {"terms": ["x"], "minimum_should_match_script": SCRIPT}}}},
    {"query": {"wrapper": {"query": "eyJzY3JpcHQiOnt9fQ=="}}},
    {"sort": [{"_script": {"type": "number", "script": SCRIPT}}]},
    {"script_fields": {"x": {"script": SCRIPT}}},
    {"runtime_mappings": {"x": {"type": "long", "script": SCRIPT}}},
    {"aggs": {"x": {"scripted_metric": {"map_script": SCRIPT}}}},
    {"aggs": {"x": {"terms": {"script": SCRIPT}}}},
    {"aggs": {"x": {"terms": {"field": "a"}, "aggs": {"y": {"bucket_selector": {"script": "1"}}}}}},
]


def parsed(search: object, *, scripts: bool = False) -> dict[str, Any]:
    return parse_search(json.dumps(search).encode(), scripts=scripts)


def test_an_empty_body_finds_everything() -> None:
    """No body, or an empty object: the first hits of everything."""
    assert parse_search(b"", scripts=False) == parsed({}) == {"size": DEFAULT_SIZE}


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
def test_sizes(size: int) -> None:
    """Any number of hits up to the maximum."""
    assert parsed({"size": size, "query": {"match_all": {}}})["size"] == size


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1, 10**30, 1.5, "10", None, True])
def test_bad_sizes(size: object) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(BadSearch, match="size with a whole number from 0 to 1000"):
        parsed({"size": size})


@pytest.mark.parametrize("raw", [b"[]", b"1", b"{", b'"x"', b"null", b'{"query"}', b"\xff", b'{"a":' * 5_000])
def test_what_is_no_search(raw: bytes) -> None:
    """A body that isn't a JSON object is refused with an example."""
    with pytest.raises(BadSearch, match="Send a JSON object such as"):
        parse_search(raw, scripts=False)


def test_too_long() -> None:
    """A body above the limit isn't even read."""
    with pytest.raises(BadSearch, match="at most 65536 bytes"):
        parse_search(b" " * (MAX_BODY_BYTES + 1), scripts=False)


@pytest.mark.parametrize("key", ["scroll", "pit", "timeout", "terminate_after", "profile", "x" * 1000])
def test_unknown_members(key: str) -> None:
    """What isn't on the list is refused: it could hold resources of the cluster."""
    with pytest.raises(BadSearch, match="can't be used here") as caught:
        parsed({key: 1})
    assert len(caught.value.detail) < 600


@pytest.mark.parametrize("search", SCRIPTED)
def test_scripts(search: dict[str, Any]) -> None:
    """A script is found wherever it hides, and passes only when scripts are permitted."""
    with pytest.raises(BadSearch, match="ESASSISTANT_SEARCH_SCRIPTS"):
        parsed(search)
    assert parsed(search, scripts=True) == {**search, "size": DEFAULT_SIZE}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_", max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_harmless_searches_pass_unchanged(query: object) -> None:
    """What has no script in it goes on as it came."""
    assert parsed({"query": query}) == {"query": query, "size": DEFAULT_SIZE}


GATEWAY = {"X-Elastic-Product": ""}


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "text"),
    [
        (404, index_not_found("shop"), {}, MappingNotFound, "named 'shop'"),
        (404, index_not_found("other"), {}, BadSearch, "no such index .other."),
        (404, '{"error":{"type":"search_context_missing_exception"}}', {}, ClusterUnavailable, "status 404"),
        (404, index_not_found("shop"), GATEWAY, ClusterUnavailable, "not Elasticsearch"),
        (404, "404 page not found", {**GATEWAY, "Content-Type": "text/plain"}, ClusterUnavailable, "not Elasticsearch"),
        (400, "{}", GATEWAY, ClusterUnavailable, "not Elasticsearch"),
        (200, "{}", GATEWAY, ClusterUnavailable, "not Elasticsearch"),
        (400, "{}", {}, BadSearch, "it gave no reason"),
        (400, '{"error":{"root_cause":[{"type":"x","reason":"because"}]}}', {}, BadSearch, "the search: x: because"),
        (503, "{}", {}, ClusterUnavailable, "status 503"),
        (200, "", {}, ClusterUnavailable, "can't be read"),
        (200, '{"took":1', {}, ClusterUnavailable, "can't be read"),
        (200, "[]", {}, ClusterUnavailable, "can't be read"),
        (200, "<p>", {"Content-Type": "text/html"}, ClusterUnavailable, "can't be read"),
    ],
)
async def test_what_fails(
    stub: FaultProxy, status: int, body: str, headers: dict[str, str], error: type[EsassistantError], text: str
) -> None:
    """Only Elasticsearch's own word on the very name is "no such index"; what a search says of another is its fault;
    and what something else answers is the cluster's absence.
    """
    stub.respond("", lambda _: ProxyResponse(body, status, headers))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        with pytest.raises(error, match=text):
            await Searches(client, cache, Selection(), 2.0).search("shop", {})


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-ndjson", "x/y"])
async def test_answers_are_not_decoded(stub: FaultProxy, kind: str) -> None:
    """A large answer comes as it was sent, whatever kind it says it is: decoding it would hold the loop."""
    body = '{"took":1,  "took":1.0}'
    stub.respond("", lambda _: ProxyResponse(body, headers={"Content-Type": kind}))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        assert bytes(await Searches(client, cache, Selection(), 2.0).search("shop", {})) == body.encode()
        stub.stop_responding()
        stub.respond("", lambda _: ProxyResponse())
        assert (await client.info()).body == {}  # other calls of the same client are decoded


async def test_too_large_an_answer(stub: FaultProxy) -> None:
    """Who asks for more than is read is told so, and what to do about it."""
    stub.respond("", lambda _: ProxyResponse(b" " * 1001))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    limits: dict[str, Any] = {"request_timeout": 2.0, "max_retries": 0, "max_answer_bytes": 1000}
    async with new_client(elasticsearch_config(stub.url), pools(), **limits) as client:
        with pytest.raises(BadSearch, match=r"answers with more than 1 kB\. Ask for less: a smaller size"):
            await Searches(client, cache, Selection(), 2.0).search("shop", {})


async def test_what_is_denied(stub: FaultProxy) -> None:
    """A name that is not listed and that the role doesn't cover is 404; one that is known, or none yet, a missing
    privilege.
    """
    body = denied("on indices [shop]", "index privileges [read,all]")
    stub.respond("", lambda _: ProxyResponse(body, 403, GATEWAY))
    cache = MappingCache(FakeReader({"shop": A_MAPPING}), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        searches = Searches(client, cache, Selection(), 2.0)
        with pytest.raises(ClusterUnavailable, match="lacks the index privilege read"):
            await searches.search("other", {})
        cache.warm = True
        with pytest.raises(MappingNotFound, match="named 'other', or this service's role"):
            await searches.search("other", {})
        await cache.get("shop")
        with pytest.raises(ClusterUnavailable, match="lacks the index privilege read"):
            await searches.search("shop", {})


NO_REASON = [b"", b"\xff", b"[" * 5_000, b'"x"', b"{}", b'{"error":"x"}', b'{"error":{"root_cause":[]}}']


@pytest.mark.parametrize("body", NO_REASON)
def test_a_refusal_without_reason(body: Any) -> None:
    """An error of Elasticsearch that doesn't say why is passed on as such."""
    meta = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "127.0.0.1", 9))
    assert _reason(BadRequestError("x", meta, body)) == "it gave no reason."
