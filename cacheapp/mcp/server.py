"""The MCP server: the official SDK with our tools, served as streams. Imported only if it is switched on.

It is stateless, so any worker can answer any request, and no session is kept. The SDK parses requests, calls the tools
and writes answers. The caller's token, its origin, and how many requests there are and how large are checked before
that, at the door for streams (esassistant/http/stream_door.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from django.conf import settings
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from cacheapp.cache.cluster_fields import CLUSTER_FIELDS
from cacheapp.cache.descriptions import DESCRIPTIONS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.mcp.catalog import INSTRUCTIONS
from cacheapp.mcp.tools import Tools, tools_for
from cacheapp.search import SEARCH
from cacheapp.validation import VALIDATION
from esassistant.config.tokens import Right
from esassistant.elasticsearch.client import POOLS_REPORTS
from esassistant.elasticsearch.stats import refused_since
from esassistant.errors import RegistryNotOpen
from esassistant.http.callers import Caller
from esassistant.http.streams import STREAMS, StreamCall
from esassistant.registry import Registry

ADDRESS: Final = "/mcp"
CALLER: Final = "esassistant.caller"
"""The key of the caller in the scope of a request."""
READ_ONLY: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class McpServer:
    """Answers MCP requests. One per process; used only on its event loop."""

    def __init__(self, tools: Tools, max_body_bytes: int) -> None:
        self._tools = tools
        self._max_body_bytes = max_body_bytes
        self._manager: StreamableHTTPSessionManager | None = None
        self._server: Server[Any] = Server(
            "esassistant",
            title="Elasticsearch data assistant",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Background task: run the SDK. Its own tasks are children of this one, so that a crash of one ends only this
        task.

        A manager of the SDK can run only once, so each start makes a new one.
        """
        manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=self._max_body_bytes
        )
        async with manager.run():
            self._manager = manager
            on_ready()
            try:
                await asyncio.Event().wait()
            finally:
                self._manager = None

    async def answer(self, call: StreamCall) -> None:
        """Answer a request: this is the source of a stream."""
        if self._manager is None:
            raise RegistryNotOpen("The MCP server is starting.", retry_after_seconds=1)
        scope = {**call.scope, CALLER: call.caller}
        await self._manager.handle_request(scope, call.receive, call.send)

    async def _list_tools(self, context: Any, _: PaginatedRequestParams | None) -> ListToolsResult:
        tools = [
            Tool(name=tool.name, description=tool.description, input_schema=tool.schema, annotations=READ_ONLY)
            for tool in tools_for(_caller(context))
        ]
        return ListToolsResult(tools=tools)

    async def _call_tool(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        outcome = await self._tools.call(params.name, params.arguments or {}, _caller(context))
        return CallToolResult(content=[TextContent(type="text", text=outcome.text)], is_error=outcome.is_error)


def _caller(context: Any) -> Caller:
    caller = context.request.scope[CALLER]
    assert isinstance(caller, Caller)
    return caller


@asynccontextmanager
async def open_mcp(registry: Registry) -> AsyncIterator[None]:
    """Serve MCP at `ADDRESS` for the length of a block."""
    tools = Tools(
        registry.get(MAPPING_CACHE),
        registry.get(CLUSTER_FIELDS),
        registry.get(DESCRIPTIONS),
        registry.get(VALIDATION),
        registry.get(SEARCH),
        lambda: refused_since(registry.read(POOLS_REPORTS[0]).values()),
    )
    server = McpServer(tools, settings.ESASSISTANT.max_body_bytes)
    is_ready = asyncio.Event()
    registry.spawn(lambda: server.run(is_ready.set), name="serve-mcp", owner="mcp")
    await is_ready.wait()
    async with registry.get(STREAMS).answering(
        ADDRESS, server.answer, rights=(Right.READ, Right.SEARCH), methods=("POST",), lasts=False
    ):
        yield
