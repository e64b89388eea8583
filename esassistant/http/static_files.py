"""Serves static files from memory. They are read and compressed once, when the process starts.

All libraries for this need a thread and the file system for each request: WhiteNoise opens a file, and ServeStatic and
Starlette (which blacknoise uses too) read it in threads. So a few hundred strangers who ask for one file would delay
every other answer. All files together, with those of the admin, have a few megabytes.
"""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from mimetypes import MimeTypes
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.exceptions import SuspiciousFileOperation

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.clock import monotonic
from esassistant.errors import MethodNotAllowed, UnknownAddress
from esassistant.http.answer import Answer, Headers, etag_of
from esassistant.http.compression import accepts_gzip
from esassistant.http.counters import REQUEST_ID, Counters, Door, request_id_of
from esassistant.http.refusal import Refusal, encoded
from esassistant.http.security_headers import security_headers

CACHE_CONTROL: Final = "max-age=60, public"
"""The name of a file doesn't change with its content, so it is cached only for a short time; after that a 304 is
enough.
"""
TEMPLATE: Final = "{prefix}{{path}}"
CODED: Final = (b"content-encoding", b"gzip")
TYPES: Final = MimeTypes()
"""Python's own table of types, as those of machines differ."""
for _suffix, _type in ((".js", "text/javascript"), (".md", "text/markdown"), (".woff2", "font/woff2")):
    TYPES.add_type(_type, _suffix)
TEXTS: Final = ("text/", "image/svg", "application/json")
WITH_STATIC: Final = ("esassistant", "cacheapp", "healthapp", "django_htmx")
WORTH: Final = 0.9
"""A file that doesn't become smaller than this share is not compressed."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. `gzipped`: None if compressing it isn't worthwhile."""

    plain: Answer
    gzipped: Answer | None


def static_file(name: str, content: bytes) -> StaticFile:
    """Return the answers for a file."""
    content_type = TYPES.guess_type(name)[0] or "application/octet-stream"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    small = gzip.compress(content, mtime=0) if content_type.startswith(TEXTS) else content
    is_worth_it = len(small) < len(content) * WORTH
    headers = (("Vary", "Accept-Encoding"),) if is_worth_it else ()

    def answer(body: bytes) -> Answer:
        return Answer(body, content_type, etag=etag_of(body), cache_control=CACHE_CONTROL, headers=headers)

    return StaticFile(answer(content), answer(small) if is_worth_it else None)


@cache
def all_static_files() -> Mapping[str, StaticFile]:
    """Return the static files of all installed apps, by name. If two have the same name, the first that Django's
    finders list is taken.
    """
    files: dict[str, StaticFile] = {}
    for finder in finders.get_finders():
        for name, storage in finder.list(None):
            if name not in files:
                files[name] = static_file(name, Path(storage.path(name)).read_bytes())
    return files


@cache
def own_static_files() -> Mapping[str, StaticFile]:
    """Return the static files of our own apps, and of the libraries that our pages use, by name. For a project that
    embeds this service.
    """
    files: dict[str, StaticFile] = {}
    for package in WITH_STATIC:
        folder = Path(import_module(package).__path__[0]) / "static"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                files[name] = static_file(name, path.read_bytes())
    return files


def read_static_file(name: str) -> StaticFile | None:
    """Read a file from the disk now, or return None if there is none."""
    try:
        path = finders.find(name)
    except (SuspiciousFileOperation, ValueError):  # a path outside of all folders, or no valid path
        return None
    return static_file(name, Path(path).read_bytes()) if path and Path(path).is_file() else None


class StaticFiles:
    """ASGI wrapper that answers everything below a prefix, whatever the cookies and the Host, and passes on all else.

    It counts its answers itself, as the hot path does. Made under the settings in force.
    """

    def __init__(
        self,
        app: ASGIApp,
        counters: Counters,
        prefix: str,
        files: Mapping[str, StaticFile],
        *,
        reread: Callable[[str], StaticFile | None] | None = None,
    ) -> None:
        """
        Args:
            reread: Reads a file by its name each time it is asked for, in a thread. Used in place of `files`.
        """
        self._app = app
        self._counters = counters
        self._prefix = prefix
        self._template = TEMPLATE.format(prefix=prefix)
        self._files = files
        self._reread = reread
        self._redirects = settings.SECURE_SSL_REDIRECT
        self._common = {secure: encoded(security_headers(secure=secure)) for secure in (False, True)}
        self._unknown = Refusal(UnknownAddress("There is nothing at this address."))
        self._only_read = Refusal(MethodNotAllowed(("GET", "HEAD")), closes=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or not scope["path"].startswith(self._prefix)
            or scope.get("root_path")
            or (self._redirects and scope.get("scheme") != "https")
        ):
            await self._app(scope, receive, send)
            return
        started_at = monotonic()
        given = {name: value for name, value in scope["headers"] if name in (REQUEST_ID, b"if-none-match")}
        request_id = request_id_of(given.get(REQUEST_ID))
        name, file = scope["path"].removeprefix(self._prefix), None
        reads = scope["method"] in ("GET", "HEAD")
        if reads:
            file = await asyncio.to_thread(self._reread, name) if self._reread else self._files.get(name)
        if file is None:
            refusal = self._unknown if reads else self._only_read
            status, door, route = refusal.status, Door.REFUSED, None
            head, body = refusal.parts(scope, request_id)
        else:
            door, route = Door.HOT, self._template
            status, head, body = self._answered(file, scope, given.get(b"if-none-match"))
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.start", "status": status, "headers": [*head, (REQUEST_ID, request_id)]})
        await send({"type": "http.response.body", "body": body})
        self._counters.count(scope, request_id, route, door, status, len(body), started_at)

    def _answered(self, file: StaticFile, scope: Scope, if_none_match: bytes | None) -> tuple[int, Headers, bytes]:
        common = self._common[scope.get("scheme") == "https"]
        answer = file.plain
        coding: Headers = ()
        if file.gzipped is not None:
            accepted = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
            if accepts_gzip(accepted):
                answer, coding = file.gzipped, (CODED,)
        if if_none_match is not None and answer.is_unchanged(if_none_match.decode("latin-1")):
            return 304, (*answer.unchanged_head, *common), b""
        return 200, (*answer.head, *coding, *common), answer.body
