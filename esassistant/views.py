"""What the kernel itself answers over HTTP: the description of the API, and errors that no view answers."""

from pathlib import Path
from typing import Final

from django.http import HttpRequest, HttpResponse

from esassistant.api import api_view
from esassistant.http.answer import Answer, etag_of
from esassistant.http.auth import caller_of
from esassistant.http.problems import error_page

DOCUMENT: Final = (Path(__file__).parent / "openapi.json").read_bytes()
DESCRIPTION: Final = Answer(DOCUMENT, "application/json", etag=etag_of(DOCUMENT), cache_control="no-cache")


@api_view("GET")
async def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /api/openapi.json`: this API in OpenAPI 3.1, for anybody. `python -m dev.openapi` makes it."""
    await caller_of(request)  # a wrong token is refused everywhere
    return DESCRIPTION.response(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  (Django's signature)
    """Django's `handler400`. Its own reads the form for a CSRF token, which fails again where the form is what is bad;
    so do those for 403, 404 and 500.
    """
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's `handler403`."""
    return error_page(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's `handler404`."""
    return error_page(request, 404)


def failed(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`."""
    return error_page(request, 500)
