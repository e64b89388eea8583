"""Put the OpenAPI document together from the table of operations and the schemas."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from dev.openapi.mapping_schemas import GROUPED, MAPPED
from dev.openapi.operations import (
    JSON,
    NAME_SCHEMA,
    NAMES_SCHEMA,
    OPERATIONS,
    REFRESH_ID_SCHEMA,
    STARTED,
    Access,
    Answer,
    Operation,
    Parameter,
)
from dev.openapi.schemas import schemas
from esassistant import __version__
from esassistant.http.limits import BODY_SECONDS, MAX_ADDRESS_BYTES
from esassistant.http.problems import CONTENT_TYPE as PROBLEM
from esassistant.http.uvicorn_protocol import MAX_HEAD_BYTES

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent
PATH = ROOT / "esassistant" / "openapi.json"

ABOUT = f"""\
Mappings, health and performance of an Elasticsearch cluster, answered from memory.

Times are in seconds, unless their name says otherwise (`_ms`). A number is `null` before there is data for it. Errors
are `application/problem+json` (RFC 9457). Every answer has the header `X-Request-ID`. It repeats the request's own, if
that has only letters, digits, `.`, `_` and `-`. Two kinds of requests get 400 in plain text, without that header:
those that can't be read as HTTP, and those whose head (address and headers) has more than {MAX_HEAD_BYTES} bytes.

Answers to GET with 1 kB or more are compressed if the request accepts gzip (`Accept-Encoding`). A compressed answer has
an ETag of its own.

HEAD is answered like GET. Methods that aren't described here get 405, with the allowed ones in `Allow`. A query
parameter that an address doesn't know, or that comes twice, is an error 400; only probes ignore such parameters. An
address has at most {MAX_ADDRESS_BYTES} bytes, path and query together.

With `ESASSISTANT_DETAILS=always`, requests that only read need no credentials. Wrong credentials still get 401. A
request with a browser's session needs its CSRF token to change something.

