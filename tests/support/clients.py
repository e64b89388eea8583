"""The parts of clients for a test's cluster: a configuration, pools, and a certificate of the server."""

import ssl
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from esassistant.breaker import NEVER_TRIPS
from esassistant.config.model import ElasticsearchConfig
from esassistant.config.pools import PoolRule
from esassistant.elasticsearch.node_pool import NodeMarks, NodePool
from esassistant.elasticsearch.pools import PoolLimits, Pools, one_pool


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1."""

    key: Path
    certificate: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def elasticsearch_config(url: str, **changes: Any) -> ElasticsearchConfig:
    """Return a configuration for one node at `url`, without credentials and with short timeouts."""
    config = ElasticsearchConfig(
        urls=(url,),
        api_key="",
        username="",
        password="",
        ca_certs="",
        verify_certs=True,
        pool_block=False,
        pool_overflow=0,
        pools=(PoolRule("default", ("*",), 5),),
        request_timeout=2.0,
        connect_timeout=2.0,
        max_retries=0,
    )
    return replace(config, **changes)


def node_pool(marks: NodeMarks | None = None) -> Any:
    """Return the class of node pools for a transport of its own."""
    return partial(NodePool, marks=marks or NodeMarks(), tries_out=False)


def pools(name: str = "default", **limits: Any) -> Pools:
    """Return one pool of five connections, whose breaker never trips, unless told otherwise."""
    return one_pool(name, PoolLimits(**{"maxsize": 5, **limits}), NEVER_TRIPS)
