"""Keeps the advice about the last ten minutes, each with its times. Advice that is no longer given is kept for an hour,
with its end.

Rules judge reports that count since the start. Here a rule gets a report twice. The first one looks as if counting had
begun ten minutes ago. The second one looks as if all of these ten minutes had been like the last one: if the rule gives
no advice for it, the trouble is over, and the advice isn't given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from esassistant.addresses import placed
from esassistant.advice import Advice, NotEnoughData, Recommendation
from esassistant.clock import Clock, Sleep, monotonic, now_utc
from esassistant.registry import Registry
from esassistant.resource import Handle, ReportHandle
from esassistant.units import as_percent, as_seconds
from healthapp.findings import Trouble
from healthapp.recent import counted_between
from healthapp.verdict import Effect

logger = logging.getLogger(__name__)

EVERY_SECONDS = 20.0
LAST_SECONDS = 60.0
WINDOW_SECONDS = 600.0
TIMES = int(WINDOW_SECONDS / LAST_SECONDS)
OVER_SECONDS = 3_600.0
MAX_OVER = 20
SLOW = frozenset(
    {
        *(Trouble.CLUSTER_SLOW, Trouble.HEAVY_CALLS, Trouble.CLUSTER_AWAY, Trouble.CLUSTER_RED),
        Trouble.BREAKER_OPEN,
    }
)
"""While the verdict has one of these troubles, no advice may send the cluster more calls at once."""


@dataclass(frozen=True, slots=True)
class RecentAdvice:
    """A recommendation about the time from `from_at` to `to_at`. `figures`: its numbers in words. `ended_at`: when it
    stopped being given; None while it is given.
    """

    metric: str
    value: float
    threshold: float
    sample_size: int
    samples: str
    why: str
    setting: str | None
    figures: str
    from_at: datetime
    to_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AdviceReport:
    """What to change, and what can't be judged yet. `was`: advice of the last hour that is no longer given, newest
    first.
    """

    recommendations: tuple[RecentAdvice, ...] = ()
    not_enough_data: tuple[NotEnoughData, ...] = ()
    was: tuple[RecentAdvice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    taken_at: float
    reports: Mapping[str, Any]


class AdviceWatch:
    """Keeps the advice. One per process, owned by the registry; belongs to its loop. `keep_watching` is its background
    task.
    """

    def __init__(
        self,
        reports: Callable[[], Mapping[str, Any]],
        rules: Callable[[Mapping[str, Any]], Iterable[Advice]],
        effects: Callable[[], Iterable[Effect]],
        *,
        clock: Clock = monotonic,
        wall_clock: Callable[[], datetime] = now_utc,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """
        Args:
            reports: Returns the reports of all resources that have rules.
            rules: Returns the advice of all rules for given reports.
            effects: Returns the effects of the verdict, which no advice may contradict.
        """
        self._reports = reports
        self._rules = rules
        self._effects = effects
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._began_at = clock()
        self._snapshots: deque[_Snapshot] = deque()
        self._slow_at = float("-inf")
        self._given: dict[str, RecentAdvice] = {}
        self._over: deque[RecentAdvice] = deque(maxlen=MAX_OVER)

    async def keep_watching(self) -> None:
        """Background task: judge every 20 seconds."""
        while True:
            self.report()
            await self._sleep(EVERY_SECONDS)

    def report(self) -> AdviceReport:
        """Judge the last ten minutes, and return the advice."""
        now, at = self._clock(), self._wall_clock()
        reports = self._reports()
        if any(effect.trouble in SLOW for effect in self._effects()):
            self._slow_at = now
        found = list(self._rules(self._counted(reports, now, WINDOW_SECONDS)))
        goes_on = {
            advice.metric
            for advice in self._rules(self._counted(reports, now, LAST_SECONDS, TIMES))
            if isinstance(advice, Recommendation)
        }
        began = at - timedelta(seconds=min(WINDOW_SECONDS, now - self._began_at))
        current = {
            advice.metric: _timed(self._consistent(advice, now), began, at)
            for advice in found
            if isinstance(advice, Recommendation) and advice.metric in goes_on
        }
        self._end(current, at)
        self._keep(reports, now)
        return AdviceReport(
            tuple(current.values()),
            tuple(advice for advice in found if isinstance(advice, NotEnoughData)),
            tuple(self._over),
        )

    def _counted(self, reports: Mapping[str, Any], now: float, seconds: float, times: int = 1) -> dict[str, Any]:
        """Return the reports as if counting had begun `seconds` ago, or at the start of a younger process. The counts
        are multiplied by `times`.
        """
        if now - self._began_at <= seconds:
            return dict(reports)
        before = next(
            (one for one in reversed(self._snapshots) if now - one.taken_at >= seconds),
            self._snapshots[0] if self._snapshots else _Snapshot(now, {}),
        )
        return {name: counted_between(before.reports.get(name), report, times) for name, report in reports.items()}

    def _consistent(self, advice: Recommendation, now: float) -> Recommendation:
        if advice.if_slow is None or now - self._slow_at > LAST_SECONDS:
            return advice
        return replace(advice, why=advice.if_slow, setting=None)

    def _end(self, current: dict[str, RecentAdvice], at: datetime) -> None:
        """Note the end of all advice that was given so far and isn't any more."""
        for metric, advice in self._given.items():
            if metric not in current:
                self._over.appendleft(replace(advice, ended_at=at))
        kept = [
            advice
            for advice in self._over
            if advice.metric not in current
            and advice.ended_at is not None
            and (at - advice.ended_at).total_seconds() <= OVER_SECONDS
        ]
        self._over.clear()
        self._over.extend(kept)
        self._given = current

    def _keep(self, reports: Mapping[str, Any], now: float) -> None:
        if not self._snapshots or now - self._snapshots[-1].taken_at >= EVERY_SECONDS:
            self._snapshots.append(_Snapshot(now, reports))
        while len(self._snapshots) > 1 and now - self._snapshots[1].taken_at >= WINDOW_SECONDS:
            self._snapshots.popleft()


