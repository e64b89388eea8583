"""The reference that a full pass is measured against, written for these benches.

It imitates how the original, a FastAPI backend, fills its mapping cache. It lists the indices, and asks for their
mappings by one `GET /{index}/_mapping` each, five at a time (`MAPPING_CACHE_BATCH_SIZE=5`). The next five follow when
all of these have been answered. Everything happens under one lock, and the client's parsed answers are kept as dicts.
What could not be read is left out until the next time. If a mapping isn't in memory yet, each caller sends a request of
its own for it. The five requests can be sent together or one after the other; together is faster, and so the harder
reference.
"""

import asyncio
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

BATCH_SIZE = 5


class NaiveCache:
    """A mapping cache like that of the original; belongs to the loop of its first refresh."""

    def __init__(self, client: AsyncElasticsearch, *, at_once: bool = True) -> None:
        """Make a cache. `at_once`: send the five requests of a batch together; otherwise one after the other."""
        self._client = client
        self._at_once = asyncio.Semaphore(BATCH_SIZE if at_once else 1)
        self._lock = asyncio.Lock()
        self.mappings: dict[str, Any] = {}
        self.requests_total = 0
        self.failed_total = 0

    async def refresh(self) -> None:
        async with self._lock:
            listed = await self._client.indices.get_settings(index="*", name="index.uuid", flat_settings=True)
            self.requests_total += 1
            names = sorted(listed.body)
            for start in range(0, len(names), BATCH_SIZE):
                batch = names[start : start + BATCH_SIZE]
                answers = await asyncio.gather(*map(self._mapping_if_answered, batch))
                self.mappings.update(
                    (name, answer) for name, answer in zip(batch, answers, strict=True) if answer is not None
                )

    async def get(self, name: str) -> Any:
        if name not in self.mappings:
            self.mappings[name] = await self._mapping(name)
        return self.mappings[name]

    async def _mapping_if_answered(self, name: str) -> Any:
        """Return a mapping; None if it could not be read."""
        async with self._at_once:
            try:
                return await self._mapping(name)
            except (ApiError, TransportError):
                self.failed_total += 1
                return None

    async def _mapping(self, name: str) -> Any:
        self.requests_total += 1
        answer = await self._client.indices.get_mapping(index=name)
        return answer.body[name]["mappings"]
