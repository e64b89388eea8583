"""What all API views share: checks of method and parameters, our errors as problems, and JSON answers."""

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
    """Decorate an `async def` view of the API. An `EsassistantError` that it raises is answered as problem+json.

    The view is exempt from Django's CSRF check: each view that changes something checks a CSRF token itself.

    Args:
        methods: The methods that the view answers; HEAD comes with GET. All others get 405.
        parameters: The query parameters that the view knows. A request with any other one, or with the same one twice,
            gets 400.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                token_caller(request)  # a wrong token is refused before all else, as it is outside of the API
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
"""At most this many characters of an unknown name are repeated in the answer."""


def check_parameters(request: HttpRequest, known: Collection[str]) -> None:
    """Refuse a query parameter that is unknown, or that comes more than once.

    An unknown parameter would have no effect, and of a repeated one we could only guess which value counts. Raise
    `UnknownParameter` or `BadRequest`.
    """
    if not request.META.get("QUERY_STRING"):
        return
    _checked(lambda: request.GET, known)


def query_of(scope: Scope, known: Collection[str]) -> QueryDict:
    """Return the query of a request that no view answers, with the same checks as `check_parameters`. Raise what it
    raises.
    """
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
    """Return a parameter of the query. The view must name it among the `parameters` of its `api_view`."""
    return request.GET.get(name, default)


def whole_number(name: str, given: str, minimum: int, maximum: int) -> int:
    """Read a parameter of the query as a number from `minimum` to `maximum`. Raise `BadRequest` if it
    is anything else.
    """
    # `int` refuses thousands of digits with an error of its own.
    if not given.isascii() or not given.isdigit() or len(given) > 9 or not minimum <= int(given) <= maximum:
        raise BadRequest(f"Use {name}= with a whole number from {minimum} to {maximum}.")
    return int(given)


_encoder = msgspec.json.Encoder()


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """Return a JSON answer made of dataclasses, mappings, lists, texts and numbers. No cache on the way may
    store it.
    """
    response = HttpResponse(_encoder.encode(value), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response
