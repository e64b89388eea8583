"""What a search may be made of, how it is sent, and what becomes of the answer."""

import json
import threading
from typing import Any

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import BadSearch, MappingNotFound
from cacheapp.reports import SearchReport
from cacheapp.search import MAX_BODY_BYTES, MAX_SIZE, SMALL_BODY_BYTES, Searches, _reason, parse_search
from cacheapp.search_rules import Reference, references_in
from cacheapp.state.names import Selection
from cacheapp.state.visible import ALL_VISIBLE, Visible
from dev.faults.proxy import FaultProxy, ProxyRequest, ProxyResponse
from esassistant.elasticsearch.client import new_client
from esassistant.errors import ClusterUnavailable, EsassistantError
from tests.support.clients import elasticsearch_config, pools
from tests.support.fakes import A_MAPPING, FakeReader, cache_config, denied, index_not_found, spawn

NAME = "shop"


def parsed(search: object) -> dict[str, Any]:
    return parse_search(json.dumps(search).encode())


def test_an_empty_body_finds_everything() -> None:
    """No body, or an empty object: the first hits of everything."""
    assert parse_search(b"") == parsed({}) == {}


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
        parse_search(raw)


def test_too_long() -> None:
    """A body above the limit isn't even read."""
    with pytest.raises(BadSearch, match="at most 65536 bytes"):
        parse_search(b" " * (MAX_BODY_BYTES + 1))


@pytest.mark.parametrize("key", ["scroll", "pit", "timeout", "terminate_after", "profile", "x" * 1000])
def test_unknown_members(key: str) -> None:
    """What isn't on the list is refused: it could hold resources of the cluster."""
    with pytest.raises(BadSearch, match="can't be used here") as caught:
        parsed({key: 1})
    assert len(caught.value.detail) < 600


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
        searches = Searches(client, cache, Selection(), 2.0)
        with pytest.raises(error, match=text):
            await searches.answer(NAME, b"", visible=ALL_VISIBLE)
        assert searches.report() == SearchReport()


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-ndjson", "x/y"])
async def test_answers_are_not_decoded(stub: FaultProxy, kind: str) -> None:
    """A large answer comes as it was sent, whatever kind it says it is: decoding it would hold the loop."""
    body = '{"took":1,  "took":1.0}'
    stub.respond("", lambda _: ProxyResponse(body, headers={"Content-Type": kind}))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        assert (
            await Searches(client, cache, Selection(), 2.0).answer(NAME, b"", visible=ALL_VISIBLE)
        ).body == body.encode()
        stub.stop_responding()
        stub.respond("", lambda _: ProxyResponse())
        assert (await client.info()).body == {}  # other calls of the same client are decoded


@pytest.mark.parametrize(("raw", "sent"), [(b"", b"{}"), (b'{ "size" : 3 }', b'{ "size" : 3 }')])
async def test_a_body_is_sent_as_it_came(stub: FaultProxy, raw: bytes, sent: bytes) -> None:
    """Byte for byte and uncompressed, with the deadline in the address; an empty one as an object."""
    seen: list[ProxyRequest] = []

    def answer(request: ProxyRequest) -> ProxyResponse:
        seen.append(request)
        return ProxyResponse()

    stub.respond("", answer)
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=30.0, max_retries=0) as client:
        await Searches(client, cache, Selection(), 30.0).answer(NAME, raw, visible=ALL_VISIBLE)
    (request,) = seen
    assert (request.method, request.target, request.body) == ("POST", "/shop/_search?timeout=9000ms", sent)
    assert {name: request.headers[name] for name in ("accept-encoding", "content-type")} == {
        "accept-encoding": "identity",
        "content-type": "application/json",
    }


@pytest.mark.parametrize(("size_bytes", "in_thread"), [(SMALL_BODY_BYTES, False), (SMALL_BODY_BYTES + 1, True)])
async def test_large_searches_are_checked_in_a_thread(
    stub: FaultProxy, monkeypatch: pytest.MonkeyPatch, size_bytes: int, in_thread: bool
) -> None:
    """Looking through 60 kB of them would hold the event loop for tens of milliseconds."""
    threads: list[int] = []

    def seen(search: Any, *, scripts: bool) -> list[Reference]:
        threads.append(threading.get_ident())
        return references_in(search, scripts=scripts)

    monkeypatch.setattr("cacheapp.search.references_in", seen)
    stub.respond("", lambda _: ProxyResponse())
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=30.0, max_retries=0) as client:
        searches = Searches(client, cache, Selection(), 30.0)
        await searches.answer(NAME, b"{}".ljust(size_bytes), visible=Visible(("shop*",)))
        by_index = b'{"query":{"term":{"_index":"x"}}}'.ljust(size_bytes)
        with pytest.raises(BadSearch, match="_index"):
            await searches.answer(NAME, by_index, visible=Visible(("shop*",)))
    assert [thread != threading.get_ident() for thread in threads] == [in_thread, in_thread]


