"""Refusals are the same problems that Django's side makes, and cost next to nothing."""

import json
import time
from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from esassistant.asgi_types import Receive, Scope, Send
from esassistant.errors import ClusterUnavailable, EsassistantError, MethodNotAllowed, Unauthorized
from esassistant.http.counters import NOTE, Counters, RequestNote
from esassistant.http.limits import InFlight, RequestLimits
from esassistant.http.problems import problem_of
from esassistant.http.refusal import Refusal
from esassistant.http.statistics import HttpStatistics
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


@pytest.mark.parametrize(("scheme", "hsts"), [("http", None), ("https", "max-age=60")])
async def test_headers_by_scheme(settings: Settings, scheme: str, hsts: str | None) -> None:
    """HSTS is for HTTPS alone; a connection whose body nobody reads is closed."""
    settings.SECURE_HSTS_SECONDS = 60
    head, _ = Refusal(Unauthorized("x"), closes=True).parts({"scheme": scheme}, ID)
    found = dict(head)
    assert found.get(b"strict-transport-security") == (hsts.encode() if hsts else None)
    assert found[b"connection"] == b"close"


async def test_a_refusal_is_cheap() -> None:
    """One takes no more than 30 µs, counting included; the best of many rounds, as others use the processors too."""

    async def unreached(*_: Any) -> None:
        raise AssertionError

    limits = RequestLimits(unreached, 10, InFlight(1, 1, total=1), lambda _: False)
    app = Counters(limits, HttpStatistics(), None)
    scopes = [Asked("/api/health").scope() for _ in range(2000)]

    async def sink(_: Any) -> None:
        pass

    best = float("inf")
    for begin in range(0, len(scopes), 100):
        started_at = time.process_time()
        for scope in scopes[begin : begin + 100]:
            await app(scope, sink, sink)  # type: ignore[arg-type]
        best = min(best, (time.process_time() - started_at) / 100)
    assert best <= 30e-6
