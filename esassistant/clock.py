"""The two clocks: one for durations, one for people.

Every duration, age, deadline and interval is taken from a monotonic clock, which no operator and no time server can
move. The wall clock only labels what people read. Policies take clock and sleep as arguments, so that tests own the
time.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since some fixed moment; only differences mean anything."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds, as `asyncio.sleep` does."""

monotonic: Clock = time.monotonic


def now_utc() -> datetime:
    """The time of day, aware and in UTC, for reports that people read."""
    return datetime.now(UTC)
