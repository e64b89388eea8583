"""The description of the API: made of the code, valid, complete, and served."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_django import Settings

from cacheapp.errors import IllegalName
from cacheapp.state.expressions import Expression, asked, parse
from cacheapp.state.names import MAX_NAME_BYTES, check_name
from cacheapp.state.visible import ALL_VISIBLE
from dev.openapi.document import PATH, document, rendered
from dev.openapi.operations import NAME_SCHEMA, NAMES_SCHEMA
from dev.openapi.schemas import schemas, unnamed
from esassistant.asgi import application
from esassistant.config.model import Details
from esassistant.http.lanes import is_api_view
from healthapp.probes import PROBES


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


def addresses(resolver: URLResolver) -> Iterator[str]:
    """The addresses of API views as the document writes them: `/api/mappings/{name}`."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern)
        elif isinstance(pattern, URLPattern) and is_api_view(pattern.callback):
            plain = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/{pattern.pattern}")
            yield plain.replace("{refresh_id}", "{id}")


def test_the_file_is_what_the_generator_makes() -> None:
    """What is checked in and served is what `python -m dev.openapi` makes of the code as it is."""
    assert PATH.read_text(encoding="utf-8") == rendered(), "run: .venv/bin/python -m dev.openapi"


def test_it_is_openapi() -> None:
    """The document is valid OpenAPI 3.1."""
    described = document()
    assert described["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


async def test_it_describes_every_address(client: httpx.AsyncClient) -> None:
    """It has the paths and methods that the URLconf and the probes answer, and no others."""
    answered = set(addresses(get_resolver())) | set(PROBES)
    methods: dict[str, set[str]] = {}
    for address in answered:
        refusal = await client.request("OPTIONS", re.sub(r"{\w+}", "x", address))
        assert refusal.status_code == 405
        methods[address] = set(refusal.headers["Allow"].lower().split(", ")) - {"head"}
    assert {path: set(described) for path, described in document()["paths"].items()} == methods


def test_it_has_the_parameters_that_views_know() -> None:
    """The parameters of the query that are described are those that a view doesn't refuse."""
    described = {
        path: {one["name"] for one in next(iter(methods.values())).get("parameters", ()) if one["in"] == "query"}
        for path, methods in document()["paths"].items()
    }
    for path in described.keys() - PROBES:
        view: Any = resolve(re.sub(r"{\w+}", "x", path)).func
        assert described[path] == set(view.parameters), path


def test_every_member_of_a_report_has_a_type() -> None:
    """No report has a member of which the document says nothing, as it would where a dataclass says `Any`."""
    assert list(unnamed(schemas())) == []


def test_no_schema_has_a_member_of_its_own_name() -> None:
    """What generates clients in Python gives both the same variable, and the client breaks."""
    for name, schema in schemas().items():
        as_variable = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        assert as_variable not in schema.get("properties", {}), name


def test_operations_have_names_of_their_own() -> None:
    """What generates clients finds an operationId for each operation, and each once."""
    names = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) > 10


@given(st.one_of(st.text(max_size=5), st.text("ab-_+.*,: \n", max_size=4), st.text("aé", min_size=120, max_size=260)))
@example("..")
@example("...")
@example("a\n")
def test_the_schema_of_names_is_the_rule_for_names(name: str) -> None:
    """The schema permits the names that aren't refused, but for what it only says in words: lower case, and bytes."""
    permitted = re.fullmatch(str(NAME_SCHEMA["pattern"]), name) is not None and len(name) <= MAX_NAME_BYTES
    try:
        check_name(name)
    except IllegalName:
        assert not permitted or name != name.lower() or len(name.encode()) > MAX_NAME_BYTES
    else:
        assert permitted


@given(st.lists(st.text("ab-_.*:A", max_size=4), min_size=1, max_size=4).map(",".join))
@example("_all")
@example("a,_all")
@example("a*,-..")
def test_the_schema_of_lists_is_the_rule_for_lists(names: str) -> None:
    """Of names, patterns and what is taken away, in an order that means something; upper case is for aliases."""
    permitted = re.fullmatch(str(NAMES_SCHEMA["pattern"]), names) is not None
    try:
        if isinstance(asked(names, ALL_VISIBLE), Expression):
            parse(names)
        else:
            check_name(names, upper_case=True)
    except IllegalName:
        assert not permitted
    else:
        assert permitted


@pytest.mark.parametrize("details", Details)
async def test_it_is_served(details: Details, settings: Settings, client: httpx.AsyncClient) -> None:
    """Anybody gets the file, whatever ESASSISTANT_DETAILS says, with a validator that saves the body; a wrong token is
    refused as everywhere.
    """
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=details)
    answer = await client.get("/api/openapi.json")
    assert (answer.status_code, answer.content) == (200, PATH.read_bytes())
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-cache")
    held: dict[str, Any] = {"If-None-Match": answer.headers["etag"]}
    assert (await client.get("/api/openapi.json", headers=held)).status_code == 304
    assert (await client.get("/api/openapi.json", headers={"Authorization": "Bearer wrong"})).status_code == 401
