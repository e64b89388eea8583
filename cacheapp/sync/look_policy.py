"""When the watch looks for changes although nothing wakes it, and when it asks for the versions of all mappings: pure
policy.
"""

import enum
import math
from collections.abc import Collection, Mapping

from cacheapp.sync.pass_record import ChangesRead
from esassistant.clock import Clock

FIRST_UNREAD_SECONDS = 2.0
LONGEST_UNREAD_SECONDS = 32.0
ASK_SECONDS = 10.0
"""The versions of all mappings are asked for at most so often."""
SLOW_SECONDS = 1.0
SLOW_IN_A_ROW = 2
"""One slow answer may be a pause of the node; after so many, asking costs the cluster too much."""
PAUSE_SECONDS = 600.0
"""Where asking is refused or costs too much, it is tried again so long afterwards."""
PASS_FACTOR = 60
"""An early full pass comes at most once in so many times what asking would have cost: it is much dearer."""
FIRST_VERSION = 1
"""Of the mapping of an index that was just created."""


class Looks:
    """Looks that come by themselves: for what could not be read, and for indices whose number of fields isn't told."""

    def __init__(self, clock: Clock, *, first_unread_seconds: float = FIRST_UNREAD_SECONDS) -> None:
        self._clock = clock
        self._first_unread = first_unread_seconds
        self._unread_seconds = first_unread_seconds
        self._unread_at: float | None = None
        self._postponed_until: float | None = None

    def note_wake(self) -> None:
        """Something changed: what could not be read before may be readable now."""
        self._unread_seconds, self._unread_at = self._first_unread, None

    def note(self, read: ChangesRead) -> None:
        """Take what the latest change pass could not read, or postponed, in the place of what earlier ones did.

        Each try for what can't be read waits twice as long as the one before, up to `LONGEST_UNREAD_SECONDS`.
        """
        now = self._clock()
        if self._unread_at is not None and now >= self._unread_at:
            self._unread_seconds = min(2 * self._unread_seconds, LONGEST_UNREAD_SECONDS)
        self._unread_at = now + self._unread_seconds if read.failed else None
        self._postponed_until = None if read.postponed_seconds is None else now + read.postponed_seconds

    def due_in(self) -> float | None:
        """Return the seconds until the next look; 0: it is due; None: nothing is left to look for."""
        moments = [at for at in (self._unread_at, self._postponed_until) if at is not None]
        return max(0.0, min(moments) - self._clock()) if moments else None

    def may_postpone(self) -> bool:
        """Whether the look that is due leaves alone what has no number of fields: it is for something else.

        If not, it reads all of those, also what was read a moment ago: one look for all, instead of one for each.
        """
        return self._postponed_until is None or self._clock() < self._postponed_until


class NextStep(enum.Enum):
    """What finds the changes that show in no number of fields."""

    ASK = "ask for the versions of all mappings"
    REFRESH = "run a full pass early"


class VersionPolicy:
    """When to ask for the versions of all mappings. Each wake of the watch is owed one answer that was asked for after
    it, or a full pass.

    1. Nothing woke the watch since the last answer: never.
    2. Asking is refused: at the end of the pause; meanwhile scheduled full passes find what changed.
    3. Answers are slow: likewise, but a wake that no look could explain is worth an early full pass.
    4. Else at once, if the look found nothing, but `ASK_SECONDS` apart. If it found something, which may not be all,
       `ASK_SECONDS` later: many changes share one answer.
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
        """Something changed, and a look for it has `found` a change, or none."""
        now = self._clock()
        at = now + ASK_SECONDS if found else now
        self._owed_at = at if self._owed_at is None else min(at, self._owed_at)
        self._is_unexplained |= not found

    def settle(self) -> None:
        """All that woke the watch until now is read, or will be by a full pass that has begun since."""
        self._owed_at, self._is_unexplained = None, False
        self._retry_seconds = ASK_SECONDS

    def note_unread(self) -> None:
        """Some of what was named could not be read: ask again, less and less often, if nothing happens before."""
        self._owed_at, self._is_unexplained = self._clock() + self._retry_seconds, False
        self._retry_seconds = min(2 * self._retry_seconds, PAUSE_SECONDS)

    def due_in(self) -> float | None:
        """Return the seconds until `due` gives a step; 0: it does now; None: nothing is owed."""
        return None if (planned := self._next()) is None else max(0.0, planned[0] - self._clock())

    def due(self) -> NextStep | None:
        """Return what to do now, if it is time to do anything."""
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
        """Whether asking pauses, as it is refused or costs too much."""
        return self._clock() < max(self._refused_until, self._slow_until)

    def note_asked(self, seconds: float) -> bool:
        """It was asked, and took so long, answered or not. Return whether asking now pauses, as that is too much."""
        now = self._clock()
        self._ask_again_at = now + ASK_SECONDS
        self._last_seconds = seconds
        self._slow_in_a_row = self._slow_in_a_row + 1 if seconds > SLOW_SECONDS else 0
        if self._slow_in_a_row < SLOW_IN_A_ROW:
            return False
        self._slow_until = now + PAUSE_SECONDS
        return True

    def allow_asking(self) -> None:
        """Have the next answer not wait for the one before: that was for comparison alone."""
        self._ask_again_at = -math.inf

    def note_refused(self) -> None:
        self._refused_until = self._clock() + PAUSE_SECONDS

    def note_pass(self, *, started: bool) -> None:
        """An early full pass was asked for. One that ran already may have read before the change: it settles
        nothing.
        """
        self._pass_again_at = self._clock() + (PASS_FACTOR * self._last_seconds if started else ASK_SECONDS)
        if started:
            self.settle()


def names_to_read(known: Mapping[str, int], told: Mapping[str, int]) -> frozenset[str]:
    """Return the indices whose mapping is not the one of the `known` version. A new one in its first version was read
    when it was found.
    """
    return frozenset(name for name, version in told.items() if version != known.get(name, FIRST_VERSION))


def versions_read(known: Mapping[str, int], told: Mapping[str, int], failed: Collection[str]) -> dict[str, int]:
    """Return the versions that are known once the named mappings were read, all but those that `failed`."""
    if not failed:
        return dict(told)
    now_known = {name: version for name, version in told.items() if name not in failed}
    now_known.update((name, known[name]) for name in failed if name in known)
    return now_known
