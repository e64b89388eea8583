"""The table of cursors, which say how far each target is. Only the holder of the lease calls this, in the thread of the
webhooks.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cacheapp import change_log
from cacheapp.models import WebhookCursor
from cacheapp.rows import ignored_rows
from cacheapp.stores.database import check_lease, replace_row
from cacheapp.stores.database_rows import is_count
from cacheapp.stores.protocol import Lease

MAX_HISTORY_NAME = 32
OVERTAKEN = "Another process took over the sending of webhooks."


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a target is: it has received all changes of `history` up to `last_id`, except those that it doesn't want.

    `paused_at`: since when nothing is sent to it; None: it isn't paused.
    """

    history: str
    last_id: int
    paused_at: datetime | None = None


def load(target: str, lease: Lease) -> Cursor:
    """Return how far a target is. A new target begins with the next change. Raise `StaleToken` if another process sends
    now.
    """
    check_lease(lease, OVERTAKEN)
    rows = WebhookCursor.objects.filter(pk=target)
    row = rows.first()
    if row is None and not rows.exists():
        head = change_log.head()
        cursor = Cursor(head.name, head.last_id)
        _write(target, cursor)
        return cursor
    if row is None or not _is_cursor(row):
        # Somebody edited the row. The empty name of a history makes the delivery start with a gap, followed by all
        # changes that are kept.
        ignored_rows.note(WebhookCursor, row is not None)
        return Cursor("", 0)
    return Cursor(row.history, row.last_id, row.paused_at)


def save(target: str, cursor: Cursor, lease: Lease) -> None:
    """Record how far a target is. Raises `StaleToken` if another process sends now, whose record counts."""
    check_lease(lease, OVERTAKEN)
    _write(target, cursor)


def _write(target: str, cursor: Cursor) -> None:
    replace_row(
        WebhookCursor(target=target, history=cursor.history, last_id=cursor.last_id, paused_at=cursor.paused_at)
    )


def _is_cursor(row: Any) -> bool:
    return (
        isinstance(row.history, str)
        and len(row.history) <= MAX_HISTORY_NAME
        and is_count(row.last_id)
        and (row.paused_at is None or isinstance(row.paused_at, datetime))
    )
