"""An application that gathers field values, and indices that have some."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
from pytest_django import Settings

from cacheapp.values.gatherer import GATHERER, Gatherer
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
        "reach": {"type": "keyword"},
        "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    }
}
STATES = ("Delivered", "Shipped", "Cancelled")


def make_orders(cluster: Elasticsearch) -> None:
    """Make two indices behind the alias `orders`, with 60 documents of which a quarter has no status; and one behind
    the alias `mine`, which has a filter.
    """
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    for index in ("orders-1", "orders-2"):
        cluster.indices.create(index=index, mappings=MAPPINGS, settings=settings, aliases={"orders": {}})
    filtered = {"mine": {"filter": {"term": {"status": "Shipped"}}}}
    cluster.indices.create(index="hidden-1", mappings=MAPPINGS, settings=settings, aliases=filtered)
    numbers = {"orders-1": 40, "orders-2": 20, "hidden-1": 10}
    bulk(cluster, [_document(index, place) for index in numbers for place in range(numbers[index])], refresh=True)


def _document(index: str, place: int) -> dict[str, Any]:
    return {
        "_index": index,
        "status": STATES[place % 3] if place % 4 else None,
        "gift": place % 2 == 0,
        "placed_at": f"2026-11-{1 + place % 28:02}",
        "total_cents": 100 * place,
        "note": "handle with care",
        "customer": {"email": f"{place}@example.org", "tier": "gold" if place % 4 else "silver"},
        "reach": "ann@example.org" if place == 0 else "shop",
        "lines": [{"sku": f"S-{place}"}],
    }


@asynccontextmanager
async def values_opened(
    open_app: OpenApp, settings: Settings, url: str, *families: str, per_minute: int = 60, **options: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Open the application so that it gathers values of these families, with so many calls a minute that tests needn't
    wait for the budget.
    """
    values = FieldValuesConfig(families, calls_per_minute=per_minute)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, field_values=values)
    async with open_app(url, **options) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        yield http


def gatherer() -> Gatherer:
    found = registry.get(GATHERER)
    assert found is not None
    return found


async def gathered(families: int, left_out: int = 0, seconds: float = 30) -> None:
    """Wait until so many families have values, and so many are left out."""
    async with asyncio.timeout(seconds):
        while (report := gatherer().report()).families < families or sum(report.left_out.values()) < left_out:  # noqa: ASYNC110  (reports are read)
            await asyncio.sleep(0.05)


async def hindered(reason: str) -> None:
    """Wait until a call that was due is put off for that reason."""
    async with asyncio.timeout(30):
        while not gatherer().report().hindered[reason]:  # noqa: ASYNC110  (reports are read)
            await asyncio.sleep(0.05)


def value_calls(proxy: FaultProxy) -> int:
    """Return how many calls for values the cluster got: requests for aliases, and searches with our parameters."""
    return proxy.count("/_alias/") + proxy.count("max_concurrent_shard_requests=1")
