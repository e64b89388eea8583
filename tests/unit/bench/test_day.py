"""The replayed day of bench/views.py: who waits after a change, and that making anew is why nobody does."""

from bench.subjects.cluster import Family
from bench.subjects.day import CHANGES, Day

SMALL = (Family("logs", 20, 20), Family("orders", 10, 15))


async def test_nobody_waits_after_a_change() -> None:
    """What was asked for is ready again before it is asked for the next time; without making it anew many wait. Both
    days have the same requests and changes.
    """
    ahead, without = await Day(1000, 1, among=SMALL).replay(), await Day(1000, 1, ahead=False, among=SMALL).replay()
    assert (ahead.requests, ahead.first, ahead.changes) == (without.requests, without.first, without.changes)
    assert ahead.changes == len(SMALL) * CHANGES - 1
    assert ahead.after_changes <= 5
    assert without.after_changes > 20
    assert (ahead.rebuilt_seconds > 0, without.rebuilt_seconds) == (True, 0)
