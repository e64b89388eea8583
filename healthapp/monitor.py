"""The health monitor: runs all checks in the background, so that no request ever waits for one."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from esassistant.clock import Clock, monotonic, now_utc
from esassistant.http.answer import Answer, etag_of
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, Health, ReportHandle
from healthapp.checks import Check, ServiceReport, overall, run_checks
from healthapp.findings import OF_CALLS
from healthapp.verdict import Effect, Verdict, worst

logger = logging.getLogger(__name__)

FIRST_RECHECK_SECONDS = 1.0
KEPT_TRANSITIONS = 50
VERDICT_SERVICE = "verdict"
"""The name in place of a service, for transitions of the verdict."""

Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for the given seconds, or until the event is set."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a service's status, and the reason. `before`: None for the first known status. `at`: when the check
    began that found it.
    """

    at: datetime
    service: str
    before: Health | None
    after: Health
    reason: str | None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The result of one round of checks, and the verdict of the deployment, which is newer. `made_at` is on the
    monotonic clock of this process; `checked_at` is the same time for people.

    `status`: the worse of the two. `verdict`: in words, for operators; None before it is known. `since`: when the
    trouble began; None if there is none, or if that isn't known. `public_verdict`: the verdict for strangers.
    `transitions`: the latest, newest first, with those of earlier processes.
    """

    status: Health
    checked_at: datetime
    duration_ms: float
    ttl_seconds: float
    services: dict[str, ServiceReport]
    made_at: float
    transitions: tuple[Transition, ...]
    verdict: str | None = None
    public_verdict: str | None = None
    since: datetime | None = None
    effects: tuple[Effect, ...] = ()
    next_step: str | None = None

    def sentence(self, *, details: bool) -> str | None:
        """Return the verdict: with `details` the whole one, otherwise the one that strangers may read."""
        return self.verdict if details else self.public_verdict


HEALTH_METRICS = (
    Metric(Kind.STATE, "health_status", "Health as a whole.", "status", states=tuple(one.value for one in Health)),
    Metric(
        Kind.STATE,
        "health_service_status",
        "Health by service.",
        "services.*.status",
        ("service",),
        tuple(one.value for one in Health),
    ),
    Metric(
        Kind.GAUGE,
        "health_check_duration_seconds",
        "Time of the last check.",
        "services.*.latency_ms",
        ("service",),
        scale=0.001,
    ),
)


async def pause_until(asked: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `asked` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asked.wait()


class HealthMonitor:
    """Makes a new report every `ttl` seconds. One per process, owned by the registry; belongs to its loop.

    A report that is older than twice the TTL is never given out. Callers then wait for a new one, which is made once
    for all of them.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        ttl: float,
        *,
        first_recheck_seconds: float = FIRST_RECHECK_SECONDS,
        clock: Clock = monotonic,
        pause: Pause = pause_until,
    ) -> None:
        self._checks = checks
        self._ttl = ttl
        self._first_recheck_seconds = first_recheck_seconds
        self._clock = clock
        self._pause = pause
        self._report: HealthReport | None = None
        self._answers: dict[bool, Answer] = {}
        self._transitions: deque[Transition] = deque(maxlen=KEPT_TRANSITIONS)
        self._unwritten: deque[Transition] = deque(maxlen=KEPT_TRANSITIONS)
        self._verdict: Verdict | None = None
        self.on_report: Callable[[], object] = lambda: None
        """Called after each round of checks; set by the judge."""
        self._round = asyncio.Lock()
        self._asked = asyncio.Event()

    async def keep_checking(self) -> None:
        """Background task: run a round of checks every `ttl` seconds, counted from start to start; at once if somebody
        asks for it, and more often for a while after a change of status.

        A status that has just changed often changes again, as at a start that warms up, or at the end of an outage.
        """
        interval = 0.0
        status: Health | None = None
        while True:
            started_at = self._clock()
            self._asked.clear()
            async with self._round:
                report = await self._check()
            found = overall(report.services.values())
            interval = min(self._ttl, self._first_recheck_seconds if found is not status else 2 * interval)
            status = found
            await self._pause(self._asked, max(0.0, started_at + interval - self._clock()))

    def check_soon(self) -> None:
        """Run the next round of checks as soon as the present one has ended, as something may have changed."""
        self._asked.set()

    async def answer(self, *, details: bool) -> Answer:
        """Return the present report as the API gives it; the services are in it only with `details`. Waits as `report`
        does.
        """
        await self.report()
        return self._answers[details]

    def ready(self, *, details: bool) -> Answer | None:
        """Return what `answer` returns, without waiting; None if no report is young enough."""
        return None if self.last() is None else self._answers[details]

    async def report(self) -> HealthReport:
        """Return the present report. Waits only if no report is young enough."""
        if (report := self.last()) is not None:
            return report
        async with self._round:
            return self.last() or await self._check()

    def last(self) -> HealthReport | None:
        """Return the last report, or None if there is none or it is older than twice the TTL."""
        report = self._report
        return report if report is not None and self._clock() - report.made_at <= 2 * self._ttl else None

    async def _check(self) -> HealthReport:
        made_at = self._clock()
        checked_at = now_utc()
        services = await run_checks(self._checks, self._clock)
        known = {} if self._report is None else self._report.services
        for name, service in services.items():
            before = known[name].status if name in known else None
            if service.status is not before:
                self._note(Transition(checked_at, name, before, service.status, service.error))
        duration_ms = round((self._clock() - made_at) * 1000, 3)
        report = HealthReport(overall(services.values()), checked_at, duration_ms, self._ttl, services, made_at, ())
        report = self._tell(report)
        self.on_report()
        return self._report or report  # a verdict may have changed the report by now

    def note_verdict(self, verdict: Verdict) -> None:
        """Put this verdict into the report from now on, beside the results of the checks."""
        before = None if self._verdict is None else self._verdict.level
        if verdict.level is not None and verdict.level is not before:
            self._note(Transition(now_utc(), VERDICT_SERVICE, before, verdict.level, verdict.sentence))
        if verdict != self._verdict:
            self._verdict = verdict
            if self._report is not None and self._tell(self._report).status is not verdict.level:
                # the checks say something worse: either they are outdated, or there is trouble that callers don't
                # notice
                self.check_soon()

    def restore(self, transitions: Sequence[Transition]) -> None:
        """Add transitions of earlier processes, newest first, behind those of this process."""
        self._transitions.extend(transitions[: KEPT_TRANSITIONS - len(self._transitions)])

    def unwritten(self) -> list[Transition]:
        """Return the transitions that have not been returned yet, oldest first. They are returned only once."""
        taken = list(self._unwritten)
        self._unwritten.clear()
        return taken

    def _note(self, transition: Transition) -> None:
        self._transitions.appendleft(transition)
        # A healthy first status is no news.
        if transition.before is not None or transition.after is not Health.HEALTHY:
            self._unwritten.append(transition)
            logger.debug("health of %s: %s: %s", transition.service, transition.after.value, transition.reason)

    def _tell(self, report: HealthReport) -> HealthReport:
        verdict = self._verdict
        found = overall(report.services.values())
        # A round of checks may begin before a verdict and end after it.
        transitions = tuple(sorted(self._transitions, key=lambda one: one.at, reverse=True))
        public = None if verdict is None else verdict.public_sentence
        report = replace(report, status=found, transitions=transitions, public_verdict=public)
        if verdict is not None and verdict.level is not None:
            report = replace(
                report,
                status=worst((found, verdict.level)),
                verdict=verdict.sentence,
                since=verdict.since,
                effects=verdict.effects,
                next_step=verdict.next_step,
            )
        self._report = report
        self._answers = {details: _answer(report, details=details) for details in (False, True)}
        return report


HEALTH: Handle[HealthMonitor] = Handle("health")
HEALTH_REPORT: ReportHandle[HealthReport | None] = ReportHandle("health")


def _answer(report: HealthReport, *, details: bool) -> Answer:
    shown: dict[str, object] = {
        "status": report.status,
        "verdict": report.sentence(details=details),
        "since": report.since,
        "effects": [effect for effect in report.effects if details or effect.trouble in OF_CALLS],
        "next_step": report.next_step,
        "checked_at": report.checked_at,
        "duration_ms": report.duration_ms,
        "ttl_seconds": report.ttl_seconds,
    }
    if details:
        shown["services"] = report.services
    body = msgspec.json.encode(shown)
    return Answer(
        body,
        "application/json",
        status=503 if report.status is Health.UNHEALTHY else 200,
        etag=etag_of(body),
        made_at=report.made_at,
        cache_control="no-cache",
    )
