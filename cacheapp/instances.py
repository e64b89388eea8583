"""The instances of a deployment. Each writes reports about itself to the store, so that any of them can report on
all.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import msgspec

from cacheapp.errors import RefreshNotFound
from cacheapp.reports import InstanceReport
from cacheapp.rows import ignored_rows
from cacheapp.stores.protocol import MAX_REPORT_BYTES, Store, StoredReport
from esassistant.clock import Clock, monotonic
from esassistant.errors import StoreUnavailable
from esassistant.resource import Handle

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
FORGOTTEN_AFTER_SECONDS = 3 * REPORT_SECONDS
STORE_SECONDS = 2.0
"""How long a request for all reports waits for the store at most."""


class Instances:
    """Exchanges reports with the other instances. One per process, owned by the registry; used only on its event loop.

    `keep_publishing` is its background task.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        collect: Callable[[], Mapping[str, object]],
        *,
        clock: Clock = monotonic,
        store_seconds: float = STORE_SECONDS,
    ) -> None:
        """Make it. `collect` returns this instance's own report. `store_seconds`: how long a request waits for the
        store at most.
        """
        self._store = store
        self._name = name
        self._collect = collect
        self._store_seconds = store_seconds
        self._clock = clock
        self._wake = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._published: tuple[float, bytes] | None = None
        self._is_too_large = False
        self._seen_at = clock()
        self._seen: Mapping[str, InstanceReport] = MappingProxyType({})

    def report(self) -> dict[str, InstanceReport]:
        """Return the reports of all instances: this one's as of now, the others' as of a few seconds ago. Doesn't ask
        the store.
        """
        return {self._name: InstanceReport(0.0, self._collect()), **self.others()}

    def others(self) -> dict[str, InstanceReport]:
        """Return the reports of the other instances, as of a few seconds ago. Doesn't ask the store."""
        passed = self._clock() - self._seen_at
        return {
            name: InstanceReport(seen.age_seconds + passed, seen.report)
            for name, seen in self._seen.items()
            if name != self._name and seen.age_seconds + passed <= FORGOTTEN_AFTER_SECONDS
        }

    def told_by_others(self, report: str) -> list[Any] | None:
        """Return the part named `report` of the other instances' reports, as far as they have it. None if the store
        hasn't answered lately, so that their reports aren't known.
        """
        if self._clock() - self._seen_at > FORGOTTEN_AFTER_SECONDS:
            return None
        return [seen.report[report] for seen in self.others().values() if report in seen.report]

    async def look(self) -> dict[str, InstanceReport]:
        """Return the reports of all instances, after reading those of the others from the store. Raise
        `StoreUnavailable` if it can't be read.
        """
        asked_at = self._clock()
        reports = await self._store.reports()
        self._seen_at, self._seen = asked_at, {name: found for name, found in map(_decoded, reports.items()) if found}
        return self.report()

    async def refresh_report(self, refresh_id: str) -> object:
        """Return the report of the refresh with this id, whichever instance made it. Raise `RefreshNotFound` if none
        has it.
        """
        async with _if_the_store_answers(self._store_seconds):
            await self.look()
        for seen in self._seen.values():
            refreshes = seen.report.get("refreshes")
            if isinstance(refreshes, dict) and refresh_id in refreshes:
                return refreshes[refresh_id]
        raise RefreshNotFound("No refresh of this id is known; only the latest of each process are kept.")

    async def reports(self) -> dict[str, InstanceReport]:
        """Return what all instances published, after publishing this one's report. So totals never fall, whichever
        instance is asked.

        While the store is away, return only this instance's report: the one it published last, for as long as other
        instances might still show that; after that, a new one.
        """
        known: dict[str, InstanceReport] = {}
        async with _if_the_store_answers(self._store_seconds):
            await self.publish()
            await self.look()
            known = dict(self._seen)
        if self._name not in known:
            known[self._name] = self._last_published()
        return known

    def _last_published(self) -> InstanceReport:
        if self._published is not None:
            published_at, report = self._published
            age_seconds = self._clock() - published_at
            if age_seconds <= FORGOTTEN_AFTER_SECONDS + self._store_seconds:
                return InstanceReport(age_seconds, msgspec.json.decode(report))
        return InstanceReport(0.0, msgspec.json.decode(self._encoded()))

    def _encoded(self) -> bytes:
        return msgspec.json.encode(self._collect())

    async def try_publish(self) -> None:
        """Publish at once if the store answers in time; otherwise the next turn of `keep_publishing` does it."""
        async with _if_the_store_answers(self._store_seconds):
            await self.publish()

    def publish_soon(self) -> None:
        """Make `keep_publishing` publish at once, because other instances may be asked about what has just happened."""
        self._wake.set()

    async def publish(self) -> None:
        """Write this instance's report to the store, unless it is too large. Raise `StoreUnavailable` if the store
        fails.
        """
        async with self._publishing:  # one at a time: an older report must not replace a newer one
            published_at, report = self._clock(), self._encoded()
            if len(report) <= MAX_REPORT_BYTES:
                await self._store.report(self._name, report, FORGOTTEN_AFTER_SECONDS)
                self._published = published_at, report
                self._is_too_large = False
            elif not self._is_too_large:
                self._is_too_large = True
                logger.warning(
                    "what this process tells of itself has %d bytes, more than the %d that others get: they know "
                    "nothing of it",
                    len(report),
                    MAX_REPORT_BYTES,
                )

    async def keep_publishing(self) -> None:
        """Background task: publish, and read the others' reports, every few seconds. Failures of the store are only
        logged.
        """
        while True:
            self._wake.clear()
            try:
                await self.publish()
                await self.look()
            except StoreUnavailable as error:
                logger.debug("%s", error.operator_detail)
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue


INSTANCES: Handle[Instances] = Handle("instances")


@asynccontextmanager
async def _if_the_store_answers(seconds: float) -> AsyncIterator[None]:
    """Run the block for at most `seconds`; leave it quietly if the store fails or takes longer."""
    with suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(seconds):
            yield


def _decoded(named: tuple[str, StoredReport]) -> tuple[str, InstanceReport | None]:
    name, stored = named
    try:
        report = msgspec.json.decode(stored.report, type=dict[str, Any])
    except msgspec.MsgspecError:
        ignored_rows.note("InstanceReport")
        return name, None  # damaged: as if it had published no report
    return name, InstanceReport(stored.age_seconds, report)
