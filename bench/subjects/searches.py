"""What bench/search.py compares this server's searches with: `python -m bench.subjects.searches KIND FOLDER [URL]`.

    starlette       a handler that decodes the body, calls `AsyncElasticsearch.search` and writes its answer as JSON:
                    what one would write without this project, with a pool of as many connections
    aiohttp         only uvicorn and aiohttp, which pass bytes on: the limit of what can be done in Python
    replay          a cluster that gives recorded answers of a real node, and needs hardly any processor time

The first two ask the cluster at URL. The replay reads its answers from FOLDER (bench/subjects/saved_answers.py): the
answers to searches by their paths, and those to this server's other requests to a cluster. The replayed cluster has the
indices of these paths.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import uvloop
from elasticsearch import AsyncElasticsearch

from bench.subjects.http_servers import serve, with_lifespan
from bench.subjects.saved_answers import read_answers
from dev.servers.process import Program
from esassistant.asgi_types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"
CONNECTIONS = 50
CHUNK_BYTES = 16_384
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATH = re.compile(r"/api/indices/([^/]+)/search")
STARLETTE_MISSING = "This compares with Starlette, which is not installed: pip install -r requirements-bench.txt"


@contextmanager
def searching(kind: str, folder: Path, url: str = "") -> Iterator[Program]:
    """Run one of these servers for the length of the block."""
    command_line = [sys.executable, "-m", "bench.subjects.searches", kind, str(folder), url]
    with Program(f"bench-{kind}", command_line, {**os.environ}) as server:
        yield server


def has_starlette() -> bool:
    return importlib.util.find_spec("starlette") is not None


def starlette(url: str) -> ASGIApp:
    # Imported here because it isn't one of this project's requirements: type checks and linters run without it.
    applications: Any = importlib.import_module("starlette.applications")
    responses: Any = importlib.import_module("starlette.responses")
    routing: Any = importlib.import_module("starlette.routing")
    clients: list[AsyncElasticsearch] = []

    @asynccontextmanager
    async def opened(_app: object) -> Any:
        async with AsyncElasticsearch(url, connections_per_node=CONNECTIONS) as client:
            clients.append(client)
            yield

    async def search(request: Any) -> Any:
        body = json.loads(await request.body())
        found = await clients[0].search(index=request.path_params["name"], body=body)
        return responses.JSONResponse(found.body)

    route = routing.Route("/api/indices/{name}/search", search, methods=["POST"])
    made: ASGIApp = applications.Starlette(routes=[route], lifespan=opened)
    return made


def bytes_only(url: str) -> ASGIApp:
    sessions: list[aiohttp.ClientSession] = []
    headers = {"content-type": "application/json", "accept-encoding": "identity"}

    @asynccontextmanager
    async def opened() -> Any:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
            sessions.append(session)
            yield

    async def search(scope: Scope, receive: Receive, send: Send) -> None:
        found = PATH.fullmatch(scope["path"])
        assert found is not None
        body = b""
        more_body = True
        while more_body:
            message = await receive()
            body += message["body"]
            more_body = message["more_body"]
        async with sessions[0].post(f"{url}/{found[1]}/_search", data=body, headers=headers) as answer:
            whole = await answer.read()
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(whole))]
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": whole})

    return with_lifespan(search, opened)


class Replay:
    """The answers of the replay."""

    def __init__(self, folder: Path) -> None:
        saved = {path: answer.body for path, answer in read_answers(folder).items()}
        names = sorted({path.split("/")[1] for path in saved})
        mappings = {name: {"mappings": {"properties": {"message": {"type": "text"}}}} for name in names}
        resolved = [{"name": name, "attributes": ["open"]} for name in names]
        uuids = {name: {"settings": {"index.uuid": f"uuid-{name:0>20}"}} for name in names}
        counts = {name: {"mappings": {"total_count": 1}} for name in names}
        nodes = {"_nodes": {"total": 1}, "nodes": {"node": {"indices": {"indices": counts}}}}
        told: dict[str, object] = {
            "/": {"cluster_uuid": "replayed-searches"},
            "/_cluster/health": {"status": "green", "number_of_nodes": 1, "unassigned_shards": 0},
            "/_settings/index.uuid,index.mapping.total_fields.limit": uuids,
            "/_resolve/index/*": {"indices": resolved, "aliases": [], "data_streams": []},
            "/_nodes/stats/indices/mappings": nodes,
            "/_mapping": mappings,
            f"/{','.join(names)}/_mapping": mappings,
            **{f"/{name}/_mapping": {name: mappings[name]} for name in names},
        }
        self._answers = {path: json.dumps(body).encode() for path, body in told.items()} | saved

    def answer(self, target: str) -> bytes:
        """Return the whole answer to a request, as it is sent."""
        body = self._answers.get(target.partition("?")[0], b"{}")
        head = b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
        if target.partition("?")[0].endswith("/_search"):
            # As Elasticsearch sends it.
            chunks = (body[begin : begin + CHUNK_BYTES] for begin in range(0, len(body), CHUNK_BYTES))
            parts = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
            return b"%btransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, parts)
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


class Connection(asyncio.Protocol):
    """A client's connection to the replay."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports don't inherit from it

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        length = LENGTH.search(self._received, 0, end + 2)
        if end >= 0 and len(self._received) >= end + 4 + (int(length[1]) if length else 0):
            target = self._received.split(b" ", 2)[1].decode()
            self._received = b""
            self._transport.write(self._replay.answer(target))


async def _replay(folder: Path) -> None:
    """Serve the replay until standard input ends."""
    replay = Replay(folder)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(replay), HOST, 0, backlog=1024)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    kind, folder, url = sys.argv[1:]
    if kind == "replay":
        uvloop.run(_replay(Path(folder)))
    else:
        serve({"starlette": starlette, "aiohttp": bytes_only}[kind](url))


if __name__ == "__main__":
    main()