HEAD = '{"took":1,"timed_out":%s,"_shards":{"total":2,"successful":1,"skipped":0,"failed":%d},"hits":{"total":'
TOTAL = '{"value":%d,"relation":"eq"},"hits":[]}}'


async def test_answers_are_counted_by_what_they_say(stub: FaultProxy) -> None:
    """Timed out, failed shards, nothing found, and those that don't say it."""
    heads = [("false", 0, 3), ("true", 0, 3), ("false", 1, 3), ("true", 2, 0)]
    bodies = [(HEAD + TOTAL) % each for each in heads] + ["{}"]
    stub.respond("", lambda _: ProxyResponse(bodies.pop(0)))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        searches = Searches(client, cache, Selection(), 2.0)
        for _ in range(5):
            await searches.answer(NAME, b"", visible=ALL_VISIBLE)
    assert searches.report() == SearchReport(
        answered_total=5, timed_out_total=2, failed_shards_total=2, empty_total=1, untold_total=1
    )


def lookup(index: object) -> bytes:
    return json.dumps({"query": {"terms": {"user": {"index": index, "id": "1", "path": "ids"}}}}).encode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lookup("users"), None),
        (lookup("all-users"), None),
        (lookup("secret-1"), "/query/terms/user/index: there is no index, alias or data stream named 'secret-1'"),
        (lookup("<secret-{now/d}>"), "Date math is not resolved"),
        (lookup("other:users"), "Remote clusters"),
        (lookup("*"), "One name is needed here"),
        (lookup("_all"), "can't start with '-'"),
        (lookup(["users", "secret-1"]), "named 'secret-1'"),
        (lookup("x" * 60_000), "at most 255 bytes"),
        (b'{"indices_boost":[{"users":2},{"secret-1":1}]}', "/indices_boost/1/secret-1: there is no index"),
        (b'{"indices_boost":{"u*":2}}', "named 'u\\*' to search"),
        (b'{"query":{"geo_shape":{"where":{"indexed_shape":{"id":"1"}}}}}', "named 'shapes' to search"),
    ],
)
async def test_other_indices_are_named_where_the_selection_covers_them(
    stub: FaultProxy, body: bytes, text: str | None
) -> None:
    """A search reads from another index only if that could be searched itself; else nothing is sent. Where names are
    excluded no pattern is taken.
    """
    stub.respond("", lambda _: ProxyResponse())
    reader = FakeReader({"users": A_MAPPING})
    reader.cluster_aliases["all-users"] = ("users",)
    cache = MappingCache(reader, cache_config(), spawn)
    await cache.get("all-users")
    selection = Selection(exclude=("secret-*", "all-*", "shapes"))
    stub.reset()
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        searches = Searches(client, cache, selection, 2.0)
        if text is None:
            await searches.answer("users", body, visible=ALL_VISIBLE)
        else:
            with pytest.raises(BadSearch, match=text) as caught:
                await searches.answer("users", body, visible=ALL_VISIBLE)
            assert len(caught.value.detail) < 500
    assert stub.count() == (text is None)


