"""Print an agent's session with a running service, made with the official client of MCP: docs/mcp.md shows it.

`python -m dev.agent_session URL TOKEN`. The URL may end with `/mcp`. The service needs the sample indices of
`make run`, and `ESASSISTANT_MCP=true`.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from cacheapp.describe.tokens import count_tokens

STEPS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("find_indices", {"question": "revenue by country of the customer"}),
    ("describe", {"names": "orders", "question": "revenue by country of the customer"}),
    ("find_fields", {"words": "country"}),
    (
        "validate_search",
        {"names": "orders", "search": {"size": 0, "aggs": {"by": {"terms": {"field": "customer_country"}}}}},
    ),
    (
        "validate_search",
        {"names": "orders", "search": {"size": 0, "aggs": {"by": {"terms": {"field": "customer.country"}}}}},
    ),
    (
        "search",
        {
            "names": "orders",
            "search": {
                "size": 1,
                "_source": ["order_id", "customer.country", "total"],
                "query": {"term": {"status": "delivered"}},
                "aggs": {
                    "by": {"terms": {"field": "customer.country"}, "aggs": {"revenue": {"sum": {"field": "total"}}}}
                },
            },
        },
    ),
)


def address_of(url: str) -> str:
    """Return the address of `/mcp`, from the address of the service or from that address itself."""
    return f"{url.rstrip('/').removesuffix('/mcp')}/mcp"


async def session(url: str, token: str) -> str:
    """Call tool after tool. Return the calls and their answers as text, with the number of tokens. `url`: the address
    of the service, or that of its `/mcp`.
    """
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(address_of(url), http_client=http)) as client,
    ):
        tools = [
            tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in (await client.list_tools()).tools
        ]
        parts = [f"tools/list: {len(tools)} tools, {count_tokens(json.dumps(tools, separators=(',', ':')))} tokens"]
        for name, arguments in STEPS:
            result = await client.call_tool(name, dict(arguments))
            text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
            asked = f"{name} {json.dumps(arguments, separators=(',', ':'))}"
            parts.append(f"> {asked}\n\n{text}\n\n({count_tokens(asked)} tokens asked, {count_tokens(text)} answered)")
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(asyncio.run(session(*sys.argv[1:])))
