"""Validation from memory on a real node: over HTTP, on the page, in searches, and as a command."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN, manage
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ORDERS = {
    "dynamic": "strict",
    "properties": {
        "status": {"type": "keyword"},
        "title": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
        "placedAt": {"type": "date"},
        "total": {"type": "double"},
        "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    },
}
DOCUMENT = {"status": "open", "title": "Floor lamp", "placedAt": "2026-11-01", "total": 12.5, "lines": [{"sku": "A-1"}]}
RIGHT: dict[str, Any] = {"query": {"term": {"status": "open"}}}
WRONG: dict[str, Any] = {"query": {"term": {"statsu": "open"}}}
SILENT: dict[str, Any] = {"query": {"term": {"lines.sku": "A-1"}}}


@pytest.fixture
def orders(cluster: Elasticsearch) -> None:
    """An index with one document, and an alias of it."""
    cluster.indices.create(index="orders", mappings=ORDERS, aliases={"shop": {}})
    cluster.index(index="orders", document=DOCUMENT, refresh=True)


async def validated(http: httpx.AsyncClient, body: object, name: str = "orders") -> dict[str, Any]:
    answer = await http.post(f"/api/mappings/{name}/validate", json=body, headers=BEARER)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_is_wrong_is_told(node: Node, orders: None, open_app: OpenApp) -> None:
    """A right search has no findings; a wrong one says where, what, and what was meant; aliases are names too."""
    async with open_app(node.url) as http:
        right, wrong = await validated(http, RIGHT), await validated(http, WRONG, "shop")
        silent = await validated(http, SILENT)
    assert (right["valid"], right["findings"]) == (True, [])
    assert wrong["age_seconds"] >= 0
    assert wrong["findings"] == [
        {
            "path": "/query/term/statsu",
            "code": "unknown_field",
            "severity": "error",
            "field": "statsu",
            "did_you_mean": ["status"],
            "detail": "No field is named [statsu]. Nothing is found by it.",
        }
    ]
    assert [one["code"] for one in silent["findings"]] == ["nested_missing"]


async def test_the_cluster_is_never_asked(node: Node, orders: None, open_app: OpenApp) -> None:
    """While the cluster refuses everything the answers are the same, and none of them is a call of it."""
    bodies = (RIGHT, WRONG, SILENT)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url) as http:
            before = [await validated(http, body) for body in bodies]
            proxy.reset()
            proxy.refuse()
            after = [await validated(http, body) for body in bodies]
            calls = proxy.count()
    for one in (*before, *after):
        one.pop("age_seconds")
    assert after == before
    assert calls == 0


async def test_what_cannot_be_validated(node: Node, orders: None, open_app: OpenApp) -> None:
    """No JSON, too much of it, and unknown names are problems; what is no search is a finding."""
    async with open_app(node.url) as http:

        async def status(content: bytes, name: str = "orders") -> int:
            answer = await http.post(f"/api/mappings/{name}/validate", content=content, headers=BEARER)
            return answer.status_code

        assert await status(b"{") == 400
        assert await status(b'{"a":' * 5_000) == 400
        assert await status(b'"' + b"x" * 300_000 + b'"') == 413
        assert await status(b"{}", "absent") == 404
        assert await status(b"", "orders") == 200
        assert [one["code"] for one in (await validated(http, []))["findings"]] == ["wrong_shape"]
        nobody = await http.post("/api/mappings/orders/validate", json={}, headers={"Authorization": "Bearer wrong"})
        assert nobody.status_code == 401


async def test_searches_are_validated(node: Node, orders: None, open_app: OpenApp, cluster: Elasticsearch) -> None:
    """`warn` tells in a header, and in the answer when nothing was found; `refuse` refuses errors alone; `off` is
    silent; right searches are answered byte for byte.
    """
    address = "/api/indices/orders/search"
    async with open_app(node.url) as http:

        async def search(body: object, how: str = "") -> httpx.Response:
            return await http.post(f"{address}{how}", json=body, headers=BEARER)

        right, off = await search(RIGHT), await search(WRONG, "?validate=off")
        warned = await search(WRONG)
        refused = await search(WRONG, "?validate=refuse")
        found = await search({"query": {"bool": {"should": [RIGHT["query"], WRONG["query"]]}}}, "?validate=refuse")
        bad = await search(RIGHT, "?validate=maybe")
        report = (await http.get("/api/performance", headers=BEARER)).json()
    assert "x-search-findings" not in right.headers
    assert "_esassistant" not in right.json()
    assert "_esassistant" not in off.json()
    told = json.loads(warned.headers["x-search-findings"])
    assert told["total"] == 1
    assert told["findings"][0]["did_you_mean"] == ["status"]
    assert warned.json()["hits"]["total"]["value"] == 0
    assert warned.json()["_esassistant"]["findings"][0]["field"] == "statsu"
    assert refused.status_code == 400
    assert "Did you mean 'status'?" in refused.json()["detail"]
    assert refused.json()["type"] == "/problems/search-has-errors"
    assert refused.json()["findings"] == warned.json()["_esassistant"]["findings"]
    # A warning refuses nothing, and what was found stays as it is.
    assert (found.status_code, found.json()["hits"]["total"]["value"]) == (200, 1)
    assert "_esassistant" not in found.json()
    assert json.loads(found.headers["x-search-findings"])["findings"][0]["severity"] == "warning"
    assert bad.status_code == 400
    assert report is not None


def test_the_command(node: Node, orders: None, tmp_path: Path, transactional_db: None) -> None:
    """Findings come with file and line; the exit code is 0 without errors, 1 with one, 2 for what can't be read."""
    right, wrong = tmp_path / "right.json", tmp_path / "wrong.json"
    right.write_text(json.dumps({**RIGHT, "_source": ["nosuch"]}))
    wrong.write_text(json.dumps(WRONG, indent=2))
    with FaultProxy(node.url) as proxy:
        url = proxy.url
        assert manage("validate", "orders", str(right), elasticsearch_url=url).returncode == 2  # nothing published
        assert manage("warm_cache", elasticsearch_url=url).returncode == 0
        proxy.refuse()
        warned = manage("validate", "orders", str(right), elasticsearch_url=url)
        both = manage("validate", "orders", str(right), str(wrong), elasticsearch_url=url)
        several = manage("validate", "ord*,-none-*", str(right), str(wrong), elasticsearch_url=url)
        assert (several.returncode, several.stdout) == (both.returncode, both.stdout)
        for words in (("absent", str(right)), ("orders,absent", str(right)), ("orders", str(tmp_path / "none.json"))):
            assert manage("validate", *words, elasticsearch_url=url).returncode == 2
    assert (warned.returncode, both.returncode) == (0, 1), both.stderr
    assert f"{wrong}:4: error: No field is named [statsu]." in both.stdout
    assert "Did you mean status?" in both.stdout
    assert "1 errors, 1 warnings" in both.stderr
