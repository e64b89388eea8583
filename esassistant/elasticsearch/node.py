"""One node of the cluster: keep-alive connections over aiohttp.

elastic-transport's own aiohttp node has only one timeout, and at most 100 connections. This one has separate timeouts
for connecting and for the request, says in the error which of them ran out, and counts.
"""

import asyncio
import gzip
import io
import ssl
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import aiohttp
from aiohttp.connector import Connection
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
from elasticsearch import UnsupportedProductError
from yarl import URL

from esassistant.clock import monotonic
from esassistant.elasticsearch.answers import AnswerKind, answer_kind
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.elasticsearch.explain import Explainer
from esassistant.elasticsearch.stats import PoolCounters
from esassistant.elasticsearch.unpacking import gunzip
from esassistant.long_work import in_thread_if_large
from esassistant.units import as_seconds

EXTRAS = "esassistant"
COMPRESS_FROM_BYTES = 1024
"""Smaller request bodies are not compressed: that costs more than it saves."""
LEAST_ERROR_STATUS = 300
MAX_INTERIM_ANSWERS = 8
LARGE_RATIO = 16
"""JSON compresses to a sixteenth or less. So a compressed answer is assumed to become this many times as large."""
MAX_ERROR_BYTES = 1_000_000
"""The bound for the body of an error. elasticsearch-py makes a text of it, on the loop."""


@dataclass(slots=True)
class Call:
    """The attempt that a request belongs to.

    Attributes:
        counters, kind: Where the attempt is counted, and as which kind of call.
        close_connection: Close the connection after use.
        tried: The nodes that the call has tried before.
        probing: This attempt is a probe for a half-open breaker.
        url: The node that this attempt is sent to; empty until it is chosen.
    """

    counters: PoolCounters
    kind: str
    close_connection: bool = False
    tried: Collection[str] = ()
    probing: bool = False
    url: str = ""


current_call: ContextVar[Call] = ContextVar("current_call")
"""Set by the transport around each attempt, as elastic-transport can't pass it from there to the node."""


_at_most: ContextVar[int | None] = ContextVar("_at_most", default=None)


@contextmanager
def reading_at_most(max_bytes: int) -> Iterator[None]:
    """Bound the answers to all calls of a block more tightly than their client does."""
    token = _at_most.set(max_bytes)
    try:
        yield
    finally:
        _at_most.reset(token)


@dataclass(frozen=True, slots=True)
class NodeExtras:
    """What a `Node` needs beyond elastic-transport's `NodeConfig`; passed in its `_extras`.

    `max_answer_bytes`: the bound for an answer's body, both as sent and unpacked.
    """

    connect_timeout: float
    max_answer_bytes: int


