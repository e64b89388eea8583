"""What the kernel itself answers over HTTP: the description of the API, what its problems mean, and errors that no view
answers.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from esassistant.addresses import placed, prefix
from esassistant.api import api_view
from esassistant.api_page import shown_tags
from esassistant.errors import EsassistantError, UnknownAddress, problem_types
from esassistant.http.answer import Answer, etag_of
from esassistant.http.problems import error_page

DOCUMENT: Final = (Path(__file__).parent / "openapi.json").read_bytes()


@lru_cache(maxsize=1)
def description(at: str) -> Answer:
    """The document, of addresses below a prefix."""
    body = DOCUMENT
    if at:
        body = msgspec.json.encode(msgspec.json.decode(DOCUMENT) | {"servers": [{"url": at}]})
    return Answer(body, "application/json", etag=etag_of(body), cache_control="no-cache")


@api_view("GET")
async def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /api/openapi.json`: this API in OpenAPI 3.1, for anybody. `python -m dev.openapi` makes it."""
    return description(prefix()).response(request)


@require_safe
async def api_page(request: HttpRequest) -> HttpResponse:
    """`GET /api/docs`: this API for people, made of the same document; for anybody, without a script."""
    address = request.build_absolute_uri(reverse("esassistant:front")).rstrip("/")
    tags = await asyncio.to_thread(shown_tags, msgspec.json.decode(DOCUMENT), address)
    return await asyncio.to_thread(render, request, "esassistant/api.html", {"tags": tags, "page": "api"})


TEXT, HTML = "text/plain", "text/html"


@csrf_exempt
@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    """`GET /problems/`: what each type of problem means, and what to do; a page, or text."""
    shown = sorted(problem_types().values(), key=lambda error: (error.status, error.problem_type.name))
    return _explained(request, "Problems", shown)


@csrf_exempt
@require_safe
def problem(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /problems/{name}`: the same of one type, to which the `type` of its problems leads."""
    if (error := problem_types().get(name)) is None:
        raise UnknownAddress("There is no problem of this name. /problems/ lists all.")
    return _explained(request, error.title, [error])


def _explained(request: HttpRequest, title: str, shown: Sequence[type[EsassistantError]]) -> HttpResponse:
    if request.get_preferred_type([TEXT, HTML]) == HTML:
        # Templates call what is callable, classes too.
        of = [{"status": error.status, "title": error.title, "type": error.problem_type} for error in shown]
        response = render(request, "esassistant/problems.html", {"title": title, "problems": of})
    else:
        text = placed("\n\n".join(_in_words(error) for error in shown) + "\n")
        response = HttpResponse(text, content_type=f"{TEXT}; charset=utf-8")
    response["Cache-Control"] = "max-age=3600, public"
    patch_vary_headers(response, ("Accept",))
    return response


def _in_words(error: type[EsassistantError]) -> str:
    of = error.problem_type
    return f"{of.uri}: {error.title} ({error.status})\n{of.meaning}\nWhat to do: {of.remedy}"


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
