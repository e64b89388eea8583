"""Make changes of the history, as the API shows them and in the database."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from cacheapp import change_log
from cacheapp.change_log import Entry
from cacheapp.history import KEPT_CHANGES
from cacheapp.mapping.diff import FieldChanges
from cacheapp.shown_changes import ShownChange
from cacheapp.state.changes import ChangeKind, IndexChange, Recorded
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.database_thread import DatabaseThread
from esassistant.clock import monotonic

NOW = datetime(2026, 11, 29, 10, 33, 7, 120_000, tzinfo=UTC)


def change(number: int, index: str | None, kind: str = "changed", **columns: Any) -> ShownChange:
    """Return a change with that number."""
    values = {
        "id": number,
        "index": index,
        "at": NOW,
        "kind": kind,
        "family": None,
        "compared": True,
        "compared_with": None,
        "seen_by": "search-1:4711",
        **msgspec.to_builtins(FieldChanges()),
        **columns,
    }
    return msgspec.convert(values, ShownChange)


async def tell(
    thread: DatabaseThread, *indices: str, kind: ChangeKind = ChangeKind.CHANGED, kept: int = KEPT_CHANGES
) -> None:
    """Write changes of these indices into the history, in this order. `kept`: how many rows are kept."""
    changes = [
        IndexChange(index, kind, Recorded("u", mapping_hash(index.encode()), monotonic()), fields=FieldChanges())
        for index in indices
    ]
    entry = Entry(NOW, "search-1:4711", "cluster", (), lambda _: changes)
    await thread.run(lambda: change_log.write(entry, kept))
