"""One node of the cluster: a pool of keep-alive connections over aiohttp.

elastic-transport's own aiohttp node knows one timeout and caps connections at aiohttp's 100; this one keeps connect and
request timeouts apart, tells in the error which of them ran out, and counts.
"""

import asyncio
import gzip
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
from elastic_transport import (
    AiohttpHttpNode,
    ApiResponseMeta,
    ConnectionTimeout,
    HttpHeaders,
    NodeConfig,
    TlsError,
)
from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, DefaultType
from yarl import URL

from esassistant.clock import monotonic
from esassistant.elasticsearch.stats import PoolCounters

EXTRAS = "esassistant"
COMPRESS_FROM_BYTES = 1024
"""Smaller request bodies are sent as they are: compressing them costs more than it saves."""


@dataclass(frozen=True, slots=True)
class NodeExtras:
    """What a `Node` needs beyond elastic-transport's own `NodeConfig`; handed over in its `_extras`."""

    connect_timeout: float
    counters: PoolCounters


class Node(AiohttpHttpNode):
    """A node whose connections live until `close()`; belongs to the loop of its first request."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._extras: NodeExtras = config._extras[EXTRAS]  # noqa: SLF001  (the field meant for annotations like this one)
        self._request_timeout = config.request_timeout
        self._slots = asyncio.Semaphore(config.connections_per_node)
        self._send_compressed = bool(config.http_compress)

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """One attempt. Raises `ConnectionTimeout` (saying which timeout), `TlsError` or `ConnectionError`."""
        if self.session is None:
            self._create_aiohttp_session()
        assert self.session is not None
        request_headers = self._headers.copy()
        if headers:
            request_headers.update(headers)
        if body and self._send_compressed and len(body) >= COMPRESS_FROM_BYTES:
            body = gzip.compress(body, compresslevel=3)
            request_headers["content-encoding"] = "gzip"
        total = self._request_timeout if isinstance(request_timeout, DefaultType) else request_timeout
        counters = self._extras.counters
        await self._acquire(total)
        counters.requests_total += 1
        counters.in_use += 1
        started_at = monotonic()
        try:
            async with self.session.request(
                method,
                # As it stands: aiohttp would decode what is encoded in it, and encode it anew in its own way.
                URL(self.base_url + target, encoded=True),
                data=body or None,
                headers=request_headers,
                timeout=aiohttp.ClientTimeout(total=total, sock_connect=self._extras.connect_timeout),
                allow_redirects=False,
            ) as response:
                raw = await response.read()
        except asyncio.CancelledError:
            counters.cancelled_total += 1
            raise
        except (aiohttp.ClientError, OSError) as error:
            counters.failures_total += 1
            if isinstance(error, TimeoutError):
                counters.timeouts_total += 1
            raise self._transport_error(error, total) from error
        finally:
            counters.in_use -= 1
            self._slots.release()
        duration = monotonic() - started_at
        counters.answered(response.status, duration)
        meta = ApiResponseMeta(
            node=self.config,
            duration=duration,
            http_version="1.1",
            status=response.status,
            headers=HttpHeaders(response.headers),
        )
        return NodeApiResponse(meta, raw)

    async def _acquire(self, within: float | None) -> None:
        # Before the clock of the request starts: waiting for a connection is not the cluster's slowness.
        counters = self._extras.counters
        counters.waiting += 1
        try:
            async with asyncio.timeout(within):
                await self._slots.acquire()
        except TimeoutError as error:
            raise ConnectionTimeout(f"no free connection within {within:g} s", errors=(error,)) from error
        finally:
            counters.waiting -= 1

    def _transport_error(self, error: Exception, total: float | None) -> Exception:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return ConnectionTimeout(f"no connection within {self._extras.connect_timeout:g} s", errors=(error,))
        if isinstance(error, TimeoutError):
            within = "in time" if total is None else f"within {total:g} s"
            return ConnectionTimeout(f"no answer {within}", errors=(error,))
        if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
            return TlsError(f"TLS failed: {error}", errors=(error,))
        return ElasticConnectionError(str(error) or type(error).__name__, errors=(error,))

    def _create_aiohttp_session(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.session = aiohttp.ClientSession(
            headers=self.headers,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(
                limit=0,  # `_slots` is the limit: aiohttp's would count the wait as part of the request
                keepalive_timeout=60,
                ssl=self._ssl_context or False,
            ),
            trace_configs=[self._trace_connections()],
        )
        # aiohttp would send a read, a PUT or a DELETE a second time by itself, uncounted; retries have one owner.
        self.session._retry_connection = False  # noqa: SLF001  (aiohttp has no public way)

    def _trace_connections(self) -> aiohttp.TraceConfig:
        counters = self._extras.counters

        async def created(*_: Any) -> None:
            counters.connections_created_total += 1

        async def reused(*_: Any) -> None:
            counters.connections_reused_total += 1

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(created)
        trace.on_connection_reuseconn.append(reused)
        return trace
