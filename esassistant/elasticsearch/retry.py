"""When to try a call again, and after how long: pure policy, the one owner of retries.

Exponential backoff with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): the
delay before retry n is uniform between 0 and min(cap, base · 2ⁿ⁻¹), so that clients which failed together don't come
back together.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from elastic_transport import ConnectionError as ElasticConnectionError
from elastic_transport import ConnectionTimeout, TlsError

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
DIGITS = re.compile("[0-9]+")
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `max_retries` further attempts; delays in seconds. `uniform` is the source of jitter."""

    max_retries: int
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform

    def delay_after_status(self, attempt: int, method: str, status: int, retry_after: str | None) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) got `status`; None: don't try again.

        A `Retry-After` in seconds is honoured as the least delay; one that asks for more than the cap ends the retries,
        as the caller would wait in vain.
        """
        if status not in RETRIED_STATUSES or not self._may_retry(attempt, method):
            return None
        delay = self._backoff(attempt)
        if retry_after is not None and DIGITS.fullmatch(retry_after.strip()):
            asked = float(retry_after)
            return None if asked > self.cap_seconds else max(asked, delay)
        return delay

    def delay_after_error(self, attempt: int, method: str, error: Exception) -> float | None:
        """The same after a failure without an answer. Timeouts aren't tried again: the server may still be at work on
        the call.
        """
        if not isinstance(error, ElasticConnectionError) or isinstance(error, ConnectionTimeout | TlsError):
            return None
        return self._backoff(attempt) if self._may_retry(attempt, method) else None

    def _may_retry(self, attempt: int, method: str) -> bool:
        return attempt <= self.max_retries and method in IDEMPOTENT_METHODS

    def _backoff(self, attempt: int) -> float:
        return self.uniform(0.0, min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 16)))
