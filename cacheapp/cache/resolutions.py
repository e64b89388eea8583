"""What lists and patterns stand for, kept until a name changes: every search by a pattern needs it."""

import asyncio

from cacheapp.cache.kept import KeptByBytes
from cacheapp.state.expressions import Expression, Resolved, is_long_work, resolve
from cacheapp.state.snapshot import Snapshot
from esassistant.single_flight import SingleFlight, Spawn

MAX_KEPT_BYTES = 4_194_304
NAME_BYTES = 100
"""The memory that each name takes; the rest of a resolution counts as ten names."""


class Resolutions:
    """Keeps what expressions stand for. One per mapping cache; used only on its event loop."""

    def __init__(self, spawn: Spawn, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._flights: SingleFlight[tuple[Expression, int], Resolved] = SingleFlight(spawn)
        self._snapshot = Snapshot()
        self._kept: KeptByBytes[Expression, Resolved] = KeptByBytes(max_bytes)

    async def resolve(self, snapshot: Snapshot, expression: Expression) -> Resolved:
        """Return what an expression stands for. Raise `IllegalName` if it isn't legal."""
        if snapshot is not self._snapshot:
            if not (snapshot.has_same_names(self._snapshot) and snapshot.listed == self._snapshot.listed):
                self._kept = KeptByBytes(self._max_bytes)
            self._snapshot = snapshot
        kept = self._kept
        if (known := kept.find(expression)) is not None:
            return known
        if is_long_work(snapshot, expression):
            key = expression, id(snapshot)
            resolved = await self._flights.do(key, lambda: asyncio.to_thread(resolve, snapshot, expression))
        else:
            resolved = resolve(snapshot, expression)
        names_total = 10 + len(resolved.names) + len(resolved.indices) + len(resolved.missing) + len(resolved.closed)
        kept.keep(expression, resolved, NAME_BYTES * names_total + len(expression.text))
        return resolved
