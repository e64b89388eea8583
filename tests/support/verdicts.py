"""Helpers for tests of the verdict: make windows and evidence with few words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from esassistant.resource import Health
from esassistant.windows import Got, Window, WindowReport
from healthapp.checks import ServiceReport
from healthapp.evidence import Evidence, ServedMappings, Service

NOW = datetime(2026, 11, 29, 10, 40, tzinfo=UTC)
AT = 100_000.0
"""The same moment as `NOW`, on the monotonic clock."""
FRESH = ServedMappings(True, 9, 0, 3.0)
SEARCHES = "pool default search"


def window(*calls: tuple[float, float, Got]) -> WindowReport:
    """Return the window of calls, given by how long ago they ended, how long they took, and what their callers got."""
    counted = Window()
    for age, seconds, got in sorted(calls, key=lambda call: -call[0]):
        counted.ended(got, seconds, AT - age)
    return counted.report(AT) or WindowReport()


def steady(seconds: float, got: Got = Got.ANSWER, *, every: float = 0.5, over: float = 60.0) -> WindowReport:
    """Return the window of equal calls that came one after the other until now."""
    return window(*((number * every, seconds, got) for number in range(int(over / every))))


def service(health: Health, error: str | None = None, *, critical: bool = False, **facts: Any) -> Service:
    return Service(ServiceReport(health, 1.0, critical, error, facts), NOW)


WELL: Mapping[str, Service] = {
    "elasticsearch": service(Health.HEALTHY, critical=True, status="green"),
    "store": service(Health.HEALTHY),
}
QUICK_PINGS = steady(0.01, every=5.0)


def evidence(**changes: Any) -> Evidence:
    """Return the evidence of a deployment that is well and gets no requests, with these changes."""
    quiet = Evidence(1, {}, QUICK_PINGS, {}, WELL, FRESH, usual={"ping": 0.01, SEARCHES: 0.012})
    return replace(quiet, **changes)
