"""Elasticsearch clients: elasticsearch-py's own API over our transport and nodes."""

import base64
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import elasticsearch
import msgspec
from django.core.exceptions import ImproperlyConfigured
from elastic_transport import JsonSerializer, NodeConfig, Serializer, SerializerCollection, Urllib3HttpNode
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    Elasticsearch,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)

from esassistant.breaker import BreakerReport
from esassistant.config.model import ElasticsearchConfig
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.answers import (
    AnswerKind,
    block_reason,
    credentials_fault,
    failure_kind,
    missing_privilege,
)
from esassistant.elasticsearch.causes import (
    PATH_TOO_MANY,
    NodeFailure,
    has_path_too_many,
    not_elasticsearch,
    unreachable,
)
from esassistant.elasticsearch.errors import AnswerTooLarge, CallRefused
from esassistant.elasticsearch.node import EXTRAS, Node, NodeExtras
from esassistant.elasticsearch.node_pool import NodeMarks, NodePool
from esassistant.elasticsearch.pools import Pools
from esassistant.elasticsearch.retry import RetryPolicy
from esassistant.elasticsearch.stats import PoolReport
from esassistant.elasticsearch.transport import Transport
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Handle, ReportHandle
from esassistant.windows import MinuteCounts, WindowReport

ELASTICSEARCH: Handle[AsyncElasticsearch] = Handle("elasticsearch")
"""The public client, which any view may use. All other clients are for this project's own code."""
ELASTICSEARCH_CACHE: Handle[AsyncElasticsearch] = Handle("elasticsearch_cache")
ELASTICSEARCH_WATCH: Handle[AsyncElasticsearch] = Handle("elasticsearch_watch")
ELASTICSEARCH_HEALTH: Handle[AsyncElasticsearch] = Handle("elasticsearch_health")
CLIENTS = (ELASTICSEARCH, ELASTICSEARCH_CACHE, ELASTICSEARCH_WATCH, ELASTICSEARCH_HEALTH)
POOLS_REPORTS: tuple[ReportHandle[dict[str, PoolReport]], ...] = tuple(ReportHandle(client.name) for client in CLIENTS)
"""The report of each client: the reports of its pools, by their names."""
MAX_ANSWER_BYTES = 64_000_000
MAX_SMALL_ANSWER_BYTES = 1_000_000
"""The bound for answers about health and the metadata version, which have a few hundred bytes."""


def within(seconds: float) -> float:
    """Return the timeout for a call that somebody else will cancel after `seconds`. It is shorter, so that the call
    times out first: a cancelled call doesn't tell which node failed to answer.
    """
    return 0.9 * seconds


class Serializers(SerializerCollection):
    """The serializers of a client. `raw`: bodies of requests and answers stay bytes."""

    def __init__(self, serializers: Mapping[str, Serializer], *, raw: bool) -> None:
        super().__init__(serializers)
        self._raw = raw

    def loads(self, data: bytes, mimetype: str | None = None) -> Any:
        return data if self._raw else super().loads(data, mimetype)

    def dumps(self, data: Any, mimetype: str | None = None) -> bytes:
        if self._raw:
            if not isinstance(data, bytes):
                raise TypeError("this client sends bytes")
            return data
        return super().dumps(data, mimetype)


class FastJson(JsonSerializer):
    """Decodes JSON several times faster than the standard library, which would block the loop for longer."""

    def loads(self, data: bytes) -> Any:
        if not data:
            return None
        try:
            return msgspec.json.decode(data)
        except (ValueError, RecursionError) as error:
            # Leave the data out: elastic-transport's own error would contain it as text, four times as large.
            raise SerializationError("the answer is no JSON that can be read", errors=(error,)) from None


def check_there_is_a_node(config: ElasticsearchConfig) -> None:
    """Raise `ImproperlyConfigured` if the settings name no node."""
    if config.no_node:
        raise ImproperlyConfigured(config.no_node)


