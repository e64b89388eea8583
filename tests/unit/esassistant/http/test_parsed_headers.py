"""Headers that Django parses: what its parsers fail on, or take long for, is refused or left out."""

import time

import pytest
from django.core.handlers.asgi import ASGIRequest

from esassistant.asgi_types import Scope
from esassistant.http.parsed_headers import MAX_ACCEPT_BYTES, MAX_BACKSLASHES, MAX_TYPE_BYTES, readable

FORM = b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW"


def scope_with(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": list(headers)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"content-type", FORM),
        (b"content-type", b"application/x-www-form-urlencoded; charset=UTF-8"),
        (b"content-type", b'multipart/form-data; charset="utf8"; boundary=x'),
        (b"content-type", b"application/json; charset=iso-8859-1"),
        (b"content-type", b"*/*"),
        (b"content-type", b""),
        (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
        (b"cookie", b'sessionid=abc; messages="[[\\"__json_message\\"\\0540\\05425\\054\\"Saved.\\"]]"'),
        (b"x-other", b"\\" * 9_999),
    ],
)
def test_usual_headers_stay(name: bytes, value: bytes) -> None:
    """What browsers and programs send is passed on as it is, in the same scope."""
    scope = scope_with((name, value))
    assert readable(scope) is scope


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"text/plain; a*=bogus'en'x")],
        [(b"content-type", b"a" + b";" * 50_000)],
        [(b"content-type", b'a;"' + b";" * 50_000)],
        [(b"content-type", b"a;b=" + b"c" * 300)] * 2,
        [(b"content-type", FORM + b"; charset=hex")],
        [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-16")],
        [(b"content-type", b'multipart/form-data; charset=hex; boundary="; charset=utf-8"')],
        [(b"content-type", FORM), (b"content-type", b"x; charset=hex")],
        [(b"cookie", b'sessionid="' + b"\\" * 50_000 + b'"')],
        [(b"cookie", b"a=" + b"\\" * 150)] * 2,
    ],
)
def test_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """What can't be read, or takes long to read; also where it comes in several headers, which Django joins."""
    assert readable(scope_with(*headers)) is None


@pytest.mark.parametrize(
    "values", [[b"a/b;q=1," * 2_000], [b'a/b;"' + b";" * 50_000], [b"text/html;a*=bogus'en'x"], [b"a/b;c=d," * 70] * 2]
)
def test_an_accept_that_can_not_be_read_is_left_out(values: list[bytes]) -> None:
    """The answer is that for a client which sends none."""
    found = readable(scope_with((b"host", b"here"), *((b"accept", value) for value in values)))
    assert found is not None
    assert found["headers"] == [(b"host", b"here")]


@pytest.mark.parametrize("filling", [b";", b";a", b';"', b'a";', b"\\", b",", b"a/b;q=1,", b"=", b"; charset=utf-8"])
def test_what_stays_is_parsed_quickly(filling: bytes) -> None:
    """Within the bounds, Django's parsers take some milliseconds."""

    def filled(size_bytes: int) -> bytes:
        return (filling * size_bytes)[:size_bytes]

    accept, cookie = b'a/b;"' + filled(MAX_ACCEPT_BYTES - 5), b'a="' + filled(60_000).replace(b"\\", b".") + b'"'
    cookie += b'; b="' + b"\\" * MAX_BACKSLASHES + b'"'
    scope = readable(scope_with((b"accept", accept), (b"cookie", cookie)))
    typed = readable(scope_with((b"content-type", b'a/b;"' + filled(MAX_TYPE_BYTES - 5))))
    started_at = time.thread_time()
    for one in (scope, typed):
        if one is not None:
            request = ASGIRequest(dict(one), None)  # type: ignore[arg-type]
            assert request.accepted_types is not None
            assert request.COOKIES is not None
    assert time.thread_time() - started_at < 0.2
