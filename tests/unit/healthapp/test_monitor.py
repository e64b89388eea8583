"""The monitor: a report is never older than twice the TTL, and nobody checks twice at once."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from esassistant.clock import now_utc
from esassistant.resource import Health, PingResult
from healthapp.checks import Check
from healthapp.monitor import KEPT_TRANSITIONS, HealthMonitor, HealthReport, Transition
from healthapp.verdict import Verdict
from tests.support.fakes import FakeClock, InstantSleep, settle

TTL = 30.0


class Service:
    """A service whose health the test sets; a check of it takes `seconds` of the fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.health = Health.HEALTHY
        self.seconds = 0.0
        self.checks = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_check: Callable[[int], None] = lambda _: None

    async def run(self) -> PingResult:
        self.checks += 1
        self.at_check(self.checks)
        await self.gate.wait()
        self.clock.advance(self.seconds)
        return PingResult(self.health, None if self.health is Health.HEALTHY else "why")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def service(clock: FakeClock) -> Service:
    return Service(clock)


@pytest.fixture
def health(service: Service, clock: FakeClock) -> HealthMonitor:
    return HealthMonitor([Check("service", 5.0, True, service.run)], TTL, clock=clock)


async def test_report(health: HealthMonitor, service: Service, clock: FakeClock) -> None:
    """The first who asks waits for a round; the report tells status, services, duration and TTL."""
    assert health.last() is None
    service.health = Health.UNHEALTHY
    service.seconds = 0.25
    report = await health.report()
    assert (report.status, report.ttl_seconds, report.duration_ms) == (Health.UNHEALTHY, TTL, 250.0)
    assert report.services["service"].error == "why"
    assert report.checked_at.tzinfo is not None
    # Its age counts from the start of the round: what a check found may have been so from then on.
    assert clock() - report.made_at == 0.25


async def test_never_older_than_twice_ttl(health: HealthMonitor, service: Service, clock: FakeClock) -> None:
    """Up to twice the TTL a report is given out again; after that nobody gets it, and whoever asks waits for a new
    one.
    """
    first = await health.report()
    clock.advance(2 * TTL)
    assert await health.report() is first
    assert health.last() is first
    clock.advance(0.1)
    assert health.last() is None
    service.health = Health.UNHEALTHY
    second = await health.report()
    assert second.status is Health.UNHEALTHY
    assert service.checks == 2


async def test_waiters_share_a_round(health: HealthMonitor, service: Service) -> None:
    """Many who find no report wait for one round; one who leaves, the one who began included, disturbs nobody."""
    service.gate.clear()
    callers = [asyncio.create_task(health.report()) for _ in range(20)]
    await settle()
    callers[5].cancel()
    await settle()
    service.gate.set()
    reports = await asyncio.gather(*callers[:5], *callers[6:])
    assert len({id(report) for report in reports}) == 1
    assert service.checks == 1


async def test_leader_may_leave(health: HealthMonitor, service: Service) -> None:
    """When the caller whose round it is leaves, the others still get a report."""
    service.gate.clear()
    callers = [asyncio.create_task(health.report()) for _ in range(3)]
    await settle()
    callers[0].cancel()
    service.gate.set()
    assert (await callers[1]).status is Health.HEALTHY
    assert await callers[2] is await callers[1]


class Paused:
    """A monitor of `service` whose pauses take no time: each moves the clock and runs out at once."""

    def __init__(self, service: Service, ttl: float = TTL) -> None:
        self._sleep = InstantSleep(service.clock)
        checks = [Check("service", 5.0, True, service.run)]
        self.health = HealthMonitor(checks, ttl, clock=service.clock, pause=self._pause)

    async def _pause(self, _: asyncio.Event, seconds: float) -> None:
        await (self._sleep(seconds) if seconds else asyncio.sleep(0))

    async def delays(self, limit: int) -> list[float]:
        """The first `limit` pauses of the background task."""
        self._sleep.limit = limit
        task: asyncio.Task[Any] = asyncio.create_task(self.health.keep_checking())
        await asyncio.wait_for(self._sleep.enough.wait(), 5)
        task.cancel()
        await asyncio.wait([task])
        return self._sleep.delays


