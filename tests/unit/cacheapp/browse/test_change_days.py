"""Changes by day: what is alike is one, and what isn't stays apart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cacheapp.browse.change_days import SHOWN_INDICES, Period, by_day
from cacheapp.shown_changes import ShownChange
from esassistant.errors import BadRequest

NOW = datetime(2026, 11, 30, 1, 30, tzinfo=UTC)


def change(number: int, index: str | None, kind: str = "created", **more: Any) -> ShownChange:
    """A change whose number says how many minutes ago it was."""
    plain = ShownChange(
        id=1_000 - number,
        index=index,
        at=NOW - timedelta(minutes=number),
        kind=kind,
        family="web-*",
        compared=True,
        compared_with=None,
        added=[],
        removed=[],
        retyped=[],
        altered=[],
        added_total=0,
        removed_total=0,
        retyped_total=0,
        altered_total=0,
        seen_by="test",
    )
    return replace(plain, **more)


def test_what_is_alike_is_one() -> None:
    """Thirty indices that were made alike on one day are one line, with the first of them and how many there are."""
    [day] = by_day([change(number, f"web-{number:02}") for number in range(30)])
    [group] = day.groups
    assert (group.indices_total, len(group.indices), group.indices[0], group.family) == (
        30,
        SHOWN_INDICES,
        "web-00",
        "web-*",
    )
    assert (group.last_at, group.first_at) == (NOW, NOW - timedelta(minutes=29))
    assert not group.differs


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "deleted"},
        {"family": "other"},
        {"compared": False},
        {"added": ["a"], "added_total": 1},
        {"removed": ["a"], "removed_total": 1},
        {"altered": ["a"], "altered_total": 1},
        {"retyped": [{"name": "a", "before": "x", "after": "y"}], "retyped_total": 1},
        {"at": NOW - timedelta(hours=2)},
    ],
)
def test_what_is_not_alike_stays_apart(more: dict[str, Any]) -> None:
    """Another kind, family, day, or other fields: another line."""
    groups = [group for day in by_day([change(0, "web-1"), change(1, "web-2", **more)]) for group in day.groups]
    assert [group.indices for group in groups] == [("web-1",), ("web-2",)]


def test_gaps_stay_apart() -> None:
    """Each gap is told where it is."""
    gaps = [change(number, None, "gap", family=None) for number in (0, 1)]
    [day] = by_day(gaps)
    assert [(group.kind, group.indices_total) for group in day.groups] == [("gap", 0), ("gap", 0)]


def test_days_are_those_of_utc() -> None:
    """The latest day first."""
    days = by_day([change(0, "a"), change(89, "b"), change(91, "c")])
    assert [(str(day.on), len(day.groups)) for day in days] == [("2026-11-30", 1), ("2026-11-29", 1)]
    assert by_day([]) == ()


@pytest.mark.parametrize(
    ("given", "since"),
    [
        ("", NOW - timedelta(days=7)),
        ("24h", NOW - timedelta(hours=24)),
        ("all", None),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
    ],
)
def test_periods(given: str, since: datetime | None) -> None:
    """A week unless told; some lengths, all, or from a day on."""
    assert Period.parse(given, NOW).since == since


def test_no_period() -> None:
    """What is none is refused, with those that there are."""
    with pytest.raises(BadRequest, match="24h, 7d, 30d, all, or a date"):
        Period.parse("yesterday", NOW)
