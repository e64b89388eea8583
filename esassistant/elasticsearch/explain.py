"""Inspects a failing server if its failure doesn't say why: does its port speak TLS, which product is it?

An inspection is short and takes its time from the call that failed. It sends credentials only to a port that has got
them already. It is made at most once a minute for each node; until the next one, its result is used again.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

import aiohttp
from elastic_transport import NodeConfig
from yarl import URL

from esassistant.clock import Clock, monotonic
from esassistant.connection_causes import Cause
from esassistant.elasticsearch.causes import NodeFailure, Product, cause_of, product_of
from esassistant.elasticsearch.stats import PoolCounters

LOOK_SECONDS = 0.25
KEPT_SECONDS = 60.0
MAX_ROOT_BYTES = 64 * 1024
MAX_PAGE_BYTES = 4096
T = TypeVar("T")
_NAMES_TLS = re.compile(rb"https|ssl|tls", re.IGNORECASE)
_UNCLEAR = frozenset({Cause.CLOSED, Cause.NOT_HTTP})
"""Causes that a port also shows if it expects the other scheme."""


class Explainer:
    """Explains the failures of one node. Belongs to its loop."""

    def __init__(self, config: NodeConfig, clock: Clock = monotonic) -> None:
        self._config = config
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.at = f"{host}:{config.port}"
        self._other_scheme = _Look(False, clock)
        self._product: _Look[Product | None] = _Look(None, clock)

    async def failure(self, error: Exception, seconds_left: float | None) -> NodeFailure:
        """Explain why a request got no answer."""
        cause = cause_of(error)
        if cause in _UNCLEAR:
            cause = await self._by_scheme(seconds_left) or cause
        return NodeFailure(self.at, cause)

    async def foreign_answer(
        self,
        status: int,
        body: bytes,
        session: aiohttp.ClientSession,
        headers: Mapping[str, str],
        seconds_left: float | None,
    ) -> NodeFailure:
        """Explain an answer that is not Elasticsearch's. Ask the server which product it is, with the headers of the
        failed call.
        """
        if self._is_page_of_tls(status, body) and (cause := await self._by_scheme(seconds_left)) is not None:
            return NodeFailure(self.at, cause)
        # OpenSearch and old versions of Elasticsearch answer in JSON; the page of a gateway says nothing about the
        # product.
        if body[:1] == b"{":
            await _within(seconds_left, self._product.found(lambda: self._root(session, headers)))
        return NodeFailure(self.at, product=self._product.last, has_path=bool(self._config.path_prefix))

    def _is_page_of_tls(self, status: int, body: bytes) -> bool:
        """Return True if this may be the page with which a TLS port answers plain HTTP."""
        is_page = status == 400 and _NAMES_TLS.search(body, 0, MAX_PAGE_BYTES) is not None
        return is_page and self._config.scheme == "http"

    async def _by_scheme(self, seconds_left: float | None) -> Cause | None:
        """Return the cause that the port speaks the other scheme, or None if it doesn't."""
        look = speaks_tls if self._config.scheme == "http" else speaks_http
        await _within(seconds_left, self._other_scheme.found(lambda: look(self._config.host, self._config.port)))
        if not self._other_scheme.last:
            return None
        return Cause.TLS_PORT if self._config.scheme == "http" else Cause.PLAIN_PORT

    async def _root(self, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> Product | None:
        async with session.get(
            URL(f"{self._config.scheme}://{self.at}{self._config.path_prefix}/", encoded=True),
            headers={**headers, "accept": "application/json", "accept-encoding": "identity"},
            allow_redirects=False,
            trace_request_ctx=PoolCounters(),  # counters that nobody reads, as an inspection is no call
        ) as response:
            body = await response.content.read(MAX_ROOT_BYTES)
            while len(body) < MAX_ROOT_BYTES and (more := await response.content.read(MAX_ROOT_BYTES - len(body))):
                body += more
        return product_of(body)


class _Look(Generic[T]):
    """The result of one kind of inspection (`last`), kept for a minute. Calls that fail together share one inspection.
    If it fails or is cut short, the result is the value `nothing`.
    """

    def __init__(self, nothing: T, clock: Clock) -> None:
        self.last = self._nothing = nothing
        self._clock = clock
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    async def found(self, look: Callable[[], Awaitable[T]]) -> None:
        """Inspect, unless that was done within the last minute."""
        async with self._looking:
            if self._looked_at is not None and self._clock() - self._looked_at < KEPT_SECONDS:
                return
            self._looked_at, self.last = self._clock(), self._nothing
            self.last = await look()


async def _within(seconds_left: float | None, look: Awaitable[None]) -> None:
    """Await an inspection for a short time. If it fails, nothing is learned."""
    # Take half of the time that is left: the caller must get the failure before it gives up.
    seconds = LOOK_SECONDS if seconds_left is None else min(LOOK_SECONDS, seconds_left / 2)
    with suppress(aiohttp.ClientError, OSError, TimeoutError, EOFError):
        async with asyncio.timeout(seconds):
            await look


async def speaks_tls(host: str, port: int) -> bool:
    """Return True if a port answers the beginning of a TLS handshake with TLS, even with an alert."""
    first = await _first_bytes(host, port, _client_hello(), 2)
    return first[0] in _TLS_RECORDS and first[1] == _TLS_MAJOR


async def speaks_http(host: str, port: int) -> bool:
    """Return True if a port answers a plain request with HTTP."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return await _first_bytes(host, port, request, 5) == b"HTTP/"


_TLS_RECORDS = (0x15, 0x16)
"""The types of TLS records that may come first: an alert, or a handshake."""
_TLS_MAJOR = 0x03


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the handshake ends before there is anything to verify
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


async def _first_bytes(host: str, port: int, sent: bytes, count: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(sent)
        return await reader.readexactly(count)
    finally:
        writer.transport.abort()
