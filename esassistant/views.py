"""What the kernel itself answers over HTTP: the description of the API."""

from pathlib import Path
from typing import Final

from django.http import HttpRequest, HttpResponse

from esassistant.api import api_view
from esassistant.http.answer import Answer, etag_of
from esassistant.http.auth import caller_of

DOCUMENT: Final = (Path(__file__).parent / "openapi.json").read_bytes()
DESCRIPTION: Final = Answer(DOCUMENT, "application/json", etag=etag_of(DOCUMENT), cache_control="no-cache")


@api_view("GET")
async def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /api/openapi.json`: this API in OpenAPI 3.1, for anybody. `python -m dev.openapi` makes it."""
    await caller_of(request)  # a wrong token is refused everywhere
    return DESCRIPTION.response(request)