A token may have a scope: some of the rights `read`, `search` and `refresh`, and patterns of names. Names that match no
pattern don't exist for it: the answer is 404, as for a name that isn't there. Requests about the whole cluster or
service get 403.
"""

HEADERS: dict[str, tuple[str, Object]] = {
    "X-Request-ID": ("The id of this request.", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
    "ETag": (
        "A strong validator; a compressed answer has another one.",
        {"type": "string", "pattern": '^"[0-9a-f]{32}(-gzip)?"$'},
    ),
    "Age": ("How many seconds ago the oldest part of the answer was confirmed.", {"type": "integer", "minimum": 0}),
    "X-Cache-State": ("Whether the answer's age is within the TTL.", {"enum": ["fresh", "stale"]}),
    "X-Cache-Source": ("Where the answer comes from.", {"enum": ["memory", "store", "elasticsearch"]}),
    "X-Search-Findings": (
        "What is wrong with the search, as JSON: `total` and the first `findings`.",
        {"type": "string"},
    ),
    "Location": ("The address of the progress and the result.", {"type": "string"}),
    "Retry-After": ("The seconds to wait before the next request.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("The kind of credentials that is needed.", {"const": "Bearer"}),
}
PROBLEMS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The request can't be understood; `detail` says what to send.", ()),
    401: ("Unauthorized", "The request has no credentials, or wrong ones.", ("WWW-Authenticate",)),
    403: (
        "Forbidden",
        "The token lacks a right or the scope, or the session lacks its CSRF token; `detail` says which.",
        (),
    ),
    404: ("NotFound", "Nothing has that name or id.", ()),
    408: ("TooSlow", f"The body did not come within {BODY_SECONDS:g} seconds.", ()),
    413: ("TooLarge", "The body is larger than ESASSISTANT_MAX_BODY_BYTES.", ()),
    414: ("TooLong", f"Path and query have more than {MAX_ADDRESS_BYTES} bytes.", ()),
    410: (
        "Gone",
        "Some changes after `since` aren't kept any more, or it is of another history; `detail` says where to go on.",
        (),
    ),
    429: ("TooSoon", "Too soon, or too many requests at once; `Retry-After` says when to try again.", ("Retry-After",)),
    503: ("Unavailable", "The cluster, the store or this process can't serve now; often with `Retry-After`.", ()),
}
PROBLEM_SCHEMA: Object = {
    "description": "A problem of RFC 9457.",
    "type": "object",
    "properties": {
        "type": {
            "description": "The address, on this server, of a page that explains this type of problem. "
            "The address stays the same in all versions. /problems/ lists all types.",
            "type": "string",
            "format": "uri-reference",
            "examples": ["/problems/bad-request"],
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"description": "What is wrong, or what to do.", "type": "string"},
        "request_id": {"description": "The id of the request, as in the header X-Request-ID.", "type": "string"},
        "did_you_mean": {
            "description": "For /problems/no-such-index: similar names that the caller may see, if there are any.",
            "type": "array",
            "items": {"type": "string"},
            "maxItems": 3,
        },
        "age_seconds": {
            "description": "For /problems/no-such-index, if the answer is from memory: how many seconds ago the "
            "cluster confirmed the names there.",
            "type": "number",
            "minimum": 0,
        },
        "findings": {
            "description": "For /problems/search-has-errors: what is wrong with the search.",
            "type": "array",
            "items": {"$ref": "#/components/schemas/Finding"},
            "maxItems": 50,
        },
        "oldest_id": {
            "description": "For /problems/changes-gone: the id of the oldest change that is kept; null if none is.",
            "type": ["integer", "null"],
        },
        "last_id": {
            "description": "For /problems/changes-gone: the id of the latest change of this history; 0: none yet.",
            "type": "integer",
        },
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}
TAGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "changes": (
        "Changes of mappings, and differences between two of them.",
        ("/api/compare", "/api/changes", "/api/mappings/{name}/history"),
    ),
    "names": ("The names of indices, aliases and data streams.", ("/api/indices",)),
    "mappings": ("The mappings of names, and their fields.", ("/api/mappings", "/api/fields")),
    "search": ("Searches, and the validation of searches.", ("/api/indices/{name}/search",)),
    "descriptions": ("Mappings as a text that fits into a prompt.", ("/api/describe",)),
    "cache": ("The state of the cache, and its refresh.", ("/api/cache",)),
    "health": (
        "Health and performance of the service and the cluster.",
        ("/api/health", "/api/performance", "/metrics"),
    ),
    "probes": ("For load balancers.", ("/livez", "/readyz")),
    "description": ("This document.", ("/api/openapi.json",)),
}
"""Tag → what its operations are about, and the beginnings of their paths. The longest matching beginning counts."""
TAG_BY_ENDING = {"/validate": "search", "/describe": "descriptions"}
SOMETIMES = "-sometimes"
SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.ANYBODY: [{}, {"token": []}, {"session": []}],
    Access.DETAILS: [{"token": []}, {"session": []}],
    Access.CHANGE: [{"token": []}, {"session": [], "csrf": []}],
}


def document() -> Object:
    """Return the whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    paths: dict[str, Object] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": project["name"],
            "summary": project["description"],
            "description": ABOUT,
            "version": __version__,
            "license": {"name": project["license"], "identifier": project["license"]},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, (description, _) in TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of ESASSISTANT_API_TOKENS, which may do everything; or one of "
                    "ESASSISTANT_TOKENS_FILE, whose entry says what it may do, and with which names.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": settings.SESSION_COOKIE_NAME,
                    "description": "The session of a staff user of the admin.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRFToken",
                    "description": f"The value of the cookie {settings.CSRF_COOKIE_NAME}.",
                },
            },
            "headers": _header_components(),
            "responses": {name: _problem(status) for status, (name, _, _) in PROBLEMS.items()},
            "schemas": {
                **schemas(),
                "MappingGroups": GROUPED,
                "Mappings": MAPPED,
                "Name": NAME_SCHEMA,
                "Names": NAMES_SCHEMA,
                "Problem": PROBLEM_SCHEMA,
                "RefreshId": REFRESH_ID_SCHEMA,
                "RefreshStarted": STARTED,
            },
        },
    }


