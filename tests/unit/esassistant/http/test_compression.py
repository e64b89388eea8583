"""gzip: who gets it, what is kept of it, and what never is compressed."""

import asyncio
import gzip
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from esassistant.http.compression import (
    MAX_KEPT_BYTES,
    MAX_PARSED_BYTES,
    MIN_BYTES,
    Compressed,
    CompressionMiddleware,
    accepts_gzip,
    etag_of_gzip,
)
from esassistant.long_work import LARGE_BYTES

LONG = b"0123456789" * 200
ETAG = '"e"'


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"", False),
        (b"gzip", True),
        (b"x-gzip", True),
        (b"br, GZip;q=0.5", True),
        (b"gzip, deflate, br, zstd", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"*, gzip;q=0", False),
        (b"gzip;q=x", False),
        (b"gzip;q=nan", False),
        (b"gzip;q=2", False),
        (b"gzip;level=1", False),
        (b"xgzip", False),
        (b"identity", False),
        (b"gzip;q=0.5, identity", False),
        (b"gzip;q=0.5, identity;q=0.8", False),
        (b"gzip;q=0.8, identity;q=0.5", True),
        (b"gzip, identity", True),
        (b"*;q=0.5, identity;q=0.8", False),
        (b"identity;q=0, gzip;q=0.001", True),
    ],
)
def test_who_prefers_gzip(header: bytes, accepted: bool) -> None:
    """As RFC 9110 has it: what has the greater quality; of equal ones gzip, and never what is refused or misspelt. A
    header that is too long to be remembered means the same.
    """
    for _ in range(2):
        assert accepts_gzip(header) == accepted
    assert accepts_gzip(header + b"," + b" " * MAX_PARSED_BYTES) == accepted


@given(st.binary(max_size=300))
def test_any_header_is_read(header: bytes) -> None:
    """Whatever a client sends, it is a yes or a no."""
    assert accepts_gzip(header) in (True, False)


def test_etags_differ() -> None:
    """Strong or weak, each form has its own, in quotes."""
    assert [etag_of_gzip(etag) for etag in ('"a"', 'W/"a"', '""')] == ['"a-gzip"', 'W/"a-gzip"', '"-gzip"']


def test_compressed_once() -> None:
    """The same bytes each time, and by the validator made once, whoever asks; without a validator each time."""
    compressed = Compressed()
    first = compressed.ready(LONG, ETAG)
    assert first is not None
    assert gzip.decompress(first) == LONG
    assert compressed.ready(bytes(bytearray(LONG)), ETAG) is first
    assert compressed.compressed_total == 1
    assert [compressed.ready(LONG, None), compressed.ready(LONG, None)] == [first, first]
    assert (compressed.compressed_total, compressed.kept_bytes) == (3, len(first))


async def test_a_large_one_is_made_elsewhere() -> None:
    """The loop doesn't compress it; once it was made, it is ready."""
    compressed, large = Compressed(), LONG * 40
    assert len(large) >= LARGE_BYTES
    assert compressed.ready(large, ETAG) is None
    made = await compressed.get(large, ETAG)
    assert gzip.decompress(made) == large
    assert compressed.ready(large, ETAG) is made
    assert await compressed.get(large, ETAG) is made
    assert compressed.at_once(large, '"other"') == made
    assert compressed.compressed_total == 2


def test_bounded() -> None:
    """What wasn't asked for the longest goes; what is larger than the bound isn't kept."""
    small = len(Compressed().at_once(LONG, None))
    compressed = Compressed(max_bytes=2 * small)
    assert Compressed()._max_bytes == MAX_KEPT_BYTES == 8 * 2**20
    for etag in ('"a"', '"b"', '"a"', '"c"'):
        compressed.ready(LONG, etag)
    assert (list(compressed._kept), compressed.kept_bytes) == (['"a"', '"c"'], 2 * small)
    Compressed(max_bytes=1).ready(LONG, ETAG)
    tiny = Compressed(max_bytes=1)
    tiny.ready(LONG, ETAG)
    assert tiny.kept_bytes == 0


