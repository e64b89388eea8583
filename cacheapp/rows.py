"""Rows that somebody edited: values that can't be read are ignored and counted, the rest is read.

Django fails to read all rows of a query if one of them has an invalid date, or JSON of another type than its column.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django.db import DataError, OperationalError, models

KEYS_AT_ONCE: Final = 500


class IgnoredRows:
    """How many rows this process has ignored since the start, by model. Used by many threads; a row that is read again
    counts again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_model: Counter[str] = Counter()

    def note(self, model: type[models.Model] | str, rows: int = 1) -> None:
        """Count ignored rows. `model`: the model, or its name."""
        with self._lock:
            self._by_model[model if isinstance(model, str) else model.__name__] += rows

    def clear(self) -> None:
        """Set all counts to zero."""
        with self._lock:
            self._by_model.clear()

    def total(self, names: Sequence[str]) -> int:
        """Return how many rows of the models with these names were ignored."""
        with self._lock:
            return sum(self._by_model[name] for name in names)


ignored_rows = IgnoredRows()
"""The counts of this process."""

STORE_MODELS: Final = (
    *("MappingBody", "IndexMapping", "Alias", "Published", "LeaseRow", "Attempt", "SharedValue", "InstanceReport"),
)
HISTORY_MODELS: Final = ("PassRecord", "MappingChange", "RecordedIndex", "HistoryHead", "WebhookCursor")


def is_unreadable(error: Exception) -> bool:
    """Return whether an error says that a row has a value that can't be read. Other errors are about the query or the
    database.
    """
    if isinstance(error, OperationalError):
        return "could not decode to utf-8" in str(error).lower()  # SQLite's driver has no error code for this
    return isinstance(error, ValueError | TypeError | OverflowError | DataError)


class ReadableRows(models.QuerySet[Any]):
    """A query that leaves out rows that can't be read, and counts them in `ignored_rows`.

    1. Read all rows at once, as Django does.
    2. If that fails, read the keys, then the rows by their keys. If a set of rows fails, halve it and read both halves,
       until only the rows that can't be read are left.

    It overrides a private method of Django, which tests/unit/cacheapp/test_rows.py names.
    """

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            try:
                self._result_cache = list(self._iterable_class(self))  # type: ignore[call-overload]
            except Exception as error:
                if not is_unreadable(error):
                    raise
                self._result_cache = self._readable()
        super()._fetch_all()

    def _readable(self) -> list[Any]:
        # `iterator` isn't overridden here: if the keys themselves can't be read, that is an error.
        keys = list(self._chain().values_list("pk", flat=True).iterator())  # type: ignore[attr-defined]
        return [
            row
            for start in range(0, len(keys), KEYS_AT_ONCE)
            for row in self._rows_of(keys[start : start + KEYS_AT_ONCE])
        ]

    def _rows_of(self, keys: list[Any]) -> list[Any]:
        rows = self._chain()  # type: ignore[attr-defined]
        rows.query.clear_limits()
        rows = rows.filter(pk__in=keys)
        try:
            return list(rows._iterable_class(rows))  # noqa: SLF001  (of its own class)
        except Exception as error:
            if not is_unreadable(error):
                raise
        if len(keys) == 1:
            ignored_rows.note(self.model)
            return []
        half = len(keys) // 2
        return self._rows_of(keys[:half]) + self._rows_of(keys[half:])
