"""Compresses answers with gzip, for clients that prefer it; once for each answer, and within bounds.

An answer of the hot path and a response of Django are compressed to the same bytes. Only answers to GET and HEAD are
compressed, so no searches. A page with a CSRF token isn't compressed either: an attacker who makes a browser request
such a page with chosen words could guess the token from the size of the compressed page (BREACH).
"""

import asyncio
import gzip
import re
from collections import OrderedDict
from functools import lru_cache
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from esassistant.http.security_headers import AnswerMiddleware
from esassistant.long_work import LARGE_BYTES

MIN_BYTES: Final = 1024
"""A smaller answer fits into one packet even without compression."""
MAX_KEPT_BYTES: Final = 8_388_608
LEVEL: Final = 6
MAX_PARSED_BYTES: Final = 200
"""A longer Accept-Encoding header is parsed anew each time. Browsers send about 25 bytes."""
QUALITY: Final = re.compile(rb"q=(0(\.\d{0,3})?|1(\.0{0,3})?)")


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Return True if an Accept-Encoding header prefers gzip to an uncompressed answer (RFC 9110, 12.5.3)."""
    if len(accept_encoding) > MAX_PARSED_BYTES:
        return _prefers_gzip(accept_encoding)
    return _known_to_prefer_gzip(accept_encoding)


def _prefers_gzip(accept_encoding: bytes) -> bool:
    qualities: dict[bytes, float] = {}
    for entry in accept_encoding.lower().split(b","):
        coding, has_weight, weight = entry.partition(b";")
        quality = QUALITY.fullmatch(weight.strip()) if has_weight else None
        qualities[coding.strip()] = 1.0 if not has_weight else float(quality[1]) if quality else 0.0
    any_other = qualities.get(b"*", 0.0)
    gzipped = qualities.get(b"gzip", qualities.get(b"x-gzip", any_other))
    # An encoding that isn't named is acceptable too, but not preferred.
    return gzipped > 0 and gzipped >= qualities.get(b"identity", 0.0)


_known_to_prefer_gzip = lru_cache(maxsize=256)(_prefers_gzip)


def etag_of_gzip(etag: str) -> str:
    """Return the ETag of the compressed form of an answer. It differs from the answer's own `etag`, as the bytes
    differ.
    """
    return f'{etag[:-1]}-gzip"'


class Compressed:
    """Keeps the latest compressed bodies, at most `max_bytes` in all, by the validators of the uncompressed bodies. So
    the same body isn't compressed again when it is made anew, for another name or with another age.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        self.kept_bytes = 0
        self.compressed_total = 0

    def ready(self, body: bytes, etag: str | None) -> bytes | None:
        """Return `body` compressed. Return None if it isn't compressed yet, and compressing it would block the loop for
        too long.
        """
        if etag is not None and (kept := self._kept.get(etag)) is not None:
            self._kept.move_to_end(etag)
            return kept
        return self._compress(body, etag) if len(body) < LARGE_BYTES else None

    async def get(self, body: bytes, etag: str | None) -> bytes:
        """Return `body` compressed. A large one is compressed in a thread, only once even if several callers wait for
        it.
        """
        ready = self.ready(body, etag)
        if ready is not None:
            return ready
        loop = asyncio.get_running_loop()
        if etag is None:
            return self._keep(None, await loop.run_in_executor(None, compress, body))
        under_way = self._under_way.get(etag)
        if under_way is None or under_way.get_loop() is not loop:
            under_way = self._under_way[etag] = loop.run_in_executor(None, compress, body)
            under_way.add_done_callback(lambda done: self._ended(etag, done))
        return await asyncio.shield(under_way)  # a caller that leaves doesn't cancel it for the others

    def _ended(self, etag: str, done: "asyncio.Future[bytes]") -> None:
        del self._under_way[etag]
        if not done.cancelled() and done.exception() is None:
            self._keep(etag, done.result())

    def at_once(self, body: bytes, etag: str | None) -> bytes:
        """Return `body` compressed. It is compressed directly, however long that takes."""
        ready = self.ready(body, etag)
        return self._compress(body, etag) if ready is None else ready

    def _compress(self, body: bytes, etag: str | None) -> bytes:
        return self._keep(etag, compress(body))

    def _keep(self, etag: str | None, small: bytes) -> bytes:
        self.compressed_total += 1
        if etag is None or len(small) > self._max_bytes:
            return small
        if etag in self._kept:
            self.kept_bytes -= len(self._kept.pop(etag))
        self._kept[etag] = small
        self.kept_bytes += len(small)
        while self.kept_bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= len(dropped)
        return small


def compress(body: bytes) -> bytes:
    """Return `body` as gzip. The result is always the same."""
    return gzip.compress(body, LEVEL, mtime=0)


compressed = Compressed()
"""The compressed bodies of this process; the hot path and the views share them."""


class CompressionMiddleware(AnswerMiddleware):
    """Compresses responses for clients that prefer that. Adds `Vary` to all responses that can be compressed."""

    def answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        body = _to_compress(request, response)
        return response if body is None else _with_gzip(response, compressed.at_once(body, _kept_as(response)))

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self._get_response(request)
        body = _to_compress(request, response)
        return response if body is None else _with_gzip(response, await compressed.get(body, _kept_as(response)))


def _to_compress(request: HttpRequest, response: HttpResponseBase) -> bytes | None:
    """Return the body to compress, or None if the response stays as it is."""
    if request.method not in ("GET", "HEAD") or response.status_code != 200 or not isinstance(response, HttpResponse):
        return None
    # Set by `get_token`: the page has a CSRF token. Django's CSRF middleware leaves it there.
    if "CSRF_COOKIE_NEEDS_UPDATE" in request.META or response.has_header("Content-Encoding"):
        return None
    body = response.content
    if len(body) < MIN_BYTES:
        return None
    patch_vary_headers(response, ("Accept-Encoding",))
    return body if accepts_gzip(request.headers.get("Accept-Encoding", "").encode("latin-1")) else None


def _kept_as(response: HttpResponseBase) -> str | None:
    """Return the key under which the compressed body is kept: that of an `Answer`. Other responses have none and aren't
    kept, as their content is mostly different each time.
    """
    kept_as: str | None = getattr(response, "compressed_as", None)
    return kept_as


def _with_gzip(response: HttpResponseBase, small: bytes) -> HttpResponseBase:
    response.content = small  # type: ignore[attr-defined]
    response["Content-Encoding"] = "gzip"
    response["Content-Length"] = str(len(small))
    if response.has_header("ETag"):
        response["ETag"] = etag_of_gzip(response["ETag"])
    return response
