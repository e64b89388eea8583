"""Decides when a call is tried again, and after how long. Pure policy; nothing else retries.

Exponential backoff with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): the
delay before retry n is uniform between 0 and min(cap, base · 2ⁿ⁻¹). So clients that failed at the same time don't come
back at the same time.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, TlsError

from esassistant.clock import Clock, monotonic
from esassistant.sliding_window import SlidingWindow

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
DIGITS = re.compile("[0-9]+")
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD"})
BUDGET_SHARE = 0.1
BUDGET_FLOOR = 10
BUDGET_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `max_retries` further attempts; delays in seconds. `uniform` draws the random part of a delay."""

    max_retries: int
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform

    def delay_after_status(
        self, attempt: int, status: int, retry_after: str | None, *, idempotent: bool
    ) -> float | None:
        """Return how many seconds to wait after attempt number `attempt` (from 1) got `status`, or None to give up.

        A `Retry-After` in seconds is the least delay. If it is longer than the cap, the call is given up, as the caller
        would wait in vain.
        """
        if status not in RETRIED_STATUSES or not self._may_retry(attempt, idempotent):
            return None
        delay = self._backoff(attempt)
        if retry_after is not None and DIGITS.fullmatch(stripped := retry_after.strip()):
            asked = float(stripped)
            return None if asked > self.cap_seconds else max(asked, delay)
        return delay

    def delay_after_error(self, attempt: int, error: Exception, *, idempotent: bool) -> float | None:
        """Return how many seconds to wait after an attempt without an answer; None if it isn't tried again. After a
        timeout it isn't: the server may still be working on the call.
        """
        if not isinstance(error, ElasticConnectionError) or isinstance(error, ConnectionTimeout | TlsError):
            return None
        return self._backoff(attempt) if self._may_retry(attempt, idempotent) else None

    def _may_retry(self, attempt: int, idempotent: bool) -> bool:
        return attempt <= self.max_retries and idempotent

    def _backoff(self, attempt: int) -> float:
        return self.uniform(0.0, min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 16)))


class RetryBudget:
    """Limits the retries of a pool in ten seconds to ten, and a tenth of its calls. So a cluster that is down gets
    hardly more requests than one that is up (Google, "Site Reliability Engineering", 2016, chapter 21).
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._window = SlidingWindow(BUDGET_SECONDS, clock)

    def note_call(self) -> None:
        self._window.add(calls=1)

    def spend(self) -> bool:
        """Take one retry out of the budget. Return False if none is left."""
        calls, retries = self._window.counts()
        if retries + 1 > BUDGET_SHARE * calls + BUDGET_FLOOR:
            return False
        self._window.add(marked=1)
        return True