def tag_of(path: str) -> str:
    """Return the tag of the operations with that path."""
    for ending, tag in TAG_BY_ENDING.items():
        if path.endswith(ending):
            return tag
    begins = {start: tag for tag, (_, starts) in TAGS.items() for start in starts if path.startswith(start)}
    return begins[max(begins, key=len)]


def rendered() -> str:
    """Return the document as text, as it is checked in and served."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(operation: Operation) -> Object:
    statuses = {*operation.answers, *_problems_of(operation), *({304} & {*operation.problems})}
    described: Object = {
        "operationId": operation.name,
        "tags": [tag_of(operation.path)],
        "summary": operation.summary,
        "description": operation.description,
        "security": SECURITY[operation.access],
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(status): _response(operation, status) for status in sorted(statuses)},
    }
    if operation.body is not None:
        described["requestBody"] = {
            "content": {JSON: {"schema": operation.body, "examples": operation.body_examples}},
        }
    return {name: value for name, value in described.items() if value or name == "security"}


def _problems_of(operation: Operation) -> Iterable[int]:
    yield from (400, 414)
    if operation.access is not Access.OPEN:
        yield 401
    if operation.access in (Access.DETAILS, Access.CHANGE):
        yield 403
    if operation.access is not Access.OPEN:
        yield 429  # the token's max_in_flight
    if operation.method == "post":
        yield from (408, 413)
    yield from (status for status in operation.problems if status >= 400)


def _parameter(parameter: Parameter) -> Object:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required or parameter.place == "path",
        "schema": parameter.schema,
    }


def _response(operation: Operation, status: int) -> Object:
    answer = operation.answers.get(status)
    is_problem = status in set(_problems_of(operation))
    if status == 304:
        held = operation.answers[200]
        return {"description": "What you hold.", "headers": _headers(held.headers, held.sometimes)}
    if answer is None:
        name, _, _ = PROBLEMS[status]
        return {"$ref": f"#/components/responses/{name}"}
    example = {} if answer.example is None else {"example": answer.example}
    content: Object = {answer.content_type: {"schema": _any_of(answer), **example}}
    content |= {other: {"schema": _schema(schema)} for other, schema in answer.other.items()}
    if not is_problem:
        headers = _headers(answer.headers, answer.sometimes)
        return {"description": answer.description, "headers": headers, "content": content}
    content |= _problem(status)["content"]
    sometimes = (*answer.headers, *answer.sometimes, "Retry-After")
    description = f"{answer.description} Or, as a problem: {PROBLEMS[status][1]}"
    return {"description": description, "headers": _headers((), sometimes), "content": content}


def _problem(status: int) -> Object:
    _, description, headers = PROBLEMS[status]
    sometimes = ("Retry-After",) if status == 503 else ()
    return {
        "description": description,
        "headers": _headers(headers, sometimes),
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _headers(always: Iterable[str], sometimes: Iterable[str]) -> Object:
    required = ("X-Request-ID", *always)
    places = dict.fromkeys(required, "") | dict.fromkeys(sometimes, SOMETIMES)
    return {name: {"$ref": f"#/components/headers/{name}{suffix}"} for name, suffix in places.items()}


def _header_components() -> Object:
    return {
        f"{name}{suffix}": {"description": description, "required": not suffix, "schema": schema}
        for name, (description, schema) in HEADERS.items()
        for suffix in ("", SOMETIMES)
    }


def _any_of(answer: Answer) -> Object:
    choices = [_schema(schema) for schema in answer.schemas]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _schema(schema: Mapping[str, Any] | str) -> Object:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else dict(schema)
