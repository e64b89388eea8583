"""Field values on a real node: what is gathered and what never is, and where it is shown."""

import re

import pytest
from elasticsearch import Elasticsearch
from pytest_django import Settings

from cacheapp.values.gatherer import GATHERER
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from esassistant.registry import registry
from tests.support.field_values import BEARER, gathered, gatherer, make_orders, values_opened
from tests.support.fixtures import OpenApp


@pytest.fixture
def orders(cluster: Elasticsearch) -> None:
    """The indices `make_orders` makes."""
    make_orders(cluster)


async def test_what_is_gathered(node: Node, orders: None, open_app: OpenApp, settings: Settings) -> None:
    """Values with counts, ranges and what is missing; with their age and of how many documents. Never texts, nested
    fields, names and values that tell of persons; nothing before a family is asked for.
    """
    async with values_opened(open_app, settings, node.url, "orders") as http:
        assert (await http.get("/api/mappings/orders/fields?values=true")).json()["values"] is None
        await gathered(1)
        listed = (await http.get("/api/mappings/orders-1/fields?values=true")).json()
        plain = (await http.get("/api/mappings/orders-1/fields")).json()
    note = listed["values"]
    assert (note["family"], note["sample_documents"], note["is_whole"], note["fields_left_out"]) == (
        "orders",
        60,
        True,
        0,
    )
    assert note["age_seconds"] >= 0
    values = {field["name"]: field["values"] for field in listed["fields"] if field["values"] is not None}
    assert set(values) == {"status", "gift", "placed_at", "total_cents", "customer.tier"}
    assert values["status"] == {
        "missing_percent": 25.0,
        "values": [
            {"value": "Cancelled", "documents": 15},
            {"value": "Delivered", "documents": 15},
            {"value": "Shipped", "documents": 15},
        ],
        "more": False,
        "min": None,
        "max": None,
    }
    assert values["gift"]["values"] == [{"value": False, "documents": 30}, {"value": True, "documents": 30}]
    assert (values["total_cents"]["missing_percent"], values["total_cents"]["values"]) == (0.0, None)
    assert (values["total_cents"]["min"], values["total_cents"]["max"]) == (0, 3900)
    assert (values["placed_at"]["min"], values["placed_at"]["max"]) == ("2026-11-01T00:00:00Z", "2026-11-28T00:00:00Z")
    assert all("values" not in field for field in plain["fields"])


async def test_never_through_a_filtered_alias(node: Node, orders: None, open_app: OpenApp, settings: Settings) -> None:
    """The alias is looked at, and that is all: neither it nor its indices are searched, by whatever name they are asked
    for.
    """
    with FaultProxy(node.url) as proxy:
        async with values_opened(open_app, settings, proxy.url, "*") as http:
            await http.get("/api/mappings/mine")
            await http.get("/api/mappings/hidden-1")
            await gathered(0, left_out=1)
            assert gatherer().report().left_out["filtered"] == 1
            assert gatherer().report().calls_total == 1
            assert proxy.count("/mine/_search") == proxy.count("/hidden-1/_search") == 0
            answer = await http.get("/api/mappings/mine/fields?values=true")
    assert answer.json()["values"] is None


async def test_off_by_default(node: Node, orders: None, open_app: OpenApp) -> None:
    """Without the setting there is nobody to gather, no call, and the list says that no values are known."""
    async with open_app(node.url) as http:
        await http.get("/api/mappings/orders")
        answer = await http.get("/api/mappings/orders/fields?values=true")
        stats = (await http.get("/api/cache/stats", headers=BEARER)).json()
        assert registry.get(GATHERER) is None
    assert answer.json()["values"] is None
    assert (stats["field_values"]["enabled"], stats["field_values"]["calls_total"]) == (False, 0)


async def test_where_values_are_shown(node: Node, orders: None, open_app: OpenApp, settings: Settings) -> None:
    """In descriptions, as text and as JSON; in validation, where a value near a known one is a warning; on the page of
    a name. What searches ask for is counted.
    """
    wrong = {"query": {"bool": {"filter": [{"term": {"status": "delivered"}}, {"match": {"status": "Shiped"}}]}}}
    right = {"query": {"terms": {"status": ["Delivered", "delivered", "returned"]}}}
    async with values_opened(open_app, settings, node.url, "ord*") as http:
        before = (await http.get("/api/mappings/orders/describe")).text
        await gathered(1)
        text = (await http.get("/api/mappings/orders/describe")).text
        described = (await http.get("/api/mappings/orders/describe", headers={"Accept": "application/json"})).json()
        warned = (await http.post("/api/mappings/orders/validate", json=wrong, headers=BEARER)).json()
        quiet = (await http.post("/api/mappings/orders-*/validate", json=right, headers=BEARER)).json()
        page = (await http.get("/browse/orders")).text
        stats = (await http.get("/api/cache/stats", headers=BEARER)).json()
    assert "values" not in before
    assert re.fullmatch(r"# values: \d{1,2} s old, of 60 documents", text.splitlines()[1])
    assert "status(values Cancelled, Delivered, Shipped)" in text
    assert "total_cents(from 0 to 3,900)" in text
    assert (described["values"]["fields_total"], described["values"]["sample_documents"]) == (5, 60)
    assert warned["valid"] is True
    assert [(one["code"], one["severity"], one["path"], one["did_you_mean"]) for one in warned["findings"]] == [
        ("unknown_value", "warning", "/query/bool/filter/0/term/status", ["Delivered"]),
        ("unknown_value", "warning", "/query/bool/filter/1/match/status", ["Shipped"]),
    ]
    assert quiet["findings"] == []
    assert "values Cancelled, Delivered, Shipped" in page
    assert "of all 60 documents of orders" in page
    assert (stats["field_values"]["families"], stats["field_values"]["calls_total"]) == (1, 2)
    assert stats["field_uses"]["counted_total"] == 2
