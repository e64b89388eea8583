"""Changes as people read them: by day, with what happened alike to several indices of a family as one row. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cacheapp.shown_changes import ShownChange
from cacheapp.state.changes import ChangeKind
from esassistant.errors import BadRequest

SHOWN_INDICES = 10
PERIODS: Mapping[str, timedelta | None] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
PERIOD_WORDS: Mapping[str, str] = {
    "24h": "the last 24 hours",
    "7d": "the last 7 days",
    "30d": "the last 30 days",
    "all": "all that is kept",
}
USUAL_PERIOD = "7d"


@dataclass(frozen=True, slots=True)
class Period:
    """The period whose changes are shown. `given`: the period as it stands in the address. `words`: the period in
    words. `since`: its beginning; None if all changes that are kept are shown.
    """

    given: str
    words: str
    since: datetime | None

    @classmethod
    def parse(cls, given: str, now: datetime) -> "Period":
        """Read `24h`, `7d`, `30d`, `all`, or a date such as `2026-11-23`, which means the beginning of that day in UTC.
        Raise `BadRequest` for anything else.
        """
        given = given.strip() or USUAL_PERIOD
        if given in PERIODS:
            length = PERIODS[given]
            return cls(given, PERIOD_WORDS[given], None if length is None else now - length)
        try:
            day = date.fromisoformat(given)
        except ValueError:
            raise BadRequest(f"Use since= with {', '.join(PERIODS)}, or a date such as 2026-11-23.") from None
        return cls(given, f"{day:%Y-%m-%d} until now", datetime.combine(day, time(), UTC))


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """The same change on one day to indices of one family. `example` is the latest of these changes. `indices` are the
    first of the indices by name, `indices_total` counts all.
    """

    kind: str
    family: str | None
    example: ShownChange
    indices: tuple[str, ...]
    indices_total: int
    first_at: datetime
    last_at: datetime

    @property
    def differs(self) -> bool:
        """Return whether the example shows differing fields, between the index's mappings or to the member before
        it.
        """
        return any(self.example.totals)


@dataclass(frozen=True, slots=True)
class Day:
    """The changes of one day in UTC, the latest first."""

    on: date
    groups: tuple[ChangeGroup, ...]


def by_day(changes: Iterable[ShownChange]) -> tuple[Day, ...]:
    """Group changes, given newest first, by the day on which they were seen."""
    days: dict[date, dict[Any, list[ShownChange]]] = {}
    for change in changes:
        groups = days.setdefault(change.at.astimezone(UTC).date(), {})
        groups.setdefault(_alike(change), []).append(change)
    return tuple(Day(on, tuple(map(_group, groups.values()))) for on, groups in days.items())


def _alike(change: ShownChange) -> tuple[Any, ...]:
    """Return a key: changes with the same key are shown as one row."""
    if change.kind == ChangeKind.GAP.value:
        return (change.kind, change.id)
    return (
        change.kind,
        change.family or change.index,
        change.compared,
        change.totals,
        tuple(change.added),
        tuple(change.removed),
        tuple(tuple(sorted(one.items())) for one in change.retyped),
        tuple(change.altered),
    )


def _group(changes: list[ShownChange]) -> ChangeGroup:
    example = changes[0]
    indices = sorted({change.index for change in changes if change.index is not None})
    return ChangeGroup(
        kind=example.kind,
        family=example.family,
        example=example,
        indices=tuple(indices[:SHOWN_INDICES]),
        indices_total=len(indices),
        first_at=changes[-1].at,
        last_at=example.at,
    )
