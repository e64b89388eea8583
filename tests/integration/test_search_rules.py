"""The rules of searching, on a real node: what it takes of what is let through, and that nothing has two meanings."""

from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from tests.support.fixtures import Figure, OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
TERM: dict[str, Any] = {"term": {"script": "x"}}


@pytest.fixture(autouse=True)
def indices(cluster: Elasticsearch) -> None:
    """Documents whose fields have the names of scripts and indices; an index to look up in, and one not selected."""
    fields = {name: {"type": "keyword"} for name in ("script", "index", "wrapper", "collate", "user")}
    more = {"n": {"type": "long"}, "at": {"type": "date"}, "text": {"type": "text"}}
    cluster.indices.create(index="shop", mappings={"properties": {**fields, **more}})
    document = {"script": "x", "index": "x", "wrapper": "x", "collate": "x", "user": "a", "n": 1, "text": "some text"}
    cluster.index(index="shop", id="1", document=document, refresh=True)
    for name in ("users", "secret-1"):
        cluster.index(index=name, id="1", document={"ids": ["a"], "text": "some text"}, refresh=True)


async def search(http: httpx.AsyncClient, body: object) -> httpx.Response:
    return await http.post("/api/indices/shop/search", json=body, headers=BEARER)


NAMED: list[dict[str, Any]] = [
    {"query": TERM},
    {"query": {"bool": {"must": [TERM, {"terms": {"index": ["x"]}}, {"match": {"wrapper": {"query": "x"}}}]}}},
    {"query": TERM, "aggs": {"script_hits": {"terms": {"field": "script", "order": {"_key": "asc"}}}}},
    {
        "aggs": {
            "a": {"terms": {"field": "index", "order": {"script": "asc"}}, "aggs": {"script": {"max": {"field": "n"}}}}
        }
    },
    {"aggs": {"collate": {"filters": {"filters": {"script": TERM, "wrapper": {"match_all": {}}}}}}},
    {"aggs": {"a": {"composite": {"sources": [{"script": {"terms": {"field": "script"}}}], "after": {"script": "a"}}}}},
    {"sort": [{"script": "asc"}, {"index": {"order": "desc"}}], "_source": ["script"]},
    {"query": TERM, "highlight": {"fields": {"script": {}}}},
    {"runtime_mappings": {"script": {"type": "keyword"}}, "query": TERM},
    {"query": {"function_score": {"query": TERM, "functions": [{"filter": TERM, "weight": 2}]}}},
]


async def test_case_61_a_field_named_script(node: Node, open_app: OpenApp, figure: Figure) -> None:
    """Fields, aggregations and filters that are called like a script or an index are searched."""
    async with open_app(node.url) as http:
        found = [await search(http, body) for body in NAMED]
    assert [(answer.status_code, answer.json()["hits"]["total"]["value"]) for answer in found] == [(200, 1)] * len(
        NAMED
    )
    figure(61, f"{len(NAMED)} searches with such names: all answered")


SCRIPT = {"source": "1"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"query": {"script": {"script": SCRIPT}}}, "Scripts are not permitted"),
    ({"query": {"script": {"script": {"id": "stored"}}}}, "Scripts are not permitted"),
    ({"query": {"script_score": {"query": TERM, "script": SCRIPT}}}, "Scripts are not permitted"),
    ({"script_fields": {"a": {"script": SCRIPT}}}, "Scripts are not permitted"),
    ({"sort": {"_script": {"type": "number", "script": SCRIPT}}}, "Scripts are not permitted"),
    ({"runtime_mappings": {"a": {"type": "long", "script": SCRIPT}}}, "Scripts are not permitted"),
    ({"aggs": {"a": {"scripted_metric": {"map_script": "1"}}}}, "Scripts are not permitted"),
    ({"aggs": {"a": {"terms": {"field": "n"}, "aggs": {"b": {"bucket_script": {"script": "1"}}}}}}, "Scripts are not"),
    (
        {"suggest": {"a": {"text": "x", "phrase": {"field": "text", "collate": {"query": SCRIPT}}}}},
        "hides what it asks",
    ),
    ({"query": {"wrapper": {"query": "e30="}}}, "hides what it asks"),
]


