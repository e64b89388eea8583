"""Errors are problem+json for programs, pages for people, and logged once."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from elastic_transport import ConnectionTimeout
from pytest_django import Settings

from esassistant.elasticsearch.errors import BreakerOpen, PoolExhausted
from esassistant.errors import BadRequest, ClusterUnavailable, EsassistantError, MethodNotAllowed, Unauthorized
from esassistant.http.counters import NOTE, RequestNote
from esassistant.http.problems import (
    EXPLANATIONS,
    TYPES,
    ProblemMiddleware,
    already_logged,
    problem,
    problem_of,
    request_id_of,
)

HTML = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


def a_request(target: str = "/api/x", **headers: str) -> HttpRequest:
    return RequestFactory().get(target, headers=headers)


def through_middleware(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    answer = ProblemMiddleware(lambda _: response)(request)
    assert isinstance(answer, HttpResponse)
    return answer


def test_the_id_that_the_counters_gave() -> None:
    """Where the counters have noted a request, its problems name that id; where nothing counts each gets its own."""
    request: Any = AsyncRequestFactory().get("/api/x")
    request.scope[NOTE] = RequestNote(b"abc")
    assert request_id_of(request) == "abc"
    uncounted = a_request()
    assert request_id_of(uncounted) == request_id_of(uncounted)
    assert len({request_id_of(a_request()) for _ in range(100)}) == 100


def test_a_problem_has_all_its_members() -> None:
    """A problem has RFC 9457's members, the request id, and is never stored by a cache."""
    request = a_request()
    response = problem(request, 404, "No such index.")
    assert json.loads(response.content) == {
        "type": "/problems/not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "No such index.",
        "request_id": request_id_of(request),
    }
    assert dict(response.items()) == {
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "Content-Length": str(len(response.content)),
    }


@pytest.mark.parametrize(("seconds", "header"), [(0, "1"), (0.2, "1"), (1, "1"), (1.2, "2"), (30, "30")])
def test_retry_after_is_rounded_up(seconds: float, header: str) -> None:
    """Nobody is asked to come back too early, or at once."""
    assert problem_of(a_request(), ClusterUnavailable("", retry_after_seconds=seconds))["Retry-After"] == header


@pytest.mark.parametrize(
    ("error", "status", "name", "title", "headers"),
    [
        (BadRequest("Send a name."), 400, "bad-request", "Bad request", {}),
        (Unauthorized("x"), 401, "credentials-needed", "Credentials needed", {"WWW-Authenticate": "Bearer"}),
        (MethodNotAllowed(("GET",)), 405, "method-not-allowed", "Method not allowed", {"Allow": "GET"}),
        (
            ClusterUnavailable("x", retry_after_seconds=5),
            *(503, "elasticsearch-unavailable", "Elasticsearch unavailable", {"Retry-After": "5"}),
        ),
    ],
)
def test_our_errors_as_problems(
    error: EsassistantError, status: int, name: str, title: str, headers: dict[str, str]
) -> None:
    """Each error shows the type, status, title and headers of its kind and its own detail."""
    response = problem_of(a_request(), error)
    body = json.loads(response.content)
    assert (body["type"], body["title"], body["detail"]) == (f"/problems/{name}", title, str(error))
    assert (response.status_code, body["status"]) == (status, status)
    common = {"Content-Type", "Cache-Control", "Content-Length"}
    assert {name: value for name, value in response.items() if name not in common} == headers


@pytest.mark.parametrize(
    ("target", "accept", "replaced"),
    [("/api/x", "*/*", True), ("/api/x", HTML, True), ("/x", "*/*", True), ("/x", "", True), ("/admin/x", HTML, False)],
)
def test_pages_are_for_people(target: str, accept: str, replaced: bool) -> None:
    """An error page stays a page for a person in a browser outside the API, and is a problem for all others."""
    page = HttpResponse("<h1>Not Found</h1>", status=404)
    response = through_middleware(a_request(target, Accept=accept), page)
    assert (response is not page) == replaced
    assert response.headers["Content-Type"].startswith("application/problem+json" if replaced else "text/html")


@pytest.mark.parametrize(
    "page",
    [
        HttpResponse("ok"),
        HttpResponse(status=304),
        HttpResponse("{}", status=503, content_type="application/json"),
        problem(a_request(), 503, "mine"),
    ],
)
def test_answers_and_problems_pass(page: HttpResponse) -> None:
    """What is no error page passes as it is, a view's own error too."""
    assert through_middleware(a_request(), page) is page


def test_a_problem_keeps_what_the_page_said() -> None:
    """Headers and cookies of the page that a problem replaces are kept, its type and length are not."""
    page = HttpResponseNotAllowed(["GET"], "<h1>a long page</h1>" * 100)
    page["Content-Length"] = "2000"
    page.set_cookie("csrftoken", "value")
    response = through_middleware(a_request(), page)
    assert (response.status_code, response["Allow"]) == (405, "GET")
    assert response["Content-Length"] == str(len(response.content))
    assert json.loads(response.content)["detail"].startswith("This address doesn't answer this method")
    assert response.cookies["csrftoken"].value == "value"


