"""Counts what callers got lately, for one kind of call: how many calls failed, were refused or answered in part, and
how long the others took. Needs constant memory; the counts of several processes can be added up.
"""

import enum
import itertools
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from esassistant.durations import BOUNDS

SLICE_SECONDS: Final = 5.0
SLICES_OF_MINUTE: Final = 12
SLICES: Final = SLICES_OF_MINUTE + 3
"""A few slices more than a minute has, so that a whole minute can still be reported some seconds after its end."""
RECENT_SLICES: Final = 3
QUIET_SLICES: Final = 4
"""This many slices in a row without a bad call separate two troubles. Slices without any call don't count."""
KEPT_LAST: Final = 5
LONGEST_KEPT_SECONDS: Final = 900.0
"""Older calls say nothing about the present."""
LONG_SECONDS: Final = 0.5
"""A shorter call is never called slow, whatever is usual."""
LONG_BUCKET: Final = bisect_left(BOUNDS, LONG_SECONDS)


class Got(enum.Enum):
    """What a caller got."""

    ANSWER = "answer"
    PART = "part"
    """An answer that says itself that it is incomplete."""
    FAILURE = "failure"
    """A 5xx, no answer in time, or no call at all because earlier calls had failed."""
    REFUSAL = "refusal"
    """No call was made, as no connection was free."""

    @property
    def is_bad(self) -> bool:
        """True if the caller got no answer, and it wasn't the caller's fault."""
        return self in (Got.FAILURE, Got.REFUSAL)


@dataclass(frozen=True, slots=True)
class EndedCall:
    """One call: how long ago it ended (`age_seconds`), how long it took (`seconds`), and what its caller got."""

    age_seconds: float
    seconds: float
    got: Got

    @property
    def began_seconds_ago(self) -> float:
        return self.age_seconds + self.seconds


@dataclass(frozen=True, slots=True)
class WindowReport:
    """The last minute of one kind of call, and its latest calls within a quarter of an hour, newest first (`last`). A
    time is None if there was no such call.

    `recent` and `minute` count the answered calls of the last 15 and 60 s by their duration; the key is the place in
    `durations.BOUNDS`. `recent_bad`: calls of the last 15 s that were not answered.

    `first_bad_seconds`, `first_part_seconds`: how long ago the minute's newest trouble began, with the first call that
    was not answered, or was answered in part. `first_long_seconds`: how long ago the first call began that is part of
    the present slowness. These are calls that took `LONG_SECONDS` or more: all of the last 15 s, and earlier ones as
    far back as most calls were long.

    `slowest_seconds`: the longest call of the minute. `newest_bad_seconds`, `newest_good_seconds`: how long ago the
    newest unanswered call and the newest answered call ended.
    """

    calls: int = 0
    failures: int = 0
    refusals: int = 0
    parts: int = 0
    recent_bad: int = 0
    first_bad_seconds: float | None = None
    first_part_seconds: float | None = None
    first_long_seconds: float | None = None
    slowest_seconds: float | None = None
    newest_bad_seconds: float | None = None
    newest_good_seconds: float | None = None
    recent: Mapping[int, int] = field(default_factory=dict)
    minute: Mapping[int, int] = field(default_factory=dict)
    last: tuple[EndedCall, ...] = ()

    @property
    def bad(self) -> int:
        """The number of calls of the minute that were not answered."""
        return self.failures + self.refusals

    def older_by(self, seconds: float) -> "WindowReport":
        """Return the same report with all ages increased by `seconds`."""

        def older(age: float | None) -> float | None:
            return None if age is None else age + seconds

        return replace(
            self,
            first_bad_seconds=older(self.first_bad_seconds),
            first_part_seconds=older(self.first_part_seconds),
            first_long_seconds=older(self.first_long_seconds),
            newest_bad_seconds=older(self.newest_bad_seconds),
            newest_good_seconds=older(self.newest_good_seconds),
            last=tuple(EndedCall(call.age_seconds + seconds, call.seconds, call.got) for call in self.last),
        )


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """One whole minute of one kind of call, such as 10:33. `bad`: calls that were not answered, `parts`: calls that
    were answered in part. `times` counts the answered calls by duration, as `WindowReport.minute` does.
    """

    calls: int = 0
    bad: int = 0
    parts: int = 0
    times: Mapping[int, int] = field(default_factory=dict)