async def test_many_at_once() -> None:
    """Who asks while it is compressed gets what it comes to, though the first left; without a validator each is made.
    What is kept again counts once.
    """
    compressed, large = Compressed(), LONG * 40
    first = asyncio.create_task(compressed.get(large, ETAG))
    await asyncio.sleep(0)
    others = [asyncio.create_task(compressed.get(large, ETAG)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    made = await asyncio.gather(*others)
    assert len({id(small) for small in made}) == 1
    assert (compressed.compressed_total, compressed.kept_bytes, compressed._under_way) == (1, len(made[0]), {})
    assert await compressed.get(large, None) == made[0]
    assert compressed.compressed_total == 2
    compressed._keep(ETAG, made[0])
    assert compressed.kept_bytes == len(made[0])


async def test_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails those who wait for it, and nobody after them."""

    def fail(_: bytes) -> bytes:
        raise MemoryError

    compressed, large = Compressed(), LONG * 40
    with monkeypatch.context() as patched:
        patched.setattr("esassistant.http.compression.compress", fail)
        with pytest.raises(MemoryError):
            await compressed.get(large, ETAG)
    assert gzip.decompress(await compressed.get(large, ETAG)) == large


def response_to(view: Any, *, method: str = "GET", accept: str = "gzip") -> HttpResponse:
    """What a request gets from `view` through the middleware, sync or async: both are the same."""
    request = RequestFactory().generic(method, "/", headers={"Accept-Encoding": accept})

    async def async_view(given: HttpRequest) -> HttpResponse:
        response: HttpResponse = view(given)
        return response

    plain: HttpResponse = CompressionMiddleware(view)(request)
    again: HttpResponse = async_to_sync(CompressionMiddleware(async_view))(request)
    assert dict(plain.headers) == dict(again.headers)
    assert plain.getvalue() == again.getvalue()
    return plain


def a_response(_: HttpRequest, body: bytes = LONG, **more: Any) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", **more)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_compressed_for_who_prefers_it(method: str) -> None:
    """With its length, coding and own ETag; everybody is told that it depends on what is accepted."""

    def view(request: HttpRequest) -> HttpResponse:
        return a_response(request, headers={"ETag": ETAG, "Content-Length": str(len(LONG))})

    got = response_to(view, method=method)
    assert gzip.decompress(got.content) == LONG
    assert dict(got.headers) == {
        "Content-Type": "application/json",
        "ETag": '"e-gzip"',
        "Content-Length": str(len(got.content)),
        "Content-Encoding": "gzip",
        "Vary": "Accept-Encoding",
    }
    plain = response_to(view, accept="br")
    assert (plain.content, plain["ETag"], plain["Vary"]) == (LONG, ETAG, "Accept-Encoding")


def with_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request).encode() * 100)


@pytest.mark.parametrize(
    ("view", "method"),
    [
        (with_token, "GET"),
        (a_response, "POST"),
        (lambda request: a_response(request, LONG[: MIN_BYTES - 1]), "GET"),
        (lambda request: a_response(request, status=404), "GET"),
        (lambda request: a_response(request, headers={"Content-Encoding": "br"}), "GET"),
        (lambda _: StreamingHttpResponse([LONG]), "GET"),
    ],
    ids=["csrf", "post", "small", "problem", "coded", "stream"],
)
def test_what_is_not_compressed(view: Any, method: str) -> None:
    """Pages with a CSRF token, answers to what changes or searches, small ones, problems, coded ones and streams."""
    got: Any = CompressionMiddleware(view)(RequestFactory().generic(method, "/", headers={"Accept-Encoding": "gzip"}))
    assert got.get("Content-Encoding") in (None, "br")
    assert got.get("Vary") is None


def test_a_token_that_was_sent_already() -> None:
    """After the middleware of CSRF has set its cookie the page still counts as one with a token."""

    def view(request: HttpRequest) -> HttpResponse:
        response = with_token(request)
        request.META["CSRF_COOKIE_NEEDS_UPDATE"] = False
        return response

    got: Any = CompressionMiddleware(view)(RequestFactory().get("/", headers={"Accept-Encoding": "gzip"}))
    assert not got.has_header("Content-Encoding")


def test_a_response_without_validator() -> None:
    """Gets none by being compressed."""
    assert not response_to(a_response).has_header("ETag")
