"""The classes that the benches measure, put together as the apps do, but without Django's HTTP."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.conf import settings
from elasticsearch import AsyncElasticsearch

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.cluster.mapping_versions import MappingVersions
from cacheapp.cluster.metadata_version import MetadataClock
from cacheapp.cluster.reader import ClusterReader
from cacheapp.reports import RefreshReport
from cacheapp.state.names import Selection
from cacheapp.state.published import Loaded, StoredState
from cacheapp.stores.protocol import Lease, StoredReport
from cacheapp.sync.parameter_changes import ParameterChanges
from cacheapp.sync.pass_runner import PassRunner
from cacheapp.sync.refresher import Refresher
from cacheapp.sync.sharing import Sharing
from cacheapp.sync.watch import Watch
from esassistant.apps import CACHE_CONNECTIONS, WATCH_TIMEOUT_SECONDS
from esassistant.breaker import NEVER_TRIPS, BreakerPolicy
from esassistant.config.model import Config
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.pools import PoolLimits, one_pool
from esassistant.shared_values import MemoryValues, Values

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


class NoStore:
    """A `cacheapp.stores.protocol.Store` for a process that is alone: it grants everything and keeps nothing."""

    def __init__(self) -> None:
        self._generation = 0

    async def generation(self) -> int:
        return self._generation

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:  # noqa: ARG002
        return None

    async def publish(self, state: StoredState, lease: Lease) -> int:  # noqa: ARG002
        self._generation += 1
        return self._generation

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:  # noqa: ARG002
        return Lease(name, 1, ttl_seconds)

    async def release(self, lease: Lease) -> None:
        pass

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        pass

    async def reports(self) -> dict[str, StoredReport]:
        return {}

    async def wait_for_change(self, longest_seconds: float) -> None:
        await asyncio.sleep(longest_seconds)

    async def attempt(self, name: str, interval_seconds: float) -> float:  # noqa: ARG002
        return 0.0

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        return await MemoryValues().change(names, function, kept_seconds)


@dataclass(frozen=True)
class Stack:
    """The cache and the refresher of one process over a cluster, with the client that they share."""

    client: AsyncElasticsearch
    cache: MappingCache
    runner: PassRunner
    sharing: Sharing
    refresher: Refresher

    async def full_pass(self) -> RefreshReport:
        """Run a full pass from its request to its end."""
        answer = await self.refresher.ask("bench", limited=False)
        assert answer.id is not None
        return await self.refresher.wait(answer.id)


def spawn(function: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
    """Start a task, as the registry's `flight` does, without a registry."""
    task = asyncio.create_task(function())
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def config_for(url: str) -> Config:
    """Return the defaults of every setting, for the cluster at `url`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")
    config: Config = settings.ESASSISTANT
    return replace(config, elasticsearch=replace(config.elasticsearch, urls=(url,)))


@asynccontextmanager
async def open_stack(url: str) -> AsyncIterator[Stack]:
    """Open the stack of a process that has not read anything yet."""
    config = config_for(url)
    async with new_client(
        config.elasticsearch,
        one_pool("cache", PoolLimits(CACHE_CONNECTIONS), BreakerPolicy()),
        request_timeout=config.mapping_cache.fetch_timeout,
        max_retries=config.elasticsearch.max_retries,
        raw=True,
    ) as client:
        yield stack_over(client, config)


def stack_over(client: AsyncElasticsearch, config: Config) -> Stack:
    cache_config = config.mapping_cache
    selection = Selection(cache_config.include, cache_config.exclude)
    reader = ClusterReader(client, selection, indices_timeout=cache_config.indices_timeout)
    cache = MappingCache(reader, cache_config, spawn)
    runner = PassRunner(cache, reader, cache_config, MetadataClock(client))
    store = NoStore()
    sharing = Sharing(cache, store, cluster_urls="bench")
    refresher = Refresher(runner, sharing, store, cache_config, spawn)
    return Stack(client, cache, runner, sharing, refresher)


@asynccontextmanager
async def watching(stack: Stack, url: str) -> AsyncIterator[Watch]:
    """Open the watch of that process, on a connection of its own."""
    config = config_for(url)
    async with new_client(
        config.elasticsearch,
        one_pool("watch", PoolLimits(1), NEVER_TRIPS),
        request_timeout=WATCH_TIMEOUT_SECONDS,
        max_retries=0,
        raw=True,
    ) as client:
        parameters = ParameterChanges(MappingVersions(client), stack.refresher)
        watch = Watch(MetadataClock(client), parameters, stack.refresher, stack.sharing, NoStore(), spawn)
        task = spawn(watch.run)
        try:
            yield watch
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
