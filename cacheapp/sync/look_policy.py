"""Decide when the watch looks for changes although nothing wakes it, and when it asks for the versions of all mappings.
Pure.
"""

import enum
import math
from collections.abc import Collection, Mapping

from cacheapp.sync.pass_record import ChangesRead
from esassistant.clock import Clock

FIRST_UNREAD_SECONDS = 2.0
LONGEST_UNREAD_SECONDS = 32.0
ASK_SECONDS = 10.0
"""The shortest time between two requests for the versions of all mappings."""
SLOW_SECONDS = 1.0
SLOW_IN_A_ROW = 2
"""After this many slow answers one after the other, asking counts as too expensive for the cluster. A single slow
answer may be a pause of the node.
"""
PAUSE_SECONDS = 600.0
"""After a refusal, or when asking is too expensive, it is tried again after this time."""
PASS_FACTOR = 60
"""The time between two early full passes is at least this many times the duration of the last request for versions,
because a full pass costs the cluster much more.
"""
FIRST_VERSION = 1
"""The version of the mapping of an index that was just created."""


class Looks:
    """Plans looks that nothing wakes: for indices that could not be read, and for indices whose number of fields the
    cluster doesn't tell.
    """

    def __init__(self, clock: Clock, *, first_unread_seconds: float = FIRST_UNREAD_SECONDS) -> None:
        self._clock = clock
        self._first_unread = first_unread_seconds
        self._unread_seconds = first_unread_seconds
        self._unread_at: float | None = None
        self._postponed_until: float | None = None

    def note_wake(self) -> None:
        """Note that something changed: what could not be read before may be readable now."""
        self._unread_seconds, self._unread_at = self._first_unread, None

    def note(self, read: ChangesRead) -> None:
        """Note what the latest change pass could not read, or postponed. This replaces what was noted before.

        Each try for what can't be read waits twice as long as the one before, up to `LONGEST_UNREAD_SECONDS`.
        """
        now = self._clock()
        if self._unread_at is not None and now >= self._unread_at:
            self._unread_seconds = min(2 * self._unread_seconds, LONGEST_UNREAD_SECONDS)
        self._unread_at = now + self._unread_seconds if read.failed else None
        self._postponed_until = None if read.postponed_seconds is None else now + read.postponed_seconds

    def due_in(self) -> float | None:
        """Return the seconds until the next look; 0: it is due; None: no look is planned."""
        moments = [at for at in (self._unread_at, self._postponed_until) if at is not None]
        return max(0.0, min(moments) - self._clock()) if moments else None

    def may_postpone(self) -> bool:
        """Return whether the look that is due may postpone indices without a known number of fields, because it is due
        for another reason.

        If not, it reads all of these indices, even those that were read a moment ago: so one look reads them all,
        instead of one look for each.
        """
        return self._postponed_until is None or self._clock() < self._postponed_until


class NextStep(enum.Enum):
    """The next step to find changes that don't show in any number of fields."""

    ASK = "ask for the versions of all mappings"
    REFRESH = "run a full pass early"


class VersionPolicy:
    """Decides when to ask for the versions of all mappings. Each wake of the watch needs either one answer that was
    asked for after it, or a full pass.

    The first rule that applies decides:

    1. Nothing woke the watch since the last answer: don't ask.
    2. Asking is refused: ask at the end of the pause. Until then, scheduled full passes find what changed.
    3. Answers are slow: the same, but a wake for which the look found no change justifies an early full pass.
    4. Otherwise: if the look found no change, ask at once, but not within `ASK_SECONDS` of the last time. If it found a
       change, which may not be the only one, ask `ASK_SECONDS` later, so that many changes share one answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owed_at: float | None = None
        self._is_unexplained = False
        self._ask_again_at = -math.inf
        self._pass_again_at = -math.inf
        self._refused_until = -math.inf
        self._slow_until = -math.inf
        self._slow_in_a_row = 0
        self._last_seconds = 0.0
        self._retry_seconds = ASK_SECONDS

    def note_wake(self, *, found: bool) -> None:
        """Note that something changed, and whether a look for it `found` a change."""
        now = self._clock()
        at = now + ASK_SECONDS if found else now
        self._owed_at = at if self._owed_at is None else min(at, self._owed_at)
        self._is_unexplained |= not found

    def settle(self) -> None:
        """Note that all changes until now are read, or will be by a full pass that began after them."""
        self._owed_at, self._is_unexplained = None, False
        self._retry_seconds = ASK_SECONDS

    def note_unread(self) -> None:
        """Note that some of the named indices could not be read. Unless something else happens before, the versions are
        asked for again, at growing intervals.
        """
        self._owed_at, self._is_unexplained = self._clock() + self._retry_seconds, False
        self._retry_seconds = min(2 * self._retry_seconds, PAUSE_SECONDS)

    def due_in(self) -> float | None:
        """Return the seconds until `due` returns a step; 0: now; None: there is nothing to do."""
        return None if (planned := self._next()) is None else max(0.0, planned[0] - self._clock())

    def due(self) -> NextStep | None:
        """Return what to do now; None if it isn't time to do anything."""
        planned = self._next()
        return planned[1] if planned is not None and planned[0] <= self._clock() else None

    def _next(self) -> tuple[float, NextStep] | None:
        if self._owed_at is None:
            return None
        now = self._clock()
        if now < self._refused_until:
            return self._refused_until, NextStep.ASK
        if now < self._slow_until:
            pass_at = max(self._owed_at, self._pass_again_at)
            if self._is_unexplained and pass_at < self._slow_until:
                return pass_at, NextStep.REFRESH
            return self._slow_until, NextStep.ASK
        return max(self._owed_at, self._ask_again_at), NextStep.ASK

    def is_paused(self) -> bool:
        """Return whether asking pauses, because it is refused or too expensive."""
        return self._clock() < max(self._refused_until, self._slow_until)

    def note_asked(self, seconds: float) -> bool:
        """Note that the versions were asked for, and the time that this took, with or without an answer. Return whether
        asking pauses now because it took too long.
        """
        now = self._clock()
        self._ask_again_at = now + ASK_SECONDS
        self._last_seconds = seconds
        self._slow_in_a_row = self._slow_in_a_row + 1 if seconds > SLOW_SECONDS else 0
        if self._slow_in_a_row < SLOW_IN_A_ROW:
            return False
        self._slow_until = now + PAUSE_SECONDS
        return True

    def allow_asking(self) -> None:
        """Allow the next request at once, because the last one was only for later comparison."""
        self._ask_again_at = -math.inf

    def note_refused(self) -> None:
        self._refused_until = self._clock() + PAUSE_SECONDS

    def note_pass(self, *, started: bool) -> None:
        """Note that an early full pass was asked for. If a pass was running already (not `started`), it may have read
        before the change, so the change isn't settled.
        """
        self._pass_again_at = self._clock() + (PASS_FACTOR * self._last_seconds if started else ASK_SECONDS)
        if started:
            self.settle()


def names_to_read(known: Mapping[str, int], told: Mapping[str, int]) -> frozenset[str]:
    """Return the indices whose mapping has another version than the `known` one. A new index with its first version
    isn't returned: it was read when it was found.
    """
    return frozenset(name for name, version in told.items() if version != known.get(name, FIRST_VERSION))


def versions_read(known: Mapping[str, int], told: Mapping[str, int], failed: Collection[str]) -> dict[str, int]:
    """Return the versions that are known after the named mappings were read, except those that `failed`."""
    if not failed:
        return dict(told)
    now_known = {name: version for name, version in told.items() if name not in failed}
    now_known.update((name, known[name]) for name in failed if name in known)
    return now_known
