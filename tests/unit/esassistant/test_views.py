"""What the kernel answers itself: what problems mean, and addresses and parameters that are unknown."""

import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import include
from django.urls import path as route
from pytest_django import Settings

from dev.openapi.operations import OPERATIONS, Access
from esassistant.asgi import application
from esassistant.errors import problem_types
from esassistant.views import DOCUMENT, openapi

TOKEN = {"Authorization": "Bearer test-token-0123456789"}
WRONG = {"Authorization": "Bearer wrong"}
PAGE = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}

urlpatterns = [route("assistant/", include("esassistant.urls"))]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.access is not Access.OPEN], ids=lambda operation: operation.name
)
async def test_unknown_parameters(client: httpx.AsyncClient, operation: object) -> None:
    """Every operation refuses a parameter that it doesn't know and names those that it does, whoever asks."""
    path, method = re.sub(r"{\w+}", "x", operation.path), operation.method.upper()  # type: ignore[attr-defined]
    known = [one.name for one in operation.parameters if one.place == "query"]  # type: ignore[attr-defined]
    for headers in (TOKEN, {}):
        response = await client.request(method, f"{path}?unknown=1", headers=headers)
        problem = response.json()
        assert (response.status_code, problem["type"]) == (400, "/problems/unknown-parameter")
        assert all(name in problem["detail"] for name in ("'unknown'", *known))
    for name in known:
        twice = await client.request(method, f"{path}?{name}=1&{name}=1", headers=TOKEN)
        assert (twice.status_code, twice.json()["detail"]) == (400, f"Send {name}= once.")


async def test_every_type_leads_to_its_page(client: httpx.AsyncClient) -> None:
    """The type of a problem is an address at which anybody finds what it means and what to do, as page and as text;
    all of them are in one list.
    """
    everything = await client.get("/problems/")
    page = await client.get("/problems/", headers=PAGE)
    assert everything.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for error in problem_types().values():
        type_ = error.problem_type
        text = (await client.get(type_.uri)).text
        assert text == f"{type_.uri}: {error.title} ({error.status})\n{type_.meaning}\nWhat to do: {type_.remedy}\n"
        assert text in everything.text + "\n"
        assert f'href="{type_.uri}"' in page.text
        assert f"status {error.status}" in (await client.get(type_.uri, headers=PAGE)).text
    assert {"Accept"} <= set(page.headers["vary"].split(", "))


async def test_no_such_type(client: httpx.AsyncClient) -> None:
    """A type that doesn't exist is 404 and says where all are; without its slash the list is found, too."""
    response = await client.get("/problems/nothing")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
    assert "/problems/ lists all" in response.json()["detail"]
    assert (await client.get("/problems")).headers["location"] == "/problems/"
    assert (await client.post("/problems/")).status_code == 405


@pytest.mark.django_db
def test_logging_out() -> None:
    """The header's link asks, and the admin logs out; who isn't logged in is told so."""
    client = Client()
    assert "Nobody is logged in here." in client.get("/logout").content.decode()
    client.force_login(User.objects.create_superuser("ada", "ada@example.org", "a long enough password"))
    page = client.get("/logout").content.decode()
    assert "You are logged in as <strong>ada</strong>" in page
    [action] = re.findall(r'<form method="post" action="([^"]+)"', page)
    assert client.post(action).status_code == 200
    assert "Nobody is logged in here." in client.get("/logout").content.decode()


@pytest.mark.parametrize("path", ["/api/mappings", "/api/mappings/"])
async def test_mappings_of_nothing(client: httpx.AsyncClient, path: str) -> None:
    """Without a name the answer is 404, and says where names and mappings are."""
    for method in ("GET", "POST"):
        response = await client.request(method, path, headers=TOKEN)
        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
        assert "/api/mappings/{name}" in response.json()["detail"]
        assert "/api/indices" in response.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        *("/api/indices", "/api/mappings/orders", "/api/mappings/orders/fields", "/api/cache/stats", "/api/health"),
        *("/api/indices/orders/search", "/api/openapi.json", "/metrics"),
    ],
)
async def test_a_slash_at_the_end(client: httpx.AsyncClient, path: str) -> None:
    """An address with a slash too many is 404, and names the one without."""
    for slashes in ("/", "//"):
        response = await client.get(path + slashes, headers=TOKEN)
        assert response.status_code == 404
        assert response.json()["detail"] == f"There is nothing at this address. Leave out the slash at its end: {path}"


async def test_an_unknown_address_with_a_slash(client: httpx.AsyncClient) -> None:
    """Nothing is named that isn't there."""
    for path in ("/api/", "/api/nothing/", "/nothing/"):
        response = await client.get(path)
        assert response.json()["detail"] == "There is nothing at this address."


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/status/", "/admin/login/", "/browse/", "/", "/problems/", "/nothing", "/api/nothing"]
)
async def test_a_wrong_token(client: httpx.AsyncClient, path: str) -> None:
    """A token that isn't ours is 401 at every address, pages and unknown ones included: as a page for a browser."""
    response = await client.get(path, headers=WRONG)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json()["type"] == "/problems/credentials-needed"
    if not path.startswith("/api/"):
        page = await client.get(path, headers=WRONG | PAGE)
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert 'href="/problems/credentials-needed"' in page.text


async def test_other_schemes(client: httpx.AsyncClient) -> None:
    """Credentials of another scheme, such as a proxy's, are not ours to judge."""
    response = await client.get("/problems/", headers={"Authorization": "Basic dTpw"})
    assert response.status_code == 200


async def test_the_description_below_a_prefix(settings: Settings) -> None:
    """It says where its addresses are, and nothing else differs; at the root it is the document itself."""
    request = RequestFactory().get("/api/openapi.json")
    at_root = await openapi(request)
    settings.ROOT_URLCONF = __name__
    below = await openapi(request)
    assert at_root.content == DOCUMENT
    assert json.loads(below.content) == json.loads(DOCUMENT) | {"servers": [{"url": "/assistant"}]}
    assert below["ETag"] != at_root["ETag"]
