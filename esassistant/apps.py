"""The kernel as a Django app: declares its resources, among them the Elasticsearch clients."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from elasticsearch import AsyncElasticsearch

from esassistant.advice import Advice
from esassistant.breaker import NEVER_TRIPS, BreakerPolicy
from esassistant.config.secrets import secrets_of
from esassistant.elasticsearch.advice import pool_rules
from esassistant.elasticsearch.client import (
    CLIENTS,
    ELASTICSEARCH,
    ELASTICSEARCH_CACHE,
    ELASTICSEARCH_HEALTH,
    ELASTICSEARCH_WATCH,
    MAX_ANSWER_BYTES,
    MAX_SMALL_ANSWER_BYTES,
    POOLS_REPORTS,
    new_client,
    report,
    within,
)
from esassistant.elasticsearch.health import ClusterPing, pools_health
from esassistant.elasticsearch.identity import CLUSTER_IDENTITY, IdentityWatch
from esassistant.elasticsearch.node_pool import NodeMarks
from esassistant.elasticsearch.pings import PINGS, Pings
from esassistant.elasticsearch.pools import PoolLimits, one_pool, pools_of
from esassistant.elasticsearch.stats import POOL_METRICS, PoolReport
from esassistant.http.access_log import ACCESS_LOG, ACCESS_LOG_METRICS, AccessLog, access_log, access_log_rules
from esassistant.http.callers import tokens
from esassistant.http.connections import CONNECTION_METRICS, CONNECTIONS, Connections, connections
from esassistant.http.logins import LOGIN_METRICS, LOGINS, Logins, login_rules, logins
from esassistant.http.statistics import HTTP, HTTP_METRICS, HttpStatistics, http_statistics
from esassistant.http.streams import STREAM_METRICS, STREAMS, Streams, streams
from esassistant.http.tokens_file import NO_FILE, TOKENS_FILE, TOKENS_FILE_METRICS, TokensFile, tokens_file_rules
from esassistant.log_handler import LOG, LOG_METRICS, QueuedHandler, log_handler, log_rules
from esassistant.masking import remember_secrets
from esassistant.registry import Registry, registry
from esassistant.resource import Health, PingResult

CACHE_CONNECTIONS = 8
HEALTH_CONNECTIONS = 2
WATCH_CONNECTIONS = 2
"""The watch waits at two nodes at once."""
WATCH_TIMEOUT_SECONDS = 35.0


NO_SETTINGS = (
    "The settings lack {}. In settings.py: from esassistant.config import read, and "
    "ESASSISTANT, ESASSISTANT_SETTINGS = read(environ, BASE_DIR), with the environ of the module os."
)


class EsassistantConfig(AppConfig):
    name = "esassistant"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        if missing := [name for name in ("ESASSISTANT", "ESASSISTANT_SETTINGS") if not hasattr(settings, name)]:
            raise ImproperlyConfigured(NO_SETTINGS.format(" and ".join(missing)))
        from esassistant.config import checks, embedding_checks  # noqa: F401  (importing registers them)

        remember_secrets({settings.SECRET_KEY, *secrets_of(settings.ESASSISTANT_SETTINGS.values())})
        declare(registry)


def declare(registry: Registry) -> None:
    """Declare the resources of the kernel:

    - `http`, `connections`, `streams`, `logins`, `log` and `access_log` report what is served and logged.
    - `tokens_file` follows the file of tokens.
    - `elasticsearch` is the public client, for any view. The other Elasticsearch clients are for this project alone.
    - `elasticsearch_pings` pings the cluster, `cluster_identity` knows its name and version.
    - The check `pools` checks the pools of all clients.

    The mapping cache and the health check have their own connections, so that neither waits behind a full public pool.
    """

    async def ping(_: AsyncElasticsearch) -> PingResult:
        return await registry.get(PINGS).ping()

    def rules(pools: Mapping[str, PoolReport]) -> Iterable[Advice]:
        return pool_rules(settings.ESASSISTANT_SETTINGS["ELASTICSEARCH_POOLS"].value)(pools)

    async def check_pools() -> PingResult:
        return pools_health(registry.reports(POOLS_REPORTS).values())

    registry.register(HTTP, _http, stats=HttpStatistics.report, metrics=HTTP_METRICS)
    registry.register(CONNECTIONS, _connections, stats=Connections.report, metrics=CONNECTION_METRICS)
    registry.register(STREAMS, _streams, stats=Streams.report, metrics=STREAM_METRICS)
    registry.register(LOGINS, _logins, stats=Logins.report, metrics=LOGIN_METRICS, rules=(login_rules,))
    registry.register(LOG, _log, stats=QueuedHandler.report, metrics=LOG_METRICS, rules=(log_rules,))
    registry.register(
        ACCESS_LOG,
        _access_log,
        stats=lambda log: log and log.report(),
        metrics=ACCESS_LOG_METRICS,
        rules=(access_log_rules,),
    )
    registry.register(
        TOKENS_FILE,
        _tokens_file,
        ping=_ping_tokens_file if settings.ESASSISTANT.tokens_file else None,
        stats=lambda file: NO_FILE if file is None else file.report(),
        metrics=TOKENS_FILE_METRICS,
        rules=(tokens_file_rules,),
    )
    marks = NodeMarks()
    registry.register(PINGS, _pings, needs=(ELASTICSEARCH_HEALTH,))
    registry.register(
        CLUSTER_IDENTITY, _cluster_identity, needs=(ELASTICSEARCH_HEALTH, PINGS), stats=IdentityWatch.report
    )
    for client, factory, needs in (
        (ELASTICSEARCH_CACHE, _cache_client, (PINGS,)),
        (ELASTICSEARCH_WATCH, _watch_client, ()),
        (ELASTICSEARCH_HEALTH, _health_client, ()),
    ):
        opened = partial(factory, marks=marks)
        registry.register(client, opened, needs=needs, stats=report, metrics=POOL_METRICS, rules=(rules,))
    registry.register(
        ELASTICSEARCH,
        partial(_public_client, marks=marks),
        needs=(PINGS,),
        ping=ping,
        critical=True,
        stats=report,
        metrics=POOL_METRICS,
        rules=(rules,),
    )
    registry.check("pools", check_pools, needs=CLIENTS)


@asynccontextmanager
async def _http(_: Registry) -> AsyncIterator[HttpStatistics]:
    http_statistics.forget_recent()
    yield http_statistics


@asynccontextmanager
async def _connections(_: Registry) -> AsyncIterator[Connections]:
    yield connections()


@asynccontextmanager
async def _streams(_: Registry) -> AsyncIterator[Streams]:
    streams.begin()
    yield streams


@asynccontextmanager
async def _logins(registry: Registry) -> AsyncIterator[Logins]:
    registry.spawn(logins().keep_saying, name="say-failed-logins", owner="logins")
    yield logins()
    logins().say_unsaid()


@asynccontextmanager
async def _log(_: Registry) -> AsyncIterator[QueuedHandler]:
    log_handler.waits = False
    yield log_handler
    log_handler.waits = True
    await asyncio.to_thread(log_handler.flush)


@asynccontextmanager
async def _access_log(registry: Registry) -> AsyncIterator[AccessLog | None]:
    if not settings.ESASSISTANT.access_log:
        yield None
        return
    registry.spawn(access_log.keep_writing, name="write-access-log", owner="access_log")
    yield access_log
    await access_log.write_waiting()


@asynccontextmanager
async def _tokens_file(registry: Registry) -> AsyncIterator[TokensFile | None]:
    config = settings.ESASSISTANT
    if not config.tokens_file:
        yield None
        return
    file = TokensFile(Path(config.tokens_file), config.scoped_tokens, tokens())
    registry.spawn(file.keep_following, name="follow-tokens", owner="tokens_file")
    yield file


async def _ping_tokens_file(file: TokensFile | None) -> PingResult:
    return PingResult(Health.HEALTHY) if file is None else await file.ping()


@asynccontextmanager
async def _public_client(registry: Registry, *, marks: NodeMarks) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT.elasticsearch
    pools = pools_of(
        config.pools,
        lambda rule: PoolLimits(rule.maxsize, config.pool_block, config.pool_overflow, config.connect_timeout),
        lambda _: registry.announce("elasticsearch"),
    )
    registry.get(PINGS).attach(pools.breakers())
    client = new_client(
        config,
        pools,
        request_timeout=config.request_timeout,
        max_retries=config.max_retries,
        max_answer_bytes=settings.ESASSISTANT.search_max_bytes,
        marks=marks,
    )
    async with client:
        yield client


@asynccontextmanager
async def _cache_client(registry: Registry, *, marks: NodeMarks) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT
    pools = one_pool(
        "cache",
        PoolLimits(CACHE_CONNECTIONS),
        BreakerPolicy(),
        lambda _: registry.announce("elasticsearch_cache"),
    )
    registry.get(PINGS).attach(pools.breakers())
    client = new_client(
        config.elasticsearch,
        pools,
        request_timeout=within(config.mapping_cache.fetch_timeout),
        max_retries=config.elasticsearch.max_retries,
        # An answer that is too large to keep needn't be read. The answer for an alias repeats the mapping of each of
        # its indices, so the bound is never below the usual one.
        max_answer_bytes=max(config.mapping_cache.max_bytes, MAX_ANSWER_BYTES),
        raw=True,
        marks=marks,
        backs_up=True,
    )
    async with client:
        yield client


@asynccontextmanager
async def _watch_client(_: Registry, *, marks: NodeMarks) -> AsyncIterator[AsyncElasticsearch]:
    # Its calls wait for changes, longer than any other call may take, on connections that serve nothing else.
    client = new_client(
        settings.ESASSISTANT.elasticsearch,
        one_pool("watch", PoolLimits(WATCH_CONNECTIONS), NEVER_TRIPS),
        request_timeout=WATCH_TIMEOUT_SECONDS,
        max_retries=0,
        raw=True,
        marks=marks,
        backs_up=True,
    )
    async with client:
        yield client


@asynccontextmanager
async def _pings(registry: Registry) -> AsyncIterator[Pings]:
    client = registry.get(ELASTICSEARCH_HEALTH)
    pings = Pings(ClusterPing(client), settings.ESASSISTANT.health.timeout)
    registry.spawn(pings.keep_pinging, name="keep-pinging", owner="elasticsearch_pings")
    yield pings


@asynccontextmanager
async def _cluster_identity(registry: Registry) -> AsyncIterator[IdentityWatch]:
    watch = IdentityWatch(registry.get(ELASTICSEARCH_HEALTH), registry.get(PINGS).answered.wait)
    registry.spawn(watch.keep_asking, name="keep-asking", owner="cluster_identity")
    yield watch


@asynccontextmanager
async def _health_client(_: Registry, *, marks: NodeMarks) -> AsyncIterator[AsyncElasticsearch]:
    config = settings.ESASSISTANT
    client = new_client(
        config.elasticsearch,
        one_pool("health", PoolLimits(HEALTH_CONNECTIONS), NEVER_TRIPS),
        request_timeout=within(config.health.timeout),
        max_retries=0,
        max_answer_bytes=MAX_SMALL_ANSWER_BYTES,
        marks=marks,
        backs_up=True,
    )
    async with client:
        yield client
