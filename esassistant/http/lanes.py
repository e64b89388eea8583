"""The two lanes through Django: the stock lane, and a fast lane for API views.

The stock lane costs switches between threads: for each request, for its signals, and two for each middleware that is
sync inside. API views need none of that: they are `async def`, and use neither the ORM nor a session. The fast lane
runs them in the request's own task, with the same checks and the same errors. It depends on internal parts of Django's
`ASGIHandler`; tests/unit/esassistant/http/test_lanes.py names them, and compares the lanes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import patch_vary_headers
from django.utils.log import log_response

from esassistant.addresses import prefix
from esassistant.asgi_types import ASGIApp, Receive, Scope, Send
from esassistant.errors import BadRequest
from esassistant.http.callers import authorization_of, bearer_token, live_caller
from esassistant.http.compression import CompressionMiddleware
from esassistant.http.cors import cors_origins
from esassistant.http.counters import Door, note_of
from esassistant.http.disconnects import unless_left, whole_body
from esassistant.http.gate import Gate
from esassistant.http.limits import READING, overloaded
from esassistant.http.mount import for_django
from esassistant.http.parsed_headers import UNREADABLE, readable
from esassistant.http.problems import ProblemMiddleware, already_logged, problem_of
from esassistant.http.refusal import Refusal
from esassistant.http.security_headers import SecurityHeadersMiddleware, add_security_headers

API = "/api/"
NAMED_GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)")
CONVERTER = re.compile(r"<(?:[^:>]*:)?([^>]+)>")

STOCK_AT_ONCE: Final = 16
"""Each request there takes a thread and, if it has a session, a connection to the database."""
STOCK_WAITING: Final = 64
LOGINS_AT_ONCE: Final = 2
LOGINS_WAITING: Final = 16
FAST_AT_ONCE: Final = 64


def mark_api_view(view: Callable[..., Any]) -> None:
    """Mark a view as one that may run in the fast lane; `esassistant.api.api_view` does."""
    view.is_api_view = True  # type: ignore[attr-defined]


def is_api_view(view: object) -> bool:
    """Return True if a view is decorated with `api_view`, so that it may run in the fast lane."""
    return getattr(view, "is_api_view", False)


@dataclass(frozen=True, slots=True)
class Gates:
    """Limits how much of each lane strangers may take at once.

    Callers with a token don't wait for the fast lane. In the stock lane all callers wait alike, as only Django itself,
    in that lane, can look up a session.
    """

    stock: Gate
    login: Gate
    fast: Gate

    @classmethod
    def usual(cls, fast: int, most_waiting: int) -> "Gates":
        """Return the usual gates. `fast`: how many callers without a token may be in the fast lane; `most_waiting`: how
        many more may wait for it.
        """
        return cls(Gate(STOCK_AT_ONCE, STOCK_WAITING), Gate(LOGINS_AT_ONCE, LOGINS_WAITING), Gate(fast, most_waiting))


class Lanes:
    """ASGI application that sends each request through its lane, once the gate has a place. Lives as long as the
    process.
    """

    def __init__(
        self,
        stock: "StockLane",
        fast: "FastLane",
        gates: Gates,
        is_probe: Callable[[str], bool],
        logins: Mapping[str, ASGIApp],
    ) -> None:
        """
        Args:
            is_probe: Tells whether a path is that of a probe; probes don't wait at a gate.
            logins: The applications for the paths to which passwords are posted. Each waits at its own gate, as
                checking a password takes a processor for a fraction of a second.
        """
        self._stock = stock
        self._fast = fast
        self._gates = gates
        self._is_probe = is_probe
        self._logins = logins
        self._overloaded = Refusal(overloaded())
        self._unreadable = Refusal(BadRequest(UNREADABLE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            checked = readable(scope)
            if checked is None:
                await self._unreadable.answer(scope, send)
                return
            scope = checked
        match = fast_match(scope) if scope["type"] == "http" else None
        if scope["type"] == "http" and scope["path"] in self._logins and scope["method"] not in READING:
            await self._logins[scope["path"]](scope, receive, send)
            return
        gate = self._gate(scope, fast=match is not None)
        if gate is not None and not await gate.enter():
            await self._overloaded.answer(scope, send)
            return
        try:
            if match is None:
                await self._stock(cast("dict[str, Any]", for_django(scope)), receive, cast("Any", send))
            else:
                await self._fast.answer(scope, receive, send, match)
        finally:
            if gate is not None:
                gate.leave()

    def _gate(self, scope: Scope, *, fast: bool) -> Gate | None:
        """Return the gate at which a request must wait, or None."""
        if scope["type"] != "http":
            return None
        if fast:
            return None if has_api_token(scope) else self._gates.fast
        is_probe = scope["method"] in READING and self._is_probe(scope["path"])
        return None if is_probe else self._gates.stock


def has_api_token(scope: Scope) -> bool:
    """Return True if a request has a bearer token that is one of ours and in force."""
    return live_caller(authorization_of(scope)) is not None


def fast_match(scope: Scope) -> ResolverMatch | None:
    """Return the match of the API view that may answer in the fast lane. Return None if the request needs a session,
    CORS or a redirect, or isn't for the API.
    """
    path = scope["path"]
    if not path.startswith(API) or scope.get("root_path"):
        return None
    if settings.SECURE_SSL_REDIRECT and scope.get("scheme") != "https":
        return None
    has_session = has_bearer = False
    authorization: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"origin":
            return None
        if name == b"cookie":
            # It counts wherever the cookie's name occurs: only the stock lane decides how to tell cookies apart.
            has_session = has_session or settings.SESSION_COOKIE_NAME.encode() in value
        elif name == b"authorization":
            # Several are joined as Django does it; the result may not be a bearer token any more.
            authorization = value if authorization is None else b"%b,%b" % (authorization, value)
            has_bearer = bearer_token(authorization.decode("latin-1")) is not None
    if has_session and not has_bearer:
        return None
    try:
        match = resolve(for_django(scope)["path"])
    except Resolver404:
        return None
    return match if is_api_view(match.func) else None


class Lane(ASGIHandler):
    """Base of both lanes: refuses a request that Django can't represent."""

    def make_view_atomic(self, view: Any) -> Any:
        """Return the view unchanged: our views don't need `ATOMIC_REQUESTS`, with which Django refuses async views."""
        return view

    def create_request(self, scope: Any, body_file: Any) -> Any:
        try:
            return ASGIRequest(scope, body_file), None
        except UnicodeDecodeError:
            request = ASGIRequest({**scope, "query_string": b""}, body_file)
            refusal = BadRequest("The query is not UTF-8. Send such characters percent-encoded.")
            return None, add_security_headers(request, already_logged(problem_of(request, refusal)))


