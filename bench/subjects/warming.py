"""The costs and benefits of a policy of warming ahead on a trace, which is replayed in turns of ten minutes within the
budget.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.subjects.traces import Trace
from cacheapp.demand.policy import WARM_SECONDS
from cacheapp.values.policy import seconds_between_calls

STEP_SECONDS = 600.0
"""How often a policy decides. In between, cold families that are asked for are gathered on demand, as the budget
allows.
"""
CALL_SECONDS = seconds_between_calls(6)
"""The seconds between two calls, at six a minute."""
NEVER, ALWAYS = float("inf"), float("-inf")


@dataclass
class Outcome:
    """The result of a part of a trace.

    Args:
        asks, warm: The number of asks, and of those that found warm values.
        calls: The calls to the cluster, on demand and ahead.
        ahead: Those of the calls that were made ahead.
        warmed: How often a family was warmed ahead.
        useful, in_vain: How often these values were asked for while warm, and how often they weren't.
        in_vain_calls: The calls for values that were warmed in vain.
        late, missed: The number of first asks of cold families: those that were chosen but still waited for the budget,
            and those that weren't chosen.
        waits: How long each of these asks waited for values, in seconds.
        family_calls, family_warm, family_asks: The same numbers by family, for intervals.
    """

    asks: int = 0
    warm: int = 0
    calls: int = 0
    ahead: int = 0
    warmed: int = 0
    useful: int = 0
    in_vain: int = 0
    in_vain_calls: int = 0
    late: int = 0
    missed: int = 0
    waits: list[float] = field(default_factory=list)
    family_calls: list[int] = field(default_factory=list)
    family_warm: list[int] = field(default_factory=list)
    family_asks: list[int] = field(default_factory=list)

    @property
    def coverage(self) -> float:
        """The share of asks that found warm values, from 0 to 1."""
        return self.warm / self.asks if self.asks else 1.0

    @property
    def precision(self) -> float | None:
        """The share of the values warmed ahead that was asked for while warm; None if nothing was warmed."""
        known = self.useful + self.in_vain
        return self.useful / known if known else None

    @property
    def timeliness(self) -> float | None:
        """The share of the values rightly chosen that was warm before somebody asked; None if there are none."""
        known = self.useful + self.late
        return self.useful / known if known else None


class Replay:
    """One replay of a trace under one policy, which warms families whose score is at least `threshold`."""

    def __init__(self, trace: Trace, scores: "array[float] | None", threshold: float, counted_from: float) -> None:
        self._trace, self._scores, self._threshold = trace, scores, threshold
        self._counted_from = counted_from
        count = len(trace.names)
        self._warm_until = [0.0] * count
        self._unused = [0] * count
        self._waiting_since: list[float | None] = [None] * count
        self._ahead: deque[int] = deque()
        self._is_ahead = [False] * count
        self._on_demand: deque[int] = deque()
        self._free_at = self._decided_at = trace.start
        self._seen = [False] * count
        self.outcome = Outcome(family_calls=[0] * count, family_warm=[0] * count, family_asks=[0] * count)

    def run(self, end: float) -> Outcome:
        """Replay from the start to `end`."""
        trace, asks = self._trace, self._trace.asks
        place, step, now = 0, 0, trace.start
        while now < end:
            self._work(now)
            self._decide(now, step)
            until = min(now + STEP_SECONDS, end)
            while place < len(asks) and asks[place][0] < until:
                self._ask(asks[place][0], asks[place][1])
                place += 1
            step += 1
            now = trace.start + step * STEP_SECONDS
        self._work(end)
        self._decide(end, None)
        return self.outcome

    def _ask(self, at: float, number: int) -> None:
        if self._ahead or self._on_demand:
            self._work(at)
        self._seen[number] = True
        outcome, counted = self.outcome, at >= self._counted_from
        if counted:
            outcome.asks += 1
            outcome.family_asks[number] += 1
        if at < self._warm_until[number]:
            if counted:
                outcome.warm += 1
                outcome.family_warm[number] += 1
                if self._unused[number]:
                    outcome.useful += 1
            self._unused[number] = 0
            return
        if self._waiting_since[number] is not None:
            return
        self._end_unused(number, at)
        if counted:
            if self._is_ahead[number]:
                outcome.late += 1
            else:
                outcome.missed += 1
        self._waiting_since[number] = at
        self._on_demand.append(number)
        self._work(at)

    def _decide(self, now: float, step: int | None) -> None:
        """Choose what is warmed ahead until the next step. `step` None: nothing more."""
        warm_until, waiting = self._warm_until, self._waiting_since
        for number in self._ahead:
            self._is_ahead[number] = False
        self._ahead.clear()
        cold = [number for number, until in enumerate(warm_until) if until <= now and waiting[number] is None]
        for number in cold:
            if self._unused[number]:
                self._end_unused(number, now)
        if step is None or self._threshold == NEVER:
            return
        seen, scores, threshold = self._seen, self._scores, self._threshold
        if scores is None:
            chosen = [number for number in cold if seen[number]]
        else:
            base = step * len(warm_until)
            chosen = [number for number in cold if scores[base + number] >= threshold and seen[number]]
            if len(chosen) > 1:
                chosen.sort(key=lambda number: -scores[base + number])
        for number in chosen:
            self._is_ahead[number] = True
        self._ahead.extend(chosen)
        self._decided_at = now
        if chosen:
            self._work(now)

    def _work(self, now: float) -> None:
        """Gather what waits, as far as calls are allowed until now; what waits on demand comes first."""
        while self._on_demand or self._ahead:
            is_ahead = not self._on_demand
            number = self._ahead[0] if is_ahead else self._on_demand[0]
            since = self._waiting_since[number]
            start = max(self._free_at, self._decided_at if is_ahead or since is None else since)
            done = start + (self._trace.calls[number] - 1) * CALL_SECONDS
            if done > now:
                return
            (self._ahead if is_ahead else self._on_demand).popleft()
            if is_ahead:
                self._is_ahead[number] = False
                if since is not None or self._warm_until[number] > done:
                    continue
            self._gathered(number, done, is_ahead)

    def _gathered(self, number: int, at: float, is_ahead: bool) -> None:
        outcome, calls = self.outcome, self._trace.calls[number]
        self._free_at = at + CALL_SECONDS
        self._warm_until[number] = at + WARM_SECONDS
        counted = at >= self._counted_from
        if counted:
            outcome.calls += calls
            outcome.family_calls[number] += calls
        if is_ahead:
            self._unused[number] = calls
            if counted:
                outcome.ahead += calls
                outcome.warmed += 1
            return
        since = self._waiting_since[number]
        if since is not None and since >= self._counted_from:
            outcome.waits.append(at - since)
        self._waiting_since[number] = None

    def _end_unused(self, number: int, now: float) -> None:
        """Count calls made in vain, if a family was warmed ahead and goes cold without an ask; then forget that it was
        warmed ahead.
        """
        if self._unused[number] and now >= self._counted_from:
            self.outcome.in_vain += 1
            self.outcome.in_vain_calls += self._unused[number]
        self._unused[number] = 0


def replayed(
    trace: Trace, scores: "array[float] | None", threshold: float, *, counted_from: float, end: float
) -> Outcome:
    """Return the costs and benefits of a policy from `counted_from` to `end`, in seconds since 1970. The replay begins
    at the start of the trace, so that the policy knows what came before.
    """
    return Replay(trace, scores, threshold, counted_from).run(end)


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which the given share of the values lies; None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
