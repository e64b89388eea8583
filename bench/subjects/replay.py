"""A replayed cluster of any size, whose mappings change on request: `python -m bench.subjects.replay [TIMES]`.

The bodies are what Elasticsearch renders for the mappings of bench/subjects/cluster.py, byte by byte, and compressed in
the same way. There are TIMES as many indices as there. Requests that wait for a version of the metadata wait as long as
they do at Elasticsearch. It is a process of its own, because in a thread it would block the interpreter that the bench
measures.
"""

import asyncio
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from bench.subjects.cluster import FAMILIES, names, rendered
from dev.servers.process import Program

TIMES = 10
"""How many times as many indices as the real cluster has."""
METADATA_VERSION = 12_345
COMPRESSION_LEVEL = 3
CLUSTER_UUID = "replayed-cluster"
CHANGE, REQUESTS = "/_bench/change", "/_bench/requests"
"""Addresses of the bench, not of Elasticsearch. Requests to them are not counted."""
COUNTS, SETTINGS = "/_nodes/stats/indices/mappings", "/_settings/index.uuid,index.mapping.total_fields.limit"
RESOLVED, VERSIONS = "/_resolve/index/*", "/_cluster/state/metadata"
LISTINGS = ("/", COUNTS, RESOLVED, SETTINGS)
HEALTH = "/_cluster/health"
CHANGE_SECONDS = 30.0
"""How long a change may take if there are very many indices."""


@contextmanager
def replayed(times: int = TIMES) -> Iterator[str]:
    """Yield the URL of a server that runs for the length of a block."""
    with Program("bench-replay", [sys.executable, "-m", "bench.subjects.replay", str(times)]) as server:
        yield server.url


def change(url: str, name: str, field: str) -> float:
    """Add a field to an index. Return the moment at which the cluster had it, by the monotonic clock."""
    answer = httpx.post(f"{url}{CHANGE}", params={"index": name, "field": field}, timeout=CHANGE_SECONDS)
    answer.raise_for_status()
    return float(answer.json()["at"])


def requests_so_far(url: str) -> Counter[str]:
    """Return how many requests of each kind the cluster has got: `waits` for changes, `versions` of mappings,
    `listings`, `mappings`, `health`.
    """
    return Counter(httpx.get(f"{url}{REQUESTS}", timeout=CHANGE_SECONDS).json())


def kind_of(path: str) -> str:
    """Return the kind as which a request of that path is counted."""
    if path == HEALTH:
        return "health"
    if path in LISTINGS:
        return "listings"
    if path.endswith("/_mapping"):
        return "mappings"
    return "versions" if path == VERSIONS else "waits"


class Recording:
    """The answers. Listings are rendered and compressed once, mappings for each request."""

    def __init__(self, times: int) -> None:
        self._families = {name: family for family in FAMILIES for name in names(family, times)}
        bodies = {family.name: rendered(family) for family in FAMILIES}
        self._bodies = {name: bodies[family.name] for name, family in self._families.items()}
        self._counts = {name: family.fields for name, family in self._families.items()}
        self._versions = dict.fromkeys(self._families, 1)
        self._version = METADATA_VERSION
        self._changed = asyncio.Event()
        self.requests: Counter[str] = Counter()
        self._listings = {
            SETTINGS: _compressed(
                {name: {"settings": {"index.uuid": f"uuid-{number:020}"}} for number, name in enumerate(self._bodies)}
            ),
            RESOLVED: _compressed(
                {
                    "indices": [
                        {"name": name, "aliases": [f"all-{name.partition('-')[0]}"], "attributes": ["open"]}
                        for name in self._bodies
                    ],
                    "aliases": [{"name": f"all-{family.name}", "indices": names(family, times)} for family in FAMILIES],
                    "data_streams": [],
                }
            ),
            "/": _compressed({"cluster_uuid": CLUSTER_UUID}),
            HEALTH: _compressed({"status": "green", "number_of_nodes": 1, "unassigned_shards": 0}),
            **self._changing(),
        }

    def _changing(self) -> dict[str, bytes]:
        """Return the listings that change when a mapping changes."""
        counts = {name: {"mappings": {"total_count": count}} for name, count in self._counts.items()}
        versions = {name: {"mapping_version": version} for name, version in self._versions.items()}
        return {
            COUNTS: _compressed({"_nodes": {"total": 1}, "nodes": {"node": {"indices": {"indices": counts}}}}),
            VERSIONS: _compressed({"wait_for_timed_out": False, "metadata": {"indices": versions}}),
        }

    async def answer(self, target: str) -> bytes:
        """Return the compressed body of the answer to a request."""
        path, query = urlsplit(target)[2:4]
        if path == REQUESTS:
            return _compressed(self.requests)
        if path == CHANGE:
            told = parse_qs(query)
            return _compressed({"at": self._change(told["index"][0], told["field"][0])})
        self.requests[kind_of(path)] += 1
        if path in self._listings:
            return self._listings[path]
        if path.startswith("/_cluster/state/"):
            return await self._state(parse_qs(query))
        wanted = path.removeprefix("/").removesuffix("/_mapping").split(",")
        return gzip.compress(self._mappings([unquote(name) for name in wanted]), COMPRESSION_LEVEL)

    def _change(self, name: str, field: str) -> float:
        self._bodies[name] = rendered(self._families[name], field)
        self._counts[name] += 1
        self._versions[name] += 1
        self._listings |= self._changing()
        self._version += 1
        at = time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()
        return at

    async def _state(self, query: dict[str, list[str]]) -> bytes:
        """Return the answer to a request for the cluster's state: when the metadata has the awaited version, or when
        the waiting time is over.
        """
        version = int(query["wait_for_metadata_version"][0])
        milliseconds = int(query["wait_for_timeout"][0].removesuffix("ms"))
        with suppress(TimeoutError):
            async with asyncio.timeout(milliseconds / 1000):
                while self._version < version:
                    await self._changed.wait()
        if self._version < version:
            return _compressed({"wait_for_timed_out": True})
        return _compressed(
            {
                "cluster_uuid": CLUSTER_UUID,
                "version": self._version,
                "state_uuid": f"state-{self._version}",
                "wait_for_timed_out": False,
                "metadata": {"cluster_coordination": {"term": 1}},
            }
        )

    def _mappings(self, wanted: list[str]) -> bytes:
        parts = (b'"%b":{"mappings":%b}' % (name.encode(), self._bodies[name]) for name in sorted(wanted))
        return b"{%b}" % b",".join(parts)


def _compressed(answer: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(answer, separators=(",", ":")).encode(), COMPRESSION_LEVEL)


def _connected(recording: Recording) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            body = await recording.answer(head.split(b" ", 2)[1].decode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
                b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()

    return serve


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""


async def _main() -> None:
    recording = Recording(int(sys.argv[1]) if len(sys.argv) > 1 else TIMES)
    server = await asyncio.start_server(_connected(recording), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    # Standard input ends together with the process that started this one, because that closes its end of the pipe.
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_main())