class StockLane(Lane):
    """Django's own handler, which also tells the counters which route answered."""

    def __init__(self, own_middleware: Sequence[str] | None = None) -> None:
        """
        Args:
            own_middleware: The middlewares for our addresses in another project. None: those of the settings.
        """
        self._own_middleware = own_middleware
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        if self._own_middleware is None:
            super().load_middleware(is_async)
            return
        # Django reads this setting only here. The project's asgi.py is being imported now, so there are no requests
        # yet.
        theirs, settings.MIDDLEWARE = settings.MIDDLEWARE, list(self._own_middleware)
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = theirs

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        response = await super().run_get_response(request)
        match = request.resolver_match
        note_of(cast("ASGIRequest", request).scope).answered_by(
            Door.DJANGO, None if match is None else template_of(match.route).removeprefix(prefix())
        )
        if response.status_code == 304:
            # CommonMiddleware sets it to 0, which would say that the answer has become empty (RFC 9110, 8.6).
            response.headers.pop("Content-Length", None)
        return response


class FastLane(Lane):
    """Django's handler without signals, threads, and the middlewares that need them."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002  (Django's signature)
        compressing = CompressionMiddleware(convert_exception_to_response(self._checked))
        problems = ProblemMiddleware(convert_exception_to_response(compressing))
        self._view_middleware: list[object] = []
        self._template_response_middleware: list[object] = []
        self._exception_middleware = [problems.process_exception]
        self._middleware_chain = SecurityHeadersMiddleware(convert_exception_to_response(problems))

    async def answer(self, scope: Scope, receive: Receive, send: Send, match: ResolverMatch) -> None:
        """Answer one request with the view of `match`."""
        note_of(scope).answered_by(Door.FAST, template_of(match.route).removeprefix(prefix()))
        if (body := await whole_body(receive)) is None:
            return
        request, response = self.create_request(for_django(scope), BytesIO(body))
        if request is not None:
            request.resolver_match = match
            if request.method in ("GET", "HEAD"):
                response = await self.get_response_async(request)
            else:
                response = await unless_left(self.get_response_async(request), receive)
        if response is not None:
            await self.send_response(response, cast("Any", send))

    async def get_response_async(self, request: HttpRequest) -> HttpResponse:
        response: HttpResponse = await self._middleware_chain(request)
        if response.status_code >= 400:
            log_response("%s: %s", response.reason_phrase, request.path, response=response, request=request)
        if response.status_code != 304:
            response.headers.setdefault("Content-Length", str(len(response.content)))
        if cors_origins():
            patch_vary_headers(response, ("origin",))
        return response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        assert request.resolver_match is not None
        return request.resolver_match

    async def _checked(self, request: HttpRequest) -> Any:
        request.get_host()  # CommonMiddleware makes the same call; it raises DisallowedHost
        inner: Any = self  # Django's type stubs lack the method
        return await inner._get_response_async(request)  # noqa: SLF001


@lru_cache(maxsize=256)
def template_of(route: str) -> str:
    """Return a URL pattern as the API's documentation writes it: `/api/mappings/{name}`. The admin's patterns may be
    regular expressions.
    """
    plain = NAMED_GROUP.sub(r"<\1>", route).replace("^", "").removesuffix("$")
    return "/" + CONVERTER.sub(r"{\1}", plain)
