"""Reads of single names that are asked for at about the same time share one request."""

import asyncio

from elasticsearch import ApiError

from cacheapp.cluster.batches import Batches
from cacheapp.cluster.reader import ClusterReader
from esassistant.elasticsearch.answers import AnswerKind, failure_kind
from esassistant.elasticsearch.errors import AnswerTooLarge
from esassistant.single_flight import Spawn, let_go

GATHER_SECONDS = 0.001
"""How long the first miss waits for others: short, compared with any answer of a cluster."""
MAX_TOGETHER = 50


class TogetherReader:
    """Reads the mappings of single names, several in one request. Owned by the cache; used only on its event loop."""

    def __init__(self, reader: ClusterReader, spawn: Spawn) -> None:
        self._reader = reader
        self._spawn = spawn
        self._waiting: dict[str, asyncio.Future[dict[str, bytes]]] = {}

    async def mapping(self, name: str) -> dict[str, bytes]:
        """Return what `ClusterReader.mapping` returns. A name that already waits for the next request is asked for
        once.
        """
        if name not in self._waiting:
            if not self._waiting:
                self._spawn(self._gather)
            self._waiting[name] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waiting[name])

    async def _gather(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        waiting, self._waiting = self._waiting, {}
        names = Batches.from_names(waiting)
        try:
            async with asyncio.TaskGroup() as group:
                while batch := names.take(MAX_TOGETHER):
                    group.create_task(self._read(batch, waiting))
        finally:
            for future in waiting.values():
                future.cancel()  # has an effect only on those without an answer, if the owner is closing

    async def _read(self, names: list[str], waiting: dict[str, asyncio.Future[dict[str, bytes]]]) -> None:
        alone = names
        if len(names) > 1:
            try:
                read = await self._reader.mappings(names)
            except Exception as error:  # noqa: BLE001  (given to those who wait)
                if _may_be_of_one(error):
                    # One bad name must not fail the others that were asked for at the same time.
                    middle = len(names) // 2
                    await self._read(names[:middle], waiting)
                    await self._read(names[middle:], waiting)
                    return
                for name in names:
                    _settle(waiting[name], error)
                return
            for name in names:
                if name in read:
                    waiting[name].set_result({name: read[name]})
            # What remains are names that don't exist, and aliases: the answer has only the names of their indices.
            alone = [name for name in names if name not in read]
        # All at once, as far as there are connections, so that nobody waits for the answers of others.
        async with asyncio.TaskGroup() as group:
            for name in alone:
                group.create_task(self._read_alone(name, waiting[name]))

    async def _read_alone(self, name: str, future: "asyncio.Future[dict[str, bytes]]") -> None:
        try:
            future.set_result(await self._reader.mapping(name))
        except Exception as error:  # noqa: BLE001
            _settle(future, error)


def _may_be_of_one(error: Exception) -> bool:
    """Return whether a request for several names may have failed because of one of them: a mapping that the cluster
    can't render, a blocked index, or mappings that are too large together.
    """
    cause = error.__cause__
    if isinstance(cause, AnswerTooLarge) or failure_kind(cause) is AnswerKind.BLOCKED:
        return True
    return isinstance(cause, ApiError) and cause.status_code == 500


def _settle(future: "asyncio.Future[dict[str, bytes]]", error: Exception) -> None:
    let_go(error)
    future.set_exception(error)
    future.exception()  # marks it as retrieved: if nobody waits any more, asyncio must not log it
