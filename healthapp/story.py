"""Decides what the log says about trouble: a line when it begins, one per minute while it lasts, and one when it ends.
Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from esassistant.resource import Health
from esassistant.units import as_duration
from esassistant.windows import WindowReport
from healthapp.evidence import callers_of
from healthapp.findings import ORDER, Trouble
from healthapp.verdict import Verdict, worst

BEGINS_AFTER_SECONDS = 4.0
"""Shorter trouble is shown by the page and the metrics, but isn't logged."""
ENDS_AFTER_SECONDS = 10.0
"""Trouble is over when it has not come back for this long."""
EVERY_SECONDS = 60.0
MAX_KINDS = 5
LAST = len(ORDER)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log. `is_bad`: log it as a warning."""

    text: str
    is_bad: bool


class Story:
    """Decides for each verdict whether to log a line. One per process."""

    def __init__(self) -> None:
        self._bad_since: float | None = None
        """When the first verdict came that was less than healthy."""
        self._began_at = 0.0
        """When that trouble began, which is earlier. Durations are counted from here."""
        self._good_since: float | None = None
        self._told_at: float | None = None
        self._told_level = Health.HEALTHY
        self._told_rank = LAST
        """The most important trouble that was logged, as a place in `findings.ORDER`."""
        self._better_since: float | None = None

    def next_line(self, verdict: Verdict, kinds: Mapping[str, WindowReport], now: float, at: datetime) -> Line | None:
        """Return the line to log now, or None. `now` is on the monotonic clock, `at` on the wall clock. The first that
        applies:

        1. Nothing is known yet: None.
        2. The verdict is healthy, and no trouble was logged: None. Trouble that was too short to be logged is
           forgotten.
        3. The verdict has been healthy for long enough after logged trouble: the end of the trouble.
        4. The verdict is not healthy, and has not been for long enough: the beginning of the trouble.
        5. It is worse than what was logged, or there is something that callers notice more: that.
        6. A minute has passed since the last line about lasting trouble: its present state.
        """
        if verdict.level is None:
            return None
        if verdict.level is Health.HEALTHY:
            return self._healthy(verdict, now)
        self._good_since = None
        if self._bad_since is None:
            self._bad_since = self._began_at = now
        if verdict.since is not None:
            self._began_at = min(self._began_at, now - (at - verdict.since).total_seconds())
        if self._told_at is None:
            if now - self._bad_since < BEGINS_AFTER_SECONDS:
                return None
            return self._begin(verdict, verdict.level, now)
        if worst((verdict.level, self._told_level)) is not self._told_level or _rank(verdict) < self._told_rank:
            return self._begin(verdict, verdict.level, now)
        self._note_better(verdict, verdict.level, now)
        if now - self._told_at < EVERY_SECONDS:
            return None
        self._told_at = now
        lasted = as_duration(now - self._began_at)
        return Line(
            f"trouble for {lasted}, {verdict.level.value} now: {summary(kinds)} {verdict.sentence}", is_bad=True
        )

    def _begin(self, verdict: Verdict, level: Health, now: float) -> Line:
        self._better_since = None
        self._told_at, self._told_level = now, worst((level, self._told_level))
        self._told_rank = min(self._told_rank, _rank(verdict))
        return Line(f"{level.value}: {verdict.sentence} What to do: {verdict.next_step}", is_bad=True)

    def _note_better(self, verdict: Verdict, level: Health, now: float) -> None:
        """Note that the worst trouble is over while other trouble goes on. If the worst stays away for
        `ENDS_AFTER_SECONDS`, it counts as ended, and is logged again when it comes back.
        """
        if (level, _rank(verdict)) == (self._told_level, self._told_rank):
            self._better_since = None
            return
        if self._better_since is None:
            self._better_since = now
        if now - self._better_since >= ENDS_AFTER_SECONDS:
            self._told_level, self._told_rank, self._better_since = level, _rank(verdict), None

    def _healthy(self, verdict: Verdict, now: float) -> Line | None:
        if self._told_at is None or self._bad_since is None:
            self._bad_since = None
            return None
        if self._good_since is None:
            self._good_since = now
        if now - self._good_since < ENDS_AFTER_SECONDS:
            return None
        lasted = as_duration(self._good_since - self._began_at)
        self._bad_since = self._good_since = self._told_at = None
        self._told_level, self._told_rank = Health.HEALTHY, LAST
        return Line(f"healthy again after {lasted}: {verdict.sentence}", is_bad=False)


def _rank(verdict: Verdict) -> int:
    """Return the place in `findings.ORDER` of what callers feel most.

    While Elasticsearch can't be asked, failing searches count as present even if nobody has searched yet. The log line
    about Elasticsearch says that they fail, so no second line is needed when the first search does fail.
    """
    troubles = {effect.trouble for effect in verdict.effects}
    if Trouble.CLUSTER_AWAY in troubles:
        troubles.add(Trouble.CALLS_FAIL)
    return min((ORDER[trouble] for trouble in troubles), default=LAST)


def summary(kinds: Mapping[str, WindowReport]) -> str:
    """Say how many calls of which kinds got no answer in the last minute, and how long the slowest took."""
    parts: dict[str, str] = {}
    bad = sorted(((kind, window) for kind, window in kinds.items() if window.bad), key=lambda item: -item[1].bad)
    for kind, window in bad:
        text = f"{window.bad} of {window.calls} {callers_of(kind)} failed"
        if window.slowest_seconds is not None:
            text += f" (slowest {as_duration(window.slowest_seconds)})"
        parts.setdefault(callers_of(kind), text)
    if not parts:
        return "no call failed in the last minute."
    more = len(parts) - MAX_KINDS
    listed = [*list(parts.values())[:MAX_KINDS], *([f"{more} more"] if more > 0 else [])]
    return f"in the last minute {', '.join(listed)}."
