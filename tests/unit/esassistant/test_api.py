"""What all API views share."""

import json
from dataclasses import dataclass

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from esassistant.api import api_view, json_response, parameter
from esassistant.errors import BadRequest


@api_view("GET")
async def readable(_: HttpRequest, name: str = "") -> HttpResponse:
    """Says its name."""
    if name == "..":
        raise BadRequest("Send the name of an index.")
    if name == "crash":
        raise ZeroDivisionError
    return HttpResponse(name)


@api_view("POST")
async def writable(_: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


@pytest.mark.parametrize(
    ("view", "allowed"), [(readable, {"GET", "HEAD"}), (writable, {"POST"})], ids=["readable", "writable"]
)
async def test_only_the_named_methods(view: object, allowed: set[str]) -> None:
    """A view answers the methods that it names, HEAD beside GET; the others get 405 and are told which."""
    assert callable(view)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = await view(RequestFactory().generic(method, "/api/x"))
        assert response.status_code == (200 if method in allowed else 405)
        if method not in allowed:
            assert set(response["Allow"].split(", ")) == allowed
            assert response["Content-Type"] == "application/problem+json"


async def test_our_errors_become_problems() -> None:
    """An error of ours that a view raises is answered as its problem, and isn't logged as a failure of the server."""
    response = await readable(RequestFactory().get("/api/x"), name="..")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert json.loads(response.content)["detail"] == "Send the name of an index."
    assert response._has_been_logged is True


async def test_other_errors_pass() -> None:
    """A bug in a view isn't dressed up: Django sees it, logs it and answers 500."""
    with pytest.raises(ZeroDivisionError):
        await readable(RequestFactory().get("/api/x"), name="crash")


async def test_a_view_stays_what_it_was() -> None:
    """The decorated view is still async, named and documented as before, gets its arguments, and is CSRF-exempt."""
    assert iscoroutinefunction(readable)
    assert (readable.__name__, readable.__doc__) == ("readable", "Says its name.")
    assert readable.csrf_exempt is True
    assert (await readable(RequestFactory().get("/api/x"), name="logs")).content == b"logs"


def test_json_response() -> None:
    """Dataclasses and collections come out as JSON with the wanted status, never to be stored on the way."""

    @dataclass(frozen=True)
    class Report:
        hits: int
        ratio: float | None

    response = json_response({"report": Report(3, None), "names": ("a", "ü")}, status=202)
    assert json.loads(response.content) == {"report": {"hits": 3, "ratio": None}, "names": ["a", "ü"]}
    assert (response.status_code, response["Content-Type"]) == (202, "application/json")
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("query", "value"), [("", "none"), ("a=", ""), ("a=x&b=y", "x")])
def test_a_parameter(query: str, value: str) -> None:
    """A parameter is what was sent, or what it is when none was."""
    assert parameter(RequestFactory().get(f"/api/x?{query}"), "a", "none") == value


def test_a_parameter_comes_once() -> None:
    """A parameter that is sent several times is refused, and the refusal names it."""
    with pytest.raises(BadRequest, match="Send limit= once"):
        parameter(RequestFactory().get("/api/x?limit=1&limit=2"), "limit", None)
