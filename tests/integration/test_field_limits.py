"""How near an index is to the limit of its fields, on a real node: counted as Elasticsearch counts."""

import re

import pytest
from elasticsearch import BadRequestError, Elasticsearch

from cacheapp.cache.field_limits import FIELD_LIMITS
from dev.elasticsearch.node import Node
from esassistant.registry import registry
from tests.support.fixtures import OpenApp
from tests.support.running import BEARER, until

LIMIT = 20
PROPERTIES = {
    "order": {
        "properties": {
            "id": {"type": "keyword"},
            "title": {
                "type": "text",
                "fields": {"raw": {"type": "keyword"}, "lower": {"type": "text"}},
            },
            "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}, "price": {"type": "long"}}},
        }
    },
    "number": {"type": "alias", "path": "order.id"},
    **{f"field{number}": {"type": "long"} for number in range(6)},
}
RUNTIME = {"weekday": {"type": "keyword"}, "hour": {"type": "long"}}
FIELDS = 17


async def test_a_family_near_its_limit(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An index has as many fields as it takes to fill it up: 3 more are taken, and the next is refused. Statistics,
    metrics and advice say so; an index without a limit of its own may have 1000.
    """
    cluster.indices.create(
        index="orders-1",
        settings={"number_of_replicas": 0, "index.mapping.total_fields.limit": LIMIT},
        mappings={"properties": PROPERTIES, "runtime": RUNTIME},
    )
    cluster.indices.create(index="orders-2", mappings={"properties": {"one": {"type": "long"}}})
    cluster.indices.create(index="events", mappings={"properties": {"one": {"type": "long"}}})
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        await until(lambda: registry.get(FIELD_LIMITS).report().families)
        stats = (await http.get("/api/cache/stats", headers=BEARER)).json()
        metrics = (await http.get("/metrics", headers=BEARER)).text
        performance = (await http.get("/api/performance", headers=BEARER)).json()
    assert list(stats["field_limits"]["families"].items()) == [
        ("orders*", {"index": "orders-1", "fields": FIELDS, "limit": LIMIT, "share": FIELDS / LIMIT}),
        ("events", {"index": "events", "fields": 1, "limit": 1000, "share": 0.001}),
    ]
    series = re.findall(r'^esassistant_(mapping_fields\w*)\{.*family="orders\*".*\} (.*)$', metrics, re.MULTILINE)
    assert series == [("mapping_fields", "17.0"), ("mapping_fields_limit", "20.0")]
    (advice,) = [one for one in performance["recommendations"] if one["metric"] == "field_limits.fullest_percent"]
    assert (advice["value"], advice["threshold"], advice["sample_size"]) == (85.0, 80.0, LIMIT)
    assert "'orders-1' of the family 'orders*' has 17 of the 20 fields" in advice["why"]
    for number in range(LIMIT - FIELDS):
        cluster.indices.put_mapping(index="orders-1", properties={f"more{number}": {"type": "long"}})
    with pytest.raises(BadRequestError, match="Limit of total fields"):
        cluster.indices.put_mapping(index="orders-1", properties={"last": {"type": "long"}})