class _Slice:
    __slots__ = (
        *("calls", "counts", "failures", "first_bad_at", "first_long_at", "first_part_at", "number", "parts"),
        *("refusals", "slowest"),
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts: dict[int, int] = {}
        self.calls = self.failures = self.refusals = self.parts = 0
        self.first_bad_at: float | None = None
        self.first_part_at: float | None = None
        self.first_long_at: float | None = None
        self.slowest = 0.0


class Window:
    """Counts one kind of call in slices of five seconds. Used on one loop."""

    __slots__ = ("_last", "_latest", "_newest_bad_at", "_newest_good_at", "_slices")

    def __init__(self) -> None:
        self._latest = _Slice(-1)
        self._slices: deque[_Slice] = deque(maxlen=SLICES)
        self._last: deque[tuple[float, float, Got]] = deque(maxlen=KEPT_LAST)
        self._newest_bad_at: float | None = None
        self._newest_good_at: float | None = None

    def ended(self, got: Got, seconds: float, ended_at: float) -> None:
        """Count a call that took `seconds` and has just ended, at `ended_at` of the monotonic clock."""
        number = int(ended_at / SLICE_SECONDS)
        latest = self._latest
        if latest.number != number:
            latest = self._latest = _Slice(number)
            self._slices.append(latest)
        latest.calls += 1
        if seconds > latest.slowest:
            latest.slowest = seconds
            if seconds >= LONG_SECONDS and latest.first_long_at is None:
                latest.first_long_at = ended_at - seconds
        self._last.append((ended_at, seconds, got))
        if got is Got.ANSWER or got is Got.PART:
            self._newest_good_at = ended_at
            bucket = bisect_left(BOUNDS, seconds)
            latest.counts[bucket] = latest.counts.get(bucket, 0) + 1
            if got is Got.PART:
                latest.parts += 1
                if latest.first_part_at is None:
                    latest.first_part_at = ended_at - seconds
            return
        self._newest_bad_at = ended_at
        if got is Got.FAILURE:
            latest.failures += 1
        else:
            latest.refusals += 1
        if latest.first_bad_at is None:
            latest.first_bad_at = ended_at - seconds

    def report(self, now: float) -> WindowReport | None:
        """Return the report, or None if there was no call for a quarter of an hour."""
        last = tuple(
            EndedCall(now - ended_at, seconds, got)
            for ended_at, seconds, got in reversed(self._last)
            if now - ended_at <= LONGEST_KEPT_SECONDS
        )
        if not last:
            return None
        number = int(now / SLICE_SECONDS)
        minute = [part for part in self._slices if part.number > number - SLICES_OF_MINUTE]
        recent = [part for part in minute if part.number > number - RECENT_SLICES]
        return WindowReport(
            calls=sum(part.calls for part in minute),
            failures=sum(part.failures for part in minute),
            refusals=sum(part.refusals for part in minute),
            parts=sum(part.parts for part in minute),
            recent_bad=sum(part.failures + part.refusals for part in recent),
            first_bad_seconds=_age(now, _newest_trouble([part.first_bad_at for part in minute])),
            first_part_seconds=_age(now, _newest_trouble([part.first_part_at for part in minute])),
            first_long_seconds=_age(now, _first_long(minute, len(recent))),
            slowest_seconds=max((part.slowest for part in minute), default=None),
            newest_bad_seconds=_age(now, (self._newest_bad_at,)),
            newest_good_seconds=_age(now, (self._newest_good_at,)),
            recent=_added(part.counts for part in recent),
            minute=_added(part.counts for part in minute),
            last=last,
        )

    def whole_minute(self, number: int) -> MinuteCounts:
        """Return the counts of a minute that has just ended, given its number on the monotonic clock."""
        found = [part for part in self._slices if part.number // SLICES_OF_MINUTE == number]
        return MinuteCounts(
            sum(part.calls for part in found),
            sum(part.failures + part.refusals for part in found),
            sum(part.parts for part in found),
            _added(part.counts for part in found),
        )


def minutes_together(counts: Iterable[MinuteCounts]) -> MinuteCounts:
    """Return the counts of several kinds of calls in the same minute, added up."""
    parts = tuple(counts)
    return MinuteCounts(
        sum(part.calls for part in parts),
        sum(part.bad for part in parts),
        sum(part.parts for part in parts),
        _added(part.times for part in parts),
    )


def _newest_trouble(first_at: Sequence[float | None]) -> list[float]:
    """Return the moments that belong to the newest trouble: going back until `QUIET_SLICES` slices in a row have none.

    Slices without any call aren't in `first_at`, as they say nothing.
    """
    moments: list[float] = []
    quiet = 0
    for at in reversed(first_at):
        if at is not None:
            moments.append(at)
            quiet = 0
        elif moments:
            quiet += 1
            if quiet == QUIET_SLICES:
                break
    return moments


def _first_long(minute: Sequence[_Slice], recent: int) -> list[float | None]:
    """Return the moments at which long calls began that belong to the slowness of now, for each slice (None: no long
    call).

    These are the `recent` newest slices, and the slices before them, back to the first one in which less than half of
    the answered calls were long. That slice is included, as the slowness began in it. A single long call before that,
    among quick ones, is left out.
    """
    moments = [part.first_long_at for part in minute[len(minute) - recent :]]
    for part in reversed(minute[: len(minute) - recent]):
        moments.append(part.first_long_at)
        if 2 * sum(count for bucket, count in part.counts.items() if bucket >= LONG_BUCKET) < sum(part.counts.values()):
            break
    return moments


def _age(now: float, moments: Iterable[float | None]) -> float | None:
    known = [at for at in moments if at is not None]
    return now - min(known) if known else None


def _added(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    together: Counter[int] = Counter()
    for some in counts:
        together.update(some)
    return dict(sorted(together.items()))


def added(reports: Iterable[WindowReport]) -> WindowReport:
    """Return the reports of several processes about one kind of call, added up."""
    parts = tuple(reports)
    if len(parts) == 1:
        return parts[0]
    last = sorted((call for part in parts for call in part.last), key=lambda call: call.age_seconds)
    return WindowReport(
        calls=sum(part.calls for part in parts),
        failures=sum(part.failures for part in parts),
        refusals=sum(part.refusals for part in parts),
        parts=sum(part.parts for part in parts),
        recent_bad=sum(part.recent_bad for part in parts),
        first_bad_seconds=_longest(part.first_bad_seconds for part in parts),
        first_part_seconds=_longest(part.first_part_seconds for part in parts),
        first_long_seconds=_longest(part.first_long_seconds for part in parts),
        slowest_seconds=_longest(part.slowest_seconds for part in parts),
        newest_bad_seconds=_least(part.newest_bad_seconds for part in parts),
        newest_good_seconds=_least(part.newest_good_seconds for part in parts),
        recent=_added(part.recent for part in parts),
        minute=_added(part.minute for part in parts),
        last=tuple(last[:KEPT_LAST]),
    )


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _longest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def median_seconds(counts: Mapping[int, int]) -> float | None:
    """Return the median duration of answered calls. It is at least the true value, and at most 5 % above it."""
    return quantile_seconds(counts, 0.5)


def quantile_seconds(counts: Mapping[int, int], share: float) -> float | None:
    """Return a quantile of the durations of answered calls, with the same precision; 0.95 is the one below which 95 %
    are.
    """
    place = _quantile_place(counts, share)
    return None if place is None else BOUNDS[place]


def median_place(counts: Mapping[int, int]) -> int | None:
    """Return the place of the median in `durations.BOUNDS`."""
    return _quantile_place(counts, 0.5)


def _quantile_place(counts: Mapping[int, int], share: float) -> int | None:
    total = sum(counts.values())
    if not total:
        return None
    places = sorted(counts)
    running = itertools.accumulate(counts[place] for place in places)
    found = next(place for place, seen in zip(places, running, strict=True) if seen >= share * total)
    return min(found, len(BOUNDS) - 1)


def calls_in_a_row(last: Iterable[EndedCall]) -> Iterator[EndedCall]:
    """Yield the newest calls, as long as they were not answered."""
    return itertools.takewhile(lambda call: call.got.is_bad, last)
