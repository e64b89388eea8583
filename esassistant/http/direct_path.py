"""The direct path: answers requests that mostly consist of one call to the cluster, without Django.

Django's request, response and middlewares took a quarter of the time of a search. So the owner of such an answer
registers a source for it here, beside the view of the same address; both call the same function. Counters, access log
and limits come before this path, as they come before the lanes. Every request that isn't clearly a POST with one of our
tokens goes on to the lanes. Without this wrapper everything works too, but more slowly.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.config.tokens import Right
from esassistant.errors import EsassistantError
from esassistant.http.answer import Answer, Headers
from esassistant.http.callers import Caller, live_caller
from esassistant.http.cors import cors_origins
from esassistant.http.counters import Door, note_of
from esassistant.http.disconnects import unless_left, whole_body
from esassistant.http.hosts import AcceptedHosts
from esassistant.http.problems import EXPLANATIONS, as_own_error, headers_of, problem_body
from esassistant.http.refusal import encoded
from esassistant.http.security_headers import security_headers

logger = logging.getLogger(__name__)

DirectSource = Callable[[str, bytes, Caller], Coroutine[Any, Any, Answer]]
"""Called with the name in the address, the body, and the caller, whose token has the right that the address needs. An
error is answered with the same problem as in the view. The call is cancelled when its client leaves.
"""

HOST, COOKIE, AUTHORIZATION = b"host", b"cookie", b"authorization"
ONCE: Final = frozenset({HOST, COOKIE, AUTHORIZATION})
"""If one of these headers comes more than once, Django decides how to join them."""
ORIGIN: Final = b"origin"
"""A request with this header is a CORS request, which a middleware handles."""


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """One registered address, such as `/api/indices/{name}/search`. `before` and `behind` are the texts around the
    name.
    """

    template: str
    source: DirectSource
    right: Right
    before: str
    behind: str


class DirectRoutes:
    """The sources by address. An owner adds its own for as long as it is open."""

    def __init__(self) -> None:
        self._routes: list[DirectRoute] = []

    @contextmanager
    def answering(self, template: str, source: DirectSource, right: Right) -> Iterator[None]:
        """Answer POSTs to `template` from `source` during the block, for callers with `right`. `{name}` in the template
        stands for one segment of the path.
        """
        before, _, behind = template.partition("{name}")
        route = DirectRoute(template, source, right, before, behind)
        self._routes.append(route)
        try:
            yield
        finally:
            self._routes.remove(route)

    def find(self, path: str) -> tuple[DirectRoute, str] | None:
        """Return the route of a decoded path and the name in it, or None. Names with a slash or a line break are left
        to Django.
        """
        for route in self._routes:
            if path.startswith(route.before) and path.endswith(route.behind):
                name = path[len(route.before) : len(path) - len(route.behind)]
                if name and "/" not in name and "\n" not in name:
                    return route, name
        return None


class DirectPath:
    """ASGI wrapper that answers what it can from `routes`, and passes on everything else. One per process."""

    def __init__(self, app: ASGIApp, routes: DirectRoutes) -> None:
        self._app = app
        self._routes = routes
        self._hosts = AcceptedHosts()
        self._redirects = settings.SECURE_SSL_REDIRECT
        self._session_cookie = settings.SESSION_COOKIE_NAME.encode()
        vary = ((b"vary", b"origin"),) if cors_origins() else ()
        self._common = {secure: encoded(security_headers(secure=secure)) + vary for secure in (False, True)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        route, name, caller = found
        note = note_of(scope)
        note.answered_by(Door.DIRECT, route.template)
        if (body := await whole_body(receive)) is None:
            return
        answered = _answered(route, route.source(name, body, caller), note.request_id)
        if (answer := await unless_left(answered, receive)) is None:
            return
        status, head, content = answer
        headers = [*head, *self._common[scope.get("scheme") == "https"]]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _find(self, scope: Scope) -> tuple[DirectRoute, str, Caller] | None:
        """Return the route, name and caller of a request that this path answers; None if the lanes must answer it."""
        if scope["method"] != "POST" or scope["query_string"] or scope.get("root_path"):
            return None
        if (found := self._routes.find(scope["path"])) is None:
            return None
        given: dict[bytes, bytes] = {}
        for key, value in scope["headers"]:
            if key in ONCE:
                if key in given:
                    return None
                given[key] = value
            elif key == ORIGIN:
                return None
        if self._redirects and scope.get("scheme") != "https":
            return None
        # Give up wherever the cookie's name occurs: only Django decides how to tell cookies apart.
        if COOKIE in given and self._session_cookie in given[COOKIE]:
            return None
        caller = live_caller(given[AUTHORIZATION].decode("latin-1")) if AUTHORIZATION in given else None
        if caller is None or not caller.may(found[0].right) or not self._hosts.accepts(given.get(HOST)):
            return None
        return (*found, caller)


async def _answered(route: DirectRoute, asked: Awaitable[Answer], request_id: bytes) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of the answer, or of the problem that the view would give in its place."""
    try:
        answer = await asked
    except Exception as error:  # noqa: BLE001  (as Django does for a view; it is logged, or a problem)
        return problem_parts(route.template, error, request_id)
    return answer.status, answer.head, answer.body


def problem_parts(template: str, error: BaseException, request_id: bytes) -> tuple[int, Headers, bytes]:
    """Return status, headers and body of the problem for an error at an address. A bug is logged."""
    own = as_own_error(error)
    if own is None:
        logger.error("%s failed", template, exc_info=error)
        own = EsassistantError(EXPLANATIONS[500])
    body = problem_body(own, request_id.decode("ascii"))
    return own.status, (*encoded(headers_of(own)), (b"content-length", b"%d" % len(body))), body


direct_routes = DirectRoutes()
"""The routes of the direct path of this process."""
