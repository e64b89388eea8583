"""A thread for Django's database, beside the event loop.

ORM calls would block the loop, and connections belong to threads: so all of one owner's work is done by one thread of
its own, which opens, keeps and closes its connections.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import TypeVar

from django.db import Error, close_old_connections, connection, connections, transaction

from esassistant.database.connecting import outage_of, told
from esassistant.database.failures import DatabaseFailure, database_failure
from esassistant.errors import StoreRefused, StoreUnavailable
from esassistant.units import as_seconds

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_SECONDS = 20.0
"""For one operation, waiting for earlier ones included. Above SQLite's own 5 s wait for a lock."""


class DatabaseThread:
    """Lives from `open_database_thread()` to the end of its block."""

    def __init__(self, executor: ThreadPoolExecutor, deadline_seconds: float) -> None:
        self._executor = executor
        self._deadline_seconds = deadline_seconds

    async def run(self, function: Callable[[], T], *, atomic: bool = True, probes: bool = False) -> T:
        """Call `function` in the thread, in one transaction if `atomic`. Raises `StoreUnavailable`: at once while the
        database is known to be away, unless it `probes`.
        """

        def call() -> T:
            close_old_connections()
            try:
                with transaction.atomic() if atomic else nullcontext():
                    return function()
            finally:
                close_old_connections()

        # Before it waits for the thread, which may just be trying.
        if not probes and (failure := outage_of(connection.settings_dict).failure()) is not None:
            raise database_unavailable(failure)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except TimeoutError:
            raise database_unavailable(
                DatabaseFailure(f"did not answer within {as_seconds(self._deadline_seconds)}.", is_answer=False)
            ) from None
        except Error as error:
            logger.debug("the database failed", exc_info=True)
            raise database_unavailable(database_failure(error)) from error


def database_unavailable(failure: DatabaseFailure) -> StoreUnavailable:
    """A failure of the database, for callers and for operators."""
    kind = StoreRefused if failure.is_answer else StoreUnavailable
    told_operators = told(connection.settings_dict, failure)
    return kind(f"The database {failure.why}", retry_after_seconds=5, operator_detail=told_operators)


@asynccontextmanager
async def open_database_thread(
    name: str, *, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncIterator[DatabaseThread]:
    """A thread for the length of the block. Does no I/O until it is used; an absent database doesn't keep it from
    opening.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield DatabaseThread(executor, deadline_seconds)
    finally:
        try:
            # In the thread that opened them: connections belong to it.
            await asyncio.get_running_loop().run_in_executor(executor, connections.close_all)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
