"""The health monitor: runs all checks in the background, so that no request ever waits for one."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec

from esassistant.clock import Clock, monotonic, now_utc
from esassistant.http.answer import Answer, etag_of
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, Health, ReportHandle
from healthapp.checks import Check, ServiceReport, overall, run_checks

logger = logging.getLogger(__name__)

FIRST_RECHECK_SECONDS = 1.0
KEPT_TRANSITIONS = 50

Pause = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for so many seconds, or until the event is set."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A service's change of status, and why; `before` is None for the first one known. `made_at` is on the monotonic
    clock of this process, `at` for people.
    """

    made_at: float
    at: datetime
    service: str
    before: Health | None
    after: Health
    reason: str | None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The outcome of one round of checks. `made_at` is on the monotonic clock of this process, `checked_at` for people.

    `transitions`: the latest of this process, newest first.
    """

    status: Health
    checked_at: datetime
    duration_ms: float
    ttl_seconds: float
    services: dict[str, ServiceReport]
    made_at: float
    transitions: tuple[Transition, ...]


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
    """Renews the report every `ttl` seconds. One per process, owned by the registry; belongs to its loop.

    A report older than twice the TTL is never given out: whoever asks then waits for a new one, which all who wait
    share.
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
        self._round = asyncio.Lock()
        self._asked = asyncio.Event()

    async def keep_checking(self) -> None:
        """Background task: a round of checks per TTL, from start to start; at once when somebody asked for it, and more
        often for a while after a change of status.

        What has just changed often changes again: a start that warms up, an outage that ends.
        """
        interval = 0.0
        status: Health | None = None
        while True:
            started_at = self._clock()
            self._asked.clear()
            async with self._round:
                report = await self._check()
            interval = min(self._ttl, self._first_recheck_seconds if report.status is not status else 2 * interval)
            status = report.status
            await self._pause(self._asked, max(0.0, started_at + interval - self._clock()))

    def check_soon(self) -> None:
        """Have the next round of checks begin as soon as the present one has ended: something may have changed."""
        self._asked.set()

    async def answer(self, *, details: bool) -> Answer:
        """The present report as the API gives it, without the services unless with `details`. Waits as `report`
        does.
        """
        await self.report()
        return self._answers[details]

    def ready(self, *, details: bool) -> Answer | None:
        """The same without waiting; None when there is no report that is young enough."""
        return None if self.last() is None else self._answers[details]

    async def report(self) -> HealthReport:
        """The present report; waits only when there is none that is young enough."""
        if (report := self.last()) is not None:
            return report
        async with self._round:
            return self.last() or await self._check()

    def last(self) -> HealthReport | None:
        """The last report, or None when it is older than twice the TTL or there is none yet."""
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
                transition = Transition(made_at, checked_at, name, before, service.status, service.error)
                self._transitions.appendleft(transition)
                _log(transition)
        self._report = HealthReport(
            status=overall(services.values()),
            checked_at=checked_at,
            duration_ms=round((self._clock() - made_at) * 1000, 3),
            ttl_seconds=self._ttl,
            services=services,
            made_at=made_at,
            transitions=tuple(self._transitions),
        )
        self._answers = {details: _answer(self._report, details=details) for details in (False, True)}
        return self._report


HEALTH: Handle[HealthMonitor] = Handle("health")
HEALTH_REPORT: ReportHandle[HealthReport | None] = ReportHandle("health")


def _log(transition: Transition) -> None:
    """A first status that is healthy is no news."""
    if transition.before is None and transition.after is Health.HEALTHY:
        return
    level = logging.WARNING if transition.after is Health.UNHEALTHY else logging.INFO
    reason = f": {transition.reason}" if transition.reason else ""
    logger.log(level, "health of %s: %s%s", transition.service, transition.after.value, reason)


def _answer(report: HealthReport, *, details: bool) -> Answer:
    shown: dict[str, object] = {
        "status": report.status,
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
