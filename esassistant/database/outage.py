"""Remembering that something of the database fails, so that not everybody waits for what has just failed."""

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
"""Far above the pause between the probes of a server, so that no request of anybody's has to try."""
PROBE_SECONDS: Final = 5.0
SAID_AGAIN_SECONDS: Final = 60.0
"""Failures that come and go must not fill the log."""

_here = threading.local()


class Unsaid:
    """Which causes the log wasn't told within the last minute. There are only as many as `failures` knows."""

    def __init__(self, clock: Clock = monotonic, *, again_seconds: float = SAID_AGAIN_SECONDS) -> None:
        self._clock = clock
        self._again_seconds = again_seconds
        self._seen_at: dict[str, float] = {}

    def take(self, why: str) -> bool:
        """Whether to tell the log of this cause; no, while it keeps being seen."""
        now = self._clock()
        before, self._seen_at[why] = self._seen_at.get(why), now
        return before is None or now - before >= self._again_seconds


class Outage:
    """What fails, while it does; of one process, used by many threads.

    1. A failure is remembered for a while. Whoever asks meanwhile is told of it, and doesn't try.
    2. Who probes tries at any time. A server has a task that does, every few seconds.
    3. Where nobody has tried for so long (a command, `runserver`), one who asks tries. The others don't wait for it.
    4. The first success ends it.
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
            subject: what fails, for the log: the failure goes on after it.
            again: what the log says when that is over.
            remembered_seconds: how long a failure counts.
            probe_seconds: how long the one who tries then may take before another one does.
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
        """What is known to fail now; None: nothing is, or not any more."""
        with self._lock:
            return self._failure if self._clock() < self._until else None

    def enter(self) -> DatabaseFailure | None:
        """The same for whoever would try now; None: do, and say what came of it."""
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
        """It failed just now."""
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
        """It succeeded just now."""
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
    """For the length of the block, what this thread does tries in spite of what is remembered."""
    _here.probes = True
    try:
        yield
    finally:
        _here.probes = False
