"""Answers errors with `application/problem+json` (RFC 9457), at every address that isn't a page for people."""

import http.client
import logging
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import DataError, Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from elastic_transport import TransportError

from esassistant.addresses import own_path, placed
from esassistant.database.failures import DatabaseFailure, database_trouble
from esassistant.database.outage import Unsaid
from esassistant.elasticsearch.client import unavailable
from esassistant.errors import (
    UNTYPED,
    BadRequest,
    DatabaseUnavailable,
    EsassistantError,
    MethodNotAllowed,
    problem_types,
)
from esassistant.http.counters import note_of
from esassistant.http.security_headers import AnswerMiddleware

logger = logging.getLogger(__name__)

NO_MEMBERS: Mapping[str, object] = MappingProxyType({})
CONTENT_TYPE = "application/problem+json"
PAGE_TYPE = "text/html; charset=utf-8"
EXPLANATIONS = {
    400: "The request can't be understood as it was sent.",
    403: "The request was refused. A change made from a browser session needs its CSRF token.",
    404: "There is nothing at this address.",
    405: "This address doesn't answer this method; the Allow header names those that it does.",
    413: "The request is too large.",
    500: "Something failed in this server. The log has the details under the request id.",
}

CSRF_FAILED = (
    "The form came without the token of a page that this browser was given. Load the page again and send it anew; "
    "cookies have to be permitted for this site."
)

TYPES = {
    400: "bad-request",
    403: "refused",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    500: "internal-error",
}
"""The type of a problem about which only its status is known."""

_unsaid = Unsaid()

OTHER_HOST = "This server doesn't answer to the name in the Host header. Its operator lists names in ALLOWED_HOSTS."


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "Error")


def request_id_of(request: HttpRequest) -> str:
    """Return the id that the counters gave to the request."""
    return note_of(getattr(request, "scope", request.META)).request_id.decode("ascii")


def problem_body(error: EsassistantError, request_id: str) -> bytes:
    """Return the JSON body of the problem for an error."""
    return _object(error.type_uri, error.title, error.status, error.detail, request_id, error.members)


def _object(
    type_uri: str,
    title: str,
    status: int,
    detail: str,
    request_id: str,
    members: Mapping[str, object] = NO_MEMBERS,
) -> bytes:
    common = {
        "type": placed(type_uri),
        "title": title,
        "status": status,
        "detail": placed(detail),
        "request_id": request_id,
    }
    return msgspec.json.encode({**common, **members})


def headers_of(error: EsassistantError) -> dict[str, str]:
    """Return the headers of the answer to one of our own errors, without its length. `Retry-After` is rounded up to
    whole seconds.
    """
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    return headers