async def test_case_61_scripts_are_refused(node: Node, open_app: OpenApp, figure: Figure) -> None:
    """Scripts, stored ones too, and what hides a query are 400, and reach no node."""
    async with open_app(node.url) as http:
        for body, text in REFUSED:
            answer = await search(http, body)
            assert (answer.status_code, text in answer.json()["detail"]) == (400, True), body
    figure(61, f"{len(REFUSED)} scripts and hidden queries: all refused")


def lookups(index: str) -> list[dict[str, Any]]:
    """A search for each way to read from another index that a bare node has."""
    return [
        {"query": {"terms": {"user": {"index": index, "id": "1", "path": "ids"}}}},
        {
            "query": {
                "more_like_this": {
                    "fields": ["text"],
                    "like": [{"_index": index, "_id": "1"}],
                    "include": True,
                    "min_term_freq": 1,
                    "min_doc_freq": 1,
                }
            }
        },
        {"indices_boost": [{index: 2.0}]},
    ]


async def test_case_61_other_indices(node: Node, open_app: OpenApp, figure: Figure) -> None:
    """A search reads from another index that is selected; not from one that isn't, whatever it is asked by. Of one that
    is missing Elasticsearch's own reason is told, never that the searched index is.
    """
    async with open_app(node.url, cache={"exclude": ("secret-*",)}) as http:
        permitted = [await search(http, body) for body in lookups("users")]
        assert [answer.status_code for answer in permitted] == [200] * len(permitted)
        assert [answer.json()["hits"]["total"]["value"] for answer in permitted] == [1, 1, 1]
        for body in lookups("secret-1"):
            answer = await search(http, body)
            assert (answer.status_code, "named 'secret-1' to search" in answer.json()["detail"]) == (400, True), body
        reasons = {}
        for body in lookups("missing"):
            answer = await search(http, body)
            if answer.status_code != 200:  # what Elasticsearch forgives is no failure
                assert (answer.status_code, answer.json()["title"]) == (400, "Bad search"), answer.text
                reasons[str(body)[:40]] = answer.json()["detail"]
    assert "index_not_found_exception: no such index [missing]" in next(iter(reasons.values()))
    assert all("missing" in reason for reason in reasons.values())
    figure(
        61, f"3 ways to another index: read where it is selected, 400 where it isn't; missing: {len(reasons)} reasons"
    )


DOUBLED = (
    '{"size":1,"size":2}',
    '{"query":{"match_all":{}},"query":{"match_none":{}}}',
    '{"query":{"bool":{"must":[],"must":[]}}}',
    '{"query":{"term":{"script":"a","script":"b"}}}',
    '{"query":{"term":{"script":{"value":"a","value":"b"}}}}',
    '{"query":{"more_like_this":{"fields":["text"],"like":[{"doc":{"text":"a","text":"b"}}]}}}',
    '{"aggs":{"a":{"max":{"field":"n"}},"a":{"min":{"field":"n"}}}}',
    '{"aggs":{"a":{"max":{"field":"n","field":"at"}}}}',
    '{"aggs":{"a":{"max":{"field":"n"},"meta":{"b":1,"b":2}}}}',
    '{"sort":[{"n":{"order":"asc","order":"desc"}}]}',
    '{"highlight":{"fields":{"text":{},"text":{}}}}',
    '{"suggest":{"a":{"text":"x","term":{"field":"text","field":"script"}}}}',
    '{"runtime_mappings":{"a":{"type":"long","type":"keyword"}}}',
    '{"indices_boost":[{"shop":1,"shop":2}]}',
    '{"_source":{"includes":["a"],"includes":["b"]}}',
    '{"query":{"match_all":{}},"qu\\u0065ry":{"match_none":{}}}',
)
"""A parser that takes the first of two keys, and one that takes the last, would read two searches."""


async def test_no_key_comes_twice(node: Node, open_app: OpenApp) -> None:
    """The node refuses a body that has a key twice, wherever: what was checked here is what it searches."""
    async with open_app(node.url) as http:
        for body in DOUBLED:
            answer = await http.post("/api/indices/shop/search", content=body, headers=BEARER)
            assert (answer.status_code, answer.json()["title"]) == (400, "Bad search"), body
            assert "uplicate" in answer.json()["detail"], body
