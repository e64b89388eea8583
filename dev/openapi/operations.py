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
    """Who may call an operation. `OPEN`: credentials aren't looked at. `ANYBODY`: no credentials are needed, but wrong
    ones are refused. `DETAILS`: whoever may read. `CHANGE`: whoever may refresh.
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
    "Of an index, alias or data stream; or a list of names with patterns, such as `logs-*,metrics-*,-logs-old-*`.",
    {"$ref": "#/components/schemas/Names"},
)
FORBIDDEN = r' "*,/<>?\\|#:\u0000-\u001f\u007f-\u009f'
NAME_SCHEMA = {
    "description": f"At most {MAX_NAME_BYTES} bytes of UTF-8, and in lower case: "
    "only aliases that exist may have capitals.",
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
    "description": "One name, or names with one comma between two. `*` stands for any characters, and `_all` alone for "
    "everything; what begins with `-`, after a pattern, is taken away. Together at most "
    f"{MAX_EXPRESSION_BYTES} bytes, each at most {MAX_NAME_BYTES}, and at most {MAX_PATTERNS} patterns.",
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_EXPRESSION_BYTES,
    "examples": ["orders", "logs-*,metrics-*,-logs-old-*"],
    "pattern": rf"^(?:_all|{_ONE}(?:,{_ONE})*|(?:{_ONE},)*{_PATTERN}(?:,-?(?:{_PATTERN}|{_ONE}))*)$",
}
REFRESH_ID_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{12}$"}
PATTERN_SCHEMA = {
    "description": f"As a name in an address: one, or a list with patterns, of at most {MAX_EXPRESSION_BYTES} bytes.",
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
    "Words that all have to stand in the path, whatever the case.",
    {"type": "string", "maxLength": MAX_QUERY_CHARACTERS},
)
FIELD_FILTERS = (
    Parameter(
        "type", "query", "Only fields that have this type in some index.", PATH_SCHEMA | {"examples": ["keyword"]}
    ),
    Parameter("prefix", "query", "Only fields whose paths begin with this.", PATH_SCHEMA),
    Parameter(
        "leaves", "query", "Without fields that only hold others: objects.", {"type": "boolean", "default": False}
    ),
)
LIMIT = Parameter(
    "limit",
    "query",
    "How many at most.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)
CURSOR = Parameter("cursor", "query", "`next_cursor` of the page before.", {"type": "string", "format": "cursor"})
FIELD_CURSOR = Parameter(
    "cursor", "query", "`next_cursor` of the page before.", {"type": "string", "format": "field-cursor"}
)
TOKENS = Parameter(
    "tokens",
    "query",
    "How many tokens the text has at most.",
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
    "What the reader wants to know: what has to do with it comes first.",
    {"type": "string", "maxLength": MAX_QUESTION_CHARACTERS},
)
UNCHANGED = Parameter(
    "If-None-Match",
    "header",
    "The ETag of what you hold: 304 when that is what the answer would be.",
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
        {200: Answer("It does.", ({"const": "ok\n"},), TEXT)},
    ),
    Operation(
        "/readyz",
        "get",
        "readyz",
        "Whether the process should get requests",
        Access.OPEN,
        {
            200: Answer("It has mappings and is not draining.", ({"type": "string"},), TEXT),
            503: Answer("What is missing.", ({"type": "string"},), TEXT),
        },
        (
            Parameter(
                "verbose", "query", "With it, with any value or none, all conditions are listed.", {"type": "string"}
            ),
        ),
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
        "Who may not see details gets it without `services`.",
    ),
    Operation(
        "/api/performance",
        "get",
        "performance",
        "Pools, cache, requests, passes, the process, and what to tune",
        Access.DETAILS,
        {200: Answer("Since the start of this process.", ("PerformanceReport",))},
        problems=(503,),
    ),
    Operation(
        "/metrics",
        "get",
        "metrics",
        "All numbers of all workers of this server, for Prometheus",
        Access.DETAILS,
        {200: Answer("In Prometheus' text format.", ({"type": "string"},), TEXT)},
        problems=(503,),
    ),
    Operation(
        "/api/openapi.json",
        "get",
        "openapi",
        "This document",
        Access.ANYBODY,
        {200: Answer("OpenAPI 3.1.", ({"type": "object", "required": ["openapi"]},), headers=("ETag",))},
        (UNCHANGED,),
        (304,),
    ),
    Operation(
        "/api/cache/stats",
        "get",
        "statistics",
        "What the cache holds, how it was used, and its passes",
        Access.ANYBODY,
        {200: Answer("Since the start of this process.", ("StatisticsDetails", "StatisticsTotals"))},
        problems=(503,),
        description="Who may not see details gets totals alone.",
    ),
    Operation(
        "/api/cache/refresh",
        "post",
        "refresh",
        "Read all mappings anew, or one name's",
        Access.CHANGE,
        {
            200: Answer(
                "With `wait`: the result. With `index`: its mappings, with `ETag`, `Age`, `X-Cache-State` and "
                "`X-Cache-Source`.",
                ("RefreshReport", "Mappings"),
                sometimes=("ETag", "Age", *STATE),
            ),
            202: Answer("Started, or joined one that is under way.", ("RefreshStarted",), headers=("Location",)),
        },
        (
            Parameter("wait", "query", "Answer when it has ended.", {"type": "boolean", "default": False}),
            Parameter(
                "index", "query", "Read this name alone, and answer with it.", {"$ref": "#/components/schemas/Name"}
            ),
        ),
        (404, 429, 503),
        "429: refreshed a moment ago, or another process is at it. 503: the cluster could not be read.",
    ),
    Operation(
        "/api/cache/refresh/{id}",
        "get",
        "refreshReport",
        "Progress and result of a refresh",
        Access.DETAILS,
        {200: Answer("`outcome` is `started` as long as it is under way.", ("RefreshReport",))},
        (Parameter("id", "path", "Of a refresh.", {"$ref": "#/components/schemas/RefreshId"}),),
        (404, 503),
    ),
    Operation(
        "/api/indices",
        "get",
        "indices",
        "The names that can be asked for, in alphabetical order",
        Access.DETAILS,
        {200: Answer("A page.", ("Page",), example=examples.NAMES)},
        (
            Parameter(
                "pattern",
                "query",
                "Only names that this list or pattern gives, closed ones too. Without it all, hidden ones too.",
                PATTERN_SCHEMA,
            ),
            Parameter("kind", "query", "Only names of this kind.", {"enum": [kind.value for kind in Kind]}),
            Parameter(
                "state",
                "query",
                "Only names of which all indices are closed, or not, or that are older than `MAPPING_CACHE_TTL`.",
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
                "A page: those that `q` finds best first, then by name.",
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
                "Only of the indices that this list or pattern gives. Without it of all but hidden and closed ones.",
                PATTERN_SCHEMA,
            ),
            LIMIT,
            FIELD_CURSOR,
        ),
        (404, 503),
        "From memory. Counts, types and families are of what the caller may see.",
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
                "`warn`: what is wrong with the search comes in a header, and in `_esassistant` of the answer when"
                " nothing was found. `refuse`: a search with an error is 400, and isn't made. `off`: neither.",
                {"enum": ["off", "warn", "refuse"], "default": "warn"},
            ),
        ),
        (404, 503),
        "400: the body has something that isn't permitted here, or Elasticsearch refused it; `detail` has its reason.",
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
                "By index; with `group`, each distinct mapping once.",
                ("Mappings", "MappingGroups"),
                headers=("ETag", "Age", *STATE),
            )
        },
        (
            NAMES,
            Parameter("group", "query", "What to send once: equal mappings.", {"type": "string", "enum": ["mapping"]}),
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
                "All, or those that `q` finds, best first; with `compact` without what is null, empty or false; with "
                "`values` what each holds.",
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
                "How many at most; without it all.",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            ),
            FIELD_CURSOR,
            Parameter(
                "values",
                "query",
                "Whether to say what the fields hold, where that is known.",
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
        "What is wrong with a search, from memory",
        Access.DETAILS,
        {200: Answer("What was found; `valid`: no error among it.", ("Validated",), example=examples.VALIDATED)},
        (NAMES,),
        (404, 503),
        "The cluster isn't asked, and may be down. 400: the body is no JSON, or too large. 503: the mappings aren't in"
        " memory.",
        body={"description": "A search body of Elasticsearch, whole; what is wrong with it is the answer."},
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
                "All fields, or those that `q` is about; the others are counted.",
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
                "A line per family, those first that `q` is about.",
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
        {200: Answer("At most 100.", ("History",))},
        (NAMES,),
        (404, 503),
        "404: a list or pattern that stands for nothing. A name of which nothing is recorded has no changes.",
    ),
    Operation(
        "/api/changes",
        "get",
        "changes",
        "What happened to all indices, oldest first, page by page, or as events as it happens",
        Access.DETAILS,
        {
            200: Answer(
                "`next` is the `since` of the page that follows. As `text/event-stream`: an answer without end, each "
                "event of which has a `Change` as its data.",
                ("Feed",),
                other={EVENTS: {"type": "string"}},
            )
        },
        (
            Parameter(
                "since",
                "query",
                "The changes after the one of this id; left out: all that are kept, and as events those from now on.",
                {"type": "integer", "minimum": 0, "maximum": MAX_CHANGE_ID},
            ),
            Parameter(
                "pattern",
                "query",
                "Of indices that this stands for, by their names or those of their aliases and data streams then.",
                PATTERN_SCHEMA,
            ),
            Parameter(
                "kind",
                "query",
                "Of these kinds, with commas between. A `gap` comes in any case.",
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
                "For events: the `id` of the last one that came, after which to go on. It counts more than `since`. "
                "Pages pass over it.",
                {"type": "string"},
            ),
        ),
        (410, 503),
        "With `Accept: text/event-stream` the changes come as server-sent events. 403 too: a token that doesn't see "
        "all names has to send a pattern. 410: not all that came after `since` is kept any more, or `since` is an id "
        "of another history.",
    ),
    Operation(
        "/api/compare",
        "get",
        "compare",
        "In which fields two names, or two mappings, differ",
        Access.DETAILS,
        {200: Answer("What `b` has otherwise than `a`.", ("Comparison",), headers=("ETag", "Age", *STATE))},
        (
            Parameter(
                "a", "query", "An index, alias or data stream, a list with patterns, or a `mapping_hash`.", SIDE, True
            ),
            Parameter("b", "query", "Likewise.", SIDE, True),
            UNCHANGED,
        ),
        (304, 404, 503),
    ),
)
