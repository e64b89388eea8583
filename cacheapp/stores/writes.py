"""Note whether the store takes writes. A store that refuses writes but answers reads shares nothing new, which no read
would reveal.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cacheapp.state.published import Loaded, StoredState
from cacheapp.stores.protocol import Lease, Store, StoredReport
from esassistant.clock import Clock, monotonic, now_utc
from esassistant.errors import StoreRefused
from esassistant.shared_values import Values
from esassistant.units import as_duration

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RefusedWrites:
    """The fact that the store refuses writes: the reason, as the latest refusal gave it, and since when. `began` is the
    same moment on the monotonic clock.
    """

    detail: str
    operator_detail: str
    since: datetime
    began: float


class RecordingStore:
    """A store that notes whether its writes succeed; implements `cacheapp.stores.protocol.Store`.

    1. A refused write sets `refused`; further ones update the reason.
    2. A write that certainly succeeded clears it. (A lease that another process has, or an attempt that came too early,
       may have written nothing.)
    3. An outage neither sets nor clears it: then reads fail too, which health reports.

    Each process writes its report every few seconds, so this needs no probe.
    """

    def __init__(
        self, store: Store, clock: Clock = monotonic, *, on_change: Callable[[], object] = lambda: None
    ) -> None:
        """Wrap a store. `on_change` is called when writes begin to be refused, and when they succeed again."""
        self.store = store
        self._on_change = on_change
        self._clock = clock
        self.refused: RefusedWrites | None = None
        """None: the last write succeeded, or there was none yet."""
        self.refused_total = 0

    async def generation(self) -> int:
        return await self.store.generation()

    async def load(self, known_hashes: Collection[str]) -> Loaded | None:
        return await self.store.load(known_hashes)

    async def wait_for_change(self, longest_seconds: float) -> None:
        await self.store.wait_for_change(longest_seconds)

    async def reports(self) -> dict[str, StoredReport]:
        return await self.store.reports()

    async def publish(self, state: StoredState, lease: Lease) -> int:
        try:
            generation = await self.store.publish(state, lease)
        except StoreRefused as error:
            self._note_refusal(error)
            raise
        self._note_success()
        return generation

    async def lease(self, name: str, holder: str, ttl_seconds: float) -> Lease | float:
        try:
            given = await self.store.lease(name, holder, ttl_seconds)
        except StoreRefused as error:
            self._note_refusal(error)
            raise
        if isinstance(given, Lease):
            self._note_success()
        return given

    async def release(self, lease: Lease) -> None:
        try:
            await self.store.release(lease)
        except StoreRefused as error:
            self._note_refusal(error)
            raise

    async def report(self, instance: str, report: bytes, ttl_seconds: float) -> None:
        try:
            await self.store.report(instance, report, ttl_seconds)
        except StoreRefused as error:
            self._note_refusal(error)
            raise
        self._note_success()

    async def attempt(self, name: str, interval_seconds: float) -> float:
        try:
            wait = await self.store.attempt(name, interval_seconds)
        except StoreRefused as error:
            self._note_refusal(error)
            raise
        if wait == 0:
            self._note_success()
        return wait

    async def change(
        self, names: Collection[str], function: Callable[[Values, int], tuple[Values, T]], kept_seconds: float
    ) -> T:
        try:
            result = await self.store.change(names, function, kept_seconds)
        except StoreRefused as error:
            self._note_refusal(error)
            raise
        # If `function` replaced nothing, there was no write; so this counts as no success.
        return result

    def _note_refusal(self, error: StoreRefused) -> None:
        self.refused_total += 1
        before = self.refused
        if before is None:
            logger.warning("%s What this process learns is not shared until a write succeeds.", error.operator_detail)
        self.refused = RefusedWrites(
            error.detail,
            error.operator_detail,
            now_utc() if before is None else before.since,
            self._clock() if before is None else before.began,
        )
        if before is None:
            self._on_change()

    def _note_success(self) -> None:
        if self.refused is not None:
            logger.warning("the store takes writes again, after %s", as_duration(self._clock() - self.refused.began))
            self.refused = None
            self._on_change()
