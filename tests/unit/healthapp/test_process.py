"""What a process takes of its machine, how late its event loop is, and what is advised on it."""

import asyncio
import os
import resource
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.advice import NotEnoughData, Recommendation
from esassistant.durations import WINDOW_SECONDS, DurationTotals, LatencyReport
from esassistant.resource import Health
from esassistant.units import as_seconds
from healthapp.advice import process_rules
from healthapp.process import CPU_WINDOW_SECONDS, LAG_EVERY_SECONDS, ProcessReport, ProcessWatch, ping_loop
from tests.support.advising import only
from tests.support.fakes import FakeClock, InstantSleep


class Processor:
    """Processor time that a test spends."""

    def __init__(self) -> None:
        self.seconds = 7.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def processor() -> Processor:
    return Processor()


def run(watch: ProcessWatch, clock: FakeClock, processor: Processor, *, seconds: float, busy: float) -> None:
    """Let time pass in which the process was busy for a share of it, and wakes on time."""
    for _ in range(round(seconds / LAG_EVERY_SECONDS)):
        clock.advance(LAG_EVERY_SECONDS)
        processor.seconds += busy * LAG_EVERY_SECONDS
        watch.woke(clock())


def test_this_process() -> None:
    """The report is of this process: its memory, threads, descriptors and processor time."""
    report = ProcessWatch().report()
    assert report.pid == os.getpid()
    assert 0.0 <= report.uptime_seconds < 5.0
    assert report.resident_bytes is not None
    assert 10_000_000 < report.resident_bytes < 1.2 * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 0.0 < report.cpu_seconds_total <= sum(os.times()[:2]) + 0.05
    assert report.threads == threading.active_count()
    assert report.descriptors_limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_descriptors_are_counted(tmp_path: Path) -> None:
    """Each file that is opened is one more, each that is closed one less; the look itself is none."""
    before = ProcessWatch().report().descriptors_open
    assert before == sum(Path(f"/proc/self/fd/{number}").exists() for number in range(1024))
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        assert ProcessWatch().report().descriptors_open == before + 2
    assert ProcessWatch().report().descriptors_open == before


async def test_tasks_are_counted() -> None:
    """Each task that is started is one more until it has ended; outside of a loop there is nothing to count."""
    before = ProcessWatch().report().tasks
    assert before is not None
    task = asyncio.create_task(asyncio.Event().wait())
    assert ProcessWatch().report().tasks == before + 1
    task.cancel()
    await asyncio.wait([task])
    assert ProcessWatch().report().tasks == before
    assert await asyncio.to_thread(lambda: ProcessWatch().report().tasks) is None


def test_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc, memory and descriptors are unknown; everything else is as elsewhere. No limit is None too."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    report = ProcessWatch(proc=tmp_path).report()
    assert (report.resident_bytes, report.descriptors_open, report.descriptors_limit) == (None, None, None)
    assert report.cpu_seconds_total > 0
    assert [advice for advice in process_rules(report) if "descriptors" in advice.metric] == []


def test_processor_time(clock: FakeClock, processor: Processor) -> None:
    """`cpu_percent` is of one processor over the last minute: unknown at first, then of the time there was; what is
    older is forgotten.
    """
    watch = ProcessWatch(clock, cpu_clock=processor)
    assert (watch.report().cpu_percent, watch.report().cpu_window_seconds) == (None, 0.0)
    run(watch, clock, processor, seconds=0.75, busy=1.0)
    assert watch.report().cpu_percent is None
    run(watch, clock, processor, seconds=9.25, busy=1.0)
    assert watch.report().cpu_percent == pytest.approx(100.0)
    assert watch.report().cpu_window_seconds == 10.0
    run(watch, clock, processor, seconds=30.0, busy=0.0)
    assert watch.report().cpu_percent == pytest.approx(25.0)
    run(watch, clock, processor, seconds=60.0, busy=0.5)
    assert watch.report().cpu_percent == pytest.approx(50.0)
    assert watch.report().cpu_window_seconds == 60.0
    run(watch, clock, processor, seconds=60.0, busy=2.5)  # threads of C code, on several processors
    assert watch.report().cpu_percent == pytest.approx(250.0)
    assert watch.report().cpu_seconds_total == processor.seconds


