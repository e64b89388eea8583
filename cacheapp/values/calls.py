"""Ask the cluster for field values. The calls have a client of their own, and none is repeated."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from elasticsearch import AsyncElasticsearch

from cacheapp.state.names import encode_name
from cacheapp.values.question import MAX_ANSWER_BYTES, SEARCH_MILLISECONDS, search_target
from esassistant.breaker import NEVER_TRIPS
from esassistant.config.model import ElasticsearchConfig
from esassistant.elasticsearch.client import new_client
from esassistant.elasticsearch.passing import PassingCalls
from esassistant.elasticsearch.pools import PoolLimits, one_pool

CALL_SECONDS = SEARCH_MILLISECONDS / 1000 + 3.0
"""The deadline of a call in seconds. A cluster that hasn't answered by then is busy or away."""


class ValueCalls(Protocol):
    """The two calls to the cluster. Both raise what elasticsearch-py raises, and `ValueError` for an answer that can't
    be read.
    """

    async def unfiltered(self, alias: str) -> frozenset[str]:
        """Return the indices that an alias stands for; an empty set if it has a filter in any of them."""

    async def search(self, indices: Sequence[str], body: bytes) -> bytes:
        """Search the indices, and return the body of the answer unchanged."""


class _Alias(msgspec.Struct):
    filter: Any = None


class _Aliases(msgspec.Struct):
    aliases: dict[str, _Alias] = {}


_aliases = msgspec.json.Decoder(dict[str, _Aliases])


class ClusterCalls:
    """Calls through elasticsearch-py; implements `ValueCalls`."""

    def __init__(self, client: AsyncElasticsearch) -> None:
        """`client`: has to return bodies as bytes."""
        self._client = client
        self._searches = PassingCalls(client, CALL_SECONDS)

    async def unfiltered(self, alias: str) -> frozenset[str]:
        response = await self._client.perform_request(
            "GET", f"/_alias/{encode_name(alias)}", headers={"accept": "application/json"}
        )
        found = {index: one.aliases.get(alias) for index, one in _aliases.decode(response.body).items()}
        if any(one is None or one.filter is not None for one in found.values()):
            return frozenset()
        return frozenset(found)

    async def search(self, indices: Sequence[str], body: bytes) -> bytes:
        names = ",".join(indices)
        return await self._searches.post(
            search_target(indices), body, endpoint="search", path_parts={"index": names[:200]}
        )


@asynccontextmanager
async def open_calls(config: ElasticsearchConfig) -> AsyncIterator[ClusterCalls]:
    """Open calls with one connection of their own, for the length of the block. Nothing is sent before the first
    call.
    """
    client = new_client(
        config,
        one_pool("values", PoolLimits(1), NEVER_TRIPS),
        request_timeout=CALL_SECONDS,
        max_retries=0,
        max_answer_bytes=MAX_ANSWER_BYTES,
        raw=True,
    )
    async with client:
        yield ClusterCalls(client)
