"""The kernel as a Django app: declares the Elasticsearch clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.apps import AppConfig
from django.conf import settings
from elasticsearch import AsyncElasticsearch

from esassistant.elasticsearch.client import (
    CACHE_CONNECTIONS,
    HEALTH_CONNECTIONS,
    WATCH_TIMEOUT_SECONDS,
    new_client,
    ping_cluster,
    report,
)
from esassistant.registry import PingResult, Registry, registry


class EsassistantConfig(AppConfig):
    name = "esassistant"

    def ready(self) -> None:
        from esassistant import system_checks  # noqa: F401  (importing registers them)

        declare(registry)


def declare(registry: Registry) -> None:
    """Declare the Elasticsearch clients: `elasticsearch` is public, for anybody's views; the others are our own.

    The mapping cache and the health check have connections apart, so that neither waits behind a full public pool.
    """

    async def ping(_: AsyncElasticsearch) -> PingResult:
        return await ping_cluster(registry.get("elasticsearch_health"))

    registry.register("elasticsearch_cache", _cache_client, stats=report)
    registry.register("elasticsearch_watch", _watch_client, stats=report)
    registry.register("elasticsearch_health", _health_client, stats=report)
    registry.register(
        "elasticsearch", _public_client, needs=("elasticsearch_health",), ping=ping, critical=True, stats=report
    )


@asynccontextmanager
async def _public_client(_: Registry) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT.elasticsearch
    async with new_client(
        config,
        connections=config.pool_maxsize,
        request_timeout=config.request_timeout,
        max_retries=config.max_retries,
    ) as client:
        yield client


@asynccontextmanager
async def _cache_client(_: Registry) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT
    async with new_client(
        config.elasticsearch,
        connections=CACHE_CONNECTIONS,
        request_timeout=config.mapping_cache.fetch_timeout,
        max_retries=config.elasticsearch.max_retries,
        raw=True,
    ) as client:
        yield client


@asynccontextmanager
async def _watch_client(_: Registry) -> AsyncIterator[AsyncElasticsearch]:
    # Its calls wait for changes: longer than any other call may take, on a connection that serves nothing else.
    async with new_client(
        settings.ESASSISTANT.elasticsearch,
        connections=1,
        request_timeout=WATCH_TIMEOUT_SECONDS,
        max_retries=0,
        raw=True,
    ) as client:
        yield client


@asynccontextmanager
async def _health_client(_: Registry) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT
    async with new_client(
        config.elasticsearch,
        connections=HEALTH_CONNECTIONS,
        request_timeout=config.health.timeout,
        max_retries=0,
    ) as client:
        yield client