@pytest.mark.parametrize("status", [400, 404, 416, 422, 499, 500, 503, 599])
def test_every_error_status_is_explained(status: int) -> None:
    """Any status from 400 on becomes a problem with a title and a detail, also one that HTTP doesn't name."""
    body = json.loads(through_middleware(a_request(), HttpResponse(status=status)).content)
    assert body["status"] == status
    known = TYPES.get(status)
    assert body["type"] == ("about:blank" if known is None else f"/problems/{known}")
    assert body["title"]
    assert body["detail"]


def test_a_streamed_error_is_replaced() -> None:
    """An error that would be streamed is replaced like any other."""
    response = through_middleware(a_request(), StreamingHttpResponse(iter([b"<h1>"]), status=500))
    assert json.loads(response.content)["status"] == 500


async def test_the_middleware_is_async_as_it_stands() -> None:
    """Under an async handler the middleware awaits it in the same task, without a thread."""
    tasks: list[Any] = []

    async def get_response(_: HttpRequest) -> HttpResponse:
        tasks.append(asyncio.current_task())
        return HttpResponse(status=404)

    middleware = ProblemMiddleware(get_response)
    assert iscoroutinefunction(middleware)
    response = await middleware(a_request())
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    assert tasks == [asyncio.current_task()]
    assert not iscoroutinefunction(ProblemMiddleware(lambda _: HttpResponse()))


def crash(_: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


def expected(request: HttpRequest) -> HttpResponse:
    return already_logged(problem(request, 503, "The cluster is away."))


urlpatterns = [path("api/crash", crash), path("api/expected", expected)]


@pytest.fixture
def logged(settings: Any) -> Iterator[list[logging.LogRecord]]:
    """What Django logs about requests to this module's addresses."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["esassistant.http.problems.ProblemMiddleware"]
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_a_crash_is_logged_once(logged: list[logging.LogRecord]) -> None:
    """A view that crashes answers a problem and leaves one log record, the one with the traceback."""
    response = Client(raise_request_exception=False).get("/api/crash")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert b"boom" not in response.content
    assert [record.exc_info is not None for record in logged] == [True]


async def test_a_crash_is_logged_once_in_async(logged: list[logging.LogRecord]) -> None:
    """The same under the async handler."""
    response = await AsyncClient(raise_request_exception=False).get("/api/crash")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert [record.exc_info is not None for record in logged] == [True]


def test_what_is_expected_is_not_logged(logged: list[logging.LogRecord]) -> None:
    """A 503 that is part of the service leaves no record of an error of this server."""
    assert Client().get("/api/expected").status_code == 503
    assert logged == []


def test_unknown_addresses_are_problems(logged: list[logging.LogRecord], settings: Any) -> None:
    """A 404 is a problem with and without DEBUG, whose own page would list all addresses; it isn't logged."""
    for debug in (False, True):
        settings.DEBUG = debug
        response = Client().get("/api/unheard")
        assert json.loads(response.content)["detail"] == "There is nothing at this address."
    assert logged == []


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", HTML])
def test_a_crash_under_debug_is_a_problem_too(logged: list[logging.LogRecord], settings: Any, accept: str) -> None:
    """A program gets no traceback in any form, whatever it accepts: under DEBUG Django has one in plain text too."""
    settings.DEBUG = True
    response = Client(raise_request_exception=False).get("/api/crash", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert b"boom" not in response.content


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("x"), 400),
        (DataError("a NUL"), 400),
        (PoolExhausted("full", retry_after_seconds=1), 503),
        (BreakerOpen("open", retry_after_seconds=4.2), 503),
        (ConnectionTimeout("no answer"), 503),
    ],
)
def test_errors_that_a_view_lets_pass(error: Exception, status: int) -> None:
    """Our own errors, and Elasticsearch's when it can't be asked, become problems in anybody's views."""
    response = ProblemMiddleware(lambda _: HttpResponse()).process_exception(a_request(), error)
    assert response is not None
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert response.get("Retry-After") == {400: None, 503: response.get("Retry-After", "missing")}[status]


def test_other_errors_stay_errors() -> None:
    """A bug in a view is Django's to report."""
    assert ProblemMiddleware(lambda _: HttpResponse()).process_exception(a_request(), ValueError("bug")) is None


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500])
def test_pages_that_say_nothing(status: int) -> None:
    """A person gets a page that says what happened where a view or Django gives an empty one; a page that says
    something stays.
    """
    empty = through_middleware(a_request("/x", accept=HTML), HttpResponse(status=status, headers={"Allow": "GET"}))
    assert (empty.status_code, empty["Allow"]) == (status, "GET")
    assert EXPLANATIONS[status].replace("'", "&#x27;") in empty.content.decode()
    said = HttpResponse("said", status=status)
    assert through_middleware(a_request("/x", accept=HTML), said) is said


def test_the_page_of_another_host(settings: Settings) -> None:
    """A person who came by a name that isn't ours is told so, in the layout."""
    settings.ALLOWED_HOSTS = ["known.example"]
    request = RequestFactory().get("/x", headers={"accept": HTML, "host": "other.example"})
    page = through_middleware(request, HttpResponse("<h1>Bad Request (400)</h1>", status=400)).content.decode()
    assert "ALLOWED_HOSTS" in page
    assert 'id="site-search"' in page


@pytest.mark.django_db
def test_a_form_without_its_token() -> None:
    """Whoever sends a form without the token of its page is told what to do."""
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"}, headers={"accept": HTML})
    assert answer.status_code == 403
    assert "Load the page again" in answer.content.decode()
