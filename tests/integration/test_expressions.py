"""Lists and patterns of names on a real node: what we answer from memory is what Elasticsearch answers."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.models import MappingChange
from cacheapp.search_target import MAX_NAMES_BYTES
from cacheapp.state.expressions import Expression, resolve
from cacheapp.state.visible import ALL_VISIBLE, Visible
from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.registry import registry
from tests.support.fixtures import OpenApp
from tests.support.nodes import NODE_VERSION

BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = ("logs-1", "logs-2", "logs-old-1", "metrics-1", "plain")
ALIASES: dict[str, dict[str, Any]] = {
    "logs-all": {"logs-1": {}, "logs-2": {}, "logs-old-1": {}},
    "logs-plain": {"plain": {}},
    "logs-mixed": {"logs-2": {}, "logs-closed": {}},
    "UPPER": {"plain": {}},
    "filtered": {"plain": {"filter": {"term": {"kind": "a"}}}},
}
SAME = (
    *("*", "_all", "**", "logs-1", "logs-1,plain", "logs-1,logs-1", "logs-*", "logs-*,-logs-old-*"),
    *("logs-*,-logs-*,logs-1", "logs-1,logs-*,-logs-1", "logs-all,nope-*,-logs-1"),
    *("log*,-logs-a*", "log*,-logs-all", "logs-closed", "logs-m*", "l*s-*"),
    *("logs-mixed,nope-*", "logs-closed,l*,-logs-c*", "secret", ".*", ".*,-.ds-*", ".ds-*", "UP*", "*-1,-log*,logs-2"),
    *("ev-*", "ev-web", "ev-web,plain", "*,-ev-*", "*,-plain", "m*,plain,-p*", "*,-*1", "logs-all,UPPER", "fil*"),
    "logs-a*,-logs-1",
)
"""What both read in the same way."""
NOTHING = (
    *("none-*", "logs-cl*", "sec*", "up*", "e*,-ev-*", "logs-*,-l*", "logs-*,-logs-*", "logs-1,nope-*,-logs-1"),
    *("logs-pl*,-plain", "e*,-.ds-ev*"),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of its own: without x-pack nothing but the end of the data directory deletes a data stream."""
    with Node(Path(tmp_path_factory.mktemp("elasticsearch")), version=NODE_VERSION) as running:
        with Elasticsearch(running.url, request_timeout=30) as client:
            _arrange(client)
        yield running


def _arrange(client: Elasticsearch) -> None:
    """Open, closed and hidden indices, aliases over them, one with a filter, and a data stream of two indices."""
    mappings = {"properties": {"kind": {"type": "keyword"}, "@timestamp": {"type": "date"}}}
    for name in (*OPEN, "logs-closed"):
        client.indices.create(index=name, mappings=mappings)
    for name in ("secret", ".dot"):
        client.indices.create(index=name, mappings=mappings, settings={"index.hidden": True})
    adds = [
        {"add": {"index": index, "alias": alias, **given}}
        for alias, indices in ALIASES.items()
        for index, given in indices.items()
    ]
    client.indices.update_aliases(actions=adds)
    client.indices.close(index="logs-closed")
    client.indices.put_index_template(name="events", index_patterns=["ev-*"], data_stream={}, template={})
    for name in (*OPEN, "secret", ".dot"):
        client.index(index=name, document={"kind": "a", "@timestamp": "2026-01-01"}, refresh=True)
    client.index(index="plain", document={"kind": "b", "@timestamp": "2026-01-01"}, refresh=True)
    for kind in ("c", "d"):
        client.index(
            index="ev-web", document={"kind": kind, "@timestamp": "2026-01-01"}, op_type="create", refresh=True
        )
        client.indices.rollover(alias="ev-web")


@pytest.fixture
async def http(node: Node, open_app: OpenApp) -> AsyncIterator[httpx.AsyncClient]:
    async with open_app(node.url) as http:
        http.headers.update(BEARER)
        yield http


@pytest.fixture
def elasticsearch(node: Node) -> Iterator[Elasticsearch]:
    with Elasticsearch(node.url, request_timeout=30) as client:
        yield client


def path(expression: str) -> str:
    return quote(expression, safe="")


async def search(http: httpx.AsyncClient, expression: str) -> httpx.Response:
    by_index = {"size": 0, "aggs": {"by": {"terms": {"field": "_index", "size": 100}}}}
    return await http.post(f"/api/indices/{path(expression)}/search", json=by_index)


def searched(answer: Any) -> dict[str, int]:
    """How many documents of each index a search found."""
    return {
        bucket["key"]: bucket["doc_count"]
        for bucket in answer.get("aggregations", {"by": {"buckets": []}})["by"]["buckets"]
    }


