"""The replayed day of bench/views.py: who waits after a change, and that making anew is why nobody does."""

import pytest

from bench.subjects import day, names_in_memory
from bench.subjects.cluster import Family
from bench.subjects.day import Day

SMALL = (Family("logs", 20, 20), Family("orders", 10, 15))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families of few fields in the place of a thousand indices."""
    monkeypatch.setattr(day, "FAMILIES", SMALL)
    monkeypatch.setattr(names_in_memory, "FAMILIES", SMALL)


async def test_nobody_waits_after_a_change() -> None:
    """What was asked for is ready again before it is asked for the next time; without making it anew many wait. Both
    days have the same requests and changes.
    """
    ahead, without = await Day(1000, 1).replay(), await Day(1000, 1, ahead=False).replay()
    assert (ahead.requests, ahead.first, ahead.changes) == (without.requests, without.first, without.changes)
    assert ahead.changes == len(SMALL) * day.CHANGES - 1
    assert ahead.after_changes <= 5
    assert without.after_changes > 20
    assert (ahead.rebuilt_seconds > 0, without.rebuilt_seconds) == (True, 0)
