"""Static files, answered from memory: read and compressed once, when the process starts.

None of the libraries that serve them does it without a thread and the file system for each request (WhiteNoise opens a
file, ServeStatic and Starlette's, which blacknoise uses too, read it in threads), and some hundred strangers who ask
for one file would have every other answer wait. There are a few megabytes of them, the admin's included.
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
"""The names of the files don't change with what is in them; afterwards a 304 is enough."""
TEMPLATE: Final = "{prefix}{{path}}"
CODED: Final = (b"content-encoding", b"gzip")
TYPES: Final = MimeTypes()
"""Python's own table and not the machine's, which differ from one to another."""
for _suffix, _type in ((".js", "text/javascript"), (".md", "text/markdown"), (".woff2", "font/woff2")):
    TYPES.add_type(_type, _suffix)
TEXTS: Final = ("text/", "image/svg", "application/json")
WITH_STATIC: Final = ("esassistant", "cacheapp", "healthapp", "django_htmx")
WORTH: Final = 0.9
"""What gets no smaller than this is not compressed."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. `gzipped` None: compressing it is not worth while."""

    plain: Answer
    gzipped: Answer | None


def static_file(name: str, content: bytes) -> StaticFile:
    """A file as it is answered."""
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
    """Those of all installed apps, by name; of two with one name the first that Django's finders name."""
    files: dict[str, StaticFile] = {}
    for finder in finders.get_finders():
        for name, storage in finder.list(None):
            if name not in files:
                files[name] = static_file(name, Path(storage.path(name)).read_bytes())
    return files


@cache
def own_static_files() -> Mapping[str, StaticFile]:
    """Those of our apps and of what their pages use, by name, for a project that serves its own in its own way."""
    files: dict[str, StaticFile] = {}
    for package in WITH_STATIC:
        folder = Path(import_module(package).__path__[0]) / "static"
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                files[name] = static_file(name, path.read_bytes())
    return files


def read_static_file(name: str) -> StaticFile | None:
    """As it is on the disk now."""
    try:
        path = finders.find(name)
    except (SuspiciousFileOperation, ValueError):  # outside of all folders, or no path
        return None
    return static_file(name, Path(path).read_bytes()) if path and Path(path).is_file() else None


class StaticFiles:
    """ASGI wrapper that answers what is below a prefix, whatever cookies and Host come with it, and hands everything
    else on. It tells the counters of each answer itself, as the hot path does. Made under the settings in force.
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
        """`reread`: gives a file by its name in place of `files`, each time it is asked for; in a thread."""
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
