"""Fields of the cluster, and names with a field, over HTTP on a real node: as `_field_caps` has them."""

from typing import Any

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def indices(cluster: Elasticsearch) -> None:
    """Three indices of two mappings, one closed, an alias, and one whose field has another type."""
    log = {"properties": {"status": {"type": "long"}, "host": {"properties": {"name": {"type": "keyword"}}}}}
    for name in ("logs-1", "logs-2", "logs-3"):
        cluster.indices.create(index=name, mappings=log, aliases={"logs": {}})
    orders = {"properties": {"status": {"type": "keyword"}, "items": {"type": "nested"}}}
    cluster.indices.create(index="orders", mappings=orders)
    cluster.indices.close(index="logs-3")


def by_type(fields: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        field["name"]: {one["type"]: one["indices_total"] for one in field["conflict"]}
        or {field["types"][0]: field["indices_total"]}
        for field in fields
    }


async def test_fields_are_those_of_field_caps(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Each path has the types that `_field_caps` tells, each in as many indices; a closed index counts in neither."""
    told = cluster.field_caps(index="*", fields="*", filters="-metadata", include_unmapped=False).body
    async with open_app(node.url) as http:
        answer = (await http.get("/api/fields", headers=BEARER)).json()
    found = by_type(answer["fields"])
    counted = {
        name: {type_: len(one.get("indices", ())) for type_, one in types.items()}
        for name, types in told["fields"].items()
    }
    # Where all indices agree it doesn't list them, and objects without fields it doesn't know.
    assert {name: set(types) for name, types in found.items() if name != "items"} == {
        name: set(types) for name, types in counted.items() if name != "items"
    }
    assert found["status"] == counted["status"] == {"keyword": 1, "long": 2}
    assert found["host.name"] == {"keyword": 2}
    assert {field["name"]: field["families"] for field in answer["fields"]}["status"] == ["logs", "orders"]


async def test_filters_and_pages(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Filters narrow names and fields; a page leads to the next; what is bad is 400, and what isn't there 404."""
    async with open_app(node.url) as http:

        async def names(query: str) -> list[str]:
            answer = await http.get(f"/api/indices?{query}", headers=BEARER)
            return [one["name"] for one in answer.json()["names"]]

        async def fields(path: str) -> list[str]:
            return [one["name"] for one in (await http.get(path, headers=BEARER)).json()["fields"]]

        assert await names("field=items") == ["orders"]
        assert await names("field=host.name&kind=alias") == ["logs"]
        assert await names("pattern=logs*,-logs-2&state=open") == ["logs", "logs-1"]
        assert await names("state=closed") == ["logs-3"]
        assert await fields("/api/fields?leaves=true&prefix=host") == ["host.name"]
        assert await fields("/api/fields?type=nested") == ["items"]
        assert await fields("/api/fields?pattern=orders") == ["items", "status"]
        assert await fields("/api/mappings/logs-*/fields?q=name&leaves=true&compact=true") == ["host.name"]
        first = (await http.get("/api/mappings/logs/fields?limit=2", headers=BEARER)).json()
        cursor = first["next_cursor"]
        assert [one["name"] for one in first["fields"]] == ["host", "host.name"]
        assert await fields(f"/api/mappings/logs/fields?limit=2&cursor={cursor}") == ["status"]
        listed = (await http.get("/api/indices?pattern=logs", headers=BEARER)).json()["names"]
        assert listed[0]["closed_indices"] == ["logs-3"]
        for bad in ("limit=0", "limit=1001", "cursor=%3F", "leaves=maybe", "pattern=-a", f"q={'x' * 201}"):
            assert (await http.get(f"/api/fields?{bad}", headers=BEARER)).status_code == 400, bad
        for bad in ("kind=table", "state=red", "limit=x", "pattern=a%20b"):
            assert (await http.get(f"/api/indices?{bad}", headers=BEARER)).status_code == 400, bad
        assert (await http.get("/api/fields?pattern=nothing*", headers=BEARER)).status_code == 404
