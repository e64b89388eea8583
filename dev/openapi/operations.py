"""The table of the API's operations."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cacheapp.describe.description import DEFAULT_BUDGET_TOKENS, MAX_QUESTION_CHARACTERS, MIN_BUDGET_TOKENS
from cacheapp.describe.fields import MAX_BUDGET_TOKENS
from cacheapp.feed.interest import MAX_CHANGE_ID
from cacheapp.mapping.fields import MAX_QUERY_CHARACTERS
from cacheapp.state.changes import ChangeKind
from cacheapp.state.expressions import MAX_EXPRESSION_BYTES, MAX_PATTERNS
from cacheapp.state.field_pages import MAX_FIELD_CHARACTERS
from cacheapp.state.listing import DEFAULT_LIMIT, MAX_LIMIT, Kind, State
from cacheapp.state.names import MAX_NAME_BYTES
from dev.openapi import examples
from dev.openapi.search_schemas import SEARCH, SEARCH_EXAMPLES, SEARCH_RESULT

JSON = "application/json"
TEXT = "text/plain"
EVENTS = "text/event-stream"

STARTED = {
    "type": "object",
    "properties": {
        "outcome": {"enum": ["started", "joined"]},
        "id": {"$ref": "#/components/schemas/RefreshId"},
        "url": {"type": "string"},
    },
    "required": ["outcome", "id", "url"],
}
JSON_SCHEMA = {"type": "object", "properties": {"$schema": {"const": "https://json-schema.org/draft/2020-12/schema"}}}


class Access(enum.Enum):
    """Who may call an operation.

    `OPEN`: credentials aren't looked at. `ANYBODY`: no credentials are needed, but wrong ones are refused. `DETAILS`:
    whoever may read. `CHANGE`: a token with the right for it, or a session with its CSRF token.
    """

    OPEN = "open"
    ANYBODY = "anybody"
    DETAILS = "details"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. Parameters in the path are always required."""

    name: str
    place: str
    description: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an operation that succeeds.

    Args:
        description: What it is.
        schemas: The answer fits one of them.
        content_type: Its content type.
        headers: The headers that it always has.
        sometimes: The headers that it has under the condition that the description names.
        other: Content type → the schema of the answer in that form, for callers who accept it.
        example: An example.
    """

    description: str
    schemas: tuple[Mapping[str, Any] | str, ...]
    content_type: str = JSON
    headers: tuple[str, ...] = ()
    sometimes: tuple[str, ...] = ()
    other: Mapping[str, Mapping[str, Any] | str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One address and method. `problems`: its errors, in addition to those that every operation has."""

    path: str
    method: str
    name: str
    summary: str
    access: Access
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[int, ...] = ()
    description: str = ""
    body: Mapping[str, Any] | None = None
    body_examples: Mapping[str, Any] = field(default_factory=dict)


