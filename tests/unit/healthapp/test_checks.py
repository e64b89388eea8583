"""Health checks: concurrent, bounded in time, and silent about secrets."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.errors import ClusterUnavailable
from esassistant.registry import Registry
from esassistant.resource import Health, PingResult
from healthapp.checks import (
    MAX_ERROR_CHARACTERS,
    Check,
    ServiceReport,
    checks_of,
    overall,
    run_check,
    run_checks,
    scrub,
)
from tests.support.fakes import FakeClock

HEALTHY, DEGRADED, UNHEALTHY = Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY


def check(run: Any, name: str = "service", *, timeout: float = 5.0, critical: bool = False) -> Check:
    return Check(name, timeout, critical, run)


def giving(health: Health, detail: str | None = None) -> Any:
    async def run() -> PingResult:
        return PingResult(health, detail)

    return run


def raising(error: BaseException) -> Any:
    async def run() -> PingResult:
        raise error

    return run


def service(status: Health, *, critical: bool) -> ServiceReport:
    return ServiceReport(status, 1.0, critical, None)


async def test_healthy_check() -> None:
    """A healthy service has no error, and its latency is the check's own time in milliseconds."""
    clock = FakeClock()

    async def run() -> PingResult:
        clock.advance(0.0125)
        return PingResult(HEALTHY)

    assert await run_check(check(run, critical=True), clock) == ServiceReport(HEALTHY, 12.5, True, None)


async def test_healthy_has_no_error() -> None:
    """What a healthy service says of itself isn't shown as an error."""
    assert (await run_check(check(giving(HEALTHY, "all is well")))).error is None


async def test_degraded_check() -> None:
    """A degraded service says why."""
    report = await run_check(check(giving(DEGRADED, "cluster status yellow")))
    assert (report.status, report.error) == (DEGRADED, "cluster status yellow")


async def test_timeout() -> None:
    """A check that doesn't answer in time is unhealthy, and says what time that was."""
    report = await run_check(check(asyncio.Event().wait, timeout=0.02))
    assert (report.status, report.error) == (UNHEALTHY, "no answer within 20 ms")


async def test_own_error_shows_detail() -> None:
    """The detail of our own errors is made for people, and is shown, scrubbed."""
    report = await run_check(check(raising(ClusterUnavailable("http://u:p@es:9200 could not be reached."))))
    assert (report.status, report.error) == (UNHEALTHY, "http://es:9200 could not be reached.")


async def test_foreign_error_shows_type(caplog: pytest.LogCaptureFixture) -> None:
    """Of any other error only the type is shown; the rest is in the log."""
    with caplog.at_level(logging.WARNING, "healthapp.checks"):
        report = await run_check(check(raising(ValueError("password=1234"))))
    assert (report.status, report.error) == (UNHEALTHY, "the check failed (ValueError)")
    assert "password=1234" in caplog.text


async def test_facts() -> None:
    """Facts are shown whatever the health, fit for it: numbers and words, the words without secrets and short."""

    async def run() -> PingResult:
        facts: dict[str, Any] = {"nodes": 3, "share": 0.5, "on": True, "none": None, "url": "http://u:p@es:9200"}
        return PingResult(DEGRADED, "why", facts | {"object": ValueError("x" * 500), "at": date(2026, 1, 2)})

    report = await run_check(check(run))
    assert report.facts == {
        "nodes": 3,
        "share": 0.5,
        "on": True,
        "none": None,
        "url": "http://es:9200",
        "object": "x" * (MAX_ERROR_CHARACTERS - 1) + "…",
        "at": "2026-01-02",
    }
    assert (await run_check(check(giving(HEALTHY)))).facts == {}
    assert (await run_check(check(raising(ValueError())))).facts == {}


