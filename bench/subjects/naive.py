"""The reference that a full pass is measured against, written for these benches.

It imitates how the original, a FastAPI backend, fills its mapping cache: it lists the indices, and asks for their
mappings by one `GET /{index}/_mapping` each, five at a time (`MAPPING_CACHE_BATCH_SIZE=5`), the next five when all of
those have been answered, everything under one lock; and it keeps what the client makes of each answer, a dict. What
could not be read is left out until the next time. A mapping that is not there yet is asked for by each who wants it.
Whether the five go out together or one after the other can be chosen: together is the faster of the two, the harder
reference.
"""

import asyncio
from typing import Any

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

BATCH_SIZE = 5


class NaiveCache:
    """Belongs to the loop of its first refresh."""

    def __init__(self, client: AsyncElasticsearch, *, at_once: bool = True) -> None:
        """`at_once`: the five requests of a batch together, else one after the other."""
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
        """None: it could not be read."""
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