@pytest.mark.parametrize(
    ("name", "body", "error", "text"),
    [
        ("logs-web", lookup("logs-ids"), None, ""),
        ("logs-all", b'{"indices_boost":[{"logs-*":2},{"logs-a*":3},{"logs-all":1}]}', None, ""),
        ("vault", b"", MappingNotFound, "named 'vault'"),
        (
            "logs-web",
            lookup("vault"),
            BadSearch,
            "/query/terms/user/index: there is no index.* named 'vault' to search",
        ),
        (
            "logs-web",
            lookup("absent"),
            BadSearch,
            "/query/terms/user/index: there is no index.* named 'absent' to search",
        ),
        ("logs-web", b'{"indices_boost":[{"*":2}]}', BadSearch, "named '\\*' to search"),
        ("logs-web", b'{"indices_boost":[{"log*":2}]}', BadSearch, "named 'log\\*' to search"),
        ("logs-web", b'{"query":{"geo_shape":{"where":{"indexed_shape":{"id":"1"}}}}}', BadSearch, "named 'shapes'"),
        ("logs-web", b'{"query":{"prefix":{"_index":"va"}}}', BadSearch, "^/query/prefix/_index: a token with a scope"),
        ("logs-web", b'{"aggs":{"by":{"terms":{"field":"_index"}}}}', None, ""),
    ],
)
async def test_what_a_scope_covers(
    stub: FaultProxy, name: str, body: bytes, error: type[EsassistantError] | None, text: str
) -> None:
    """A caller with a scope names what is in it, in the address and inside the search; of another name is said what is
    said of one that isn't there, and nothing is sent.
    """
    stub.respond("", lambda _: ProxyResponse())
    reader = FakeReader({"logs-web": A_MAPPING, "vault": A_MAPPING})
    reader.cluster_aliases["logs-all"] = ("logs-web", "vault")
    cache = MappingCache(reader, cache_config(), spawn)
    await cache.get("logs-all")
    stub.reset()
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        asked = Searches(client, cache, Selection(), 2.0).answer(name, body, visible=Visible(("logs-*",)))
        if error is None:
            await asked
        else:
            with pytest.raises(error, match=text):
                await asked
    assert stub.count() == (error is None)


async def test_a_name_that_is_not_selected(stub: FaultProxy) -> None:
    """It is not there for a search, and nothing is sent."""
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        with pytest.raises(MappingNotFound, match="named 'secret-1'"):
            await Searches(client, cache, Selection(exclude=("secret-*",)), 2.0).answer(
                "secret-1", b"", visible=ALL_VISIBLE
            )
    assert stub.count() == 0


@pytest.mark.parametrize(("include", "passes"), [(("*",), True), (("u*", "x"), True), (("users",), False)])
async def test_patterns_are_taken_where_all_is_covered(
    stub: FaultProxy, include: tuple[str, ...], passes: bool
) -> None:
    """A pattern of `indices_boost` may be used when whatever it stands for is selected."""
    stub.respond("", lambda _: ProxyResponse())
    cache = MappingCache(FakeReader({"users": A_MAPPING}), cache_config(), spawn)
    async with new_client(elasticsearch_config(stub.url), pools(), request_timeout=2.0, max_retries=0) as client:
        searches = Searches(client, cache, Selection(include), 2.0)
        asked = searches.answer("users", b'{"indices_boost":[{"us*":2}]}', visible=ALL_VISIBLE)
        if passes:
            assert (await asked).body == b"{}"
        else:
            with pytest.raises(BadSearch, match="named 'us"):
                await asked


async def test_too_large_an_answer(stub: FaultProxy) -> None:
    """Who asks for more than is read is told so, and what to do about it."""
    stub.respond("", lambda _: ProxyResponse(b" " * 1001))
    cache = MappingCache(FakeReader(), cache_config(), spawn)
    limits: dict[str, Any] = {"request_timeout": 2.0, "max_retries": 0, "max_answer_bytes": 1000}
    async with new_client(elasticsearch_config(stub.url), pools(), **limits) as client:
        with pytest.raises(BadSearch, match=r"answers with more than 1 kB\. Ask for less: a smaller size"):
            await Searches(client, cache, Selection(), 2.0).answer(NAME, b"", visible=ALL_VISIBLE)


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
            await searches.answer("other", b"", visible=ALL_VISIBLE)
        cache.warm = True
        with pytest.raises(MappingNotFound, match="named 'other', or this service's role"):
            await searches.answer("other", b"", visible=ALL_VISIBLE)
        await cache.get("shop")
        with pytest.raises(ClusterUnavailable, match="lacks the index privilege read"):
            await searches.answer(NAME, b"", visible=ALL_VISIBLE)


NO_REASON = [b"", b"\xff", b"[" * 5_000, b'"x"', b"{}", b'{"error":"x"}', b'{"error":{"root_cause":[]}}']


@pytest.mark.parametrize("body", NO_REASON)
def test_a_refusal_without_reason(body: Any) -> None:
    """An error of Elasticsearch that doesn't say why is passed on as such."""
    meta = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "127.0.0.1", 9))
    assert _reason(BadRequestError("x", meta, body)) == "it gave no reason."
