"""What all API views share: allowed methods, our errors as problems, JSON out."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from esassistant.errors import BadRequest, EsassistantError, MethodNotAllowed
from esassistant.http.lanes import mark_api_view
from esassistant.http.problems import already_logged, problem_of

T = TypeVar("T", str, None)

View = Callable[..., Awaitable[HttpResponse]]


def api_view(*methods: str) -> Callable[[View], Any]:
    """Decorates an `async def` view: it answers `methods` (HEAD beside GET), and an `EsassistantError` becomes its
    problem+json.

    Exempt from Django's CSRF check: each view that changes something asks for a token itself.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        async def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method not in allowed:
                    raise MethodNotAllowed(allowed)
                return await view(request, *args, **kwargs)
            except EsassistantError as error:
                return already_logged(problem_of(request, error))

        mark_api_view(wrapped)
        return wrapped

    return decorate


def parameter(request: HttpRequest, name: str, default: T) -> str | T:
    """A parameter of the query. Raises `BadRequest` when it comes several times: which of them counts is a guess."""
    given = request.GET.getlist(name)
    if len(given) > 1:
        raise BadRequest(f"Send {name}= once.")
    return given[0] if given else default


_encoder = msgspec.json.Encoder()


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """A JSON answer of dataclasses, mappings, lists, texts and numbers; never stored by a cache on the way."""
    response = HttpResponse(_encoder.encode(value), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response
