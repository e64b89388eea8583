"""A gate: lets so many through at once, and so many more wait for a while, first come, first served."""

import asyncio
from collections import OrderedDict
from typing import Final

WAIT_SECONDS: Final = 2.0


class Gate:
    """Of one event loop. A place that becomes free goes to who has waited the longest, before anybody new."""

    def __init__(self, at_once: int, waiting: int, seconds: float = WAIT_SECONDS) -> None:
        self._free = at_once
        self._most_waiting = waiting
        self._seconds = seconds
        self._waiters: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    async def enter(self) -> bool:
        """Take a place, or wait for one; False: there was none in time. Who entered has to `leave`."""
        if self._free:
            self._free -= 1
            try:
                # What never waits would else run to its end here, and so would all that came in this turn of the loop.
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.leave()
                raise
            return True
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
                self.leave()  # the place was handed over in the same turn of the loop
            raise
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

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
