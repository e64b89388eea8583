"""A thread for Django's database, besides the event loop.

Calls of the ORM would block the loop, and database connections belong to threads. So each owner has one thread that
does all of its database work, and that opens, keeps and closes its connections.
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
"""The deadline of one operation, including its wait for earlier ones. It is longer than SQLite's own wait of 5 s for a
lock.
"""


class DatabaseThread:
    """Runs functions in one thread. Lives from `open_database_thread()` to the end of its block."""

    def __init__(self, executor: ThreadPoolExecutor, deadline_seconds: float) -> None:
        self._executor = executor
        self._deadline_seconds = deadline_seconds

    async def run(self, function: Callable[[], T], *, atomic: bool = True, probes: bool = False) -> T:
        """Call `function` in the thread, in one transaction if `atomic`.

        Raises `StoreUnavailable` if the database fails. While it is known to be away, that happens at once, unless
        `probes` is set.
        """

        def call() -> T:
            close_old_connections()
            try:
                with transaction.atomic() if atomic else nullcontext():
                    return function()
            finally:
                close_old_connections()

        # Checked before waiting for the thread, which may itself be waiting for the database.
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
    """Return the error for a failure of the database, with texts for callers and for operators."""
    kind = StoreRefused if failure.is_answer else StoreUnavailable
    told_operators = told(connection.settings_dict, failure)
    return kind(f"The database {failure.why}", retry_after_seconds=5, operator_detail=told_operators)


@asynccontextmanager
async def open_database_thread(
    name: str, *, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncIterator[DatabaseThread]:
    """Open a thread for the length of the block. Does no I/O until it is used; it opens even if the database is
    away.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield DatabaseThread(executor, deadline_seconds)
    finally:
        try:
            # In the thread that opened the connections, because they belong to it.
            await asyncio.get_running_loop().run_in_executor(executor, connections.close_all)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
