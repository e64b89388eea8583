"""The hot path: gives answers that are ready in memory, without Django.

Django takes ten to a hundred times as long for a request as such an answer takes. So the owner of an answer registers a
source for it here, beside the view of the same address, and both give the same `Answer`. This is no response cache, so
nothing must be purged and nothing private can leak. Every request that isn't clearly a GET or HEAD that the view would
answer goes on to Django. Without this wrapper everything works too, but more slowly.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from django.conf import settings

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.clock import monotonic
from esassistant.errors import EsassistantError
from esassistant.http.answer import Answer, Headers
from esassistant.http.callers import Caller, anonymous, live_caller
from esassistant.http.compression import accepts_gzip
from esassistant.http.cors import cors_origins
from esassistant.http.counters import REQUEST_ID, Counters, Door, request_id_of
from esassistant.http.hosts import AcceptedHosts
from esassistant.http.refusal import encoded
from esassistant.http.security_headers import security_headers

logger = logging.getLogger(__name__)

AnswerSource = Callable[[str, Caller], Answer | None]
"""Called with the name in the address (empty if it has none) and the caller. It must not wait. It returns None if the
view must answer, as for everything that this caller may not have.
"""
ProbeSource = Callable[[bool], Answer | None]
"""Called with True if the probe should list its conditions (`?verbose`). It must not wait."""

HOST, COOKIE, AUTHORIZATION, IF_NONE_MATCH = b"host", b"cookie", b"authorization", b"if-none-match"
ACCEPT_ENCODING = b"accept-encoding"
DECIDES: Final = frozenset({HOST, COOKIE, AUTHORIZATION, IF_NONE_MATCH, ACCEPT_ENCODING, REQUEST_ID})
"""The values of these headers influence the answer."""
BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
GOES_ON: Final = BODY | {b"origin"}
"""A request with one of these headers has a body, which later layers read and bound, or is a CORS request, which a
middleware handles.
"""


CLOSES: Final = (b"connection", b"close")
"""Sent if a probe comes with a body, which nobody reads."""
MAX_PROBE_QUERY: Final = 1000


@dataclass(frozen=True, slots=True)
class HotRoute:
    """One registered address; `template` is for instance `/api/mappings/{name}/schema`.

    It has either a `source` or a `probe`. A probe is answered to anybody, under any Host, and over plain HTTP.
    """

    template: str
    source: AnswerSource | None = None
    probe: ProbeSource | None = None


Found = tuple[HotRoute, Answer, dict[bytes, bytes], Headers, str | None]
"""The route, its answer, the request headers that matter, the headers of all answers, and the name of the caller's
token.
"""


class HotRoutes:
    """The sources by address. An owner adds its own for as long as it is open."""

    def __init__(self) -> None:
        self._exact: dict[str, HotRoute] = {}
        self._named: list[tuple[str, str, HotRoute]] = []

    def answering(self, template: str, source: AnswerSource) -> AbstractContextManager[None]:
        """Answer `template` from `source` during the block. `{name}` in the template stands for one segment of the
        path.
        """
        return self._with(HotRoute(template, source=source))

    def probing(self, path: str, probe: ProbeSource) -> AbstractContextManager[None]:
        """Answer `path` from `probe` during the block."""
        return self._with(HotRoute(path, probe=probe))

    @contextmanager
    def _with(self, route: HotRoute) -> Iterator[None]:
        template = route.template
        prefix, placeholder, suffix = template.partition("{name}")
        named = (prefix, suffix, route)
        if placeholder:
            self._named.append(named)
            self._named.sort(key=lambda one: -len(one[0] + one[1]))
        else:
            self._exact[template] = route
        try:
            yield
        finally:
            if placeholder:
                self._named.remove(named)
            else:
                del self._exact[template]

    def is_probe(self, path: str) -> bool:
        """Return True if a path is that of a probe."""
        route = self._exact.get(path)
        return route is not None and route.probe is not None

    def find(self, path: str) -> tuple[HotRoute, str] | None:
        """Return the route of a decoded path and the name in it, or None."""
        if (route := self._exact.get(path)) is not None:
            return route, ""
        for prefix, suffix, named in self._named:
            if path.startswith(prefix) and path.endswith(suffix):
                name = path[len(prefix) : len(path) - len(suffix)]
                if name and "/" not in name:
                    return named, name
        return None


class HotPath:
    """ASGI wrapper that answers what it can from `routes`, and passes on everything else. One per process.

    It counts its answers itself: another wrapper around it would take as long again as answering.
    """

    def __init__(self, app: Counters, routes: HotRoutes) -> None:
        self._app = app
        self._routes = routes
        self._hosts = AcceptedHosts()
        self._stranger = anonymous(settings.ESASSISTANT.details)
        self._redirects = settings.SECURE_SSL_REDIRECT
        self._session_cookie = settings.SESSION_COOKIE_NAME.encode()
        self._common = {secure: encoded(security_headers(secure=secure)) for secure in (False, True)}
        has_origins = bool(cors_origins())
        self._vary = {
            (varies, is_probe): _vary(varies=varies, has_origins=has_origins and not is_probe)
            for varies in (False, True)
            for is_probe in (False, True)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = monotonic()
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, answer, given, common, token = found
        if (coded := _coded(answer, given)) is None:
            await self._app(scope, receive, send)
            return
        status, head, body = coded
        if scope["method"] == "HEAD":
            body = b""
        request_id = request_id_of(given.get(REQUEST_ID))
        headers = [*head, *common, *self._vary[answer.varies, route.probe is not None], (REQUEST_ID, request_id)]
        if (age := answer.age(started_at)) is not None:
            headers.append((b"age", b"%d" % age))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._app.count(scope, request_id, route.template, Door.HOT, status, len(body), started_at, token=token)

    def _find(self, scope: Scope) -> Found | None:
        """Return what this path answers to a request; None if Django must answer."""
        if scope["method"] not in ("GET", "HEAD") or scope.get("root_path"):
            return None
        if (found := self._routes.find(scope["path"])) is None:
            return None
        route, name = found
        if route.source is None:
            return self._probe(scope, route)
        if scope["query_string"]:
            return None
        given: dict[bytes, bytes] = {}
        for key, value in scope["headers"]:
            if key in DECIDES:
                if key in given:
                    return None
                given[key] = value
            elif key in GOES_ON:
                return None
        # Give up wherever the cookie's name occurs: only Django decides how to tell cookies apart.
        if COOKIE in given and self._session_cookie in given[COOKIE]:
            return None
        secure = scope.get("scheme") == "https"
        if not ((secure or not self._redirects) and self._hosts.accepts(given.get(HOST))):
            return None
        caller = live_caller(given[AUTHORIZATION].decode("latin-1")) if AUTHORIZATION in given else self._stranger
        if caller is None:
            return None
        answer = _ask(route, partial(route.source, name, caller))
        return None if answer is None else (route, answer, given, self._common[secure], caller.token)

    def _probe(self, scope: Scope, route: HotRoute) -> Found | None:
        """Return the answer to a probe, whatever headers come with it. Probes must be answered even if strangers have
        taken all places elsewhere.
        """
        query = scope["query_string"]
        if len(query) > MAX_PROBE_QUERY or not query.isascii():
            return None
        given: dict[bytes, bytes] = {}
        has_body = False
        for key, value in scope["headers"]:
            if key == REQUEST_ID:
                given[key] = b"" if key in given else value  # several ids count as none
            elif key in (IF_NONE_MATCH, ACCEPT_ENCODING):
                given[key] = b"%b,%b" % (given[key], value) if key in given else value
            elif key in BODY:
                has_body = has_body or value != b"0"
        assert route.probe is not None
        verbose = bool(query) and "verbose" in parse_qs(query.decode("ascii"), True)
        answer = _ask(route, partial(route.probe, verbose))
        common = self._common[scope.get("scheme") == "https"]
        return None if answer is None else (route, answer, given, (*common, CLOSES) if has_body else common, None)


def _coded(answer: Answer, given: dict[bytes, bytes]) -> tuple[int, Headers, bytes] | None:
    """Return status, headers and body of an answer in the form that this client prefers. Return None if the answer has
    to be compressed elsewhere first.
    """
    gzipped = answer.varies and ACCEPT_ENCODING in given and accepts_gzip(given[ACCEPT_ENCODING])
    if IF_NONE_MATCH in given and answer.is_unchanged(given[IF_NONE_MATCH].decode("latin-1"), gzipped=gzipped):
        return 304, answer.unchanged_gzip_head if gzipped else answer.unchanged_head, b""
    if not gzipped:
        return answer.status, answer.head, answer.body
    small = answer.gzipped()
    return None if small is None else (answer.status, *small)


def _vary(*, varies: bool, has_origins: bool) -> Headers:
    on = [name for name, is_on in ((b"Accept-Encoding", varies), (b"origin", has_origins)) if is_on]
    return ((b"vary", b", ".join(on)),) if on else ()


def _ask(route: HotRoute, source: Callable[[], Answer | None]) -> Answer | None:
    try:
        return source()
    except EsassistantError:
        return None  # the view raises the same error, and answers it as a problem
    except Exception:
        logger.exception("the hot path's source of %s failed; Django answers", route.template)
        return None


hot_routes = HotRoutes()
"""The routes of the hot path of this process."""
