"""Small values that processes change one after the other. A store keeps them for the whole deployment; `MemoryValues`
keeps them for one process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Protocol, TypeVar

from esassistant.clock import Clock, Sleep, monotonic
from esassistant.errors import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
Values = Mapping[str, bytes]

MAX_VALUE_BYTES: Final = 256 * 1024
EXCHANGE_SECONDS: Final = 60.0


class SharedValues(Protocol):
    """Keeps small values by name. Raises `StoreUnavailable` if the store can't be reached in time."""

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        """Replace values in one atomic step, and return the result of `function`.

        Args:
            names: The values that `function` may read and replace.
            function: Called with the present values and the time of the store in milliseconds. Returns the values to
                replace (at most `MAX_VALUE_BYTES` each), and a result. It must be pure, as it may be called again.
            kept_seconds: The store may drop a value when it has not been replaced for this many seconds.
        """
        ...


class MemoryValues:
    """Implements `SharedValues` for one process."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._values: dict[str, bytes] = {}

    async def change(
        self,
        names: Collection[str],
        function: Callable[[Values, int], tuple[Values, T]],
        kept_seconds: float,  # noqa: ARG002  (there are few names; what is old is dropped by `function`)
    ) -> T:
        there = {name: self._values[name] for name in names if name in self._values}
        replaced, result = function(there, int(self._clock() * 1000))
        self._values.update(replaced)
        return result


async def keep_exchanging(exchange: Callable[[], Awaitable[None]], *, sleep: Sleep = asyncio.sleep) -> None:
    """Background task: exchange every minute what the processes share. If the store can't be reached, try again a
    minute later.

    Args:
        exchange: Publishes what this process has counted, and reads what all have. May raise `StoreUnavailable`.
    """
    while True:
        try:
            await exchange()
        except StoreUnavailable as error:
            logger.debug("%s", error.operator_detail)
        await sleep(EXCHANGE_SECONDS)