async def test_recheck_backs_off_to_ttl(service: Service) -> None:
    """After the start the pauses grow from a second to the TTL, and stay there."""
    assert await Paused(service).delays(8) == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_change_is_rechecked_soon(service: Service) -> None:
    """A change of status, in either direction, is followed by a second look after a second."""

    def at_check(number: int) -> None:
        service.health = Health.UNHEALTHY if number in (7, 8) else Health.HEALTHY

    service.at_check = at_check
    assert await Paused(service).delays(10) == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 1.0, 2.0, 1.0, 2.0]


async def test_short_ttl_bounds_recheck(service: Service) -> None:
    """No pause is longer than the TTL, the first ones neither."""
    assert await Paused(service, ttl=0.5).delays(3) == [0.5, 0.5, 0.5]


async def test_rounds_start_by_the_clock(service: Service) -> None:
    """Pauses count from start to start: a round's own time is taken off, and a round longer than its pause waits for
    nothing.
    """
    service.seconds = 1.5
    assert await Paused(service).delays(3) == [0.5, 2.5, 6.5]


async def asked_for(service: Service, number: int) -> None:
    """Let the background task work until there were `number` checks."""
    async with asyncio.timeout(5):
        while service.checks < number:  # noqa: ASYNC110  (the point is that it gets turns)
            await asyncio.sleep(0)


async def test_check_soon(health: HealthMonitor, service: Service, clock: FakeClock) -> None:
    """Whoever asks ends the pause: the next round begins at once; without asking none does."""
    task = asyncio.create_task(health.keep_checking())
    await asked_for(service, 1)
    await settle()
    assert service.checks == 1
    health.check_soon()
    await asked_for(service, 2)
    await settle()
    assert service.checks == 2
    task.cancel()
    await asyncio.wait([task])


async def test_a_better_verdict_has_the_checks_made_again(health: HealthMonitor, service: Service) -> None:
    """Checks that found worse than a new verdict are of before it: one answer doesn't say both for long. The same
    verdict again asks for nothing.
    """
    service.health = Health.DEGRADED
    task = asyncio.create_task(health.keep_checking())
    await asked_for(service, 1)
    await settle()
    service.health = Health.HEALTHY
    well = Verdict(Health.HEALTHY, "Serving fresh mappings.", "All is well.", None, (), None)
    health.note_verdict(well)
    await asked_for(service, 2)
    await settle()
    assert (await health.report()).status is Health.HEALTHY
    health.note_verdict(well)
    await settle()
    assert service.checks == 2
    task.cancel()
    await asyncio.wait([task])


async def test_strangers_have_a_sentence_of_their_own(health: HealthMonitor) -> None:
    """The report has it beside that of operators, and the answers give each reader theirs; before a verdict there is
    none.
    """
    assert (await health.report()).public_verdict is None
    health.note_verdict(
        Verdict(Health.UNHEALTHY, "es:9200 is away.", "Elasticsearch can't be asked.", now_utc(), (), None)
    )
    report = await health.report()
    assert (report.verdict, report.public_verdict) == ("es:9200 is away.", "Elasticsearch can't be asked.")
    for details, said in ((True, report.verdict), (False, report.public_verdict)):
        assert json.loads((await health.answer(details=details)).body)["verdict"] == said


async def test_check_soon_during_a_round(health: HealthMonitor, service: Service) -> None:
    """Asked for during a round, however often, another one follows: the present may have looked too early."""
    service.gate.clear()
    task = asyncio.create_task(health.keep_checking())
    await asked_for(service, 1)
    for _ in range(3):
        health.check_soon()
    service.gate.set()
    await asked_for(service, 2)
    await settle()
    assert service.checks == 2
    task.cancel()
    await asyncio.wait([task])


async def test_background_round_is_shared(health: HealthMonitor, service: Service) -> None:
    """Who asks while the background task checks gets that round's report."""
    service.gate.clear()
    task = asyncio.create_task(health.keep_checking())
    caller = asyncio.create_task(health.report())
    await settle()
    service.gate.set()
    assert (await caller).status is Health.HEALTHY
    assert service.checks == 1
    task.cancel()
    await asyncio.wait([task])


async def test_checking_bridges_requests(service: Service) -> None:
    """While the background task runs there is a report at any moment, so that no request waits."""
    ages: list[bool] = []
    paused = Paused(service)
    service.at_check = lambda number: ages.append(number == 1 or paused.health.last() is not None)
    await paused.delays(20)
    assert ages == [True] * 20


