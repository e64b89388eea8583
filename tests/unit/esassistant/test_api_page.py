"""The page of the API: it shows all that the document has, and needs no script."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.utils.html import escape
from jsonschema import Draft202012Validator

from dev.openapi.document import document
from esassistant.api_page import shown_tags
from esassistant.asgi import application
from esassistant.views import DOCUMENT

DESCRIBED: dict[str, Any] = json.loads(DOCUMENT)
OPERATIONS = [
    (path, method, operation) for path, methods in DESCRIBED["paths"].items() for method, operation in methods.items()
]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_the_page_has_every_operation(client: httpx.AsyncClient) -> None:
    """Anybody finds each address with what it does, its parameters, what it answers and its problems, on one page."""
    page = await client.get("/api/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path, method, operation in OPERATIONS:
        section = page.text.split(f'id="{operation["operationId"]}"')[1].split("</section>")[0]
        assert f"{method.upper()} {path}" in section
        assert escape(operation["summary"]) in section
        for parameter in operation.get("parameters", ()):
            assert f"<code>{parameter['name']}</code>" in section
        for status in operation["responses"]:
            assert f">{status}</th>" in section


async def test_the_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """No address but this server's own, no script of its own, and headings, tables and links that are whole."""
    page = (await client.get("/api/docs")).text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert len(re.findall(r"<script", page)) == 2  # those of all pages, which this one works without
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


async def test_the_page_is_only_read(client: httpx.AsyncClient) -> None:
    """It answers GET and HEAD; a slash too many is 404, and leads here."""
    assert (await client.post("/api/docs")).status_code in (403, 405)
    assert (await client.head("/api/docs")).status_code == 200
    assert "/api/docs" in (await client.get("/api/docs/")).json()["detail"]


def test_each_operation_is_shown_once() -> None:
    """Each operation is under one tag, and each tag has some."""
    tags = shown_tags(DESCRIBED, "http://x")
    names = [operation.name for tag in tags for operation in tag.operations]
    assert sorted(names) == sorted(operation["operationId"] for _, _, operation in OPERATIONS)
    assert all(tag.operations for tag in tags)


def test_commands_to_try_it_with() -> None:
    """The command has method, address, token where one is needed, and the first body."""
    shown = {
        operation.name: operation
        for tag in shown_tags(DESCRIBED, "https://es.example.org")
        for operation in tag.operations
    }
    assert shown["livez"].curl == 'curl "https://es.example.org/livez"'
    assert shown["schema"].curl == (
        'curl -H "Authorization: Bearer $TOKEN" "https://es.example.org/api/mappings/orders/schema"'
    )
    assert shown["refresh"].curl.startswith('curl -X POST -H "Authorization: Bearer $TOKEN" "')
    assert "-d '{" in shown["search"].curl
    assert shown["search"].bodies


def test_who_may_call_it() -> None:
    """Who may call an operation is said in words."""
    access = {operation.name: operation.access for tag in shown_tags(DESCRIBED, "") for operation in tag.operations}
    assert access["livez"] == "anybody"
    assert access["health"].startswith("anybody; more for")
    assert access["schema"] == "a token, or a session of staff"
    assert access["refresh"].endswith("with its CSRF token")


def test_values_in_words() -> None:
    """What a parameter may be is said in words, with bounds and default."""
    shown = {operation.name: operation for tag in shown_tags(DESCRIBED, "") for operation in tag.operations}
    values = {parameter.name: parameter.values for parameter in shown["indices"].parameters}
    assert values["limit"] == "a whole number, 1 to 1000, default 100"
    assert values["kind"] == "index or alias or data_stream"
    assert {parameter.is_required for parameter in shown["schema"].parameters if parameter.place == "path"} == {True}


def test_a_parameter_may_be_anything() -> None:
    """Of a schema that permits everything nothing is said."""
    operation = {
        "operationId": "any",
        "summary": "Any",
        "tags": ["a"],
        "responses": {},
        "parameters": [{"name": "x", "in": "query", "schema": {}}],
    }
    [tag] = shown_tags({"tags": [{"name": "a", "description": ""}], "paths": {"/any": {"get": operation}}}, "")
    assert [parameter.values for one in tag.operations for parameter in one.parameters] == [""]


def test_examples_of_answers_are_answers() -> None:
    """Each example fits the schema beside it, and there are some."""
    found = 0
    components = document()["components"]
    for _, _, operation in OPERATIONS:
        for response in operation["responses"].values():
            for media in response.get("content", {}).values():
                if "example" in media:
                    found += 1
                    validator = Draft202012Validator({**media["schema"], "components": components})
                    assert [error.message for error in validator.iter_errors(media["example"])] == []
    assert found >= 4
