"""Field values on a real node: what is gathered and what never is, where it is shown, and what it costs the cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from pytest_django import Settings

from cacheapp.values.gatherer import GATHERER, Gatherer
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.config.model import FieldValuesConfig
from esassistant.registry import registry
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}
MAPPINGS: dict[str, Any] = {
    "properties": {
        "status": {"type": "keyword"},
        "gift": {"type": "boolean"},
        "placed_at": {"type": "date"},
        "total_cents": {"type": "long"},
        "note": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "customer": {"properties": {"email": {"type": "keyword"}, "tier": {"type": "keyword"}}},
        "contact_point": {"type": "keyword"},
        "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    }
}
STATES = ("Delivered", "Shipped", "Cancelled")


def documents(index: str, number: int) -> list[dict[str, Any]]:
    return [
        {
            "_index": index,
            "status": STATES[place % 3],
            "gift": place % 2 == 0,
            "placed_at": f"2026-11-{1 + place % 28:02}",
            "total_cents": 100 * place,
            "note": "handle with care",
            "customer": {"email": f"{place}@example.org", "tier": "gold" if place % 4 else "silver"},
            "contact_point": "ann@example.org" if place == 0 else "shop",
            "lines": [{"sku": f"S-{place}"}],
        }
        | ({} if place % 4 else {"status": None})
        for place in range(number)
    ]


@pytest.fixture
def orders(cluster: Elasticsearch) -> None:
    """Two indices behind an alias; one of another alias that has a filter."""
    for index in ("orders-1", "orders-2"):
        cluster.indices.create(index=index, mappings=MAPPINGS, aliases={"orders": {}})
    filtered = {"mine": {"filter": {"term": {"status": "Shipped"}}}}
    cluster.indices.create(index="hidden-1", mappings=MAPPINGS, aliases=filtered)
    bulk(cluster, [*documents("orders-1", 40), *documents("orders-2", 20), *documents("hidden-1", 10)], refresh=True)


@pytest.fixture
def open_values(open_app: OpenApp, settings: Settings) -> "OpenValues":
    """Open the application with values of these families gathered, and a budget that tests needn't wait for."""

    @asynccontextmanager
    async def opened(
        url: str, *families: str, per_minute: int = 60, **options: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        values = FieldValuesConfig(families, calls_per_minute=per_minute)
        settings.ESASSISTANT = replace(settings.ESASSISTANT, field_values=values)
        async with open_app(url, **options) as http:
            await http.post("/api/cache/refresh?wait=true", headers=BEARER)
            yield http

    return opened


OpenValues = Callable[..., Any]


def gatherer() -> Gatherer:
    found = registry.get(GATHERER)
    assert found is not None
    return found


async def gathered(families: int, left_out: int = 0) -> None:
    """Wait until so many families have values, and so many are left out."""
    async with asyncio.timeout(20):
        while (report := gatherer().report()).families < families or sum(report.left_out.values()) < left_out:  # noqa: ASYNC110  (reports are read)
            await asyncio.sleep(0.05)


async def test_what_is_gathered(node: Node, orders: None, open_values: OpenValues) -> None:
    """Values with counts, ranges and what is missing; with their age and of how many documents. Never texts, nested
    fields, names and values that tell of persons; nothing before a family is asked for.
    """
    async with open_values(node.url, "orders") as http:
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


async def test_never_through_a_filtered_alias(node: Node, orders: None, open_values: OpenValues) -> None:
    """The alias is looked at, and that is all: neither it nor its indices are searched, by whatever name they are asked
    for.
    """
    with FaultProxy(node.url) as proxy:
        async with open_values(proxy.url, "*") as http:
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
