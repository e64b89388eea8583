"""A server that answers a full pass over 10 000 indices from recorded bodies: `python -m bench.subjects.replay`.

The bodies are what Elasticsearch renders for the mappings of bench/subjects/cluster.py, byte by byte, compressed as
Elasticsearch compresses. It is a process of its own: in a thread it would hold the interpreter that the bench measures.
"""

import asyncio
import gzip
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.subjects.cluster import FAMILIES, names, rendered
from dev.servers.process import Program

TIMES = 10
"""So many times the indices of the real cluster."""
METADATA_VERSION = 12_345
COMPRESSION_LEVEL = 3
CLUSTER_UUID = "replayed-cluster"


@contextmanager
def replayed() -> Iterator[str]:
    """The URL of a server that runs for the length of a block."""
    with Program("bench-replay", [sys.executable, "-m", "bench.subjects.replay"]) as server:
        yield server.url


class _Recording:
    """What there is to answer. Listings are rendered and compressed once, mappings for each request."""

    def __init__(self) -> None:
        self._bodies = {name: rendered(family) for family in FAMILIES for name in names(family, TIMES)}
        counts = {name: family.fields for family in FAMILIES for name in names(family, TIMES)}
        self._listings = {
            "/_settings/index.uuid,index.mapping.total_fields.limit": _compressed(
                {name: {"settings": {"index.uuid": f"uuid-{number:020}"}} for number, name in enumerate(self._bodies)}
            ),
            "/_resolve/index/*": _compressed(
                {
                    "indices": [
                        {"name": name, "aliases": [f"all-{name.partition('-')[0]}"], "attributes": ["open"]}
                        for name in self._bodies
                    ],
                    "aliases": [{"name": f"all-{family.name}", "indices": names(family, TIMES)} for family in FAMILIES],
                    "data_streams": [],
                }
            ),
            "/_nodes/stats/indices/mappings": _compressed(
                {
                    "_nodes": {"total": 1},
                    "nodes": {
                        "node": {
                            "indices": {
                                "indices": {
                                    name: {"mappings": {"total_count": count}} for name, count in counts.items()
                                }
                            }
                        }
                    },
                }
            ),
            "/": _compressed({"cluster_uuid": CLUSTER_UUID}),
            "/_cluster/health": _compressed({"status": "green", "number_of_nodes": 1, "unassigned_shards": 0}),
            "/_mapping": gzip.compress(self._mappings(list(self._bodies)), COMPRESSION_LEVEL),
        }

    def answer(self, target: str) -> bytes:
        """The compressed body of the answer to a GET."""
        path, query = urlsplit(target)[2:4]
        if path.startswith("/_cluster/state/"):
            version = int(parse_qs(query)["wait_for_metadata_version"][0])
            state = {"cluster_uuid": CLUSTER_UUID, "state_uuid": "state", "wait_for_timed_out": False}
            if version > METADATA_VERSION:
                return _compressed({"wait_for_timed_out": True})
            return _compressed({**state, "metadata": {"cluster_coordination": {"term": 1}}})
        if path in self._listings:
            return self._listings[path]
        wanted = path.removeprefix("/").removesuffix("/_mapping").split(",")
        return gzip.compress(self._mappings([unquote(name) for name in wanted]), COMPRESSION_LEVEL)

    def _mappings(self, wanted: list[str]) -> bytes:
        parts = (b'"%b":{"mappings":%b}' % (name.encode(), self._bodies[name]) for name in sorted(wanted))
        return b"{%b}" % b",".join(parts)


def _compressed(answer: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(answer, separators=(",", ":")).encode(), COMPRESSION_LEVEL)


def _connected(recording: _Recording) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            body = recording.answer(head.split(b" ", 2)[1].decode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
                b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
        writer.close()

    return serve


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""


async def _main() -> None:
    server = await asyncio.start_server(_connected(_Recording()), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    # Ends with the process that started it: its end of the pipe closes then.
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_main())
