"""What the mapping cache asks the cluster, and how answers are parsed. Bodies stay bytes: no mapping becomes a dict
here.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar, cast

import msgspec
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from cacheapp.cluster.checked import MAX_MAPPING_BYTES, MappingCheck, Name, NameCheck, once_each
from cacheapp.errors import MappingNotFound, NotCovered, no_such_name
from cacheapp.state.names import Selection, encode_name
from cacheapp.state.readings import Listing
from esassistant.elasticsearch.answers import AnswerKind, failure_kind
from esassistant.elasticsearch.client import unavailable, within
from esassistant.elasticsearch.node import reading_at_most
from esassistant.errors import ClusterUnavailable
from esassistant.long_work import TURN, batched, in_thread_if_large
from esassistant.units import as_bytes

T = TypeVar("T")
_Id = Annotated[str, msgspec.Meta(max_length=128)]
DEFAULT_FIELD_LIMIT = 1000
"""The default of `index.mapping.total_fields.limit`, which the settings don't show if nobody has set it."""


class _Index(msgspec.Struct, gc=False):
    mappings: msgspec.Raw


class _Set(msgspec.Struct, rename={"uuid": "index.uuid", "field_limit": "index.mapping.total_fields.limit"}, gc=False):
    uuid: _Id
    field_limit: Annotated[int, msgspec.Meta(ge=0)] = DEFAULT_FIELD_LIMIT


class _Settings(msgspec.Struct, gc=False):
    settings: _Set


class _Alias(msgspec.Struct):
    name: str
    indices: tuple[str, ...]


class _DataStream(msgspec.Struct):
    name: str
    backing_indices: tuple[str, ...]


class _Named(msgspec.Struct, gc=False):
    name: str
    attributes: tuple[str, ...] = ()


class _Resolved(msgspec.Struct):
    indices: list[_Named] = []
    aliases: list[_Alias] = []
    data_streams: list[_DataStream] = []


class _Cluster(msgspec.Struct):
    cluster_uuid: _Id


class _Count(msgspec.Struct, gc=False):
    total_count: int


class _IndexStats(msgspec.Struct, gc=False):
    mappings: _Count


class _IndicesStats(msgspec.Struct):
    indices: dict[str, _IndexStats] = {}


class _NodeStats(msgspec.Struct):
    indices: _IndicesStats = msgspec.field(default_factory=_IndicesStats)


class _Summary(msgspec.Struct):
    total: int


class _Has(msgspec.Struct, gc=False):
    view_index_metadata: bool


class _Granted(msgspec.Struct):
    index: dict[str, _Has] = {}


class _Stats(msgspec.Struct, rename={"summary": "_nodes"}):
    summary: _Summary
    nodes: dict[str, _NodeStats] = {}


FIELD_COUNTS = (
    "/_nodes/stats/indices/mappings?level=indices&timeout=2s"
    "&filter_path=_nodes.total,nodes.*.indices.indices.*.mappings.total_count"
)
MAX_LISTING_BYTES = 24_000_000
"""The largest size of each answer that makes up a listing: enough for some 180,000 indices. Parsed, it takes several
times that memory.
"""
COUNTING_SECONDS = 5.0
"""How long the listing waits for field counts. The node that is asked waits two seconds for a node that hangs."""
PRIVILEGES = "/_security/user/_has_privileges"
SETTINGS = "/_settings/index.uuid,index.mapping.total_fields.limit?flat_settings=true&expand_wildcards=all"
RESOLVED = "/_resolve/index/*?expand_wildcards=all"
Sent = Callable[[], None]
"""Called for each request that is sent."""

_mappings = msgspec.json.Decoder(dict[Name, _Index], dec_hook=lambda _, text: Name(text))
# strict=False, because Elasticsearch writes numbers in settings as strings.
_settings = msgspec.json.Decoder(dict[Name, _Settings], dec_hook=lambda _, text: Name(text), strict=False)
_resolved = msgspec.json.Decoder(_Resolved)
_cluster = msgspec.json.Decoder(_Cluster)
_granted = msgspec.json.Decoder(_Granted)
_stats = msgspec.json.Decoder(_Stats)