def new_client(
    config: ElasticsearchConfig,
    pools: Pools,
    *,
    request_timeout: float,
    max_retries: int,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    raw: bool = False,
    marks: NodeMarks | None = None,
    backs_up: bool = False,
) -> AsyncElasticsearch:
    """Return a client. It does no I/O until its first call, and then belongs to the loop of that call. The caller
    closes it.

    Args:
        config: How Elasticsearch is reached.
        pools: The pools of its calls.
        request_timeout: How many seconds a call may take, with its retries, unless the call says something else.
        max_retries: How often a call that failed is tried again at most.
        max_answer_bytes: A larger answer, as sent or unpacked, raises `AnswerTooLarge`.
        raw: Leave the bodies of answers as bytes.
        marks: Which nodes have failed lately; can be shared with other clients.
        backs_up: Send a call to a second node if it fails at the first one, or has taken half of its time there. Also
            let
            calls of this client be the first to try a node that has failed.

    Raises:
        ImproperlyConfigured: The settings name no node.
    """
    check_there_is_a_node(config)
    extras = {EXTRAS: NodeExtras(config.connect_timeout, max_answer_bytes)}
    context = _ssl_context(config)
    nodes = [
        url_to_node_config(url).replace(
            request_timeout=request_timeout,
            http_compress=True,
            ssl_context=context,
            ssl_show_warn=False,
            _extras=extras,
        )
        for url in config.urls
    ]
    client = AsyncElasticsearch(
        nodes,
        node_class=Node,
        node_pool_class=cast("Any", partial(NodePool, marks=marks or NodeMarks(), tries_out=backs_up)),
        transport_class=cast("Any", partial(Transport, retry=RetryPolicy(max_retries), pools=pools, backs_up=backs_up)),
        serializers={FastJson.mimetype: FastJson()},
        **_credentials(config),
    )
    client.transport.serializers = Serializers(client.transport.serializers.serializers, raw=raw)
    return client


def report(client: AsyncElasticsearch) -> dict[str, PoolReport]:
    """Return the reports of all pools of one of our clients, by name."""
    return cast("Transport", client.transport).report()


def windows(client: AsyncElasticsearch) -> dict[str, dict[str, WindowReport]]:
    """Return what callers of one of our clients got lately: by pool, for searches and for other calls."""
    return cast("Transport", client.transport).windows()


def searches_of_minute(client: AsyncElasticsearch, number: int) -> MinuteCounts:
    """Return what callers of searches by one of our clients got in one minute. `number` is its number on the monotonic
    clock; it must have just ended.
    """
    return cast("Transport", client.transport).whole_minute(number)


def breaker_reports(client: AsyncElasticsearch) -> dict[str, BreakerReport]:
    """Return the reports of the breakers of one of our clients, by pool."""
    return cast("Transport", client.transport).breaker_reports()


def two_nodes(client: AsyncElasticsearch) -> tuple[str, ...]:
    """Return the URLs of two nodes to wait at, preferring those that have answered lately. If there is only one node,
    return that.
    """
    return cast("Transport", client.transport).nodes.two()


def sync_client(config: ElasticsearchConfig) -> Elasticsearch:
    """Return a plain synchronous client, for commands without an event loop. The caller closes it.

    Raises `ImproperlyConfigured` if the settings name no node.
    """
    check_there_is_a_node(config)
    context = _ssl_context(config)
    nodes = [
        url_to_node_config(url).replace(ssl_context=context, verify_certs=config.verify_certs, ssl_show_warn=False)
        for url in config.urls
    ]
    return Elasticsearch(
        nodes,
        node_class=Urllib3HttpNode,
        request_timeout=config.request_timeout,
        **_credentials(config),
    )


def _credentials(config: ElasticsearchConfig) -> dict[str, Any]:
    if config.api_key:
        return {"api_key": config.api_key}
    if config.username:
        # Encode here in UTF-8, as Elasticsearch expects; elasticsearch-py would accept only ASCII.
        pair = f"{config.username}:{config.password}".encode()
        return {"basic_auth": base64.b64encode(pair).decode("ascii")}
    return {}


