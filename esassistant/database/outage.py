"""Remembers that the database fails, so that not every caller waits for the same failure."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from esassistant.clock import Clock, monotonic
from esassistant.database.failures import DatabaseFailure
from esassistant.units import as_duration

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 15.0
"""Much longer than the time between two probes of a server, so that no request has to try."""
PROBE_SECONDS: Final = 5.0
SAID_AGAIN_SECONDS: Final = 60.0
"""A cause is logged again only after this time without it: failures that come and go must not fill the log."""

_here = threading.local()


class Unsaid:
    """Remembers which causes were seen within the last minute, so that each is logged once. Needs little memory,
    because the module `failures` knows only a few causes.
    """

    def __init__(self, clock: Clock = monotonic, *, again_seconds: float = SAID_AGAIN_SECONDS) -> None:
        self._clock = clock
        self._again_seconds = again_seconds
        self._seen_at: dict[str, float] = {}

    def take(self, why: str) -> bool:
        """Note that a cause was seen. Return True if it should be logged: it wasn't seen within the last minute."""
        now = self._clock()
        before, self._seen_at[why] = self._seen_at.get(why), now
        return before is None or now - before >= self._again_seconds


class Outage:
    """A failure of the database, while it lasts. One per process; used by many threads.

    1. A failure is remembered for a while. During that time callers get the failure and don't try.
    2. A probe always tries. A server has a task that probes every few seconds.
    3. If nobody has tried for that long (in a command, or with `runserver`), one caller tries. The others don't wait
       for it.
    4. The first success ends the outage.
    """

    def __init__(
        self,
        subject: str,
        again: str,
        clock: Clock = monotonic,
        *,
        remembered_seconds: float = REMEMBERED_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        """
        Args:
            subject: What fails, for the log; the failure's text follows it.
            again: The log line for the end of the outage.
            remembered_seconds: How long a failure is remembered.
            probe_seconds: How long one caller may try before another one may.
        """
        self._subject = subject
        self._again = again
        self._clock = clock
        self._remembered_seconds = remembered_seconds
        self._probe_seconds = probe_seconds
        self._lock = threading.Lock()
        self._failure: DatabaseFailure | None = None
        self._until = 0.0
        self._began = 0.0
        self._unsaid = Unsaid(clock)
        self._is_said = False

    def failure(self) -> DatabaseFailure | None:
        """Return the failure that is remembered now, or None."""
        with self._lock:
            return self._failure if self._clock() < self._until else None

    def enter(self) -> DatabaseFailure | None:
        """Return the failure that is remembered. None: this caller should try now, and then call `note_failure` or
        `note_success`.
        """
        if getattr(_here, "probes", False):
            return None
        with self._lock:
            if self._failure is None:
                return None
            now = self._clock()
            if now < self._until:
                return self._failure
            self._until = now + self._probe_seconds
            return None

    def note_failure(self, failure: DatabaseFailure) -> None:
        """Note that an attempt has just failed."""
        with self._lock:
            now = self._clock()
            if self._failure is None:
                self._began, self._is_said = now, False
            self._failure, self._until = failure, now + self._remembered_seconds
            says = self._unsaid.take(failure.why)
            self._is_said = self._is_said or says
        if says:
            logger.warning("%s %s", self._subject, failure.why)

    def note_success(self) -> None:
        """Note that an attempt has just succeeded."""
        if self._failure is None:
            return
        with self._lock:
            ends = self._failure is not None and self._is_said
            self._failure, self._until = None, 0.0
            lasted = self._clock() - self._began
        if ends:
            logger.info("%s, after %s", self._again, as_duration(lasted))


@contextmanager
def probing() -> Iterator[None]:
    """Let this thread try during the block, whatever failure is remembered."""
    _here.probes = True
    try:
        yield
    finally:
        _here.probes = False
