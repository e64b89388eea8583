"""The two clocks: one for durations, one for times that people read.

Every duration, age, deadline and interval comes from a monotonic clock, which neither an operator nor a time server can
change. The wall clock gives only the times that people read. Policies take clock and sleep as arguments, so that tests
control the time.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Returns seconds since some fixed moment; only differences have a meaning."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits for the given seconds, as `asyncio.sleep` does."""

monotonic: Clock = time.monotonic


def now_utc() -> datetime:
    """The time of day, aware and in UTC, for reports that people read."""
    return datetime.now(UTC)
