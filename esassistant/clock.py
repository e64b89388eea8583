"""The two clocks: one for durations, one for people.

Every duration, age, deadline and interval is taken from a monotonic clock, which no operator and no time server can
move. The wall clock only labels what people read. Policies take their clock as an argument, so that tests own the time.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since some fixed moment; only differences mean anything."""

monotonic: Clock = time.monotonic


def now_utc() -> datetime:
    """The time of day, aware and in UTC, for reports that people read."""
    return datetime.now(UTC)
