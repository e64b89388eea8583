"""Background tasks that have an owner.

A task of plain `create_task` inherits the context of the request that happens to start it, dies silently when it
crashes, and outlives the objects that it works on. The tasks here run in an empty context, are restarted with backoff
when they crash, are counted, and end when their owner ends.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from esassistant.clock import Clock, Sleep, monotonic

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RESTART_DELAY_SECONDS = 0.5
LONGEST_RESTART_DELAY_SECONDS = 30.0
SETTLED_AFTER_SECONDS = 60.0
"""If a task ran for this long before it crashed, it is restarted with the shortest delay."""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The state of one background task. `crashes_total`: since the registry opened; `last_error`: the name of the
    exception's type.
    """

    name: str
    owner: str
    running: bool
    crashes_total: int
    last_error: str | None


def restart_delay_seconds(crashes_in_a_row: int) -> float:
    """Return how long to wait before a restart after `crashes_in_a_row` crashes (1 or more). It grows exponentially, up
    to a bound.
    """
    return min(LONGEST_RESTART_DELAY_SECONDS, FIRST_RESTART_DELAY_SECONDS * 2.0 ** min(crashes_in_a_row - 1, 16))


class _Background:
    """One supervised background task."""

    def __init__(self, name: str, owner: str) -> None:
        self.name = name
        self.owner = owner
        self.crashes_total = 0
        self.last_error: str | None = None
        self.task: asyncio.Task[None] | None = None

    async def supervise(self, function: Callable[[], Coroutine[Any, Any, None]], clock: Clock, sleep: Sleep) -> None:
        in_a_row = 0
        while True:
            started_at = clock()
            try:
                await function()
            except Exception as error:
                in_a_row = 1 if clock() - started_at >= SETTLED_AFTER_SECONDS else in_a_row + 1
                self.crashes_total += 1
                self.last_error = type(error).__name__
                delay = restart_delay_seconds(in_a_row)
                logger.exception(
                    "background task %s of %s crashed; it starts again in %.1f s", self.name, self.owner, delay
                )
                await sleep(delay)
            else:
                return

    def report(self) -> TaskReport:
        running = self.task is not None and not self.task.done()
        return TaskReport(self.name, self.owner, running, self.crashes_total, self.last_error)


class Tasks:
    """All tasks of one open registry, by owner. Lives as long as the registry is open; belongs to its loop."""

    def __init__(self, clock: Clock = monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._background: list[_Background] = []
        self._flights: dict[str, set[asyncio.Task[Any]]] = {}

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], *, name: str, owner: str) -> asyncio.Task[None]:
        """Start a background task that is restarted whenever it raises, and that ends with its owner."""
        background = _Background(name, owner)
        background.task = asyncio.create_task(
            background.supervise(function, self._clock, self._sleep), name=f"{owner}:{name}", context=Context()
        )
        self._background.append(background)
        return background.task

    def flight(self, function: Callable[[], Coroutine[Any, Any, T]], *, name: str, owner: str) -> asyncio.Task[T]:
        """Start a task that runs once. Its result or error is for whoever awaits it. It ends at the latest with its
        owner.
        """
        task = asyncio.create_task(function(), name=f"{owner}:{name}", context=Context())
        flights = self._flights.setdefault(owner, set())
        flights.add(task)
        task.add_done_callback(flights.discard)
        return task

    async def cancel(self, owner: str, deadline_seconds: float) -> None:
        """Cancel all tasks of `owner`, and wait for them for at most `deadline_seconds`. Tasks that have not ended by
        then are logged.
        """
        tasks: list[asyncio.Task[Any]] = [b.task for b in self._background if b.owner == owner and b.task is not None]
        tasks += self._flights.get(owner, ())
        pending = {task for task in tasks if not task.done()}
        for task in pending:
            task.cancel()
        if not pending:
            return
        done, resisting = await asyncio.wait(pending, timeout=deadline_seconds)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("task %s failed while it was ended", task.get_name(), exc_info=error)
        for task in resisting:
            logger.error("task %s did not end within %.1f s", task.get_name(), deadline_seconds)

    def reports(self) -> tuple[TaskReport, ...]:
        """Return the state of every background task, in the order in which they were started."""
        return tuple(background.report() for background in self._background)
