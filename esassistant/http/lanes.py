"""The two lanes through Django: the stock one, and a fast one for API views.

The stock lane costs thread hops: an executor for each request, the signals, and two for each middleware that is sync
inside. API views need none of that: they are `async def`, and use neither the ORM nor a session. The fast lane runs
them in the request's own task, with the same checks and the same errors. It stands on inner parts of Django's
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
from esassistant.http.problems import ProblemMiddleware, already_logged, problem_of
from esassistant.http.refusal import Refusal
from esassistant.http.security_headers import SecurityHeadersMiddleware, add_security_headers

API = "/api/"
NAMED_GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)")
CONVERTER = re.compile(r"<(?:[^:>]*:)?([^>]+)>")

STOCK_AT_ONCE: Final = 16
"""Each takes a thread and, where it has a session, a connection to the database."""
STOCK_WAITING: Final = 64
LOGINS_AT_ONCE: Final = 2
LOGINS_WAITING: Final = 16
FAST_AT_ONCE: Final = 64


def mark_api_view(view: Callable[..., Any]) -> None:
    """Say of a view that it may run in the fast lane; `esassistant.api.api_view` does."""
    view.is_api_view = True  # type: ignore[attr-defined]


def is_api_view(view: object) -> bool:
    """Whether `api_view` decorates it: then it may run in the fast lane."""
    return getattr(view, "is_api_view", False)


@dataclass(frozen=True, slots=True)
class Gates:
    """How much of each lane strangers may take at once. Who has a token isn't held up in the fast lane; a session is
    looked at by Django, in the stock lane, so all are alike there.
    """

    stock: Gate
    login: Gate
    fast: Gate

    @classmethod
    def usual(cls, fast: int, most_waiting: int) -> "Gates":
        """`fast`: how many callers without a token may be in the fast lane; as many wait as may be under way at all."""
        return cls(Gate(STOCK_AT_ONCE, STOCK_WAITING), Gate(LOGINS_AT_ONCE, LOGINS_WAITING), Gate(fast, most_waiting))


class Lanes:
    """ASGI application that gives each request to the lane it belongs to, once the gate of its kind has a place. Lives
    as long as the process.
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
            is_probe: of a path; probes wait at no gate.
            logins: what answers where passwords are posted to, by path, and waits at its gate itself. Checking a
                password takes a fraction of a second of a processor.
        """
        self._stock = stock
        self._fast = fast
        self._gates = gates
        self._is_probe = is_probe
        self._logins = logins
        self._overloaded = Refusal(overloaded())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
        """Where a request has to wait for a place; None: nowhere."""
        if scope["type"] != "http":
            return None
        if fast:
            return None if has_api_token(scope) else self._gates.fast
        is_probe = scope["method"] in READING and self._is_probe(scope["path"])
        return None if is_probe else self._gates.stock


def has_api_token(scope: Scope) -> bool:
    """Whether a request has a bearer token that is one of ours."""
    return live_caller(authorization_of(scope)) is not None


def fast_match(scope: Scope) -> ResolverMatch | None:
    """The API view that may answer in the fast lane; None: this request needs a session, CORS, a redirect, or isn't for
    the API.
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
            # Wherever the name occurs: how cookies are told apart is the stock lane's to say.
            has_session = has_session or settings.SESSION_COOKIE_NAME.encode() in value
        elif name == b"authorization":
            # Joined as Django joins several, which may then be no bearer's any more.
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
    """What both lanes do in their own way: refuse a request that Django can't even represent."""

    def make_view_atomic(self, view: Any) -> Any:
        """Return the view as it is: ours have no use for `ATOMIC_REQUESTS`, which refuses async ones."""
        return view

    def create_request(self, scope: Any, body_file: Any) -> Any:
        try:
            return ASGIRequest(scope, body_file), None
        except UnicodeDecodeError:
            request = ASGIRequest({**scope, "query_string": b""}, body_file)
            refusal = BadRequest("The query is not UTF-8. Send such characters percent-encoded.")
            return None, add_security_headers(request, already_logged(problem_of(request, refusal)))


class StockLane(Lane):
    """Django as it comes, but that it tells the counters which route answered."""

    def __init__(self, own_middleware: Sequence[str] | None = None) -> None:
        """`own_middleware`: what stands around our addresses in another project; None: what the settings name."""
        self._own_middleware = own_middleware
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        if self._own_middleware is None:
            super().load_middleware(is_async)
            return
        # Django reads the names here alone. This runs while the project's asgi.py is imported, before any request.
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
            # CommonMiddleware makes it 0, which would say that the answer has become empty (RFC 9110, 8.6).
            response.headers.pop("Content-Length", None)
        return response


class FastLane(Lane):
    """Django's handler without signals, threads and the middlewares that need them."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002  (Django's signature)
        compressing = CompressionMiddleware(convert_exception_to_response(self._checked))
        problems = ProblemMiddleware(convert_exception_to_response(compressing))
        self._view_middleware: list[object] = []
        self._template_response_middleware: list[object] = []
        self._exception_middleware = [problems.process_exception]
        self._middleware_chain = SecurityHeadersMiddleware(convert_exception_to_response(problems))

    async def answer(self, scope: Scope, receive: Receive, send: Send, match: ResolverMatch) -> None:
        """Answer one request from the view that `match` names."""
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
        request.get_host()  # raises DisallowedHost, as CommonMiddleware has it do
        inner: Any = self  # Django's stubs don't have it
        return await inner._get_response_async(request)  # noqa: SLF001


@lru_cache(maxsize=256)
def template_of(route: str) -> str:
    """A URL pattern as the API's documentation writes it: `/api/mappings/{name}`. The admin has regular expressions
    too.
    """
    plain = NAMED_GROUP.sub(r"<\1>", route).replace("^", "").removesuffix("$")
    return "/" + CONVERTER.sub(r"{\1}", plain)