def _timed(advice: Recommendation, from_at: datetime, to_at: datetime) -> RecentAdvice:
    return RecentAdvice(
        *(advice.metric, advice.value, advice.threshold, advice.sample_size, advice.samples, placed(advice.why)),
        *(advice.setting, figures(advice), from_at, to_at),
    )


def figures(advice: Recommendation) -> str:
    """Return the numbers of a recommendation in words, such as "33 % of 1200 calls; more than 1 % is too much".

    Return an empty text if the advice is about a state, such as a store that can't be used: there the numbers say
    nothing.
    """
    if not advice.threshold:
        if not advice.metric.endswith("_total"):
            return ""
        whole = "" if advice.value == advice.sample_size else f" of {advice.sample_size}"
        return f"{advice.value:g}{whole} {advice.samples}"
    if advice.metric.endswith("p99_seconds"):
        value, threshold = as_seconds(advice.value), as_seconds(advice.threshold)
        return f"99 % of {advice.sample_size} {advice.samples} within {value}; advised above {threshold}"
    if advice.metric.endswith("percent") or "percent_of" in advice.metric:
        value, threshold = as_percent(advice.value), as_percent(advice.threshold)
    elif advice.metric.endswith("seconds"):
        value, threshold = as_seconds(advice.value), as_seconds(advice.threshold)
    else:
        value, threshold = f"{advice.value:g}", f"{advice.threshold:g}"
    return f"{value} of {advice.sample_size} {advice.samples}; more than {threshold} is too much"


def advice(registry: Registry, reports: Mapping[str, Any]) -> Iterable[Advice]:
    """Yield the advice of the rules of all resources whose reports are in `reports`."""
    for resource in registry.declared():
        for rule in resource.rules:
            if (report := reports.get(resource.name)) is None:
                continue
            try:
                yield from rule(report)
            except Exception:
                logger.exception("a rule of %s failed", resource.name)


ADVICE: Handle[AdviceWatch] = Handle("advice")
ADVICE_REPORT: ReportHandle[AdviceReport] = ReportHandle("advice")
