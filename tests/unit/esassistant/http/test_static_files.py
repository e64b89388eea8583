"""Static files: whole answers from memory, as browsers and caches need them."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from pytest_django import Settings

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.http.counters import Counters
from esassistant.http.static_files import (
    StaticFile,
    StaticFiles,
    all_static_files,
    own_static_files,
    read_static_file,
    static_file,
)
from esassistant.http.statistics import HttpStatistics
from tests.support.asgi import Asked, Got, ask

CSS = "/static/esassistant/pages.css"
GZIP = (b"accept-encoding", b"br, gzip")


class Served:
    """Static files over an application that answers everything with 418."""

    def __init__(self, reread: Callable[[str], StaticFile | None] | None = None) -> None:
        self.statistics = HttpStatistics()
        counters = Counters(self._beyond, self.statistics, None)
        self.app = StaticFiles(self._beyond, counters, "/static/", all_static_files(), reread=reread)

    async def _beyond(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def get(self, path: str, *headers: tuple[bytes, bytes], **more: Any) -> Got:
        return await ask(self.app, Asked(path, headers=headers, **more))


@pytest.fixture
def served() -> Served:
    return Served()


def content_of(address: str) -> bytes:
    """What is on the disk."""
    root = Path(__file__).parents[4]
    return (root / "esassistant" / address.removeprefix("/")).read_bytes()


async def test_a_file_as_it_is(served: Served) -> None:
    """Under any Host and with any cookie: bytes, type, ETag and headers; counted as answered from memory."""
    got = await served.get(CSS, (b"host", b"evil.example"), (b"cookie", b"sessionid=x"), query=b"v=1")
    assert (got.status, got.body) == (200, content_of(CSS))
    assert got.header("content-type") == "text/css; charset=utf-8"
    assert got.header("content-length") == str(len(got.body))
    assert got.header("cache-control") == "max-age=60, public"
    assert (got.header("vary"), got.header("content-encoding")) == ("Accept-Encoding", None)
    assert got.header("x-content-type-options") == "nosniff"
    assert got.header("x-request-id")
    assert served.statistics.report().routes["/static/{path}"].doors == {"hot": 1}


async def test_compressed(served: Served) -> None:
    """Who accepts gzip gets it, with an ETag of its own."""
    plain, small = await served.get(CSS), await served.get(CSS, GZIP)
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 2
    assert (small.header("content-encoding"), small.header("vary")) == ("gzip", "Accept-Encoding")
    assert small.header("etag") != plain.header("etag")


@pytest.mark.parametrize("headers", [(), (GZIP,)])
async def test_revalidated(served: Served, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Who holds it gets 304 without a body; HEAD gets the headers alone."""
    whole = await served.get(CSS, *headers)
    etag = whole.header("etag") or ""
    unchanged = await served.get(CSS, *headers, (b"if-none-match", etag.encode()))
    assert (unchanged.status, unchanged.body, unchanged.header("etag")) == (304, b"", etag)
    assert unchanged.header("content-length") is None
    assert (await served.get(CSS, *headers, (b"if-none-match", b'"other"'))).status == 200
    head = await served.get(CSS, *headers, method="HEAD")
    assert (head.body, head.header("content-length")) == (b"", whole.header("content-length"))


async def test_what_is_refused(served: Served) -> None:
    """Unknown names and other methods, as problems; nothing outside of the folders of static files is there."""
    for name in ("missing.css", "../settings.py", "", "esassistant", "esassistant/../esassistant/pages.css"):
        missing = await served.get(f"/static/{name}")
        assert (missing.status, missing.header("content-type")) == (404, "application/problem+json")
    posted = await served.get(CSS, method="POST")
    assert (posted.status, posted.header("allow"), posted.header("connection")) == (405, "GET, HEAD", "close")
    assert (await served.get("/static/missing.css", method="HEAD")).body == b""


async def test_anything_else_goes_on(served: Served, settings: Settings) -> None:
    """Other addresses, mount points, and plain HTTP where it is redirected."""
    assert (await served.get("/other")).status == 418
    assert (await served.get(CSS, more={"root_path": "/app"})).status == 418
    settings.SECURE_SSL_REDIRECT = True
    redirecting = Served()
    assert (await redirecting.get(CSS)).status == 418
    assert (await redirecting.get(CSS, scheme="https")).status == 200


async def test_with_debug_a_change_shows_at_once(settings: Settings, tmp_path: Path) -> None:
    """Files are read for each request."""
    settings.STATICFILES_DIRS = [tmp_path]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    served = Served(read_static_file)
    assert (await served.get("/static/new.txt")).status == 404
    for content in (b"one", b"two"):
        (tmp_path / "new.txt").write_bytes(content)
        assert (await served.get("/static/new.txt")).body == content
    for name in ("../new.txt", "a\0b"):
        assert (await served.get(f"/static/{name}")).status == 404


def test_all_files_are_there() -> None:
    """Ours and the admin's; what is text is compressed where that is worth while."""
    files = all_static_files()
    assert {"esassistant/site.js", "admin/css/base.css", "esassistant/tokens.css"} <= set(files)
    assert files["admin/css/base.css"].gzipped is not None


def test_those_of_our_pages() -> None:
    """A project that embeds this service gets what our pages ask for, and nothing that it serves itself."""
    files, everything = own_static_files(), all_static_files()
    assert {"esassistant/site.js", "cacheapp/browse.css", "esassistant/theme.js", "django_htmx/htmx-2.min.js"} <= set(
        files
    )
    assert not any(name.startswith("admin/") for name in files)
    assert all(files[name].plain.body == everything[name].plain.body for name in files)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("LICENSE", "application/octet-stream"),
    ],
)
def test_types(name: str, content_type: str) -> None:
    """The same on every machine; what gets no smaller, or is no text, is not compressed."""
    file = static_file(name, b"a" * 1000)
    assert file.plain.content_type == content_type
    assert (file.gzipped is None) == (content_type in ("image/png", "application/octet-stream"))
    assert static_file(name, b"a").gzipped is None


def test_of_two_files_with_one_name_the_first_counts(tmp_path: Path, settings: Settings) -> None:
    """As Django's finders find them: a project's folder before those of apps."""
    get_finder: Any = finders.get_finder
    ours = tmp_path / "admin" / "css" / "base.css"
    ours.parent.mkdir(parents=True)
    ours.write_text("/* ours */")
    settings.STATICFILES_DIRS = [tmp_path]
    get_finder.cache_clear()
    all_static_files.cache_clear()
    try:
        assert all_static_files()["admin/css/base.css"].plain.body == b"/* ours */"
    finally:
        get_finder.cache_clear()
        all_static_files.cache_clear()