def _ssl_context(config: ElasticsearchConfig) -> ssl.SSLContext | None:
    if not config.urls[0].startswith("https:"):
        return None
    where = config.ca_certs or None
    is_folder = where is not None and Path(where).is_dir()
    context = ssl.create_default_context(cafile=None if is_folder else where, capath=where if is_folder else None)
    if not config.verify_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def unavailable(error: ApiError | TransportError) -> ClusterUnavailable:
    """Return the error to raise for a caller when a call has failed. It names the kind of failure, and never the raw
    text.
    """
    if isinstance(error, CallRefused | AnswerTooLarge):
        return ClusterUnavailable(error.detail, retry_after_seconds=error.retry_after_seconds)
    if isinstance(error, ApiError) and (refusal := _refusal(error)) is not None:
        return refusal
    if isinstance(error, UnsupportedProductError | elasticsearch.ConnectionTimeout | elasticsearch.ConnectionError):
        return _unreachable(error)
    if isinstance(error, SerializationError):
        return ClusterUnavailable("Elasticsearch gave an answer that can't be read.", retry_after_seconds=5)
    if isinstance(error, TransportError):
        return ClusterUnavailable("Elasticsearch could not be reached.", retry_after_seconds=5)
    if has_path_too_many(error.status_code, error.body):
        at = _at(error.meta.node)
        return ClusterUnavailable(
            PATH_TOO_MANY.format(where="Elasticsearch"),
            retry_after_seconds=30,
            operator_detail=PATH_TOO_MANY.format(where=f"Elasticsearch at {at}"),
        )
    return ClusterUnavailable(f"Elasticsearch answered with status {error.status_code}.", retry_after_seconds=5)


def _refusal(error: ApiError) -> ClusterUnavailable | None:
    """Return the error for a caller if Elasticsearch or its security refused a call and says why, else None."""
    if isinstance(error, elasticsearch.AuthenticationException):
        fault = credentials_fault(error.body)
        why = f": {fault}" if fault else ""
        # Good credentials are refused too while the cluster recovers its security index.
        return ClusterUnavailable(f"Elasticsearch refused our credentials (401){why}.", retry_after_seconds=5)
    if (block := block_reason(error.body)) is not None:
        return ClusterUnavailable(
            f"Elasticsearch has a block ({error.status_code}) that forbids it: {block}.",
            retry_after_seconds=30 if error.status_code == 403 else 5,  # others end by themselves
        )
    if failure_kind(error) is AnswerKind.DENIED:
        return ClusterUnavailable(
            f"Elasticsearch denied the call (403): this service's role lacks {missing_privilege(error.body)}.",
            retry_after_seconds=30,
        )
    if isinstance(error, elasticsearch.AuthorizationException):
        return ClusterUnavailable("Elasticsearch refused the call (403).", retry_after_seconds=30)
    return None


LASTING = frozenset(Cause) - {Cause.REFUSED, Cause.NO_ROUTE, Cause.CLOSED, Cause.CUT}
"""Causes that last until somebody removes them: trying again soon is in vain."""


def _unreachable(error: ApiError | TransportError) -> ClusterUnavailable:
    """Return the error that says why Elasticsearch didn't answer. Callers see only the cause; operators also see host
    and port.
    """
    failure = error.__cause__ if isinstance(error.__cause__, NodeFailure) else None
    cause = None if failure is None else failure.cause

    def say(at: str) -> str:
        if isinstance(error, elasticsearch.ConnectionTimeout):
            # The message is either "no answer within 5 s", or says that there was no connection.
            is_repeated = error.message.startswith("no answer ")
            late = error.message.removeprefix("no answer ") if is_repeated else f"in time: {error.message}"
            return f"Elasticsearch{f' at {at}' if at else ''} did not answer {late}."
        if isinstance(error, UnsupportedProductError) and cause is None:
            product = None if failure is None else failure.product
            has_path = failure is not None and failure.has_path
            return not_elasticsearch(error.status_code, product, has_path=has_path, at=at)
        if isinstance(error, elasticsearch.SSLError) and cause is None:
            return unreachable(Cause.TLS, at)
        return unreachable(cause, at)

    is_lasting = isinstance(error, UnsupportedProductError | elasticsearch.SSLError) or cause in LASTING
    return ClusterUnavailable(
        say(""),
        retry_after_seconds=30 if is_lasting else 5,
        operator_detail=None if failure is None else say(failure.at),
    )


def _at(node: NodeConfig) -> str:
    return f"{node.host}:{node.port}"
