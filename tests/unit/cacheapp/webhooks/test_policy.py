"""What follows from what a receiver answered, and which events are sent at the same time."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from cacheapp.webhooks.events import Event, event_of, lost_until
from cacheapp.webhooks.policy import (
    AT_ONCE,
    LONGEST_PAUSE_SECONDS,
    Outcome,
    attempt_of,
    next_window,
    seconds_until_retry,
)
from tests.support.changes import NOW, change


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (204, Outcome.DELIVERED),
        (299, Outcome.DELIVERED),
        (100, Outcome.FAILED),
        (301, Outcome.REDIRECTED),
        (308, Outcome.REDIRECTED),
        (400, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (410, Outcome.GONE),
        (429, Outcome.REFUSED),
        (500, Outcome.FAILED),
        (503, Outcome.FAILED),
        (999, Outcome.FAILED),
    ],
)
def test_statuses(status: int, outcome: Outcome) -> None:
    """2xx alone means that the receiver has it; what failed says the status."""
    attempt = attempt_of(status, None, NOW)
    assert attempt.outcome is outcome
    assert attempt.is_delivered == (attempt.detail == "")
    assert attempt.is_delivered or str(status) in attempt.detail
    assert attempt.retry_after_seconds == 0


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "120", 120.0),
        (503, " 7 ", 7.0),
        (503, "99999999999999999999", LONGEST_PAUSE_SECONDS),
        (503, format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (503, format_datetime(NOW + timedelta(days=3), usegmt=True), LONGEST_PAUSE_SECONDS),
        (503, format_datetime(NOW - timedelta(days=3), usegmt=True), 0.0),
        (503, "Sun, 29 Nov 2026 10:33:07", 0.0),
        (503, "-5", 0.0),
        (503, "²", 0.0),
        (503, "soon", 0.0),
        (503, "", 0.0),
        (500, "120", 0.0),
        (400, "120", 0.0),
    ],
)
def test_retry_after(status: int, retry_after: str, seconds: float) -> None:
    """A receiver that is too busy says for how long, in seconds or as a date; at most an hour counts."""
    assert attempt_of(status, retry_after, NOW.replace(microsecond=0)).retry_after_seconds == seconds


def test_waits_grow_to_an_hour() -> None:
    """The first wait is about a second, each is twice as long as the last, none is above an hour; half is random."""
    assert [seconds_until_retry(failures, 0, 1.0) for failures in range(1, 5)] == [1, 2, 4, 8]
    assert [seconds_until_retry(failures, 0, 0.0) for failures in range(1, 5)] == [0.5, 1, 2, 4]
    for failures in (13, 100, 10_000):
        assert seconds_until_retry(failures, 0, 1.0) == LONGEST_PAUSE_SECONDS
        assert seconds_until_retry(failures, 0, 0.0) == LONGEST_PAUSE_SECONDS / 2


def test_what_the_receiver_asks_for_is_the_least() -> None:
    """It is left alone for as long as it asked for, and longer where it has failed for long."""
    assert seconds_until_retry(1, 60.0, 0.5) == 60.0
    assert seconds_until_retry(12, 60.0, 1.0) == 2048.0


def waiting(*indices: str | None) -> list[Event]:
    """Events of these indices, in this order; None: a gap."""
    events = []
    for number, index in enumerate(indices, start=1):
        gap = lost_until(number, "h", NOW, "i")
        events.append(gap if index is None else event_of(change(number, index), "h"))
    return events


@pytest.mark.parametrize(
    ("indices", "at_once", "sent"),
    [
        ((), 8, 0),
        (("a", "b", "c"), 8, 3),
        (("a", "b", "c"), 2, 2),
        (("a", "b", "c"), 1, 1),
        (("a", "b", "a", "c"), 8, 2),
        (("a", "a"), 8, 1),
        ((None, "a"), 8, 1),
        (("a", None, "b"), 8, 1),
        ((None, None), 8, 1),
    ],
)
def test_windows(indices: tuple[str | None, ...], at_once: int, sent: int) -> None:
    """What is sent at the same time is of different indices, none before an earlier one; a gap goes alone."""
    events = waiting(*indices)
    assert next_window(events, at_once) == events[:sent]


def test_never_more_than_so_many() -> None:
    """However many wait."""
    assert len(next_window(waiting(*map(str, range(100))), AT_ONCE)) == AT_ONCE
