"""The tools as agents see them: names, descriptions, schemas and arguments. Pure; the texts are short, because every
session of an agent pays for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from esassistant.config.tokens import Right

MIN_TOKENS: Final = 100
MAX_TOKENS: Final = 8_000
NAMES: Final = {"type": "string", "description": "Index, alias, data stream, list or pattern: logs-*,orders"}
SEARCH_BODY: Final = {"type": "object", "description": "Search body in query DSL"}
QUESTION: Final = {"type": "string", "description": "What it is about, in words"}

Budget = Annotated[int, msgspec.Meta(ge=MIN_TOKENS, le=MAX_TOKENS)]


class Arguments(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The arguments of a tool."""


class FindIndices(Arguments, frozen=True):
    """The arguments of `find_indices`."""

    question: str = ""
    tokens: Budget = 600


class Describe(Arguments, frozen=True):
    """The arguments of `describe`."""

    names: str
    question: str = ""
    tokens: Budget = 1000


class FindFields(Arguments, frozen=True):
    """The arguments of `find_fields`."""

    words: str
    names: str = ""
    type: str = ""
    tokens: Budget = 600


class ValidateSearch(Arguments, frozen=True):
    """The arguments of `validate_search`."""

    names: str
    search: dict[str, Any]


class Search(Arguments, frozen=True):
    """The arguments of `search`."""

    names: str
    search: dict[str, Any]
    tokens: Budget = 2000


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `right`: what a caller needs to use it. `arguments`: their type. `properties`: their JSON Schema for
    agents.
    """

    name: str
    right: Right
    arguments: type[Arguments]
    description: str
    properties: Mapping[str, Mapping[str, Any]]

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        required = [field.name for field in msgspec.structs.fields(self.arguments) if field.required]
        return {
            "type": "object",
            "properties": dict(self.properties),
            **({"required": required} if required else {}),
        }


def _tokens(tool: type[Arguments]) -> dict[str, Any]:
    default = next(field.default for field in msgspec.structs.fields(tool) if field.name == "tokens")
    return {
        "type": "integer",
        "minimum": MIN_TOKENS,
        "maximum": MAX_TOKENS,
        "default": default,
        "description": "Longest answer",
    }


TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool(
            "find_indices",
            Right.READ,
            FindIndices,
            "Start here: finds indices that a question is about, best first, each family (data stream, alias, or names "
            "that differ by a date) with some of its fields.",
            {"question": QUESTION, "tokens": _tokens(FindIndices)},
        ),
        Tool(
            "describe",
            Right.READ,
            Describe,
            "Lists the fields of names, those that a question is about first: types, multi-fields, nested objects, "
            "conflicts between indices.",
            {"names": NAMES, "question": QUESTION, "tokens": _tokens(Describe)},
        ),
        Tool(
            "find_fields",
            Right.READ,
            FindFields,
            "Finds fields by words of their paths, in all indices or some: type, and where they are.",
            {
                "words": {"type": "string", "description": "Like: client ip"},
                "names": NAMES,
                "type": {"type": "string", "description": "Like: keyword, date, nested"},
                "tokens": _tokens(FindFields),
            },
        ),
        Tool(
            "validate_search",
            Right.READ,
            ValidateSearch,
            "Checks a search against the mappings without running it: unknown fields with suggestions, wrong types, "
            "nested that is missing, misspelt clauses. Elasticsearch itself answers most of these with no hits.",
            {"names": NAMES, "search": SEARCH_BODY},
        ),
        Tool(
            "search",
            Right.SEARCH,
            Search,
            "Runs a search and gives hits and aggregations, cut to a budget. It is checked first: with errors it isn't "
            "run, and they are given.",
            {"names": NAMES, "search": SEARCH_BODY, "tokens": _tokens(Search)},
        ),
    )
}

INSTRUCTIONS: Final = (
    "Read-only access to an Elasticsearch cluster. Work in this order: find_indices, describe, validate_search, "
    "search. Use field names exactly as describe gives them."
)
