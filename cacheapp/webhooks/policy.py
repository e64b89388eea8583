"""Decide what follows from a receiver's answer, and which changes are sent next. Pure."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from cacheapp.webhooks.events import Event

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
AT_ONCE: Final = 8
"""How many changes are sent to a target at the same time, each of another index."""


class Outcome(enum.StrEnum):
    """The outcome of one attempt to send a change."""

    DELIVERED = "delivered"
    REDIRECTED = "redirected"
    REFUSED = "refused"
    """The receiver answered 4xx."""
    GONE = "gone"
    """The receiver answered 410: nothing is to be sent to it any more."""
    FAILED = "failed"
    """The receiver answered 5xx, or something that isn't HTTP."""
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    """The receiver's host has an address that must not be connected to."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Args:
        outcome: Its outcome.
        detail: Why it failed, for operators, without anything that the receiver wrote; empty: it didn't fail.
        retry_after_seconds: For how long the receiver asked not to be called again.
    """

    outcome: Outcome
    detail: str = ""
    retry_after_seconds: float = 0.0

    @property
    def is_delivered(self) -> bool:
        return self.outcome is Outcome.DELIVERED


def attempt_of(status: int, retry_after: str | None, now: datetime) -> Attempt:
    """Return the outcome that an answer means.

    1. 2xx: the receiver has the change.
    2. 410: the receiver wants no more changes.
    3. 3xx: a failure. Redirects aren't followed, because their address isn't the one that the operator named.
    4. Any other 4xx, which may be corrected; 5xx and everything else: a failure. It is tried again; after 429 and 503
       not before the time in the receiver's `Retry-After` (seconds or a date).
    """
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED)
    if status == 410:
        return Attempt(Outcome.GONE, "it answered 410: it wants no more events")
    if 300 <= status < 400:
        return Attempt(
            Outcome.REDIRECTED, f"it answered {status}: redirects aren't followed; name the final address in url"
        )
    wait = _seconds_of(retry_after, now) if status in (429, 503) else 0.0
    outcome = Outcome.REFUSED if 400 <= status < 500 else Outcome.FAILED
    return Attempt(outcome, f"it answered {status}", wait)


def _seconds_of(retry_after: str | None, now: datetime) -> float:
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_PAUSE_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
        return 0.0
    return min(max(0.0, seconds), LONGEST_PAUSE_SECONDS)


def seconds_until_retry(failures: int, asked_for: float, random: float) -> float:
    """Return the seconds to wait after a failure.

    Args:
        failures: The number of failures in a row, including this one.
        asked_for: The seconds that the receiver asked for.
        random: A random number from 0 to 1. It decides half of the wait, so that senders don't all come at once.
    """
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30))
    return max(asked_for, longest * (1 + random) / 2)


def next_window(waiting: Sequence[Event], at_once: int) -> list[Event]:
    """Return those of the waiting events, oldest first, that may be sent at the same time: the first ones, each about
    another index. A gap is about all indices, so it is sent alone.
    """
    window: list[Event] = []
    indices: set[str | None] = set()
    for event in waiting[:at_once]:
        if event.index in indices or (event.index is None and window):
            break
        window.append(event)
        indices.add(event.index)
        if event.index is None:
            break
    return window
