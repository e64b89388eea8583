"""Turns reports that count since the start into reports about the last minutes. Pure."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def counted_between(before: Any, now: Any, times: int = 1) -> Any:
    """Return the report `now` as if it had begun to count at `before`, with the counts multiplied by `times`.

    Counts are numbers whose name ends with `_total`, and mappings of whole numbers. All other values stay unchanged. So
    does a dataclass with `counts_since_start = False`, such as the report of a single pass.
    """
    if isinstance(now, Mapping):
        known = before if isinstance(before, Mapping) else {}
        if all(isinstance(value, int) and not isinstance(value, bool) for value in now.values()):
            return {key: times * (value - known.get(key, 0)) for key, value in now.items()}
        return {key: counted_between(known.get(key), value, times) for key, value in now.items()}
    if not is_dataclass(now) or isinstance(now, type) or not getattr(now, "counts_since_start", True):
        return now
    if before is not None and type(before) is not type(now):
        return now
    changes: dict[str, Any] = {}
    for field in fields(now):
        value, earlier = getattr(now, field.name), getattr(before, field.name, None)
        if field.name.endswith("_total") and isinstance(value, int | float):
            changes[field.name] = times * (value - (earlier or 0))
        else:
            changes[field.name] = counted_between(earlier, value, times)
    return replace(now, **changes)
