"""What all API views share."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from esassistant.api import api_view, json_response, parameter, query_of, whole_number
from esassistant.errors import BadRequest, UnknownParameter
from tests.support.asgi import Asked


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


@pytest.mark.parametrize("given", ["1", "0007", "50"])
def test_a_number(given: str) -> None:
    """Digits that make a number within the bounds, which are themselves allowed, are read as that number."""
    assert whole_number("limit", given, 1, 50) == int(given)


@pytest.mark.parametrize("given", ["", "0", "51", "-1", "+1", "1.0", " 1", "1_0", "٣", "²", "9" * 5000])
def test_no_such_number(given: str) -> None:
    """Whatever isn't a whole number within the bounds is refused, with the parameter and both bounds."""
    with pytest.raises(BadRequest, match=r"^Use limit= with a whole number from 1 to 50\.$"):
        whole_number("limit", given, 1, 50)


@api_view("GET", parameters=("limit", "cursor", "q"))
async def listing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(parameter(request, "limit", "none"))


@pytest.mark.parametrize(
    ("view", "query", "name", "detail"),
    [
        (listing, "limit=1&limit=2", "bad-request", "Send limit= once."),
        (listing, "limit=1&limt=2", "unknown-parameter", "There is no parameter 'limt' here: use limit, cursor or q."),
        (listing, "=1", "unknown-parameter", "There is no parameter '' here: use limit, cursor or q."),
        (listing, "Q=1", "unknown-parameter", "There is no parameter 'Q' here: use limit, cursor or q."),
        (readable, "x", "unknown-parameter", "There is no parameter 'x' here: this address has none."),
        (listing, "&".join(["q=1"] * 1001), "bad-request", "The query has too many parameters."),
    ],
)
async def test_parameters_that_would_have_no_effect(view: Any, query: str, name: str, detail: str) -> None:
    """A parameter that an address doesn't know is refused, as is one that comes twice; the refusal says what to do."""
    response = await view(RequestFactory().get(f"/api/x?{query}"))
    body = json.loads(response.content)
    assert (response.status_code, body["type"], body["detail"]) == (400, f"/problems/{name}", detail)


async def test_what_is_not_known_is_repeated_in_part() -> None:
    """The refusal repeats no more than the beginning of what was sent."""
    response = await listing(RequestFactory().get(f"/api/x?{'x' * 5000}=1"))
    assert len(response.content) < 500


@pytest.mark.parametrize("query", ["", "limit=", "limit=1&cursor=2&q=3"])
async def test_known_parameters(query: str) -> None:
    """Those that it knows, each once, in any order, are for the view to read."""
    assert (await listing(RequestFactory().get(f"/api/x?{query}"))).status_code == 200


@pytest.mark.parametrize(
    ("query", "kind"),
    [(b"b=1", UnknownParameter), (b"a=1&a=2", BadRequest), (b"&".join(b"a%d=" % n for n in range(2000)), BadRequest)],
)
def test_a_query_that_comes_to_no_view(query: bytes, kind: type[BadRequest]) -> None:
    """It is checked as those of views are."""
    with pytest.raises(kind):
        query_of(Asked("/", query=query).scope(), ("a",))
    assert query_of(Asked("/", query=b"a=%C3%A4").scope(), ("a",)).get("a") == "\u00e4"