def problem(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """Return a problem+json answer about which only the status is known."""
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    known = problem_types().get(TYPES.get(status, ""))
    type_uri, title = (UNTYPED, _phrase(status)) if known is None else (known.problem_type.uri, known.title)
    return _response(status, _object(type_uri, title, status, detail, request_id_of(request)), headers)


def problem_of(request: HttpRequest, error: EsassistantError) -> HttpResponse:
    """Return the problem+json answer for one of our own errors."""
    return _response(error.status, problem_body(error, request_id_of(request)), headers_of(error))


def answer_of_error(request: HttpRequest, error: EsassistantError) -> HttpResponse:
    """Return the answer for one of our own errors: a page for a person in a browser, else problem+json. Such an error
    is expected, and isn't logged.
    """
    found = problem_of(request, error)
    if is_for_people(request):
        context = {"error": error, "again": retry_address(request)}
        found = _page(request, error.status, context, {**found.headers, "Content-Type": PAGE_TYPE})
    return already_logged(found)


def error_page(request: HttpRequest, status: int, explanation: str | None = None) -> HttpResponse:
    """Return the page for an error about which only the status is known, perhaps with an explanation. Reads nothing
    that a client may have sent in a bad form.
    """
    detail = explanation or EXPLANATIONS.get(status) or f"{_phrase(status)}."
    return _page(request, status, {"error": {"title": _phrase(status), "detail": detail, "status": status}}, {})


def _page(request: HttpRequest, status: int, context: dict[str, Any], headers: Mapping[str, str]) -> HttpResponse:
    context |= {"request_id": request_id_of(request), "request": request}
    page = render_to_string("esassistant/error.html", context)
    return HttpResponse(page, status=status, headers={**headers, "Content-Length": str(len(page.encode()))})


def retry_address(request: HttpRequest) -> str:
    """Return the address for a link that tries again. After a POST, the link doesn't repeat the POST."""
    return request.get_full_path() if request.method in ("GET", "HEAD") else request.path


def as_own_error(error: BaseException) -> EsassistantError | None:
    """Return the error of ours that stands for an exception, or None if the exception is a bug of this server."""
    if isinstance(error, TransportError) and not isinstance(error, EsassistantError):
        return unavailable(error)
    return error if isinstance(error, EsassistantError) else None


def _response(status: int, body: bytes, headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(body, status=status, headers={**headers, "Content-Length": str(len(body))})


def already_logged(response: HttpResponse) -> HttpResponse:
    """Keep Django from logging a 4xx or 5xx as an error of this server: it is expected, and counted elsewhere."""
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  (Django has no public way)
    return response


def is_for_people(request: HttpRequest) -> bool:
    """Return True if a person in a browser asked, who needs a page."""
    return not own_path(request).startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def leave_out_slash(address: str) -> str:
    """Return a sentence that asks to leave out the final slash. `address`: the known address, without the slash."""
    return f" Leave out the slash at its end: {address}"


def slash_hint(path: str) -> str:
    """Return a sentence to add if an unknown path is known without its final slash; else an empty text."""
    without = path.rstrip("/")
    if without == path:
        return ""
    try:
        resolve(without)
    except Resolver404:
        return ""
    return leave_out_slash(without)


def _is_allowed_host(request: HttpRequest) -> bool:
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


def _as_page(request: HttpRequest, response: HttpResponseBase, *, is_other_host: bool) -> HttpResponseBase:
    """Return the page for a person. A page that says nothing is replaced by one that does."""
    if not is_other_host and (response.streaming or response.content):  # type: ignore[attr-defined]
        return response
    page = error_page(request, response.status_code, OTHER_HOST if is_other_host else None)
    for name, value in response.headers.items():
        page.headers.setdefault(name, value)
    return already_logged(page) if is_other_host or getattr(response, "_has_been_logged", False) else page


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Replace Django's own error pages (404, 405, 500 and so on, also under DEBUG), unless a person in a browser asked.

    They are HTML, or a traceback in plain text under DEBUG. If a view itself answers an error with another body, such
    as the health report, the body stays.
    """
    status = response.status_code
    pages = ("text/html", "text/plain") if settings.DEBUG else ("text/html",)
    is_page = response.get("Content-Type", "").startswith(pages)
    if status < 400 or not is_page:
        return response
    is_other_host = status == 400 and not _is_allowed_host(request)
    if is_for_people(request):
        return _as_page(request, response, is_other_host=is_other_host and not settings.DEBUG)
    explanation = OTHER_HOST if is_other_host else EXPLANATIONS.get(status) or f"{_phrase(status)}."
    if status == 404:
        explanation += slash_hint(request.path)
    replacement = problem(request, status, explanation)
    for name, value in response.headers.items():
        replacement.headers.setdefault(name, value)
    replacement.cookies = response.cookies
    # If this was a crash, Django has logged it by now, with its traceback.
    return already_logged(replacement) if getattr(response, "_has_been_logged", False) else replacement


def database_unavailable(failure: DatabaseFailure) -> DatabaseUnavailable:
    """Return the error for a caller who can't be served without the database."""
    return DatabaseUnavailable(f"The database {failure.why}", retry_after_seconds=5)


class ProblemMiddleware(AnswerMiddleware):
    """Turns error pages into problems."""

    def answered(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return _as_problem(request, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer exceptions of any view: our own errors, Elasticsearch's if it can't be reached, and the database's if
        it is in trouble.
        """
        if isinstance(exception, Error) and (failure := database_trouble(exception)) is not None:
            if _unsaid.take(failure.why):
                logger.warning("A page could not be made: the database %s", failure.why)
            return answer_of_error(request, database_unavailable(failure))
        if isinstance(exception, DataError):
            exception = BadRequest("A value that was sent can't be looked for in the database.")
        error = as_own_error(exception)
        return None if error is None else answer_of_error(request, error)