@pytest.mark.parametrize(
    "result",
    [
        None,
        True,
        PingResult("well", "why"),  # type: ignore[arg-type]
        PingResult(DEGRADED, 5),  # type: ignore[arg-type]
        PingResult(HEALTHY, None, ["a"]),  # type: ignore[arg-type]
    ],
)
async def test_what_is_no_result(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A check that gives something else than a result has failed, and keeps no other from being reported."""

    async def run() -> Any:
        return result

    reports = await run_checks([check(run, "odd"), check(giving(HEALTHY), "even")])
    assert (reports["odd"].status, reports["even"].status) == (UNHEALTHY, HEALTHY)
    assert (reports["odd"].error or "").startswith("the check failed (")
    assert [record.getMessage() for record in caplog.records] == ["health check odd failed"]


async def test_cancellation_passes() -> None:
    """Ending the monitor ends the checks under way: a cancellation is no result."""
    ended = asyncio.Event()

    async def run() -> PingResult:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return PingResult(HEALTHY)

    round_ = asyncio.create_task(run_checks([check(run)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    round_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await round_
    assert ended.is_set()


async def test_checks_run_at_once() -> None:
    """All checks run at the same time: a round is as slow as the slowest, and one that hangs delays no other."""
    barrier = asyncio.Barrier(5)

    async def run() -> PingResult:
        await barrier.wait()
        return PingResult(HEALTHY)

    together = [check(run, f"s{number}") for number in range(5)]
    hanging = check(asyncio.Event().wait, "hanging", timeout=0.05, critical=True)
    reports = await asyncio.wait_for(run_checks([*together, hanging]), 2)
    assert list(reports) == ["s0", "s1", "s2", "s3", "s4", "hanging"]
    assert {report.status for name, report in reports.items() if name != "hanging"} == {HEALTHY}
    assert reports["hanging"].status is UNHEALTHY
    assert reports["hanging"].latency_ms >= 50.0


async def test_no_checks() -> None:
    """Without checks a round is empty, and the whole is healthy."""
    assert await run_checks([]) == {}
    assert overall([]) is HEALTHY


@pytest.mark.parametrize(
    ("services", "status"),
    [
        ([(HEALTHY, True), (HEALTHY, False)], HEALTHY),
        ([(DEGRADED, False), (HEALTHY, True)], DEGRADED),
        ([(DEGRADED, True), (HEALTHY, True)], DEGRADED),
        ([(UNHEALTHY, False), (HEALTHY, True)], DEGRADED),
        ([(UNHEALTHY, True), (HEALTHY, False)], UNHEALTHY),
        ([(DEGRADED, False), (UNHEALTHY, True)], UNHEALTHY),
    ],
)
def test_overall(services: list[tuple[Health, bool]], status: Health) -> None:
    """Only a critical service that is unhealthy makes the whole so; anything less than healthy degrades."""
    assert overall(service(health, critical=critical) for health, critical in services) is status


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, None),
        ("plain", "plain"),
        ("http://elastic:changeme@es:9200/_cat failed", "http://es:9200/_cat failed"),
        ("https://token@es and redis://:secret@r:6379", "https://es and redis://r:6379"),
        ("http://elastic:p@ssw0rd@es:9200 failed", "http://es:9200 failed"),
        ("mail to a@b.example about http://es:9200/a", "mail to a@b.example about http://es:9200/a"),
        ("two\nlines\tand\r\nmore", "two lines and more"),
    ],
)
def test_scrub(text: str | None, shown: str | None) -> None:
    """A shown error is one line without the credentials of any URL in it, and otherwise as it was."""
    assert scrub(text) == shown


@given(st.text(st.sampled_from("abcXYZ019.-_~%!$&'()*+,;=:@"), min_size=1), st.text("ab /:\n@", max_size=300))
def test_scrub_shows_no_password(password: str, around: str) -> None:
    """Whatever the password and the text around it, nothing between `//` and the last `@` of a URL is shown."""
    shown = scrub(f"{around} http://user:<{password}>@host {around}")
    assert shown is not None
    assert not {"<", ">"} & set(shown)


@given(st.text(max_size=600))
def test_scrub_is_short(text: str) -> None:
    """What is shown is one line of bounded length; a cut is marked."""
    shown = scrub(text)
    assert shown is not None
    assert len(shown) <= MAX_ERROR_CHARACTERS
    assert len(shown.splitlines()) <= 1
    assert scrub("x" * 401) == "x" * 399 + "…"
    assert scrub("x" * 400) == "x" * 400


async def test_checks_of_registry() -> None:
    """Each resource with a ping has a check, critical or not as declared; pinging before it is open is unhealthy."""

    @asynccontextmanager
    async def value(_: Registry) -> Any:
        yield "live"

    async def ping(resource: str) -> PingResult:
        return PingResult(DEGRADED, resource)

    registry = Registry()
    registry.register("pinged", value, ping=ping, critical=True)
    registry.register("silent", value)
    (made,) = checks_of(registry, 3.0)
    assert (made.name, made.timeout, made.critical) == ("pinged", 3.0, True)
    assert (await run_check(made)).status is UNHEALTHY
    async with registry.open():
        report = await run_check(made)
    assert (report.status, report.error) == (DEGRADED, "live")
