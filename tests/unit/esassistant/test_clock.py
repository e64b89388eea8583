"""The two clocks."""

from datetime import UTC, timedelta

from esassistant.clock import monotonic, now_utc


def test_time_of_day_is_aware() -> None:
    """Reports carry times that can't be read in the wrong zone."""
    assert now_utc().tzinfo is UTC
    assert now_utc().utcoffset() == timedelta(0)


def test_durations_never_run_backwards() -> None:
    """The clock for durations never goes back."""
    moments = [monotonic() for _ in range(1000)]
    assert moments == sorted(moments)
