"""The kernel's own pages and answers: the description of the API, the guide, the meaning of problems, the logout page,
and errors that no view answers.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from esassistant.addresses import placed, prefix
from esassistant.api import api_view
from esassistant.api_page import shown_tags
from esassistant.errors import EsassistantError, UnknownAddress, problem_types
from esassistant.http.answer import Answer, etag_of
from esassistant.http.auth import caller_of
from esassistant.http.problems import CSRF_FAILED, error_page

DOCUMENT: Final = (Path(__file__).parent / "openapi.json").read_bytes()


@lru_cache(maxsize=1)
def description(at: str) -> Answer:
    """Return the OpenAPI document, for addresses below the prefix `at`."""
    body = DOCUMENT
    if at:
        body = msgspec.json.encode(msgspec.json.decode(DOCUMENT) | {"servers": [{"url": at}]})
    return Answer(body, "application/json", etag=etag_of(body), cache_control="no-cache")


@api_view("GET")
async def openapi(request: HttpRequest) -> HttpResponse:
    """`GET /api/openapi.json`: the OpenAPI 3.1 document of this API, for anybody. `python -m dev.openapi` makes it."""
    return description(prefix()).response(request)


@require_safe
async def api_page(request: HttpRequest) -> HttpResponse:
    """`GET /api/docs`: the documentation of this API for people, made from the OpenAPI document; for anybody, without a
    script.
    """
    await caller_of(request)  # needed by the header of the page, which makes no lookups itself
    address = request.build_absolute_uri(reverse("esassistant:front")).rstrip("/")
    tags = await asyncio.to_thread(shown_tags, msgspec.json.decode(DOCUMENT), address)
    return await asyncio.to_thread(render, request, "esassistant/api.html", {"tags": tags, "page": "api"})


GUIDE: Final = Path(__file__).parent / "guide"


@cache
def guide_pages() -> Mapping[str, SafeString]:
    """Return the pages of the guide by name, as `python -m dev.guide` made them from the documents."""
    files = sorted(GUIDE.glob("*.html"))
    # We made this HTML ourselves; nobody's input is in it.
    return {file.stem: mark_safe(file.read_text("utf-8")) for file in files}  # noqa: S308  # nosec B308, B703


@require_safe
async def guide_start(request: HttpRequest) -> HttpResponse:
    """`GET /docs/`: redirects to the first page of the guide, which links to the others; for anybody."""
    await caller_of(request)  # as above
    return redirect("esassistant:guide", "operations")


@require_safe
async def guide(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /docs/{name}`: a page of the guide, such as how to operate this service, its settings or its security; for
    anybody.
    """
    pages = await asyncio.to_thread(guide_pages)
    if name not in pages:
        raise UnknownAddress(f"There is no such page of the guide. There are: {', '.join(pages)}.")
    await caller_of(request)  # as above
    context = {"page": "guide", "name": name, "names": list(pages), "html": pages[name]}
    return await asyncio.to_thread(render, request, "esassistant/guide.html", context)


def log_out(request: HttpRequest) -> HttpResponse:
    """`GET /logout`: asks whether to log out; the form is posted to the admin, which logs out."""
    return render(request, "esassistant/log_out.html", {"name": request.user.get_username()})


TEXT, HTML = "text/plain", "text/html"


@csrf_exempt
@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    """`GET /problems/`: what each type of problem means, and what to do; as a page or as text."""
    shown = sorted(problem_types().values(), key=lambda error: (error.status, error.problem_type.name))
    return _explained(request, "Problems", shown)


@csrf_exempt
@require_safe
def problem(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /problems/{name}`: what one type of problem means. The `type` of a problem is this address."""
    if (error := problem_types().get(name)) is None:
        raise UnknownAddress("There is no problem of this name. /problems/ lists all.")
    return _explained(request, error.title, [error])


def _explained(request: HttpRequest, title: str, shown: Sequence[type[EsassistantError]]) -> HttpResponse:
    if request.get_preferred_type([TEXT, HTML]) == HTML:
        # Templates call everything that is callable, even a class; so pass its attributes.
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
    """Django's `handler400`. Django's own handlers for 400, 403, 404 and 500 read the form to get a CSRF token, which
    fails again if the form itself is bad.
    """
    return error_page(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's `handler403`."""
    return error_page(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's `handler404`."""
    return error_page(request, 404)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Django's `CSRF_FAILURE_VIEW`."""
    return error_page(request, 403, CSRF_FAILED)


def failed(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`."""
    return error_page(request, 500)
