"""The API's documentation for people: what its page shows, made from the OpenAPI document. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
TYPES = {"integer": "a whole number", "boolean": "true or false", "string": "text"}
EXAMPLE = "orders"
"""Stands for a part of an address for which the document has no example."""


@dataclass(frozen=True, slots=True)
class ShownParameter:
    """One parameter. `place`: path, query or header; `values`: the permitted values, in words."""

    name: str
    place: str
    is_required: bool
    description: str
    values: str
    example: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One answer. `types`: its content types; `example`: as JSON, empty if there is none."""

    status: str
    description: str
    types: str
    example: str


@dataclass(frozen=True, slots=True)
class ShownOperation:
    """One address with a method. `bodies`: examples of request bodies, each with its summary; `answers`: with status
    below 400; `problems`: with status 400 and above.
    """

    name: str
    method: str
    path: str
    summary: str
    description: str
    access: str
    parameters: tuple[ShownParameter, ...]
    bodies: tuple[tuple[str, str], ...]
    answers: tuple[ShownAnswer, ...]
    problems: tuple[ShownAnswer, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class ShownTag:
    """Operations that belong together."""

    name: str
    description: str
    operations: tuple[ShownOperation, ...]


def shown_tags(document: Object, address: str) -> tuple[ShownTag, ...]:
    """Describe the operations of an OpenAPI document, grouped by tag, in the order of the document.

    Args:
        document: The OpenAPI document.
        address: The address of this server, such as `https://es.example.org`, for the examples.
    """
    found: dict[str, list[ShownOperation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                found[operation["tags"][0]].append(_operation(document, path, method, operation, address))
    return tuple(ShownTag(tag["name"], tag["description"], tuple(found[tag["name"]])) for tag in document["tags"])


def _operation(document: Object, path: str, method: str, operation: Object, address: str) -> ShownOperation:
    parameters = tuple(_parameter(document, one) for one in operation.get("parameters", ()))
    content = operation.get("requestBody", {}).get("content", {})
    bodies = tuple(
        (example.get("summary", name), _pretty(example["value"]))
        for media in content.values()
        for name, example in media.get("examples", {}).items()
    )
    answers = [_answer(document, status, response) for status, response in operation["responses"].items()]
    return ShownOperation(
        name=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        access=_access(operation.get("security", ())),
        parameters=parameters,
        bodies=bodies,
        answers=tuple(one for one in answers if one.status < "400"),
        problems=tuple(one for one in answers if one.status >= "400"),
        curl=_curl(path, method, operation, parameters, content, address),
    )


def _parameter(document: Object, parameter: Object) -> ShownParameter:
    schema = _resolved(document, parameter["schema"])
    examples = schema.get("examples", ())
    return ShownParameter(
        name=parameter["name"],
        place=parameter["in"],
        is_required=parameter.get("required", False),
        description=parameter.get("description", ""),
        values=", ".join(_values(schema)),
        example=str(examples[0]) if examples else "",
    )


def _values(schema: Object) -> Iterator[str]:
    """Yield in words what a schema permits."""
    if "enum" in schema:
        yield " or ".join(str(value) for value in schema["enum"])
    elif "type" in schema:
        yield TYPES.get(schema["type"], str(schema["type"]))
    if "minimum" in schema and "maximum" in schema:
        yield f"{schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "default" in schema:
        yield f"default {json.dumps(schema['default']).strip(chr(34))}"


def _answer(document: Object, status: str, response: Object) -> ShownAnswer:
    response = _resolved(document, response)
    content = response.get("content", {})
    example = next((media["example"] for media in content.values() if "example" in media), None)
    return ShownAnswer(status, response["description"], ", ".join(content), "" if example is None else _pretty(example))


def _access(security: Sequence[Object]) -> str:
    """Say who may call an operation."""
    if not security:
        return "anybody"
    if {} in security:
        return "anybody; more for who has a token, or a session of staff"
    needs_csrf = any("csrf" in scheme for scheme in security)
    return "a token, or a session of staff" + (" with its CSRF token" if needs_csrf else "")


def _curl(
    path: str, method: str, operation: Object, parameters: Sequence[ShownParameter], content: Object, address: str
) -> str:
    """Return a curl command that calls the operation."""
    given = {one.name: one.example or EXAMPLE for one in parameters if one.place == "path"}
    query = "&".join(f"{one.name}={one.example}" for one in parameters if one.place == "query" and one.example)
    needs_token = any("token" in scheme for scheme in operation.get("security", ()))
    examples: Object = next((media.get("examples", {}) for media in content.values()), {})
    body = next((json.dumps(example["value"], separators=(",", ":")) for example in examples.values()), "")
    parts = [
        "curl",
        *(["-X POST"] if method == "post" and not body else []),
        *(['-H "Authorization: Bearer $TOKEN"'] if needs_token else []),
        *(['-H "Content-Type: application/json"', f"-d '{body}'"] if body else []),
        f'"{address}{path.format(**given)}{"?" if query else ""}{query}"',
    ]
    return " ".join(parts)


def _resolved(document: Object, schema: Object) -> Object:
    """Return what the `$ref` of a schema points to, or the schema itself if it has none."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
