"""What agents are told of the tools: true, and short."""

import json

import jsonschema
import msgspec
import pytest

from cacheapp.describe.tokens import count_tokens
from cacheapp.mcp.catalog import INSTRUCTIONS, TOOLS, Tool

MOST_TOKENS = 1_200


def test_the_list_is_short() -> None:
    """Every session of an agent pays for it."""
    told = [{"name": tool.name, "description": tool.description, "inputSchema": tool.schema} for tool in TOOLS.values()]
    assert count_tokens(json.dumps(told, separators=(",", ":")) + INSTRUCTIONS) <= MOST_TOKENS


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_the_schema_is_what_the_tool_takes(tool: Tool) -> None:
    """The same arguments, with the same defaults and bounds."""
    jsonschema.Draft202012Validator.check_schema(tool.schema)
    fields = {field.name: field for field in msgspec.structs.fields(tool.arguments)}
    assert list(fields) == list(tool.properties)
    assert tool.schema.get("required", []) == [name for name, field in fields.items() if field.required]
    for name, told in tool.properties.items():
        for value in (told.get("minimum"), told.get("maximum"), told.get("default")):
            if value is not None:
                given = {one: "x" for one, field in fields.items() if field.required and one != "search"}
                msgspec.convert(
                    {**given, "search": {}, name: value} if "search" in fields else {**given, name: value},
                    tool.arguments,
                )
        if "default" in told:
            assert told["default"] == fields[name].default
        if "minimum" in told:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({name: told["minimum"] - 1}, tool.arguments)
