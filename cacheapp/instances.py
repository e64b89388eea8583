"""The instances of a deployment: each says how it does by way of the store, so that any of them can tell of all."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from cacheapp.errors import RefreshNotFound
from esassistant.clock import Clock, monotonic
from esassistant.errors import StoreUnavailable
from esassistant.store import MAX_REPORT_BYTES, Store, StoredReport

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
FORGOTTEN_AFTER_SECONDS = 3 * REPORT_SECONDS


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What one instance said of itself `age_seconds` ago: its statistics by resource."""

    age_seconds: float
    report: Mapping[str, Any]


class Instances:
    """One per process, owned by the registry; belongs to its loop. `keep_reporting` is its background task."""

    def __init__(
        self, store: Store, name: str, collect: Callable[[], Mapping[str, object]], *, clock: Clock = monotonic
    ) -> None:
        """`collect` gives this instance's own report."""
        self._store = store
        self._name = name
        self._collect = collect
        self._clock = clock
        self._wake = asyncio.Event()
        self._seen_at = clock()
        self._seen: Mapping[str, InstanceReport] = MappingProxyType({})

    def all(self) -> dict[str, InstanceReport]:
        """All instances, this one as it is now, the others as they were a few seconds ago. Asks nobody."""
        passed = self._clock() - self._seen_at
        others = {
            name: InstanceReport(seen.age_seconds + passed, seen.report)
            for name, seen in self._seen.items()
            if name != self._name and seen.age_seconds + passed <= FORGOTTEN_AFTER_SECONDS
        }
        return {self._name: InstanceReport(0.0, self._collect()), **others}

    async def look(self) -> dict[str, InstanceReport]:
        """All instances, the others as the store knows them now. Raises `StoreUnavailable`."""
        asked_at = self._clock()
        reports = await self._store.reports()
        self._seen_at, self._seen = asked_at, {name: found for name, found in map(_decoded, reports.items()) if found}
        return self.all()

    async def refresh(self, refresh_id: str) -> object:
        """The report of a pass of any instance. Raises `RefreshNotFound`."""
        with suppress(StoreUnavailable):
            await self.look()
        for seen in self._seen.values():
            refreshes = seen.report.get("refreshes")
            if isinstance(refreshes, dict) and refresh_id in refreshes:
                return refreshes[refresh_id]
        raise RefreshNotFound("No refresh of this id is known; only the latest of each process are kept.")

    async def told(self) -> dict[str, InstanceReport]:
        """All instances as they have told the store, this one just now: whichever of them is asked, no number falls.
        Raises `StoreUnavailable`.
        """
        await self.report()
        await self.look()
        return dict(self._seen)

    def report_soon(self) -> None:
        """Something happened that the others are asked about: don't wait for the next turn."""
        self._wake.set()

    async def report(self) -> None:
        """Tell the others how this instance does. Raises `StoreUnavailable`."""
        report = msgspec.json.encode(self._collect())
        if len(report) <= MAX_REPORT_BYTES:
            await self._store.report(self._name, report, FORGOTTEN_AFTER_SECONDS)

    async def keep_reporting(self) -> None:
        """Background task: tell and look every few seconds. While the store is away, nothing is known of the others."""
        while True:
            self._wake.clear()
            try:
                await self.report()
                await self.look()
            except StoreUnavailable as error:
                logger.debug("%s", error.detail)
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue


def _decoded(named: tuple[str, StoredReport]) -> tuple[str, InstanceReport | None]:
    name, stored = named
    try:
        report = msgspec.json.decode(stored.report, type=dict[str, Any])
    except msgspec.MsgspecError:
        return name, None  # of another version, or damaged: as if it had said nothing
    return name, InstanceReport(stored.age_seconds, report)
