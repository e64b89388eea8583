"""The judge: one verdict of all processes, what it keeps, what it logs, and what it asks for."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import pytest

from esassistant.errors import StoreUnavailable
from esassistant.resource import Health, PingResult
from esassistant.windows import Got, WindowReport
from healthapp.checks import Check
from healthapp.evidence import ServedMappings, Told, Unwritable
from healthapp.findings import SAID_ONLY, Trouble
from healthapp.judge import MAX_KINDS, Judge, Sources
from healthapp.monitor import HealthMonitor, Transition
from healthapp.usual import Usual
from tests.support.fakes import FakeClock
from tests.support.verdicts import FRESH, NOW, QUICK_PINGS, SEARCHES, steady, window

T = TypeVar("T")
FAILING = window(*((i, 0.1, Got.FAILURE) for i in range(5)))


class Database:
    """Stands for the database: runs what it is given, unless it is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.runs = 0

    async def run(self, function: Callable[[], T], *, atomic: bool = True) -> T:
        self.runs += 1
        if self.is_away:
            raise StoreUnavailable("The database is away.", retry_after_seconds=1)
        return await asyncio.to_thread(function)


@dataclass(frozen=True)
class Other:
    age_seconds: float
    report: Mapping[str, Any]


@dataclass
class World:
    """What the judge sees, which a test changes."""

    clock: FakeClock = field(default_factory=FakeClock)
    told: Told = field(default_factory=lambda: Told({}, QUICK_PINGS))
    others: dict[str, Other] = field(default_factory=dict)
    mappings: ServedMappings = FRESH
    unwritable: Unwritable | None = None
    database: Database = field(default_factory=Database)
    cluster: Health = Health.HEALTHY

    def __post_init__(self) -> None:
        self.began = self.clock.now

        async def ping() -> PingResult:
            return PingResult(self.cluster, "es:9200 is away")

        self.monitor = HealthMonitor([Check("elasticsearch", 5.0, True, ping)], 30.0, clock=self.clock)
        sources = Sources(lambda: self.told, lambda: self.others, lambda: self.mappings, lambda: self.unwritable)
        self.judge = Judge(
            sources,
            self.monitor,
            self.database,
            "b:2",
            clock=self.clock,
            wall_clock=lambda: NOW + timedelta(seconds=self.clock.now - self.began),
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        await asyncio.sleep(0)

    def other(self, told: Told, status: str = "healthy", *, age_seconds: float = 3.0) -> Other:
        report = {"verdict": {"told": told}, "health": {"services": {"elasticsearch": {"status": status}}}}
        return Other(age_seconds, msgspec.json.decode(msgspec.json.encode(report)))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.monitor.report()
    return world


async def test_before_the_first_check() -> None:
    """As long as no check has ended the verdict isn't known, and health is what the checks will say."""
    world = World()
    world.judge.look()
    assert world.judge.report().level is None
    assert await world.monitor.report() is world.monitor.last()
    assert world.judge.report().level is Health.HEALTHY


async def test_all_processes_say_the_same(world: World) -> None:
    """What callers of another process got counts here too, and so does since when; what it told long ago doesn't."""
    world.others = {"a:1": world.other(Told({SEARCHES: FAILING}, QUICK_PINGS, {}, {"calls-fail searches": 60.0}))}
    world.judge.look()
    report = world.judge.report()
    assert report.level is Health.DEGRADED
    assert report.since == NOW - timedelta(seconds=63)
    assert world.judge.basis().processes == 2
    assert report.troubles["calls-fail"] == 1
    assert sum(report.troubles.values()) == 1
    assert set(report.troubles) == {trouble.value for trouble in Trouble if trouble not in SAID_ONLY}
    assert report.told.kinds == {}
    assert report.told.lasting == {"calls-fail searches": 63.0}
    assert world.judge.effects() == report.effects
    world.others = {"a:1": replace(world.others["a:1"], age_seconds=20.0)}
    world.judge.look()
    assert (world.judge.report().level, world.judge.basis().processes) == (Health.HEALTHY, 1)


async def test_trouble_that_comes_back_begins_anew(world: World) -> None:
    """Between two outages the verdict was healthy; so the second one doesn't begin with the first, although the bad
    calls of the first are still in the last minute.
    """
    levels, begins = [], []
    for earlier, now in ((range(3, 13), ()), (range(43, 53), ()), (range(48, 58), (1.0, 2.0, 3.0))):
        bad = [*earlier, *now]
        answered = [(age + 0.2, 0.01, Got.ANSWER) for age in range(4, 40)] if now else []
        calls = window(*((float(age), 0.5, Got.FAILURE) for age in bad), *answered)
        pings = steady(0.01, every=5.0) if not now else window((4.0, 0.01, Got.ANSWER), (9.0, 0.01, Got.ANSWER))
        world.told = Told({SEARCHES: calls}, pings)
        world.judge.look()
        levels.append(world.judge.report().level)
        begins.append(world.judge.report().since)
        world.clock.now += 5.0
    assert levels == [Health.DEGRADED, Health.HEALTHY, Health.DEGRADED]
    assert begins[2] is not None
    assert begins[2] - NOW >= timedelta(seconds=6)


async def test_health_says_it(world: World) -> None:
    """The health report, and the answer made of it, have the verdict as soon as it is judged."""
    world.told = Told({SEARCHES: FAILING}, QUICK_PINGS)
    world.judge.look()
    report = world.monitor.last()
    assert report is not None
    assert (report.status, report.verdict) == (Health.DEGRADED, world.judge.report().sentence)
    answer = world.monitor.ready(details=False)
    assert answer is not None
    shown = msgspec.json.decode(answer.body)
    assert shown["status"] == "degraded"
    assert shown["verdict"].startswith("Searches fail since 10:39:56 UTC (5 of 5 in the last minute)")
    assert [effect["trouble"] for effect in shown["effects"]] == ["calls-fail"]
    assert "services" not in shown
    assert [each.service for each in report.transitions][:1] == ["verdict"]


async def test_strangers_see_no_effects_but_those_of_calls(world: World) -> None:
    """Which check found what is for known callers."""
    world.cluster = Health.UNHEALTHY
    world.clock.now += 100
    await world.monitor.report()
    for details, effects in ((True, ["cluster-away"]), (False, [])):
        answer = world.monitor.ready(details=details)
        assert answer is not None
        shown = msgspec.json.decode(answer.body)
        assert [effect["trouble"] for effect in shown["effects"]] == effects
        assert ("es:9200" in shown["verdict"]) == details


async def test_trouble_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Begin and end, with what to do."""
    caplog.set_level(logging.INFO, "healthapp.judge")
    world.told = Told({SEARCHES: FAILING}, QUICK_PINGS)
    for _ in range(4):
        world.judge.look()
        await world.sleep(2)
    world.told = Told({}, QUICK_PINGS)
    for _ in range(8):
        world.judge.look()
        await world.sleep(2)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "What to do: docs/operations.md#verdict-calls-fail" in caplog.messages[0]
    assert caplog.messages[1].startswith("healthy again after 12 s: ")  # of which four before it was seen


async def test_minutes_make_what_is_usual(world: World) -> None:
    """Each minute with enough calls counts; pings count each; what is usual is told to metrics."""
    world.told = Told({SEARCHES: steady(0.012), "route /rare": window((1, 0.1, Got.ANSWER))}, QUICK_PINGS)
    for _ in range(11):
        await world.sleep(60)
        world.judge.look()
    usual = world.judge.report().usual_seconds
    assert set(usual) == {SEARCHES, "ping"}
    assert usual[SEARCHES] == pytest.approx(0.012, rel=0.06)
    assert world.judge.report().typical_seconds == {SEARCHES: pytest.approx(0.012, rel=0.06)}


async def test_kinds_are_bounded(world: World) -> None:
    """However many kinds others tell of, no more are kept."""
    world.told = Told({f"route /{number}": steady(0.01) for number in range(MAX_KINDS + 9)}, QUICK_PINGS)
    await world.sleep(60)
    world.judge.look()
    assert len(world.judge.basis().kinds) == MAX_KINDS
    assert len(world.judge._usual) == MAX_KINDS


async def test_a_new_usual_is_said(world: World) -> None:
    """Once an hour of slowness is what is usual, the verdict says so."""
    changed = Usual({int(NOW.timestamp() // 3600): {250: 20}}, (), NOW.timestamp() - 60, 0.012)
    world.judge._usual = {SEARCHES: changed}
    world.told = Told({SEARCHES: steady(0.5)}, QUICK_PINGS)
    world.judge.look()
    assert [effect.trouble for effect in world.judge.effects()] == [Trouble.NEW_USUAL]


@pytest.mark.parametrize(
    ("told", "status", "asks"),
    [
        (Told({SEARCHES: FAILING}, QUICK_PINGS), "healthy", True),
        (Told({}, QUICK_PINGS), "unhealthy", True),
        (Told({}, QUICK_PINGS), "healthy", False),
    ],
)
async def test_the_cause_is_looked_for(world: World, told: Told, status: str, *, asks: bool) -> None:
    """While calls fail, or where another process found the cluster otherwise, checks run soon, and not all the time."""
    world.others = {"a:1": world.other(told, status), "c:3": Other(1.0, {}), "d:4": Other(1.0, {"health": None})}
    world.judge.look()
    assert world.monitor._asked.is_set() == asks
    world.monitor._asked.clear()
    world.judge.look()
    assert not world.monitor._asked.is_set()
    await world.sleep(5)
    world.judge.look()
    assert world.monitor._asked.is_set() == asks


@pytest.mark.django_db(transaction=True)
async def test_what_is_kept_over_restarts() -> None:
    """Transitions and what is usual are there in the next process; the first by name writes them."""
    first = World()
    first.told = Told({SEARCHES: steady(0.012)}, QUICK_PINGS)
    await first.monitor.report()
    for _ in range(11):
        await first.sleep(60)
        await first.monitor.report()
        first.judge.look()
    first.cluster = Health.UNHEALTHY
    await first.sleep(60.1)
    await first.monitor.report()
    await first.judge.write(with_usual=True)
    second = World()
    await second.judge._restore()
    await second.monitor.report()
    second.told = first.told
    second.judge.look()
    assert second.judge._usual == first.judge._usual
    report = second.monitor.last()
    assert report is not None
    kept = [(each.service, each.before, each.after) for each in report.transitions]
    assert {
        ("verdict", Health.HEALTHY, Health.UNHEALTHY),
        ("elasticsearch", Health.HEALTHY, Health.UNHEALTHY),
    } <= set(kept)


async def test_one_of_all_writes(world: World) -> None:
    """Who isn't the first by name writes nothing, and keeps nothing to write later."""
    world.others = {"a:1": world.other(Told())}
    world.told = Told({SEARCHES: FAILING}, QUICK_PINGS)
    world.judge.look()
    await world.judge.write(with_usual=False)
    assert (world.database.runs, world.monitor.unwritten()) == (0, [])


async def test_a_database_that_is_away(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It costs rows, is said once, and nothing else."""
    world.database.is_away = True
    await world.judge._restore()
    for _ in range(2):
        world.monitor._note(Transition(NOW, "x", Health.HEALTHY, Health.DEGRADED, "why"))
        await world.judge.write(with_usual=False)
    assert [message for message in caplog.messages if "away" in message] == [
        "what is usual for calls is learnt anew: The database is away.",
        "changes of health are not kept: The database is away.",
    ]


@pytest.mark.django_db(transaction=True)
async def test_it_works_by_itself(world: World) -> None:
    """The background tasks judge and write, again and again."""
    judging, writing = (asyncio.create_task(task) for task in (world.judge.keep_judging(), world.judge.keep_writing()))
    async with asyncio.timeout(20):
        while world.clock.now < world.began + 700 or world.database.runs < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    for task in (judging, writing):
        task.cancel()
    assert world.judge.basis().ping == (world.told.ping or WindowReport())
    await world.monitor.report()
    assert world.judge.report().level is Health.HEALTHY
