"""What is derived from mappings: the JSON Schema and the list of fields. Made once for each state of a mapping, and
kept for a while.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.mapping.fields import Field, FieldCounts, check_query, fields, search
from cacheapp.mapping.schema import json_schema
from cacheapp.state.answer import MappingAnswer
from esassistant.http.answer import etag_of
from esassistant.long_work import in_thread_if_large
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn

T = TypeVar("T")

KEPT = 64
"""Of each kind. A schema of a thousand fields is about 100 KB."""

Key = tuple[str, str]
"""A name, and the ETag of its mappings: another state of the mappings is another key."""


class _Index(msgspec.Struct):
    mappings: msgspec.Raw


_decoder = msgspec.json.Decoder(dict[str, _Index])


class MappingViews:
    """One per process, owned by the registry; belongs to its loop.

    A mapping may have thousands of fields: each view is made in a thread, so that the loop goes on, and once for all
    who wait.
    """

    def __init__(self, cache: MappingCache, spawn: Spawn) -> None:
        self._cache = cache
        self._schemas: _Kept[tuple[bytes, str]] = _Kept(spawn)
        self._fields: _Kept[tuple[Field, ...]] = _Kept(spawn)
        self.field_counts = FieldCounts()

    async def schema(self, name: str) -> MappingAnswer:
        """The JSON Schema of the documents that `name` accepts, as JSON. Raises what `MappingCache.get` raises."""
        answer = await self._cache.get(name)
        body, etag = await self._schemas.get((name, answer.etag), lambda: _schema(name, answer))
        return msgspec.structs.replace(answer, body=body, etag=etag)

    def ready_schema(self, name: str) -> MappingAnswer | None:
        """What `schema` answers without waiting, counted as it is there; None where it has to wait, or raises."""
        known = self._cache.peek(name)
        if known is None or (kept := self._schemas.kept((name, known.etag))) is None:
            return None
        if (answer := self._cache.ready(name)) is None:
            return None
        body, etag = kept
        return msgspec.structs.replace(answer, body=body, etag=etag)

    async def fields(self, name: str, query: str) -> MappingAnswer:
        """`{"total": …, "fields": […]}`, all fields of `name` or those that `query` finds, as JSON. Raises as `schema`
        and `search` do.
        """
        check_query(query)
        answer, among = await self.field_list(name)
        body, etag = await in_thread_if_large(len(answer.body), _found, among, query)
        return msgspec.structs.replace(answer, body=body, etag=etag)

    async def field_list(self, name: str) -> tuple[MappingAnswer, tuple[Field, ...]]:
        """The mappings of `name`, and all their fields, sorted by name. Raises as `schema` does."""
        answer = await self._cache.get(name)
        return answer, await self._fields.get((name, answer.etag), lambda: fields(_mappings_of(answer)))


MAPPING_VIEWS: Handle[MappingViews] = Handle("mapping_views")


class _Kept(Generic[T]):
    """The views of one kind that were asked for last."""

    def __init__(self, spawn: Spawn) -> None:
        self._flights: SingleFlight[Key, T] = SingleFlight(spawn)
        self._kept: OrderedDict[Key, T] = OrderedDict()

    def kept(self, key: Key) -> T | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    async def get(self, key: Key, make: Callable[[], T]) -> T:
        if (kept := self.kept(key)) is not None:
            return kept
        made = await self._flights.do(key, lambda: asyncio.to_thread(make))
        self._kept[key] = made
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made


def _mappings_of(answer: MappingAnswer) -> dict[str, bytes]:
    """The mappings in an answer: the cache itself may know newer ones by now, or not have kept them."""
    return {index: bytes(found.mappings) for index, found in _decoder.decode(answer.body).items()}


def _found(among: tuple[Field, ...], query: str) -> tuple[bytes, str]:
    """The fields that `query` finds as JSON, and its validator."""
    found = search(among, query)
    body = msgspec.json.encode({"total": len(found), "fields": found})
    return body, etag_of(body)


def _schema(name: str, answer: MappingAnswer) -> tuple[bytes, str]:
    """The JSON Schema as JSON, and its validator."""
    body = msgspec.json.encode(json_schema(name, _mappings_of(answer)))
    return body, etag_of(body)