def uncounted() -> None:
    """Count nothing. Requests outside of a pass are counted only by their pool."""


async def _outcome(work: Coroutine[Any, Any, T]) -> Callable[[], T]:
    """Wait for `work`. Return a function that returns its result, or raises the `ClusterUnavailable` that it raised.

    So if one of several calls made together fails, the others go on. One of them may be the probe of a half-open
    breaker, which refuses all others meanwhile. If the refused calls cancelled the probe each time, the breaker would
    stay half-open.
    """
    try:
        result = await work
    except ClusterUnavailable as error:
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: result


class ClusterReader:
    """Reads mappings, uuids and aliases of the selected indices, through a client that leaves bodies as bytes.

    Every method raises `ClusterUnavailable` if the cluster can't be reached, refuses, or gives an answer that can't be
    understood, and if something else answers in its place. Illegal names are left out of every answer.
    """

    def __init__(self, client: AsyncElasticsearch, selection: Selection, *, indices_timeout: float) -> None:
        self._client = client
        self._selection = selection
        self._names = NameCheck()
        self._mapping_check = MappingCheck()
        # The decoder holds the interpreter's lock: several at once would keep the event loop from running.
        self._splitting = asyncio.Lock()
        # Made once, because `options()` copies the client each time.
        self._listing_client = client.options(request_timeout=within(indices_timeout))
        self._counting_client = client.options(request_timeout=min(within(indices_timeout), COUNTING_SECONDS))

    @property
    def illegal_names_total(self) -> int:
        """Return how many names were left out so far; each counts as often as it came."""
        return self._names.illegal_total

    async def mapping(self, name: str) -> dict[str, bytes]:
        """Return the mapping of each index that `name` stands for.

        Raise `MappingNotFound` if Elasticsearch itself says that there is no such name. Raise `NotCovered` if it denies
        us the name: then it doesn't say whether the name exists. Raise `ClusterUnavailable` also if one of the mappings
        can't be read.
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
            raise MappingNotFound(f"{name!r} is left out by MAPPING_CACHE_INCLUDE and MAPPING_CACHE_EXCLUDE.", name)
        readable = {index: mapping for index, mapping in mappings.items() if mapping is not None}
        if len(readable) < len(mappings):
            raise ClusterUnavailable(
                f"Elasticsearch gave a mapping that can't be read: it is no JSON object of at most "
                f"{as_bytes(MAX_MAPPING_BYTES)} with each key once.",
                retry_after_seconds=30,
            )
        return readable

    async def mappings(self, names: Sequence[str], sent: Sent = uncounted) -> dict[str, bytes]:
        """Return the mappings of several indices, read in one request. An index that is missing in the result is gone,
        or not selected, or has a mapping that can't be read.
        """
        if not names:
            # An empty list would ask for every mapping of the cluster.
            raise ValueError("name at least one index")
        asked = frozenset(names)
        encoded = ",".join(map(encode_name, names))
        target = f"/{encoded}/_mapping?expand_wildcards=all&ignore_unavailable=true"
        body = await self._get(self._client, target, sent)
        read = await self._split(body)
        return {
            index: mapping
            for index, mapping in read.items()
            if mapping is not None and index in asked and self._selection.covers(index)
        }

    async def listing(self, cluster_uuid: str | None = None, sent: Sent = uncounted) -> Listing:
        """Return all selected indices, hidden and closed ones included, and all aliases and data streams that have some
        of them.

        Makes three small requests at once, and a fourth one if `cluster_uuid` isn't known yet.
        """
        with reading_at_most(MAX_LISTING_BYTES):
            return await self._listing(cluster_uuid, sent)

    async def _listing(self, cluster_uuid: str | None, sent: Sent) -> Listing:
        async with asyncio.TaskGroup() as group:
            listed = group.create_task(_outcome(self._indices(sent)))
            counting = group.create_task(_outcome(self._counts(sent)))
            resolving = group.create_task(_outcome(self._get(self._listing_client, RESOLVED, sent)))
            identifying = group.create_task(_outcome(self._uuid(cluster_uuid, sent)))
        try:
            indices, stats = listed.result()(), counting.result()()
            resolved, uuid = resolving.result()(), identifying.result()()
        except ClusterUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, ApiError) and cause.status_code != 403 and failure_kind(cause) is AnswerKind.REFUSED:
                raise ClusterUnavailable(
                    f"Elasticsearch doesn't list its indices (status {cause.status_code}): is there a path in "
                    "ELASTICSEARCH_URL that doesn't lead to it?",
                    retry_after_seconds=30,
                ) from cause
            raise
        # With ten thousand indices each of these steps takes a millisecond or two. Others get a turn between them.
        await asyncio.sleep(0)
        uuids: dict[str, str] = {}
        field_limits: dict[str, int] = {}
        for some in batched(indices.items(), TURN):
            for name, index in some:
                if self._names.is_legal(name) and self._selection.covers(name):
                    uuids[name], field_limits[name] = index.settings.uuid, index.settings.field_limit
            await asyncio.sleep(0)
        names: _Resolved = await in_thread_if_large(len(resolved), self._decode, _resolved, resolved)
        is_legal = self._names.is_legal

        def is_taken(index: str) -> bool:
            return self._selection.covers(index) and (index in uuids or is_legal(index))

        selected: dict[str, tuple[str, ...]] = {}
        for aliases in batched(names.aliases, TURN):
            for alias in aliases:
                if is_legal(alias.name, upper_case=True):
                    selected[alias.name] = tuple(filter(is_taken, alias.indices))
            await asyncio.sleep(0)
        for stream in names.data_streams:
            if is_legal(stream.name):
                selected[stream.name] = tuple(filter(is_taken, stream.backing_indices))
        await asyncio.sleep(0)
        closed, hidden = await _marked(names.indices, uuids)
        return Listing(
            cluster_uuid=uuid,
            uuids=uuids,
            aliases={name: indices for name, indices in selected.items() if indices},
            data_streams=frozenset(stream.name for stream in names.data_streams if selected.get(stream.name)),
            field_counts={} if stats is None else await self._field_counts(stats),
            nodes_total=None if stats is None else stats.summary.total,
            is_counted=stats is not None,
            closed=closed,
            hidden=hidden,
            field_limits=field_limits,
        )

    async def _indices(self, sent: Sent) -> dict[str, _Settings]:
        """Return the settings of all indices, by name."""
        body = await self._get(self._listing_client, SETTINGS, sent)
        return await in_thread_if_large(len(body), lambda: once_each(self._decode(_settings, body)))

    async def _uuid(self, known: str | None, sent: Sent) -> str:
        """Return the uuid of the cluster; ask for it only if it isn't known."""
        return known if known is not None else await self.cluster_uuid(sent)

    async def hidden_among(self, names: Sequence[str]) -> frozenset[str]:
        """Return which of some names that aren't listed any more are hidden from us, not deleted: they exist but aren't
        selected, or our role doesn't cover them. In the second case Elasticsearch doesn't say whether they exist. If
        the cluster can't be asked, return none.
        """
        with reading_at_most(MAX_LISTING_BYTES), suppress(ClusterUnavailable):
            there = await self._indices(uncounted)
            return frozenset(name for name in names if name in there) | await self._denied_among(
                [name for name in names if name not in there]
            )
        return frozenset()

    async def _denied_among(self, names: Sequence[str]) -> frozenset[str]:
        """Return the indices whose mappings our role may not read; none if the cluster has no security."""
        if not names:
            return frozenset()
        asked = msgspec.json.encode({"index": [{"names": list(names), "privileges": ["view_index_metadata"]}]})
        with suppress(ClusterUnavailable):
            body = await self._get(self._listing_client, PRIVILEGES, asked=asked)
            granted: _Granted = self._decode(_granted, body)
            return frozenset(name for name, has in granted.index.items() if not has.view_index_metadata)
        return frozenset()

    async def cluster_uuid(self, sent: Sent = uncounted) -> str:
        """Return the uuid of the cluster; empty if it doesn't say."""
        body = await self._unless_refused("/?filter_path=cluster_uuid", sent)
        cluster: _Cluster = _Cluster("") if body is None else self._decode(_cluster, body)
        return cluster.cluster_uuid

    async def _unless_refused(self, target: str, sent: Sent) -> bytes | None:
        """Return an answer that a pass can do without; None if the cluster doesn't allow it (the privilege `monitor` is
        missing, or the cluster is serverless).
        """
        try:
            return await self._get(self._listing_client, target, sent)
        except ClusterUnavailable as error:
            kind = failure_kind(error.__cause__)
            if kind is not None and kind.is_refusal:
                return None
            raise

    async def _counts(self, sent: Sent) -> _Stats | None:
        """Return the number of fields of each index, from the nodes that answer in time; None: not known, which is no
        failure.
        """
        try:
            body = await self._get(self._counting_client, FIELD_COUNTS, sent)
            return cast("_Stats", await in_thread_if_large(len(body), self._decode, _stats, body))
        except ClusterUnavailable:
            return None

    async def _field_counts(self, stats: _Stats) -> dict[str, int]:
        counts: dict[str, int] = {}
        for node in stats.nodes.values():
            for some in batched(node.indices.indices.items(), TURN):
                for name, index in some:
                    # Nodes apply a new mapping one after the other, so copies of an index may have different counts.
                    # The highest one may still be old, if a node didn't answer; a later listing shows the change.
                    counts[name] = max(counts.get(name, 0), index.mappings.total_count)
                await asyncio.sleep(0)
        return counts

    async def _get(
        self, client: AsyncElasticsearch, target: str, sent: Sent = uncounted, *, asked: bytes | None = None
    ) -> bytes:
        sent()
        headers = {"accept": "application/json"} | ({} if asked is None else {"content-type": "application/json"})
        try:
            response = await client.perform_request("GET", target, headers=headers, body=asked)
        except (ApiError, TransportError) as error:
            raise unavailable(error) from error
        body: bytes = response.body
        return body

    async def _split(self, body: bytes) -> dict[str, bytes | None]:
        """Return the mapping of each index in an answer; None for a mapping that can't be read. Raise
        `ClusterUnavailable` if the answer can't be understood.
        """

        def split() -> dict[str, bytes | None]:
            indices: dict[str, _Index] = once_each(self._decode(_mappings, body))
            read: dict[str, bytes | None] = {}
            for name, index in indices.items():
                # `bytes` copies: a `Raw` would keep the whole answer alive.
                mapping = bytes(index.mappings) if len(memoryview(index.mappings)) <= MAX_MAPPING_BYTES else b""
                read[name] = mapping if self._mapping_check.is_readable(mapping) else None
            return read

        async with self._splitting:
            read = await in_thread_if_large(len(body), split)
        legal = {name: mapping for name, mapping in read.items() if self._names.is_legal(name)}
        if read and not legal:
            raise ClusterUnavailable("Elasticsearch answered with nothing that can be an index.")
        return legal

    @staticmethod
    def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ClusterUnavailable("Elasticsearch answered with something that is not what was asked for.") from error


async def _marked(indices: list[_Named], among: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return which of the indices in `among` are closed, and which are hidden by their settings. Names with a leading
    dot aren't among the latter, because the dot hides them already.
    """
    closed: set[str] = set()
    hidden: set[str] = set()
    for some in batched(indices, TURN):
        for index in some:
            if index.name in among and "closed" in index.attributes:
                closed.add(index.name)
            if index.name in among and "hidden" in index.attributes and not index.name.startswith("."):
                hidden.add(index.name)
        await asyncio.sleep(0)
    return frozenset(closed), frozenset(hidden)
