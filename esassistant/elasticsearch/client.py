"""Elasticsearch clients: elasticsearch-py's own API over our transport and nodes."""

import base64
import ssl
from functools import partial
from pathlib import Path
from typing import Any, cast

import elasticsearch
import msgspec
from elastic_transport import JsonSerializer, NodeConfig, Serializer, Urllib3HttpNode
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    Elasticsearch,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)

from esassistant.config.model import ElasticsearchConfig
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.causes import (
    PATH_TOO_MANY,
    NodeFailure,
    has_path_too_many,
    not_elasticsearch,
    unreachable,
)
from esassistant.elasticsearch.errors import CallRefused
from esassistant.elasticsearch.node import EXTRAS, Node, NodeExtras
from esassistant.elasticsearch.pools import Pools
from esassistant.elasticsearch.retry import RetryPolicy
from esassistant.elasticsearch.stats import PoolReport
from esassistant.elasticsearch.transport import Transport
from esassistant.errors import ClusterUnavailable
from esassistant.resource import Handle, ReportHandle

ELASTICSEARCH: Handle[AsyncElasticsearch] = Handle("elasticsearch")
"""The public client, for anybody's views. The others are this project's own."""
ELASTICSEARCH_CACHE: Handle[AsyncElasticsearch] = Handle("elasticsearch_cache")
ELASTICSEARCH_WATCH: Handle[AsyncElasticsearch] = Handle("elasticsearch_watch")
ELASTICSEARCH_HEALTH: Handle[AsyncElasticsearch] = Handle("elasticsearch_health")
CLIENTS = (ELASTICSEARCH, ELASTICSEARCH_CACHE, ELASTICSEARCH_WATCH, ELASTICSEARCH_HEALTH)
POOLS_REPORTS: tuple[ReportHandle[dict[str, PoolReport]], ...] = tuple(ReportHandle(client.name) for client in CLIENTS)
"""What each client reports: its pools, by their names."""


class RawJson(Serializer):
    """Leaves response bodies as the bytes they came in: the mapping cache never needs them as dicts."""

    mimetype = "application/json"

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:  # noqa: ARG002
        raise TypeError("this client sends no bodies")


class FastJson(JsonSerializer):
    """Decodes several times faster than the standard library's parser, which would hold the loop."""

    def json_loads(self, data: bytes | str) -> Any:
        return msgspec.json.decode(data)


def new_client(
    config: ElasticsearchConfig, pools: Pools, *, request_timeout: float, max_retries: int, raw: bool = False
) -> AsyncElasticsearch:
    """A client that does no I/O until its first call, and then belongs to that call's loop. The caller closes it.

    `raw` leaves response bodies as bytes.
    """
    extras = {EXTRAS: NodeExtras(config.connect_timeout)}
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
    serializer = RawJson() if raw else FastJson()
    return AsyncElasticsearch(
        nodes,
        node_class=Node,
        transport_class=cast("Any", partial(Transport, retry=RetryPolicy(max_retries), pools=pools)),
        serializers={serializer.mimetype: serializer},
        **_credentials(config),
    )


def report(client: AsyncElasticsearch) -> dict[str, PoolReport]:
    """What the pools of one of our clients counted so far, by name."""
    return cast("Transport", client.transport).report()


def sync_client(config: ElasticsearchConfig) -> Elasticsearch:
    """A plain synchronous client for commands that run outside any event loop. The caller closes it."""
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
        # Encoded here, in UTF-8 as Elasticsearch reads it: elasticsearch-py takes pairs in ASCII only.
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
    """What to tell a caller when a call failed: the kind of failure, never its raw text."""
    if isinstance(error, CallRefused):
        return ClusterUnavailable(error.detail, retry_after_seconds=error.retry_after_seconds)
    if isinstance(error, elasticsearch.AuthenticationException):
        return ClusterUnavailable("Elasticsearch refused our credentials (401).", retry_after_seconds=30)
    if isinstance(error, elasticsearch.AuthorizationException):
        return ClusterUnavailable("Elasticsearch denied the call to our credentials (403).", retry_after_seconds=30)
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


LASTING = frozenset(Cause) - {Cause.REFUSED, Cause.NO_ROUTE, Cause.CLOSED, Cause.CUT}
"""Causes that somebody must mend: asking again soon is in vain."""


def _unreachable(error: ApiError | TransportError) -> ClusterUnavailable:
    """Say why no answer of Elasticsearch came: to callers the cause alone, to operators with host and port."""
    failure = error.__cause__ if isinstance(error.__cause__, NodeFailure) else None
    cause = None if failure is None else failure.cause

    def say(at: str) -> str:
        if isinstance(error, elasticsearch.ConnectionTimeout):
            return f"Elasticsearch{f' at {at}' if at else ''} did not answer in time: {error.message}."
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
