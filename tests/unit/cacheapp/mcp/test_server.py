"""The MCP server by itself: it answers while it runs, whoever asks, and not before; a crash ends nothing but itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from cacheapp.cache.cluster_fields import CLUSTER_FIELDS
from cacheapp.cache.descriptions import DESCRIPTIONS
from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.mcp.catalog import TOOLS
from cacheapp.mcp.server import ADDRESS, McpServer, open_mcp
from cacheapp.mcp.tools import Outcome
from cacheapp.search import SEARCH
from cacheapp.validation import VALIDATION
from esassistant.asgi_types import Message
from esassistant.config.tokens import Right
from esassistant.errors import RegistryNotOpen
from esassistant.http.callers import ANYBODY, API_CALLER, Caller
from esassistant.http.streams import STREAMS, StreamCall, Streams, StreamSource
from esassistant.registry import Registry
from tests.support.asgi import Asked

HEADERS = (
    (b"host", b"testserver"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
)


class Told:
    """In the place of the tools: remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object, Caller]] = []

    async def call(self, name: str, arguments: object, caller: Caller) -> Outcome:
        self.calls.append((name, arguments, caller))
        return Outcome(f"{name} answers", is_error=name == "wrong")


async def asked(source: StreamSource, method: str, caller: Caller = API_CALLER, **params: Any) -> tuple[int, Any]:
    """Status and result of one request."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    call = StreamCall(Asked("/mcp", "POST", headers=HEADERS).scope(), "", caller, send, 5)
    call.read(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    await source(call)
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))["result"]


async def test_it_answers_while_it_runs() -> None:
    """Calls go to the tools with who asks; who may not search isn't told of it; before and after there is nobody."""
    told = Told()
    server = McpServer(told, 65_536)  # type: ignore[arg-type]
    with pytest.raises(RegistryNotOpen):
        await asked(server.answer, "tools/list")
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready.set))
    await ready.wait()
    status, listed = await asked(server.answer, "tools/list")
    assert (status, [tool["name"] for tool in listed["tools"]]) == (200, list(TOOLS))
    assert listed["tools"][0]["annotations"] == {"readOnlyHint": True, "openWorldHint": False}
    _, fewer = await asked(server.answer, "tools/list", ANYBODY)
    assert "search" not in [tool["name"] for tool in fewer["tools"]]
    for name in ("right", "wrong"):
        _, result = await asked(server.answer, "tools/call", ANYBODY, name=name, arguments={"a": 1})
        assert result["content"] == [{"type": "text", "text": f"{name} answers"}]
        assert result["isError"] == (name == "wrong")
    assert told.calls == [("right", {"a": 1}, ANYBODY), ("wrong", {"a": 1}, ANYBODY)]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(RegistryNotOpen):
        await asked(server.answer, "tools/list")


async def test_it_runs_again_after_a_crash() -> None:
    """A task of the SDK's that crashes ends the run alone, which can be begun anew."""
    server = McpServer(Told(), 65_536)  # type: ignore[arg-type]
    for _ in range(2):
        ready = asyncio.Event()
        running = asyncio.create_task(server.run(ready.set))
        await ready.wait()
        assert (await asked(server.answer, "tools/list"))[0] == 200
        manager = server._manager
        assert isinstance(manager, StreamableHTTPSessionManager)
        assert manager._task_group is not None

        async def crashes() -> None:
            raise ValueError("bug")

        manager._task_group.start_soon(crashes)
        with pytest.raises(ExceptionGroup):
            await running
        with pytest.raises(RegistryNotOpen):
            await asked(server.answer, "tools/list")


async def test_it_is_open_as_long_as_its_resource(own_registry: Registry) -> None:
    """POST at /mcp is answered by the running server, for who may read or search; at the end nothing is there."""
    streams = Streams()
    used = [handle.name for handle in (MAPPING_CACHE, CLUSTER_FIELDS, DESCRIPTIONS, VALIDATION, SEARCH)]
    for name in used:
        own_registry.register(name, lambda _: opened(object()))
    own_registry.register(STREAMS.name, lambda _: opened(streams))
    own_registry.register("mcp", open_mcp, needs=[*used, STREAMS.name])
    post = Asked(ADDRESS, "POST", headers=HEADERS).scope()
    async with own_registry.open():
        found = streams.find(post)
        assert found is not None
        assert (found[0].rights, found[0].methods) == ((Right.READ, Right.SEARCH), ("POST",))
        status, listed = await asked(found[0].source, "tools/list")
        assert (status, len(listed["tools"])) == (200, len(TOOLS))
    assert streams.find(post) is None
    with pytest.raises(RegistryNotOpen):
        await asked(found[0].source, "tools/list")


@asynccontextmanager
async def opened(value: Any) -> AsyncIterator[Any]:
    yield value
