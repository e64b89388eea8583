"""Check whether a row of the store is one that this service wrote. Pure."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from cacheapp.errors import IllegalName
from cacheapp.state.names import check_name
from cacheapp.state.published import HistoryMark
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import MAX_REPORT_BYTES
from esassistant.shared_values import MAX_VALUE_BYTES

MAX_EXACT: Final = 2**53
MAX_TEXT: Final = 64
MAX_INSTANCE_TEXT: Final = 200
HASH_CHARACTERS: Final = 32
MAX_LEASE_SECONDS: Final = 3600.0
AHEAD: Final = timedelta(days=1)
"""How far in the future a moment in the database may be, because its clock was set back since."""
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


def is_moment(at: object, now: datetime) -> bool:
    """Return whether a value is a time, and not in the future."""
    return isinstance(at, datetime) and at.tzinfo is not None and at <= now + AHEAD


def is_count(number: object, least: int = 0) -> bool:
    """Return whether a value is a whole number, not below `least`, and small enough to count on."""
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= MAX_EXACT


def is_name(name: object, *, upper_case: bool = False) -> bool:
    """Return whether a value is the name of an index, or with `upper_case` that of an alias."""
    if not isinstance(name, str):
        return False
    try:
        check_name(name, upper_case=upper_case)
    except IllegalName:
        return False
    return True


def _is_text(text: object, most: int = MAX_TEXT) -> bool:
    return isinstance(text, str) and len(text) <= most


def is_hash(text: object) -> bool:
    return isinstance(text, str) and len(text) == HASH_CHARACTERS


def is_published(published: Any, now: datetime) -> bool:
    """Return whether the row of `Published` can be read."""
    return (
        is_count(published.generation, 1)
        and is_moment(published.confirmed_at, now)
        and (published.listed_at is None or is_moment(published.listed_at, now))
        and _is_text(published.cluster_uuid)
        and _is_text(published.cluster_urls)
    )


def listed_names(column: object, generation: int, key: str) -> frozenset[str] | None:
    """Return the names that a column has under a key for the published generation; None if it has another shape."""
    if column is None:
        return frozenset()
    if not isinstance(column, dict) or not isinstance(column.get(key), list) or "generation" not in column:
        return None
    if column["generation"] != generation:
        return frozenset()
    names = column[key]
    return frozenset(names) if all(map(is_name, names)) else None


def history_mark(published: Any) -> HistoryMark | None:
    """Return what the publisher of the published generation says of the history; None if it says nothing. Raises
    `ValueError` for another shape.
    """
    history = published.history
    if history is None or (isinstance(history, dict) and history.get("generation") != published.generation):
        return None
    try:
        return msgspec.convert(history, HistoryMark)
    except msgspec.ValidationError:
        raise ValueError("no mark of a history") from None


def is_head(row: Any) -> bool:
    """Return whether the row of `HistoryHead` can be read."""
    uuid = row.cluster_uuid
    return bool(_is_text(row.name) and row.name and is_count(row.last_id) and (uuid is None or _is_text(uuid)))


def is_index(row: tuple[Any, ...], is_undated: object, now: datetime) -> bool:
    """Return whether a row of `IndexMapping` can be read. `is_undated`: its column for the time is null; it doesn't
    just hold a text that can't be read as a time.
    """
    name, uuid, its_hash, confirmed_at, field_count = row
    return (
        is_name(name)
        and (uuid is None or _is_text(uuid))
        and is_hash(its_hash)
        and (bool(is_undated) if confirmed_at is None else is_moment(confirmed_at, now))
        and (field_count is None or is_count(field_count))
    )


def is_alias(name: object, indices: object, is_data_stream: object) -> bool:
    """Return whether a row of `Alias` can be read."""
    return (
        is_name(name, upper_case=True)
        and isinstance(indices, list)
        and all(map(is_name, indices))
        and isinstance(is_data_stream, bool)
    )


def is_body(its_hash: object, body: object) -> bool:
    """Return whether a row of `MappingBody` can be read. An edited body doesn't have the hash that it is kept under."""
    return isinstance(body, bytes | memoryview) and mapping_hash(bytes(body)) == its_hash


def is_lease(row: Any) -> bool:
    """Return whether a row of `LeaseRow` can be read."""
    return (
        is_count(row.token)
        and isinstance(row.holder, str)
        and isinstance(row.expires_at, datetime)
        and isinstance(row.ttl_seconds, int | float)
        and math.isfinite(row.ttl_seconds)
        and 0 <= row.ttl_seconds <= MAX_LEASE_SECONDS
    )


def is_value(value: object) -> bool:
    """Return whether a row of `SharedValue` can be read. Its readers check what is in the value."""
    return isinstance(value, bytes | memoryview) and len(value) <= MAX_VALUE_BYTES


def is_report(name: object, at: object, report: object, now: datetime) -> bool:
    """Return whether a row of `InstanceReport` can be read. Its readers check what is in the report."""
    return (
        _is_text(name, MAX_INSTANCE_TEXT)
        and is_moment(at, now)
        and isinstance(report, bytes | memoryview)
        and len(report) <= MAX_REPORT_BYTES
    )
