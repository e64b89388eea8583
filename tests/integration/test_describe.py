"""Descriptions on a real node: what is in them, headers, parameters, and without the cluster."""

from elasticsearch import Elasticsearch

from cacheapp.describe.tokens import count_tokens
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
MAPPINGS = {
    "_meta": {"description": "Parcels on their way"},
    "properties": {
        "sent": {"type": "date"},
        "state": {"type": "keyword"},
        "note": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
        "carrier": {"properties": {"name": {"type": "keyword"}, "weight": {"type": "float", "meta": {"unit": "kg"}}}},
        "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    },
}


async def test_an_alias_is_described(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """All that fits is said: indices, types by object, multi-fields, nested objects, `meta`, `_meta`, conflicts."""
    cluster.indices.create(index="parcels-1", mappings=MAPPINGS, aliases={"parcels": {}})
    other = {"properties": {"state": {"type": "long"}}}
    cluster.indices.create(index="parcels-2", mappings=other, aliases={"parcels": {}})
    async with open_app(node.url) as http:
        answer = await http.get("/api/mappings/parcels/describe")
        as_json = await http.get("/api/mappings/parcels/describe", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "parcels: 2 indices, 6 fields\n"
        "# Parcels on their way\n"
        "text note(.keyword, in 1); date sent(in 1); keyword+long state\n"
        "  state — conflict: keyword in 1 (parcels-1), long in 1 (parcels-2)\n"
        "carrier.: keyword name(in 1); float weight(in 1)\n"
        "  weight — unit kg\n"
        "lines. (nested): keyword sku(in 1)"
    )
    said = as_json.json()
    assert (said["text"], said["shown_total"], said["not_shown"]) == (answer.text, 6, {})
    assert said["tokens"] == count_tokens(answer.text) <= said["budget_tokens"] == 1000


async def test_the_headers_are_those_of_mappings(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """ETag and 304, age, state and source; HEAD has no body; the two forms vary by Accept and have ETags of their own;
    another question is another text.
    """
    cluster.indices.create(index="parcels", mappings=MAPPINGS)
    address = "/api/mappings/parcels/describe"
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        answer = await http.get(address)
        etag = answer.headers["etag"]
        unchanged = await http.get(address, headers={"If-None-Match": etag})
        head = await http.head(address)
        as_json = await http.get(address, headers={"Accept": "application/json", "If-None-Match": etag})
        cluster_wide = await http.get("/api/describe")
    assert answer.headers["x-cache-state"] == "fresh"
    assert answer.headers["x-cache-source"] == "memory"
    assert int(answer.headers["age"]) >= 0
    assert "accept" in answer.headers["vary"].lower()
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", etag)
    assert (as_json.status_code, as_json.headers["content-type"]) == (200, "application/json")
    assert int(cluster_wide.headers["age"]) >= 0
    assert cluster_wide.headers["etag"] != etag


async def test_what_is_wrong_is_said(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A budget out of bounds, an unknown parameter, a question that is too long and an unknown name are problems that
    say what to do.
    """
    cluster.indices.create(index="parcels", mappings=MAPPINGS)
    wrong = {
        "/api/mappings/parcels/describe?tokens=49": (400, "from 50 to 50000"),
        "/api/mappings/parcels/describe?tokens=50001": (400, "from 50 to 50000"),
        "/api/describe?tokens=many": (400, "from 50 to 50000"),
        "/api/mappings/parcels/describe?token=100": (400, "tokens or q"),
        "/api/describe?name=parcels": (400, "tokens or q"),
        "/api/describe?q=a&q=b": (400, "q= once"),
        f"/api/describe?q={'a' * 1001}": (400, "1000"),
        "/api/mappings/absent/describe": (404, "absent"),
        "/api/mappings/UPPER/describe": (400, "lower case"),
    }
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        for address, (status, detail) in wrong.items():
            answer = await http.get(address)
            assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), address


async def test_the_cluster_is_described_while_it_is_down(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Families and fields come from memory when nothing answers any more; the family of a question comes first."""
    cluster.indices.create(index="parcels-2026.01", mappings=MAPPINGS)
    cluster.indices.create(index="parcels-2026.02", mappings=MAPPINGS)
    salaries = {"properties": {"employee": {"type": "keyword"}, "salary": {"type": "double"}}}
    cluster.indices.create(index="payroll", mappings=salaries)
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url) as http:
            await http.post("/api/cache/refresh?wait=true", headers=BEARER)
            with proxy.fault(status=503):
                families = await http.get("/api/describe?q=What do our staff earn?")
                fields = await http.get("/api/mappings/payroll/describe?tokens=50&q=earnings")
    lines = families.text.splitlines()
    assert [lines[0], lines[1], lines[2].removesuffix(", lines.sku")] == [
        "2 families of indices",
        "payroll: 2 fields — employee, salary",
        "parcels*: 2 indices, 6 fields — Parcels on their way, state, note, sent, carrier.name, carrier.weight",
    ]
    assert fields.text == "payroll: 2 fields\nkeyword employee; double salary"