async def test_mappings_are_those_that_a_node_gives(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """By `GET /{expression}/_mapping`."""
    ours = {one: await http.get(f"/api/mappings/{path(one)}") for one in SAME}
    assert {one: answer.status_code for one, answer in ours.items()} == dict.fromkeys(SAME, 200)
    theirs = {one: elasticsearch.indices.get_mapping(index=one).body for one in SAME}
    assert {one: answer.json() for one, answer in ours.items()} == theirs


async def test_nothing_is_404(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """Elasticsearch answers 200 with nothing, which a caller takes for a cluster without fields; we say so."""
    for expression in NOTHING:
        assert elasticsearch.indices.get_mapping(index=expression).body == {}
        answers = [await http.get(f"/api/mappings/{path(expression)}{view}") for view in ("", "/fields", "/schema")]
        answers += [await http.get(f"/api/mappings/{path(expression)}/describe"), await search(http, expression)]
        for answer in answers:
            problem = answer.json()
            assert (answer.status_code, problem["type"]) == (404, "/problems/no-such-index"), expression
            assert "matches" in problem["detail"]


async def test_names_are_those_that_a_node_resolves(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """By `GET /_resolve/index/{expression}`. That takes names alone away, and not the indices of an alias; so there may
    be more.
    """
    assert (await http.get("/readyz")).status_code == 200
    snapshot = registry.get(MAPPING_CACHE).snapshot
    for expression in SAME:
        told = elasticsearch.indices.resolve_index(name=expression).body
        names = {one["name"] for kind in ("indices", "aliases", "data_streams") for one in told[kind]}
        ours = set(resolve(snapshot, Expression(expression, ALL_VISIBLE)).names)
        assert ours == names or (ours < names and ",-" in expression), expression


async def test_a_search_finds_what_it_finds_on_the_node(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """As many documents of each index, filtered where Elasticsearch filters; or it is refused with what to send."""
    refused = []
    aggs = {"by": {"terms": {"field": "_index", "size": 100}}}
    for expression in (one for one in SAME if "closed" not in one and "mixed" not in one):
        answer = await search(http, expression)
        if answer.status_code == 400:
            refused.append(expression)
            assert "are taken away" in answer.json()["detail"]
            continue
        theirs = elasticsearch.search(index=expression, size=0, aggs=aggs).body
        assert (answer.status_code, searched(answer.json())) == (200, searched(theirs)), expression
    assert refused == ["logs-a*,-logs-1"]


async def test_one_search_of_a_query_builder(http: httpx.AsyncClient) -> None:
    """A list in the place of as many requests: its fields, what is wrong with a search, and its hits."""
    names = ",".join(["logs-*", "metrics-*", "-logs-old-*", "ev-web"])
    fields = (await http.get(f"/api/mappings/{names}/fields")).json()["fields"]
    assert {field["name"]: field["indices_total"] for field in fields}["kind"] == 6
    wrong = (await http.post(f"/api/mappings/{names}/validate", json={"query": {"term": {"knd": "a"}}})).json()
    assert [finding["did_you_mean"] for finding in wrong["findings"]] == [["kind", "kind.keyword"]]
    found = await search(http, names)
    assert searched(found.json()).keys() >= {"logs-1", "logs-2", "metrics-1"}
    assert "logs-old-1" not in searched(found.json())


async def test_missing_and_closed_are_named(http: httpx.AsyncClient) -> None:
    """An exact name that isn't there is 404 wherever it stands; a closed one has mappings, and isn't searched."""
    for address in ("nope,logs-*", "logs-*,nope"):
        for answer in (await http.get(f"/api/mappings/{address}"), await search(http, address)):
            assert (answer.status_code, "'nope'" in answer.json()["detail"]) == (404, True)
        wrong = await http.post(f"/api/mappings/{address}/validate", json={})
        assert (wrong.status_code, "'nope'" in wrong.json()["detail"]) == (404, True)
    assert "logs-closed" in (await http.get("/api/mappings/logs-cl*")).json()["detail"]
    closed = await search(http, "logs-1,logs-closed")
    assert (closed.status_code, "closed" in closed.json()["detail"]) == (400, True)
    assert searched((await search(http, "logs-m*")).json()) == {"logs-2": 1}
    # The alias that a pattern gives has a closed index, and `plain` must not be passed over.
    assert searched((await search(http, "plain,logs-m*")).json()) == {"logs-2": 1, "plain": 2}


async def test_an_index_that_goes_meanwhile(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """Given by a pattern it is passed over; given by its name it is missing, whatever pattern stands beside it."""
    elasticsearch.indices.create(index="brief-1")
    elasticsearch.indices.create(index="brief-2")
    assert (await http.post("/api/cache/refresh?wait=true")).status_code == 200
    elasticsearch.indices.delete(index="brief-1")
    assert (await search(http, "brief-*")).status_code == 200
    assert (await search(http, "plain,brief-*")).status_code == 200
    gone = await search(http, "brief-1,brief-*")
    assert (gone.status_code, "'brief-1'" in gone.json()["detail"]) == (404, True)
    elasticsearch.indices.delete(index="brief-2")


async def test_a_name_that_is_new(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """In a list it is read as it is alone, for at most ten names."""
    elasticsearch.indices.create(index="new-1")
    try:
        answer = await http.get("/api/mappings/new-1,plain")
        assert sorted(answer.json()) == ["new-1", "plain"]
        many = await http.get("/api/mappings/" + ",".join(f"unknown-{number}" for number in range(11)))
        assert (many.status_code, many.json()["type"]) == (400, "/problems/too-much-at-once")
    finally:
        elasticsearch.indices.delete(index="new-1")


async def test_too_many_names_for_a_search(http: httpx.AsyncClient, elasticsearch: Elasticsearch) -> None:
    """What doesn't fit into an address is refused with what narrows it; its mappings are answered."""
    names = [f"series-{'x' * 200}-{number}" for number in range(MAX_NAMES_BYTES // 200 + 1)]
    for name in names:
        elasticsearch.indices.create(index=name, settings={"number_of_replicas": 0})
    elasticsearch.indices.put_alias(index="series-*", name="all-series")
    try:
        assert (await http.post("/api/cache/refresh?wait=true")).status_code == 200
        refused = await search(http, "series-*")
        assert (refused.status_code, "alias" in refused.json()["detail"]) == (400, True)
        assert len((await http.get("/api/mappings/series-*")).json()) == len(names)
        assert (await search(http, "all-s*")).status_code == 200
    finally:
        elasticsearch.indices.delete(index=",".join(names[:8]))
        elasticsearch.indices.delete(index=",".join(names[8:]))


async def test_a_history_tells_what_was_deleted(http: httpx.AsyncClient) -> None:
    """A pattern is held against the names that are recorded."""
    zeros = {f"{kind}_total": 0 for kind in ("added", "removed", "retyped", "altered")}
    empty: dict[str, Any] = {"added": [], "removed": [], "retyped": [], "altered": [], **zeros}
    for name in ("logs-gone", "logs-1", "other"):
        await MappingChange.objects.acreate(
            index=name, at="2026-01-01T00:00:00Z", kind="removed", instance="i", **empty
        )
    told = (await http.get("/api/mappings/logs-*/history")).json()["changes"]
    assert [change["index"] for change in told] == ["logs-1", "logs-gone"]
    gone = (await http.get("/api/mappings/logs-gone,plain/history")).json()["changes"]
    assert [change["index"] for change in gone] == ["logs-gone"]
    assert (await http.get("/api/mappings/none-*/history")).status_code == 404


async def test_the_browser_shows_what_they_stand_for(http: httpx.AsyncClient) -> None:
    """A page of a list or pattern: its names, what it leaves out; lists of its indices, and plain errors."""
    page = await http.get(f"/browse/{path('logs-*,ev-web')}", headers={"Accept": "text/html"})
    assert page.status_code == 200
    text = re.sub(r"<[^>]*>", "", page.text)
    assert "stands for 7 indices" in text
    assert "7 names: ev-web, logs-1" in text
    assert "Left out, as a pattern gives no closed index: logs-closed" in text
    listed = await http.get("/browse/", params={"of": "logs-*,ev-web"}, headers={"Accept": "text/html"})
    assert "7 names: 7 indices." in re.sub(r"<[^>]*>", "", listed.text)
    for names, status in (("none-*", 404), ("-a,b*", 400), ("logs-1,..", 400)):
        assert (await http.get(f"/browse/{path(names)}", headers={"Accept": "text/html"})).status_code == status


async def test_a_scope_resolves_what_it_sees(http: httpx.AsyncClient) -> None:
    """Who may see a filtered alias alone gets its index by no pattern, neither named nor unfiltered."""
    snapshot = registry.get(MAPPING_CACHE).snapshot
    for expression in ("*", "f*,p*", "filtered,plain", "_all"):
        resolved = resolve(snapshot, Expression(expression, Visible(("filtered",))))
        assert resolved.names == ("filtered",)
