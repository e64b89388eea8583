"""Refusals are the same problems that Django's side makes, and cost next to nothing."""

import json

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.errors import ClusterUnavailable, EsassistantError, MethodNotAllowed, Unauthorized
from esassistant.http.counters import NOTE, RequestNote
from esassistant.http.problems import problem_of
from esassistant.http.refusal import Refusal
from tests.support.asgi import Asked, ask

ID = b"abc-1"


@pytest.mark.parametrize(
    "error",
    [ClusterUnavailable('say "x"', retry_after_seconds=1.5), Unauthorized("é"), MethodNotAllowed(("GET", "HEAD"))],
)
async def test_a_refusal_is_the_problem_of_its_error(error: EsassistantError) -> None:
    """Status, headers and body are what `problem_of` gives, with the id of the request."""
    refusal = Refusal(error)

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        await refusal.answer(scope, send)

    got = await ask(app, Asked("/x", more={NOTE: RequestNote(ID)}))
    request = RequestFactory().get("/x")
    request.scope = {NOTE: RequestNote(ID)}  # type: ignore[attr-defined]
    expected = problem_of(request, error)
    assert (got.status, json.loads(got.body)) == (expected.status_code, json.loads(expected.content))
    for name, value in expected.headers.items():
        assert got.header(name.lower()) == value
    assert got.header("x-content-type-options") == "nosniff"


@pytest.mark.parametrize(("path", "accept", "is_page"), [("/x", "text/html,*/*", True), ("/api/x", "text/html", False)])
async def test_people_get_a_page(path: str, accept: str, is_page: bool) -> None:
    """A browser is refused by a page in the layout, with the id of the request; at the API by a problem."""
    refusal = Refusal(ClusterUnavailable("Too many <b>.", retry_after_seconds=2))

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        await refusal.answer(scope, send)

    for number in (b"abc-1", b"abc-2"):
        got = await ask(app, Asked(path, headers=((b"accept", accept.encode()),), more={NOTE: RequestNote(number)}))
        assert (got.status, got.header("retry-after")) == (503, "2")
        assert got.header("content-type") == ("text/html; charset=utf-8" if is_page else "application/problem+json")
        assert number in got.body
        if is_page:
            assert b"Too many &lt;b&gt;." in got.body
            assert b'id="site-search"' in got.body
            assert "default-src 'self'" in (got.header("content-security-policy") or "")


@pytest.mark.parametrize(("scheme", "hsts"), [("http", None), ("https", "max-age=60")])
async def test_headers_by_scheme(settings: Settings, scheme: str, hsts: str | None) -> None:
    """HSTS is for HTTPS alone; a connection whose body nobody reads is closed."""
    settings.SECURE_HSTS_SECONDS = 60
    head, _ = Refusal(Unauthorized("x"), closes=True).parts({"scheme": scheme, "path": "/x", "headers": []}, ID)
    found = dict(head)
    assert found.get(b"strict-transport-security") == (hsts.encode() if hsts else None)
    assert found[b"connection"] == b"close"