@given(st.lists(st.tuples(st.floats(0.0, 200.0), st.floats(0.0, 4.0)), max_size=300))
def test_any_pauses(pauses: list[tuple[float, float]]) -> None:
    """However irregularly it wakes: the share lies between the least and the most there was, it is of no more than a
    minute and one pause, and of bounded memory.
    """
    clock, processor = FakeClock(), Processor()
    watch = ProcessWatch(clock, cpu_clock=processor)
    for pause, busy in pauses:
        clock.advance(pause)
        processor.seconds += busy * pause
        watch.woke(clock())
        assert len(watch._cpu) <= CPU_WINDOW_SECONDS + 2
    report = watch.report()
    longest = max((pause for pause, _ in pauses), default=0.0)
    assert report.cpu_window_seconds <= CPU_WINDOW_SECONDS + longest + 1.0
    if report.cpu_percent is not None:
        shares = [100.0 * busy for _, busy in pauses]
        assert min(shares) - 0.1 <= report.cpu_percent <= max(shares) + 0.1


def test_lag_is_recorded(clock: FakeClock) -> None:
    """How much later than due each wake-up was, in the window and since the start; an early one was not late."""
    watch = ProcessWatch(clock)
    assert watch.report().loop_lag == LatencyReport(WINDOW_SECONDS, 0)
    for lateness in (0.0, 0.001, 0.5, -0.01):
        watch.woke(clock() - lateness)
    report = watch.report()
    assert (report.loop_lag.samples, report.loop_lag.max_seconds) == (4, 0.5)
    assert report.loop_lags.sum_seconds == pytest.approx(0.501)
    assert report.loop_lags.buckets["+Inf"] == 4
    clock.advance(WINDOW_SECONDS)
    later = watch.report()
    assert (later.loop_lag.samples, later.loop_lags.buckets["+Inf"], later.uptime_seconds) == (0, 4, WINDOW_SECONDS)


async def test_it_keeps_watching(clock: FakeClock) -> None:
    """The background task sleeps a quarter of a second at a time and notes how late it was woken."""
    sleep = InstantSleep(clock, limit=5)
    watch = ProcessWatch(clock, sleep)
    task = asyncio.create_task(watch.keep_watching())
    await asyncio.wait_for(sleep.enough.wait(), 5)
    task.cancel()
    await asyncio.wait([task])
    assert sleep.delays == [LAG_EVERY_SECONDS] * 5
    assert (watch.report().loop_lag.samples, watch.report().loop_lag.max_seconds) == (4, 0.0)


async def test_a_blocked_loop_is_late() -> None:
    """Code that blocks the loop shows as lag, as it does to every request."""
    watch = ProcessWatch()
    task = asyncio.create_task(watch.keep_watching())
    await asyncio.sleep(0)
    threading.Event().wait(LAG_EVERY_SECONDS + 0.2)
    async with asyncio.timeout(5):
        while not (lag := watch.report().loop_lag).samples:  # noqa: ASYNC110  (nothing is signalled)
            await asyncio.sleep(0.01)
    task.cancel()
    assert lag.max_seconds is not None
    assert 0.2 <= lag.max_seconds < 2.0


@pytest.mark.parametrize(
    ("wakes", "lateness", "health"),
    [(99, 1.0, Health.HEALTHY), (100, 0.25, Health.HEALTHY), (100, 0.26, Health.DEGRADED)],
)
async def test_ping(clock: FakeClock, wakes: int, lateness: float, health: Health) -> None:
    """A loop that is later than a quarter of a second for one wake-up in a hundred degrades, once there were enough."""
    watch = ProcessWatch(clock)
    for _ in range(wakes):
        watch.woke(clock() - lateness)
    found = await ping_loop(watch)
    assert (found.health, found.facts) == (health, {"loop_lag_p99_seconds": lateness})
    assert found.detail == (None if health is Health.HEALTHY else "the event loop is 0.26 s late (p99)")