NAMES = Parameter(
    "name",
    "path",
    "The name of an index, alias or data stream; or a list of names and patterns, such as "
    "`logs-*,metrics-*,-logs-old-*`.",
    {"$ref": "#/components/schemas/Names"},
)
FORBIDDEN = r' "*,/<>?\\|#:\u0000-\u001f\u007f-\u009f'
NAME_SCHEMA = {
    "description": f"At most {MAX_NAME_BYTES} bytes of UTF-8, in lower case. "
    "Only the names of existing aliases may have capitals.",
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME_BYTES,
    "examples": ["orders"],
    "pattern": rf"^(?!\.{{1,2}}$)[^\-_+{FORBIDDEN}][^{FORBIDDEN}]*$",
}
_ONE = rf"(?!\.{{1,2}}(?:,|$))[^\-_+{FORBIDDEN}][^{FORBIDDEN}]*"
_ANY = FORBIDDEN.replace("*", "")
_PATTERN = rf"(?:[^\-_+{FORBIDDEN}][^{FORBIDDEN}]*)?\*[^{_ANY}]*"
NAMES_SCHEMA = {
    "description": "One name, or several names separated by commas. `*` stands for any characters, and `_all` alone "
    "for everything. A name that begins with `-` and comes after a pattern is taken away. The list has at most "
    f"{MAX_EXPRESSION_BYTES} bytes and {MAX_PATTERNS} patterns, and each name at most {MAX_NAME_BYTES} bytes.",
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_EXPRESSION_BYTES,
    "examples": ["orders", "logs-*,metrics-*,-logs-old-*"],
    "pattern": rf"^(?:_all|{_ONE}(?:,{_ONE})*|(?:{_ONE},)*{_PATTERN}(?:,-?(?:{_PATTERN}|{_ONE}))*)$",
}
REFRESH_ID_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{12}$"}
PATTERN_SCHEMA = {
    "description": f"A name, or a list of names and patterns, of at most {MAX_EXPRESSION_BYTES} bytes.",
    "type": "string",
    "format": "names",
    "examples": ["logs-*,-logs-old-*"],
}
SIDE = {"$ref": "#/components/schemas/Names"}
_KIND = f"(?:{'|'.join(ChangeKind)})"
KINDS_SCHEMA = {"type": "string", "pattern": f"^{_KIND}(?:,{_KIND})*$", "examples": ["created,changed"]}
PATH_SCHEMA = {"type": "string", "maxLength": MAX_FIELD_CHARACTERS, "examples": ["customer.name"]}
SEARCHED_FIELDS = Parameter(
    "q",
    "query",
    "Words that the path of a field has to contain, all of them and in any case.",
    {"type": "string", "maxLength": MAX_QUERY_CHARACTERS},
)
FIELD_FILTERS = (
    Parameter(
        "type", "query", "Only fields that have this type in some index.", PATH_SCHEMA | {"examples": ["keyword"]}
    ),
    Parameter("prefix", "query", "Only fields whose paths begin with this.", PATH_SCHEMA),
    Parameter(
        "leaves", "query", "Leave out fields that only hold others: objects.", {"type": "boolean", "default": False}
    ),
)
LIMIT = Parameter(
    "limit",
    "query",
    "The largest number of entries in the answer.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)
CURSOR = Parameter("cursor", "query", "`next_cursor` of the page before.", {"type": "string", "format": "cursor"})
FIELD_CURSOR = Parameter(
    "cursor", "query", "`next_cursor` of the page before.", {"type": "string", "format": "field-cursor"}
)
TOKENS = Parameter(
    "tokens",
    "query",
    "The largest number of tokens in the text.",
    {
        "type": "integer",
        "minimum": MIN_BUDGET_TOKENS,
        "maximum": MAX_BUDGET_TOKENS,
        "default": DEFAULT_BUDGET_TOKENS,
    },
)
QUESTION = Parameter(
    "q",
    "query",
    "What the reader wants to know, in words. What is related to it comes first.",
    {"type": "string", "maxLength": MAX_QUESTION_CHARACTERS},
)
UNCHANGED = Parameter(
    "If-None-Match",
    "header",
    "The ETag of the answer that you have. If it is still the same, the answer is 304.",
    {"type": "string"},
)
STATE = ("X-Cache-State", "X-Cache-Source")

OPERATIONS = (
    Operation(
        "/livez",
        "get",
        "livez",
        "Whether the process answers",
        Access.OPEN,
        {200: Answer("The process answers.", ({"const": "ok\n"},), TEXT)},
    ),
    Operation(
        "/readyz",
        "get",
        "readyz",
        "Whether the process should get requests",
        Access.OPEN,
        {
            200: Answer("The process has mappings, and isn't draining.", ({"type": "string"},), TEXT),
            503: Answer("What is missing.", ({"type": "string"},), TEXT),
        },
        (Parameter("verbose", "query", "List all conditions; the value is ignored.", {"type": "string"}),),
    ),
    Operation(
        "/api/health",
        "get",
        "health",
        "The last report of the health checks",
        Access.ANYBODY,
        {
            200: Answer("Healthy or degraded.", ("HealthDetails", "HealthTotals"), headers=("ETag", "Age")),
            503: Answer("Unhealthy.", ("HealthDetails", "HealthTotals"), headers=("ETag", "Age")),
        },
        (UNCHANGED,),
        (304, 503),
        "Callers who may not see details get it without `services`.",
    ),
    Operation(
        "/api/performance",
        "get",
        "performance",
        "Pools, cache, requests, passes, the process, and what to tune",
        Access.DETAILS,
        {200: Answer("The figures since the start of this process.", ("PerformanceReport",))},
        problems=(503,),
    ),
    Operation(
        "/metrics",
        "get",
        "metrics",
        "All numbers of all workers of this server, for Prometheus",
        Access.DETAILS,
        {200: Answer("The numbers in Prometheus' text format.", ({"type": "string"},), TEXT)},
        problems=(503,),
    ),
    Operation(
        "/api/openapi.json",
        "get",
        "openapi",
        "This document",
        Access.ANYBODY,
        {200: Answer("The document.", ({"type": "object", "required": ["openapi"]},), headers=("ETag",))},
        (UNCHANGED,),
        (304,),
    ),
    Operation(
        "/api/cache/stats",
        "get",
        "statistics",
        "What the cache holds, how it was used, and its passes",
        Access.ANYBODY,
        {200: Answer("The figures since the start of this process.", ("StatisticsDetails", "StatisticsTotals"))},
        problems=(503,),
        description="Callers who may not see details get totals only.",
    ),
    Operation(
        "/api/cache/refresh",
        "post",
        "refresh",
        "Read all mappings again, or those of one name",
        Access.CHANGE,
        {
            200: Answer(
                "With `wait`: the result. With `index`: its mappings, with `ETag`, `Age`, `X-Cache-State` and "
                "`X-Cache-Source`.",
                ("RefreshReport", "Mappings"),
                sometimes=("ETag", "Age", *STATE),
            ),
            202: Answer("It was started, or is already under way.", ("RefreshStarted",), headers=("Location",)),
        },
        (
            Parameter("wait", "query", "Answer when the refresh has ended.", {"type": "boolean", "default": False}),
            Parameter(
                "index",
                "query",
                "Read only this name; answer with its mappings.",
                {"$ref": "#/components/schemas/Name"},
            ),
        ),
        (404, 429, 503),
        "429: the last refresh was a moment ago, or another process is refreshing. 503: the cluster could not be read.",
    ),
    Operation(
        "/api/cache/refresh/{id}",
        "get",
        "refreshReport",
        "Progress and result of a refresh",
        Access.DETAILS,
        {200: Answer("The report. `outcome` is `started` while the refresh is under way.", ("RefreshReport",))},
        (Parameter("id", "path", "The id of the refresh.", {"$ref": "#/components/schemas/RefreshId"}),),
        (404, 503),
    ),
    Operation(
        "/api/indices",
        "get",
        "indices",
        "The names that can be asked for, in alphabetical order",
        Access.DETAILS,
        {200: Answer("A page of names.", ("Page",), example=examples.NAMES)},
        (
            Parameter(
                "pattern",
                "query",
                "Only names that this list or pattern gives, including closed indices. Without it: all names, "
                "including hidden ones.",
                PATTERN_SCHEMA,
            ),
            Parameter("kind", "query", "Only names of this kind.", {"enum": [kind.value for kind in Kind]}),
            Parameter(
                "state",
                "query",
                "`closed`: only names whose indices are all closed; `open`: only the others; `stale`: only names whose "
                "mappings are older than `MAPPING_CACHE_TTL`.",
                {"enum": [state.value for state in State]},
            ),
            Parameter("field", "query", "Only names that have a field of this path.", PATH_SCHEMA),
            LIMIT,
            CURSOR,
        ),
        (503,),
    ),
    Operation(
        "/api/fields",
        "get",
        "clusterFields",
        "The fields of the whole cluster, a row for each path",
        Access.DETAILS,
        {
            200: Answer(
                "A page of fields: the best matches for `q` first, then by name.",
                ("ClusterFieldPage",),
                example=examples.CLUSTER_FIELDS,
            )
        },
        (
            SEARCHED_FIELDS,
            *FIELD_FILTERS,
            Parameter(
                "pattern",
                "query",
                "Only fields of the indices that this list or pattern gives. Without it: of all indices that are "
                "neither hidden nor closed.",
                PATTERN_SCHEMA,
            ),
            LIMIT,
            FIELD_CURSOR,
        ),
        (404, 503),
        "Answered from memory. Counts, types and families are those of the indices that the caller may see.",
    ),
    Operation(
        "/api/indices/{name}/search",
        "post",
        "search",
        "Search an index",
        Access.CHANGE,
        {200: Answer("Elasticsearch's own answer.", (SEARCH_RESULT,), sometimes=("X-Search-Findings",))},
        (
            NAMES,
            Parameter(
                "validate",
                "query",
                "`warn`: a header says what is wrong with the search; if nothing is found, `_esassistant` in the answer"
                " says it too. `refuse`: a search with an error is answered with 400, and isn't sent to the cluster."
                " `off`: the search isn't validated.",
                {"enum": ["off", "warn", "refuse"], "default": "warn"},
            ),
        ),
        (404, 503),
        "400: the body contains something that isn't permitted here, or Elasticsearch refused it; `detail` has the "
        "reason.",
        body=SEARCH,
        body_examples=SEARCH_EXAMPLES,
    ),
    Operation(
        "/api/mappings/{name}",
        "get",
        "mapping",
        "The mappings of an index, alias or data stream",
        Access.DETAILS,
        {
            200: Answer(
                "The mappings by index; with `group`, each distinct mapping once.",
                ("Mappings", "MappingGroups"),
                headers=("ETag", "Age", *STATE),
            )
        },
        (
            NAMES,
            Parameter("group", "query", "Send equal mappings only once.", {"type": "string", "enum": ["mapping"]}),
            UNCHANGED,
        ),
        (304, 404, 503),
    ),
    Operation(
        "/api/mappings/{name}/schema",
        "get",
        "schema",
        "The JSON Schema of the documents that a name accepts",
        Access.DETAILS,
        {
            200: Answer(
                "JSON Schema, draft 2020-12.", (JSON_SCHEMA,), "application/schema+json", ("ETag", "Age", *STATE)
            )
        },
        (NAMES, UNCHANGED),
        (304, 404, 503),
    ),
    Operation(
        "/api/mappings/{name}/fields",
        "get",
        "fields",
        "The fields of a name as a flat list",
        Access.DETAILS,
        {
            200: Answer(
                "All fields, or those that `q` finds, the best matches first. With `compact`: without members that are "
                "null, empty or false. With `values`: with what each field holds.",
                ("FieldList", "CompactFieldList", "FieldsWithValues", "CompactFieldsWithValues"),
                headers=("ETag", "Age", *STATE),
                example=examples.COMPACT_FIELDS,
            )
        },
        (
            NAMES,
            SEARCHED_FIELDS,
            *FIELD_FILTERS,
            Parameter(
                "limit",
                "query",
                "The largest number of fields. Without it: all.",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            ),
            FIELD_CURSOR,
            Parameter(
                "values",
                "query",
                "Add what the fields hold, if that is known.",
                {"type": "boolean", "default": False},
            ),
            Parameter(
                "compact",
                "query",
                "Leave out members that are null, empty or false.",
                {"type": "boolean", "default": False},
            ),
            UNCHANGED,
        ),
        (304, 404, 503),
    ),
    Operation(
        "/api/mappings/{name}/validate",
        "post",
        "validate",
        "Validate a search against the mappings in memory",
        Access.DETAILS,
        {200: Answer("What is wrong; `valid`: none of it is an error.", ("Validated",), example=examples.VALIDATED)},
        (NAMES,),
        (404, 503),
        "The cluster isn't asked, and may be down. 400: the body isn't JSON, or is too large. 503: the mappings aren't"
        " in memory.",
        body={"description": "A complete search body of Elasticsearch."},
        body_examples=SEARCH_EXAMPLES,
    ),
    Operation(
        "/api/mappings/{name}/describe",
        "get",
        "describe",
        "The fields of a name in a text that fits a prompt",
        Access.DETAILS,
        {
            200: Answer(
                "All fields, or those that `q` is about. Fields that are left out are counted.",
                ({"type": "string"},),
                TEXT,
                ("ETag", "Age", *STATE),
                other={JSON: "Description"},
            )
        },
        (NAMES, TOKENS, QUESTION, UNCHANGED),
        (304, 404, 503),
        "JSON where `Accept` asks for it.",
    ),
    Operation(
        "/api/describe",
        "get",
        "describeCluster",
        "The families of the cluster in a text that fits a prompt",
        Access.DETAILS,
        {
            200: Answer(
                "A line per family. Families that `q` is about come first.",
                ({"type": "string"},),
                TEXT,
                ("ETag",),
                ("Age",),
                {JSON: "ClusterDescription"},
            )
        },
        (TOKENS, QUESTION, UNCHANGED),
        (304, 503),
        "JSON where `Accept` asks for it.",
    ),
    Operation(
        "/api/mappings/{name}/history",
        "get",
        "history",
        "What happened to the indices that a name stands for, newest first",
        Access.DETAILS,
        {200: Answer("The latest changes, at most 100.", ("History",))},
        (NAMES,),
        (404, 503),
        "404: the list or pattern stands for nothing. For a single name without recorded changes, the list of changes "
        "is empty.",
    ),
    Operation(
        "/api/changes",
        "get",
        "changes",
        "What happened to all indices, oldest first: in pages, or as events when they happen",
        Access.DETAILS,
        {
            200: Answer(
                "A page of changes; its `next` is the `since` of the next page. As `text/event-stream`: a stream "
                "without end, whose events have a `Change` as data.",
                ("Feed",),
                other={EVENTS: {"type": "string"}},
            )
        },
        (
            Parameter(
                "since",
                "query",
                "Only changes after the one with this id. Without it: all that are kept; as events, only new ones.",
                {"type": "integer", "minimum": 0, "maximum": MAX_CHANGE_ID},
            ),
            Parameter(
                "pattern",
                "query",
                "Only changes of indices that this list or pattern stands for, by the names of the indices or of the "
                "aliases and data streams that they had at the time.",
                PATTERN_SCHEMA,
            ),
            Parameter(
                "kind",
                "query",
                "Only changes of these kinds, separated by commas. A `gap` is never left out.",
                KINDS_SCHEMA,
            ),
            Parameter(
                "limit",
                "query",
                "The number of changes on a page; not for events.",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            ),
            Parameter(
                "Last-Event-ID",
                "header",
                "For events: the `id` of the last event that you got; the stream goes on after it. It overrides "
                "`since`. Pages ignore it.",
                {"type": "string"},
            ),
        ),
        (410, 503),
        "With `Accept: text/event-stream`, the changes come as server-sent events. 403: also if a token that doesn't "
        "see all names sends no pattern. 410: some changes after `since` aren't kept any more, or `since` is an id of "
        "another history.",
    ),
    Operation(
        "/api/compare",
        "get",
        "compare",
        "The fields in which two names, or two mappings, differ",
        Access.DETAILS,
        {200: Answer("The differences of `b` from `a`.", ("Comparison",), headers=("ETag", "Age", *STATE))},
        (
            Parameter(
                "a", "query", "An index, alias or data stream, a list with patterns, or a `mapping_hash`.", SIDE, True
            ),
            Parameter("b", "query", "What to compare it with; the same forms as `a`.", SIDE, True),
            UNCHANGED,
        ),
        (304, 404, 503),
    ),
)