class Response(aiohttp.ClientResponse):
    """A response of aiohttp that accepts only a few interim answers (1xx). aiohttp itself accepts any number, and
    blocks the loop meanwhile.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        assert protocol is not None
        read, left = protocol.read, MAX_INTERIM_ANSWERS + 1

        async def read_so_often() -> Any:
            nonlocal left
            if not left:
                raise aiohttp.ClientPayloadError("more interim answers than any call needs")
            left -= 1
            return await read()

        protocol.read = read_so_often  # type: ignore[method-assign]  # aiohttp has no public way
        try:
            return await super().start(connection)
        finally:
            del protocol.read


class Connector(aiohttp.TCPConnector):
    """A connector of aiohttp that counts connections for the present call. aiohttp's tracing could count too, but costs
    a dozen awaits for each request.
    """

    async def _create_connection(self, *args: Any) -> Any:
        made = await super()._create_connection(*args)
        current_call.get().counters.connections_created_total += 1
        return made

    async def _get(self, *args: Any) -> Connection | None:
        kept = await super()._get(*args)
        if kept is not None:
            current_call.get().counters.connections_reused_total += 1
        return kept


class Node(AiohttpHttpNode):
    """A node whose connections live until `close()`. Belongs to the loop of its first request.

    The node doesn't limit the number of its connections; the pools of its client do.
    """

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._extras: NodeExtras = config._extras[EXTRAS]  # noqa: SLF001  (meant for such annotations)
        self._request_timeout = config.request_timeout
        self._send_compressed = bool(config.http_compress)
        self._url = self.base_url  # base_url is built anew each time it is read
        self._explainer = Explainer(config)
        # For overflow connections: we close them after use, whether or not the server would keep them.
        self._closing_session: aiohttp.ClientSession | None = None

    @property
    def open_connections(self) -> int:
        """The number of connections, in use and idle."""
        sessions = (self.session, self._closing_session)
        connectors = [session.connector for session in sessions if session is not None]
        # aiohttp has no public API for this; a test fails when these names are gone.
        in_use = sum(len(connector._acquired) for connector in connectors if connector is not None)  # noqa: SLF001
        # aiohttp forgets an idle connection that the other side has closed only when it looks for one to use.
        idle = sum(
            protocol.is_connected()
            for connector in connectors
            if connector is not None
            for connections in connector._conns.values()  # noqa: SLF001
            for protocol, _ in connections
        )
        return in_use + idle

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        """Make one attempt.

        Raises:
            ConnectionTimeout: A timeout ran out; the message says which.
            TlsError, ConnectionError: The request could not be sent or answered.
            AnswerTooLarge: The answer is too large. If it is an error, it is returned with an empty body instead, as
                its status says enough.
            UnsupportedProductError: The answer isn't Elasticsearch's. elasticsearch-py checks that only for the first
                2xx answer of a client; this checks every answer.
        """
        body, request_headers = self._prepared(body, headers)
        total = self._request_timeout if isinstance(request_timeout, DefaultType) else request_timeout
        status, given, duration, unpacked = await self._exchange(method, target, body, request_headers, total)
        meta = ApiResponseMeta(
            node=self.config, duration=duration, http_version="1.1", status=status, headers=HttpHeaders(given)
        )
        return NodeApiResponse(meta, unpacked)

    async def pass_on(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], total: float | None
    ) -> NodeApiResponse:
        """Make one attempt with a body that is sent unchanged. `headers` are added to those of all requests. `total`:
        how many seconds it may take. Raises as `perform_request` does.
        """
        status, given, duration, unpacked = await self._exchange(method, target, body, headers, total)
        # Keep aiohttp's headers: copying them, as above, takes longer than all else here.
        meta = ApiResponseMeta(status, "1.1", cast("HttpHeaders", given), duration, self.config)
        return NodeApiResponse(meta, unpacked)

    async def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], total: float | None
    ) -> tuple[int, Mapping[str, str], float, bytes]:
        """Send a request; return status, headers, duration in seconds and unpacked body of Elasticsearch's answer.
        Raise what `perform_request` raises.
        """
        call = current_call.get()
        session = self._session_for(call)
        counters = call.counters
        counters.sent(call.kind, len(body or b""))
        started_at = monotonic()
        try:
            # Closed at the end, as errors are remembered for a while, with everything that their frames refer to.
            with io.BytesIO() as answer:
                async with session.request(
                    method,
                    URL(self._url + target, encoded=True),
                    data=body,
                    headers=headers,
                    timeout=_timeouts(total, self._extras.connect_timeout),
                    allow_redirects=False,
                ) as response:
                    max_bytes = self._bound(response.status)
                    try:
                        await self._read(response, counters, answer, max_bytes)
                    finally:
                        duration = monotonic() - started_at
                unpacked = await self._unpacked(answer, response.headers.get("content-encoding"), max_bytes)
        except asyncio.CancelledError:
            counters.cancelled_total += 1
            raise
        except AnswerTooLarge:
            if response.status < LEAST_ERROR_STATUS:
                counters.failed(call.kind, "too_large")
                raise
            unpacked = b""
        except (aiohttp.ClientError, OSError) as error:
            failure, raised = self._failure(error, total)
            counters.failed(call.kind, failure)
            explained = await self._explainer.failure(error, _left(total, started_at))
            explained.__cause__ = error
            raise raised from explained
        counters.answered(call.kind, response.status, duration)
        counters.decoded_bytes_total += len(unpacked)
        # Check this before the body is decoded: it may be HTML.
        if is_foreign(method, response.status, response.headers, unpacked):
            left = _left(total, started_at)
            explained = await self._explainer.foreign_answer(response.status, unpacked, session, headers, left)
            meta = ApiResponseMeta(
                node=self.config,
                duration=duration,
                http_version="1.1",
                status=response.status,
                headers=HttpHeaders(response.headers),
            )
            raise UnsupportedProductError("the answer is not Elasticsearch's", meta, unpacked) from explained
        return response.status, response.headers, duration, unpacked

    def _prepared(self, body: bytes | None, headers: HttpHeaders | None) -> tuple[bytes | None, HttpHeaders]:
        """Return the body as it is sent, and all headers."""
        request_headers = self._headers.copy()
        if headers:
            request_headers.update(headers)
        if body and self._send_compressed and len(body) >= COMPRESS_FROM_BYTES:
            body = gzip.compress(body, compresslevel=3)
            request_headers["content-encoding"] = "gzip"
        return body, request_headers

    def _bound(self, status: int) -> int:
        max_bytes = min(self._extras.max_answer_bytes, _at_most.get() or self._extras.max_answer_bytes)
        return max_bytes if status < LEAST_ERROR_STATUS else min(max_bytes, MAX_ERROR_BYTES)

    async def _read(
        self, response: aiohttp.ClientResponse, counters: PoolCounters, body: io.BytesIO, max_bytes: int
    ) -> None:
        """Append the answer's body to `body`, as it comes over the wire. Raise `AnswerTooLarge` if it has more than
        `max_bytes`.
        """
        # Take the pieces as aiohttp gives them. With larger pieces it parses many tiny chunks at once, and blocks the
        # loop for 0.2 s.
        async for piece in response.content.iter_any():
            counters.received_bytes_total += len(piece)
            if body.tell() + len(piece) > max_bytes:
                response.close()
                raise AnswerTooLarge(max_bytes)
            body.write(piece)

    async def _unpacked(self, body: io.BytesIO, encoding: str | None, max_bytes: int) -> bytes:
        if encoding != "gzip" or not body.tell():
            return body.getvalue()
        try:
            return await in_thread_if_large(LARGE_RATIO * body.tell(), gunzip, body, max_bytes)
        except zlib.error as error:
            raise aiohttp.ClientPayloadError("the answer can't be decompressed") from error

    def _failure(self, error: Exception, total: float | None) -> tuple[str, Exception]:
        """Return the kind of a failure, one of `FAILURE_KINDS`, and the error to raise."""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            message = f"no connection within {as_seconds(self._extras.connect_timeout)}"
            return "connect_timeout", ConnectionTimeout(message, errors=(error,))
        if isinstance(error, TimeoutError):
            within = "in time" if total is None else f"within {as_seconds(total)}"
            return "request_timeout", ConnectionTimeout(f"no answer {within}", errors=(error,))
        if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
            return "tls", TlsError(f"TLS failed: {error}", errors=(error,))
        return "connection", ElasticConnectionError(str(error) or type(error).__name__, errors=(error,))

    async def close(self) -> None:  # type: ignore[override]
        if self._closing_session is not None:
            await self._closing_session.close()
            self._closing_session = None
        await super().close()

    def _session_for(self, call: Call) -> aiohttp.ClientSession:
        if call.close_connection:
            if self._closing_session is None:
                self._closing_session = self._new_session(force_close=True)
            return self._closing_session
        if self.session is None:
            self._create_aiohttp_session()
        assert self.session is not None
        return self.session

    def _create_aiohttp_session(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.session = self._new_session(keepalive_timeout=60)

    def _new_session(self, **connections: Any) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            headers=self.headers,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=Response,
            connector=Connector(
                limit=0,  # the pools are the limit; with aiohttp's, waiting would count as a part of the request
                ssl=self._ssl_context or False,
                **connections,
            ),
            auto_decompress=False,  # to count the bytes as they went over the wire
        )
        # aiohttp would repeat a read, a PUT or a DELETE by itself, without counting it; only our retry policy decides
        # about that.
        session._retry_connection = False  # noqa: SLF001  (aiohttp has no public way)
        return session


@lru_cache(maxsize=64)
def _timeouts(total: float | None, connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total, sock_connect=connect)


def _left(total: float | None, started_at: float) -> float | None:
    return None if total is None else max(0.0, started_at + total - monotonic())


def is_foreign(method: str, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Return True if something else answered in place of Elasticsearch.

    For a 403 answer to HEAD this can't be told, and False is returned: a 403 never has the header, and an answer to
    HEAD has no body.
    """
    if method == "HEAD" and status == 403:
        return False
    return answer_kind(status, headers, body) is AnswerKind.NOT_ELASTICSEARCH