async def test_a_loop_that_was_late(clock: FakeClock) -> None:
    """Once a whole minute was better it is no trouble, though that of five minutes is."""
    watch = ProcessWatch(clock)
    clock.now = 60.0
    for _ in range(200):
        watch.woke(clock() - 1.0)
    clock.now = 119.0
    assert (await ping_loop(watch)).health is Health.DEGRADED
    for moment in (130.0, 170.0):
        clock.now = moment
        for _ in range(100):
            watch.woke(clock())
    assert (await ping_loop(watch)).health is Health.DEGRADED
    clock.now = 181.0
    found = await ping_loop(watch)
    assert (found.health, found.facts) == (Health.HEALTHY, {"loop_lag_p99_seconds": 1.0})


def process_report(**changes: Any) -> ProcessReport:
    """A process that is well, with changes."""
    well = ProcessReport(
        pid=1,
        uptime_seconds=3600.0,
        resident_bytes=100_000_000,
        cpu_seconds_total=300.0,
        cpu_percent=10.0,
        cpu_window_seconds=60.0,
        threads=8,
        tasks=30,
        descriptors_open=100,
        descriptors_limit=1000,
        loop_lag=LatencyReport(WINDOW_SECONDS, 1200, 0.001, 0.002, 0.003, 0.2),
        loop_lag_last_minute=LatencyReport(60.0, 240, 0.001, 0.002, 0.003, 0.2),
        loop_lags=DurationTotals(1.0, {"+Inf": 1200}),
    )
    return replace(well, **changes)


def lagging(p99_seconds: float | None, samples: int = 1200) -> LatencyReport:
    return LatencyReport(WINDOW_SECONDS, samples, p99_seconds, p99_seconds, p99_seconds, p99_seconds)


RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "process.loop_lag.p99_seconds": ({"loop_lag": lagging(0.05)}, {"loop_lag": lagging(0.051)}),
    "process.cpu_percent": ({"cpu_percent": 85.0}, {"cpu_percent": 85.1}),
    "process.descriptors_percent": ({"descriptors_open": 800}, {"descriptors_open": 801}),
}
"""By metric: what is just right, and what is beyond."""


@pytest.mark.parametrize("metric", RULES)
def test_rules(metric: str) -> None:
    """Each rule is silent at its threshold, and speaks just beyond it alone. No setting helps: how it is run does."""
    right, beyond = RULES[metric]
    assert list(process_rules(process_report(**right))) == []
    [found] = process_rules(process_report(**beyond))
    assert only([found], metric).setting is None


@pytest.mark.parametrize(("seconds", "is_urgent"), [(0.052, False), (0.25, False), (0.26, True)])
def test_how_urgent_a_late_loop_is(seconds: float, is_urgent: bool) -> None:
    """The advice says how long requests wait, and that it isn't urgent as long as the check is healthy."""
    [found] = process_rules(process_report(loop_lag=lagging(seconds)))
    assert isinstance(found, Recommendation)
    assert f"at most {as_seconds(seconds)}:" in found.why
    assert ("Not urgent" not in found.why) is is_urgent


def test_a_process_that_is_well() -> None:
    """There is nothing to say of a process that works."""
    assert list(process_rules(process_report())) == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"loop_lag": lagging(1.0, 199)}, NotEnoughData("process.loop_lag.p99_seconds", 199, 200, "wake-ups")),
        ({"loop_lag": lagging(None, 0)}, NotEnoughData("process.loop_lag.p99_seconds", 0, 200, "wake-ups")),
        (
            {"cpu_percent": 100.0, "cpu_window_seconds": 29.0},
            NotEnoughData("process.cpu_percent", 29, 30, "seconds"),
        ),
        ({"cpu_percent": None, "cpu_window_seconds": 0.0}, NotEnoughData("process.cpu_percent", 0, 30, "seconds")),
    ],
)
def test_too_early_to_tell(changes: dict[str, Any], missing: NotEnoughData) -> None:
    """Soon after the start it is said that there is too little data."""
    assert list(process_rules(process_report(**changes))) == [missing]


@pytest.mark.parametrize("unknown", [{"descriptors_open": None}, {"descriptors_limit": None}])
def test_descriptors_that_nobody_counts(unknown: dict[str, None]) -> None:
    """Where descriptors aren't told, or aren't limited, there is nothing to judge, now or later."""
    assert list(process_rules(process_report(**unknown))) == []
