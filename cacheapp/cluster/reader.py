"""What the mapping cache asks the cluster, and how the answers are taken apart. Bodies stay bytes: no mapping becomes a
dict here.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from cacheapp.errors import MappingNotFound, NotCovered, no_such_name
from cacheapp.state.names import Selection, encode_name
from cacheapp.state.readings import Listing
from esassistant.elasticsearch.answers import AnswerKind, failure_kind
from esassistant.elasticsearch.client import unavailable
from esassistant.errors import ClusterUnavailable
from esassistant.long_work import TURN, batched, in_thread_if_large


class _Index(msgspec.Struct, gc=False):
    mappings: msgspec.Raw


class _Uuid(msgspec.Struct, rename={"uuid": "index.uuid"}, gc=False):
    uuid: str


class _Settings(msgspec.Struct, gc=False):
    settings: _Uuid


class _Alias(msgspec.Struct):
    name: str
    indices: tuple[str, ...]


class _DataStream(msgspec.Struct):
    name: str
    backing_indices: tuple[str, ...]


class _Resolved(msgspec.Struct):
    aliases: list[_Alias] = []
    data_streams: list[_DataStream] = []


class _Cluster(msgspec.Struct):
    cluster_uuid: str


class _Count(msgspec.Struct, gc=False):
    total_count: int


class _IndexStats(msgspec.Struct, gc=False):
    mappings: _Count


class _IndicesStats(msgspec.Struct):
    indices: dict[str, _IndexStats] = {}


class _NodeStats(msgspec.Struct):
    indices: _IndicesStats = msgspec.field(default_factory=_IndicesStats)


class _Summary(msgspec.Struct):
    failed: int


class _Stats(msgspec.Struct, rename={"summary": "_nodes"}):
    summary: _Summary
    nodes: dict[str, _NodeStats] = {}


FIELD_COUNTS = (
    "/_nodes/stats/indices/mappings?level=indices"
    "&filter_path=_nodes.failed,nodes.*.indices.indices.*.mappings.total_count"
)
UUIDS = "/_settings/index.uuid?flat_settings=true&expand_wildcards=all"
RESOLVED = "/_resolve/index/*?expand_wildcards=all"
Sent = Callable[[], None]
"""Is called for each request that is sent."""

_mappings = msgspec.json.Decoder(dict[str, _Index])
_uuids = msgspec.json.Decoder(dict[str, _Settings])
_resolved = msgspec.json.Decoder(_Resolved)
_cluster = msgspec.json.Decoder(_Cluster)
_stats = msgspec.json.Decoder(_Stats)


def uncounted() -> None:
    """What is sent outside of a pass is counted by its pool alone."""


class ClusterReader:
    """Reads mappings, uuids and aliases of the selected indices, through a client that leaves bodies as bytes.

    Every method raises `ClusterUnavailable` when the cluster can't be reached, refuses, or answers what can't be
    understood, and when something else answers in its place.
    """

    def __init__(self, client: AsyncElasticsearch, selection: Selection, *, indices_timeout: float) -> None:
        self._client = client
        self._selection = selection
        # Derived once: `options()` copies the client each time.
        self._listing_client = client.options(request_timeout=indices_timeout)

    async def mapping(self, name: str) -> dict[str, bytes]:
        """The mapping of each index that `name` stands for.

        Raises `MappingNotFound` when Elasticsearch itself says that there is no such name, `NotCovered` when it denies
        us that name: to whom a name is denied, it doesn't say whether it is there.
        """
        try:
            body = await self._get(self._client, f"/{encode_name(name)}/_mapping?expand_wildcards=all")
        except ClusterUnavailable as error:
            kind = failure_kind(error.__cause__, name)
            if kind is AnswerKind.ABSENT:
                raise no_such_name(name) from None
            if kind is AnswerKind.DENIED:
                raise NotCovered(name, error) from error
            raise
        read = await self._split(body)
        mappings = {index: mapping for index, mapping in read.items() if self._selection.covers(index)}
        if read and not mappings:
            raise MappingNotFound(f"{name!r} is left out by MAPPING_CACHE_INCLUDE and MAPPING_CACHE_EXCLUDE.")
        return mappings

    async def mappings(self, names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        """The mappings of several indices in one request. An index that is absent from the answer is gone, or left
        out.
        """
        if not names:
            # An empty list would ask for every mapping of the cluster.
            raise ValueError("name at least one index")
        encoded = ",".join(map(encode_name, names))
        target = f"/{encoded}/_mapping?expand_wildcards=all&ignore_unavailable=true"
        body = await self._get(self._client, target, sent)
        read = await self._split(body)
        return {index: mapping for index, mapping in read.items() if self._selection.covers(index)}

    async def listing(self, cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        """Every selected index there is, hidden and closed ones included, and every alias and data stream over one.

        Three small requests at once; a fourth when `cluster_uuid` isn't known yet.
        """
        try:
            async with asyncio.TaskGroup() as group:
                counting = group.create_task(self._unless_refused(FIELD_COUNTS, sent))
                resolving = group.create_task(self._get(self._listing_client, RESOLVED, sent))
                identifying = group.create_task(self._cluster_uuid(cluster_uuid, sent))
                indices = self._decode(_uuids, await self._get(self._listing_client, UUIDS, sent))
        except BaseExceptionGroup as errors:
            error = errors.exceptions[0]
            cause = error.__cause__
            if isinstance(cause, ApiError) and cause.status_code != 403 and failure_kind(cause) is AnswerKind.REFUSED:
                raise ClusterUnavailable(
                    f"Elasticsearch doesn't list its indices (status {cause.status_code}): is there a path in "
                    "ELASTICSEARCH_URL that doesn't lead to it?",
                    retry_after_seconds=30,
                ) from cause
            raise error from cause
        # Of ten thousand indices, each of these steps takes a millisecond or two: others get a turn between them.
        await asyncio.sleep(0)
        uuids: dict[str, str] = {}
        for some in batched(indices.items(), TURN):
            uuids.update((name, index.settings.uuid) for name, index in some if self._selection.covers(name))
            await asyncio.sleep(0)
        names: _Resolved = self._decode(_resolved, resolving.result())
        members = {alias.name: alias.indices for alias in names.aliases}
        members.update((stream.name, stream.backing_indices) for stream in names.data_streams)
        selected = {name: tuple(filter(self._selection.covers, indices)) for name, indices in members.items()}
        await asyncio.sleep(0)
        counts = counting.result()
        field_counts = {} if counts is None else await self._field_counts(counts)
        return Listing(
            cluster_uuid=identifying.result(),
            uuids=uuids,
            aliases={name: indices for name, indices in selected.items() if indices},
            data_streams=frozenset(stream.name for stream in names.data_streams if selected[stream.name]),
            field_counts=field_counts,
        )

    async def _cluster_uuid(self, known: str | None, sent: Sent) -> str:
        if known is not None:
            return known
        body = await self._unless_refused("/?filter_path=cluster_uuid", sent)
        cluster: _Cluster = _Cluster("") if body is None else self._decode(_cluster, body)
        return cluster.cluster_uuid

    async def _unless_refused(self, target: str, sent: Sent) -> bytes | None:
        """What a full pass can do without; None where the cluster doesn't let us (no privilege `monitor`,
        serverless).
        """
        try:
            return await self._get(self._listing_client, target, sent)
        except ClusterUnavailable as error:
            kind = failure_kind(error.__cause__)
            if kind is not None and kind.is_refusal:
                return None
            raise

    async def _field_counts(self, body: bytes) -> dict[str, int]:
        stats: _Stats = await in_thread_if_large(len(body), self._decode, _stats, body)
        counts: dict[str, int] = {}
        if stats.summary.failed == 0:  # else what is there may lag behind what isn't
            for node in stats.nodes.values():
                for some in batched(node.indices.indices.items(), TURN):
                    for name, index in some:
                        # Copies of an index on several nodes may be applied one after the other.
                        counts[name] = max(counts.get(name, 0), index.mappings.total_count)
                    await asyncio.sleep(0)
        return counts

    async def _get(self, client: AsyncElasticsearch, target: str, sent: Sent = uncounted) -> bytes:
        sent()
        try:
            response = await client.perform_request("GET", target, headers={"accept": "application/json"})
        except (ApiError, TransportError) as error:
            raise unavailable(error) from error
        body: bytes = response.body
        return body

    async def _split(self, body: bytes) -> dict[str, bytes]:
        def split() -> dict[str, bytes]:
            # `bytes` copies: a `Raw` would keep the whole answer alive.
            return {name: bytes(index.mappings) for name, index in self._decode(_mappings, body).items()}

        return await in_thread_if_large(len(body), split)

    @staticmethod
    def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ClusterUnavailable("Elasticsearch answered with something that is not what was asked for.") from error
