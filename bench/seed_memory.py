"""The memory of 1 000 mappings in a process of their own: `python -m bench.seed_memory dicts|cache URL` prints it as
JSON.

    dicts   the client's parsed answers in a dict, as the original keeps them (bench/subjects/naive.py)
    cache   this project's cache, after a full pass

Both processes import the same modules. Both have sent a request to the cluster before their resident memory is read for
the first time.
"""

import asyncio
import gc
import json
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch

from bench.subjects.naive import NaiveCache
from bench.subjects.stack import open_stack

PROCESS_SECONDS = 120
Reading = Callable[[], Any]
HEALTH = ("GET", "/_cluster/health")
ACCEPT = {"accept": "application/json"}


@dataclass(frozen=True)
class Resident:
    """The resident memory of a process in bytes, and how many mappings it holds."""

    before_bytes: int
    after_bytes: int
    mappings: int


def resident(kind: str, url: str) -> Resident:
    """Measure the memory in a new process. Raise `RuntimeError` if the process fails."""
    command = [sys.executable, "-m", "bench.seed_memory", kind, url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    return Resident(**json.loads(ended.stdout))


@asynccontextmanager
async def _dicts(url: str) -> AsyncIterator[tuple[AsyncElasticsearch, Reading]]:
    async with AsyncElasticsearch(url, http_compress=True) as client:
        reference = NaiveCache(client)

        async def read() -> NaiveCache:
            await reference.refresh()
            return reference

        yield client, read


@asynccontextmanager
async def _cache(url: str) -> AsyncIterator[tuple[AsyncElasticsearch, Reading]]:
    async with open_stack(url) as stack:

        async def read() -> Any:
            await stack.full_pass()
            return stack.cache

        yield stack.client, read


KINDS: dict[str, Callable[[str], AbstractAsyncContextManager[tuple[AsyncElasticsearch, Reading]]]] = {
    "dicts": _dicts,
    "cache": _cache,
}


async def _measure(kind: str, url: str) -> Resident:
    async with KINDS[kind](url) as (client, read):
        await client.perform_request(*HEALTH, headers=ACCEPT)
        before = _resident_bytes()
        held = await read()
        after = _resident_bytes()
        mappings = len(held.mappings) if isinstance(held, NaiveCache) else held.report().indices
    return Resident(before, after, mappings)


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_measure(sys.argv[1], sys.argv[2])))))
