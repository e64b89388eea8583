"""The hot path: answers that are ready in memory, given without entering Django.

A request costs Django ten to a hundred times what such an answer costs. So whoever owns an answer registers a source
of it here, beside the view of the same address: two doors to one `Answer`. There is no response cache, hence nothing to
purge and nothing private to leak. What isn't plainly a GET or HEAD that the view would answer goes on to Django:
without this wrapper everything works, only slower.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from esassistant.answer import Answer, Headers
from esassistant.auth import Caller, bearer_token, is_api_token, sees_details
from esassistant.clock import monotonic
from esassistant.counters import Door, note_of, request_id_header
from esassistant.errors import EsassistantError
from esassistant.lifespan import ASGIApp, Receive, Scope, Send
from esassistant.security_headers import security_headers

logger = logging.getLogger(__name__)

Source = Callable[[str, bool], Answer | None]
"""Called with the name in the address (empty where it has none), and whether the caller may see details. It must not
wait; None: the view has to answer.
"""

MAX_HOSTS: Final = 256
"""So many accepted hosts are remembered."""

GOES_ON: Final = frozenset({b"content-length", b"transfer-encoding", b"origin"})
"""A request with one of these has a body, which Django's side reads and bounds, or is CORS, which has a middleware."""


@dataclass(frozen=True, slots=True)
class HotRoute:
    """One registered address: `template` such as `/api/mappings/{name}/schema`. `probe`: answered under any Host, to
    anybody, and over plain HTTP.
    """

    template: str
    source: Source
    probe: bool


class HotRoutes:
    """The sources by address. An owner adds its own for as long as it is open."""

    def __init__(self) -> None:
        self._exact: dict[str, HotRoute] = {}
        self._named: list[tuple[str, str, HotRoute]] = []

    @contextmanager
    def answering(self, template: str, source: Source, *, probe: bool = False) -> Iterator[None]:
        """Answer `template` from `source` for the length of a block; `{name}` in it stands for one segment."""
        route = HotRoute(template, source, probe)
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

    def find(self, path: str) -> tuple[HotRoute, str] | None:
        """The route of a decoded path, and the name in it."""
        if (route := self._exact.get(path)) is not None:
            return route, ""
        for prefix, suffix, named in self._named:
            if path.startswith(prefix) and path.endswith(suffix):
                name = path[len(prefix) : len(path) - len(suffix)]
                if name and "/" not in name:
                    return named, name
        return None


class HotPath:
    """ASGI wrapper that answers what it can from `routes`, and hands everything else on. One per process."""

    def __init__(self, app: ASGIApp, routes: HotRoutes) -> None:
        self._app = app
        self._routes = routes
        self._hosts: set[bytes] = set()
        vary = ((b"vary", b"origin"),) if settings.ESASSISTANT.cors_origins else ()
        self._common = {secure: _encoded(security_headers(secure=secure)) for secure in (False, True)}
        self._common_api = {secure: common + vary for secure, common in self._common.items()}
        self._session_cookie = settings.SESSION_COOKIE_NAME.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        answer, if_none_match, common = found
        if if_none_match is not None and answer.is_unchanged(if_none_match.decode("latin-1")):
            status, head, body = 304, answer.unchanged_head, b""
        else:
            status, head, body = answer.status, answer.head, answer.body
        note = note_of(scope)
        note.status = status
        note.sent_bytes = len(body)
        headers = [*head, *common, request_id_header(note)]
        if (age := answer.age(monotonic())) is not None:
            headers.append((b"age", b"%d" % age))
        straight = note.send or send
        await straight({"type": "http.response.start", "status": status, "headers": headers})
        await straight({"type": "http.response.body", "body": body})

    def _find(self, scope: Scope) -> tuple[Answer, bytes | None, Headers] | None:
        """The answer, the If-None-Match header and the headers that all answers have; None: Django's."""
        if scope["query_string"] or scope["method"] not in ("GET", "HEAD") or scope.get("root_path"):
            return None
        if (found := self._routes.find(scope["path"])) is None:
            return None
        route, name = found
        host = authorization = if_none_match = None
        for key, value in scope["headers"]:
            if key == b"host":
                if host is not None:
                    return None
                host = value
            elif key == b"cookie":
                # Wherever the name occurs: how cookies are told apart is Django's to say.
                if self._session_cookie in value:
                    return None
            elif key == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif key == b"if-none-match":
                if if_none_match is not None:
                    return None
                if_none_match = value
            elif key in GOES_ON:
                return None
        secure = scope.get("scheme") == "https"
        if route.probe:
            answer = _ask(route, name, details=False)
        elif (secure or not settings.SECURE_SSL_REDIRECT) and host is not None and self._accepts(host):
            if (caller := _caller(authorization)) is None:
                return None
            answer = _ask(route, name, details=sees_details(settings.ESASSISTANT.details, caller))
        else:
            return None
        if answer is None:
            return None
        note_of(scope).answered_by(Door.HOT, route.template)
        return answer, if_none_match, (self._common if route.probe else self._common_api)[secure]

    def _accepts(self, host: bytes) -> bool:
        """Whether Django accepts this Host header."""
        if host in self._hosts:
            return True
        request = HttpRequest()
        request.META["HTTP_HOST"] = host.decode("latin-1")
        try:
            request.get_host()
        except DisallowedHost:
            return False
        if len(self._hosts) >= MAX_HOSTS:
            self._hosts.clear()
        self._hosts.add(host)
        return True


def _ask(route: HotRoute, name: str, *, details: bool) -> Answer | None:
    try:
        return route.source(name, details)
    except EsassistantError:
        return None  # which the view says too, as a problem
    except Exception:
        logger.exception("the hot path's source of %s failed; Django answers", route.template)
        return None


def _caller(authorization: bytes | None) -> Caller | None:
    """Who asks; None where that takes more than a look at a bearer token."""
    if authorization is None:
        return Caller.ANONYMOUS
    token = bearer_token(authorization.decode("latin-1"))
    return Caller.TOKEN if token is not None and is_api_token(token) else None


def _encoded(headers: Mapping[str, str]) -> Headers:
    return tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items())


hot_routes = HotRoutes()
"""The hot path's addresses of this process."""
