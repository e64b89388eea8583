"""Many small questions to Redis at once take one way there: what is asked while one batch is under way makes the next.

So a thousand misses at once need one connection, and those that were asked together are answered together.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cacheapp.stores.redis.link import RedisLink
from esassistant.errors import StoreUnavailable
from esassistant.single_flight import Spawn

SCRIPTS_AT_ONCE = 200
BYTES_AT_ONCE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Waiting:
    script: str
    keys: Sequence[str]
    arguments: Sequence[Any]
    bytes_carried: int
    answer: "asyncio.Future[Any]"


class RedisPipe:
    """Runs scripts over a link that somebody else closes, in the order in which they were asked for. Belongs to its
    loop.
    """

    def __init__(self, link: RedisLink, spawn: Spawn) -> None:
        self.link = link
        self._spawn = spawn
        self._waiting: deque[_Waiting] = deque()
        self._is_sending = False

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[Any] = (), *, bytes_carried: int = 0
    ) -> Any:
        """As `RedisLink.run`. `bytes_carried`: how much goes one way or the other, where that is much.

        What was asked for is done also when the caller is cancelled; what he asks for afterwards is done after it.
        """
        waiting = _Waiting(script, keys, arguments, bytes_carried, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._is_sending:
            self._is_sending = True
            self._spawn(self._send)
        return await waiting.answer

    async def _send(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = self._take()
                try:
                    answers = await self.link.run_all([(one.script, one.keys, one.arguments) for one in batch])
                except StoreUnavailable as error:
                    answers = [error] * len(batch)
                for one, answer in zip(batch, answers, strict=True):
                    _settle(one, answer)
        finally:
            self._is_sending = False
            ended = StoreUnavailable("What instances share is not open any more.")
            for one in (*batch, *self._waiting):
                _settle(one, ended)
            self._waiting.clear()

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        carried = batch[0].bytes_carried
        while self._waiting and len(batch) < SCRIPTS_AT_ONCE:
            carried += self._waiting[0].bytes_carried
            if carried > BYTES_AT_ONCE:
                break
            batch.append(self._waiting.popleft())
        return batch


def _settle(one: _Waiting, answer: Any) -> None:
    if one.answer.done():
        return  # the caller was cancelled, or it has its answer
    if isinstance(answer, StoreUnavailable):
        # One of his own for each, and nobody need hear of it who has gone.
        one.answer.set_exception(StoreUnavailable(answer.detail, retry_after_seconds=answer.retry_after_seconds))
        one.answer.exception()
    else:
        one.answer.set_result(answer)
