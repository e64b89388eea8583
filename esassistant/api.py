"""What all API views share: allowed methods, our errors as problems, JSON out."""

import functools
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt

from esassistant.asgi_types import Scope
from esassistant.errors import BadRequest, EsassistantError, MethodNotAllowed, UnknownParameter
from esassistant.http.auth import token_caller
from esassistant.http.lanes import mark_api_view
from esassistant.http.problems import already_logged, problem_of

T = TypeVar("T", str, None)

View = Callable[..., Awaitable[HttpResponse]]


def api_view(*methods: str, parameters: Collection[str] = ()) -> Callable[[View], Any]:
    """Decorates an `async def` view: it answers `methods` (HEAD beside GET), and an `EsassistantError` becomes its
    problem+json.

    Exempt from Django's CSRF check: each view that changes something asks for a token itself.

    Args:
        methods: what it answers; the others get 405.
        parameters: those of the query that it knows; a request with another one, or with one several times, gets 400.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                token_caller(request)  # a wrong token is refused before all else, as at addresses that are no API
                if request.method not in allowed:
                    raise MethodNotAllowed(allowed)
                check_parameters(request, parameters)
                return await view(request, *args, **kwargs)
            except EsassistantError as error:
                return already_logged(problem_of(request, error))

        wrapped.parameters = tuple(parameters)  # type: ignore[attr-defined]  # read by the test of the description
        mark_api_view(wrapped)
        return wrapped

    return decorate


MAX_SHOWN_CHARACTERS = 100
"""So much of what isn't known is repeated to who sent it."""


def check_parameters(request: HttpRequest, known: Collection[str]) -> None:
    """Refuse a parameter that isn't known, which would have no effect, and one that comes several times: which of them
    counts is a guess. Raises `BadRequest`.
    """
    if not request.META.get("QUERY_STRING"):
        return
    _checked(lambda: request.GET, known)


def query_of(scope: Scope, known: Collection[str]) -> QueryDict:
    """The query of a request that comes to no view, checked likewise. Raises `BadRequest`."""
    return _checked(lambda: QueryDict(scope["query_string"]), known)


def _checked(parsed: Callable[[], QueryDict], known: Collection[str]) -> QueryDict:
    try:
        given = parsed()
    except TooManyFieldsSent:
        raise BadRequest("The query has too many parameters.") from None
    for name, values in given.lists():
        if name not in known:
            shown = name[:MAX_SHOWN_CHARACTERS]
            raise UnknownParameter(f"There is no parameter {shown!r} here: {_use(known)}.")
        if len(values) > 1:
            raise BadRequest(f"Send {name}= once.")
    return given


def _use(known: Collection[str]) -> str:
    if not known:
        return "this address has none"
    *others, last = known
    return f"use {', '.join(others)} or {last}" if others else f"use {last}"


def parameter(request: HttpRequest, name: str, default: T) -> str | T:
    """A parameter of the query, which a view of `api_view` has named among its `parameters`."""
    return request.GET.get(name, default)


def whole_number(name: str, given: str, minimum: int, maximum: int) -> int:
    """Read a parameter of the query as a number from `minimum` to `maximum`. Raises `BadRequest`."""
    # `int` refuses thousands of digits with an error of its own.
    if not given.isascii() or not given.isdigit() or len(given) > 9 or not minimum <= int(given) <= maximum:
        raise BadRequest(f"Use {name}= with a whole number from {minimum} to {maximum}.")
    return int(given)


_encoder = msgspec.json.Encoder()


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """A JSON answer of dataclasses, mappings, lists, texts and numbers; never stored by a cache on the way."""
    response = HttpResponse(_encoder.encode(value), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response