async def round_of(health: HealthMonitor, clock: FakeClock) -> HealthReport:
    """A new round of checks."""
    clock.advance(2 * TTL + 0.1)
    return await health.report()


async def test_transitions(health: HealthMonitor, service: Service, clock: FakeClock) -> None:
    """Each change of status is kept with its time, what it was, what it became, and why; newest first. The first status
    known has nothing before it. While nothing changes there is none.
    """
    known = [await round_of(health, clock)]
    for status in (Health.HEALTHY, Health.UNHEALTHY, Health.UNHEALTHY, Health.DEGRADED, Health.HEALTHY, Health.HEALTHY):
        service.health = status
        known.append(await round_of(health, clock))
    assert [(each.service, each.before, each.after, each.reason) for each in known[-1].transitions] == [
        ("service", Health.DEGRADED, Health.HEALTHY, None),
        ("service", Health.UNHEALTHY, Health.DEGRADED, "why"),
        ("service", Health.HEALTHY, Health.UNHEALTHY, "why"),
        ("service", None, Health.HEALTHY, None),
    ]
    assert [each.at for each in known[-1].transitions] == [known[at].checked_at for at in (5, 4, 2, 0)]
    assert [len(report.transitions) for report in known] == [1, 1, 2, 2, 3, 4, 4]


async def test_another_reason_is_no_transition(clock: FakeClock) -> None:
    """A service that stays as it is, for other reasons, does not change."""
    reasons = iter(["a", "b"])

    async def run() -> PingResult:
        return PingResult(Health.DEGRADED, next(reasons))

    health = HealthMonitor([Check("service", 5.0, True, run)], TTL, clock=clock)
    await round_of(health, clock)
    report = await round_of(health, clock)
    assert (report.services["service"].error, [each.reason for each in report.transitions]) == ("b", ["a"])


async def test_transitions_of_several(clock: FakeClock) -> None:
    """Services change apart; those of one round have the time of that round."""
    steady, moving = Service(clock), Service(clock)
    checks = [Check(name, 5.0, False, each.run) for name, each in (("steady", steady), ("moving", moving))]
    health = HealthMonitor(checks, TTL, clock=clock)
    first = await round_of(health, clock)
    assert [(each.service, each.at) for each in first.transitions] == [
        ("moving", first.checked_at),
        ("steady", first.checked_at),
    ]
    moving.health = Health.DEGRADED
    second = await round_of(health, clock)
    assert second.transitions == (
        Transition(second.checked_at, "moving", Health.HEALTHY, Health.DEGRADED, "why"),
        *first.transitions,
    )


async def test_transitions_are_for_those_who_look_closely(caplog: pytest.LogCaptureFixture) -> None:
    """Each is logged with its reason at the level of debugging alone, as the verdict tells of an outage; a start that
    is well says nothing.
    """
    clock = FakeClock()
    moving = Service(clock)
    caplog.set_level(logging.DEBUG, "healthapp")
    health = HealthMonitor([Check("moving", 5.0, True, moving.run)], TTL, clock=clock)
    await round_of(health, clock)
    for status in (Health.UNHEALTHY, Health.DEGRADED, Health.HEALTHY):
        moving.health = status
        await round_of(health, clock)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "health of moving: unhealthy: why"),
        ("DEBUG", "health of moving: degraded: why"),
        ("DEBUG", "health of moving: healthy: None"),
    ]


async def test_transitions_are_bounded(health: HealthMonitor, service: Service, clock: FakeClock) -> None:
    """A service that flaps pushes out what is old, and takes no more memory."""
    for number in range(KEPT_TRANSITIONS + 5):
        service.health = (Health.HEALTHY, Health.UNHEALTHY)[number % 2]
        report = await round_of(health, clock)
    assert len(report.transitions) == KEPT_TRANSITIONS
    assert report.transitions[0].after is service.health
    assert None not in {each.before for each in report.transitions}


async def test_health_is_of_now(health: HealthMonitor, service: Service) -> None:
    """The answer about health is of now: its history is in the performance report."""
    for details in (False, True):
        assert b"transitions" not in (await health.answer(details=details)).body
