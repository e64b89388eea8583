"""A gate: lets a limited number of requests through at once. A limited number of others wait for a while, in order."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

WAIT_SECONDS: Final = 2.0
PER_TURN: Final = 8
"""How many requests may begin in one turn of the loop; other tasks run between these turns."""


class Gate:
    """Belongs to one event loop. A place that becomes free goes to the request that has waited longest, before any new
    one.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float = WAIT_SECONDS) -> None:
        self._free = at_once
        self._most_waiting = waiting
        self._seconds = seconds
        self._waiters: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._turns: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> bool:
        """Take a place, or wait for one. Return False if none became free in time; otherwise `leave` must follow."""
        if self._free:
            self._free -= 1
        elif not await self._place():
            return False
        try:
            await self._turn()
        except asyncio.CancelledError:
            self.leave()
            raise
        return True

    async def _place(self) -> bool:
        if len(self._waiters) >= self._most_waiting:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_later(self._seconds, self._give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.leave()  # the place was given to this waiter in the same turn of the loop
            raise
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    async def _turn(self) -> None:
        """Wait for a turn to begin. Otherwise requests that never wait would all run to their end, one after the other,
        before other tasks get the loop.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._turns.append(turn)
        if len(self._turns) == 1:
            loop.call_soon(self._give_turns, loop)
        await turn

    def _give_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(PER_TURN, len(self._turns))):
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._turns:
            loop.call_soon(self._give_turns, loop)

    def leave(self) -> None:
        """Give the place back."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(True)
                return
        self._free += 1

    @staticmethod
    def _give_up(waiter: "asyncio.Future[bool]") -> None:
        if not waiter.done():
            waiter.set_result(False)
