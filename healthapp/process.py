"""What this process uses of its machine, and how late its event loop is."""

import asyncio
import os
import resource
import threading
import time
from asyncio import all_tasks
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from esassistant.clock import Clock, Sleep, monotonic
from esassistant.durations import Durations, DurationTotals, LatencyReport, last_minute_of, report_of, totals_of
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, Health, PingResult, ReportHandle
from esassistant.units import as_duration

LAG_EVERY_SECONDS = 0.25
ENOUGH_LAGS = 100
LATE_SECONDS = 0.25
CPU_WINDOW_SECONDS = 60.0
PAGE_BYTES = resource.getpagesize()
PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The process. `resident_bytes` and `descriptors_open` are None where the system doesn't tell them (only Linux
    does). `cpu_percent`: of one processor, over the last minute; None in the first seconds. `tasks`: tasks of the event
    loop that have not ended; None outside of the loop.

    `loop_lag`: how much too late the event loop woke a sleeping task; every request is delayed by as much.
    `loop_lag_last_minute`: the same in the last whole minute.
    """

    pid: int
    uptime_seconds: float
    resident_bytes: int | None
    cpu_seconds_total: float
    cpu_percent: float | None
    cpu_window_seconds: float
    threads: int
    tasks: int | None
    descriptors_open: int | None
    descriptors_limit: int | None
    loop_lag: LatencyReport
    loop_lag_last_minute: LatencyReport
    loop_lags: DurationTotals


class ProcessWatch:
    """Watches the process. One per process, owned by the registry. `keep_watching` is its background task."""

    def __init__(
        self,
        clock: Clock = monotonic,
        sleep: Sleep = asyncio.sleep,
        *,
        cpu_clock: Clock = time.process_time,
        proc: Path = PROC,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._cpu_clock = cpu_clock
        self._proc = proc
        self._started_at = clock()
        self._lags = Durations()
        # Times, each with the processor time used until then. The oldest is the last one before the window.
        self._cpu: deque[tuple[float, float]] = deque([(self._started_at, cpu_clock())])

    async def keep_watching(self) -> None:
        """Background task: sleep for a short time, and measure how late it wakes."""
        while True:
            due_at = self._clock() + LAG_EVERY_SECONDS
            await self._sleep(LAG_EVERY_SECONDS)
            self.woke(due_at)

    def woke(self, due_at: float) -> None:
        """Note that a sleep has just ended that should have ended at `due_at`."""
        now = self._clock()
        self._lags.record(max(0.0, now - due_at), now)
        if now - self._cpu[-1][0] >= 1.0:
            self._cpu.append((now, self._cpu_clock()))
            while len(self._cpu) > 2 and now - self._cpu[1][0] >= CPU_WINDOW_SECONDS:
                self._cpu.popleft()

    def report(self) -> ProcessReport:
        now = self._clock()
        (first_at, first), (last_at, last) = self._cpu[0], self._cpu[-1]
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return ProcessReport(
            pid=os.getpid(),
            uptime_seconds=now - self._started_at,
            resident_bytes=_resident_bytes(self._proc),
            cpu_seconds_total=self._cpu_clock(),
            cpu_percent=100.0 * (last - first) / (last_at - first_at) if last_at > first_at else None,
            cpu_window_seconds=last_at - first_at,
            threads=threading.active_count(),
            tasks=_tasks(),
            descriptors_open=_descriptors_open(self._proc),
            descriptors_limit=None if limit == resource.RLIM_INFINITY else limit,
            loop_lag=report_of((self._lags,), self._clock),
            loop_lag_last_minute=last_minute_of((self._lags,), self._clock),
            loop_lags=totals_of((self._lags,)),
        )


PROCESS: Handle[ProcessWatch] = Handle("process")
PROCESS_REPORT: ReportHandle[ProcessReport] = ReportHandle("process")


def _tasks() -> int | None:
    try:
        return len(all_tasks())
    except RuntimeError:  # no loop runs here
        return None


def _resident_bytes(proc: Path) -> int | None:
    try:
        return int((proc / "statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return None


def _descriptors_open(proc: Path) -> int | None:
    try:
        return len(list((proc / "fd").iterdir())) - 1  # without the one that lists them
    except OSError:
        return None


PROCESS_METRICS = (
    Metric(Kind.GAUGE, "process_resident_memory_bytes", "Resident memory.", "resident_bytes"),
    Metric(Kind.COUNTER, "process_cpu_seconds", "Processor time used.", "cpu_seconds_total"),
    Metric(Kind.GAUGE, "process_uptime_seconds", "Time since the start.", "uptime_seconds"),
    Metric(Kind.GAUGE, "process_threads", "Threads.", "threads"),
    Metric(Kind.GAUGE, "process_tasks", "Tasks of the event loop that have not ended.", "tasks"),
    Metric(Kind.GAUGE, "process_open_fds", "File descriptors open.", "descriptors_open"),
    Metric(Kind.GAUGE, "process_max_fds", "File descriptors that may be open.", "descriptors_limit"),
    Metric(Kind.HISTOGRAM, "event_loop_lag_seconds", "How late the event loop wakes a task.", "loop_lags"),
)


async def ping_loop(process: ProcessWatch) -> PingResult:
    """Return the health of the event loop, by the 99th percentile of its lag: if one wake-up in a hundred is late, so
    are as many requests.

    The last five minutes are judged, or the last whole minute if it was better: trouble that is over doesn't count.
    """
    report = process.report()
    lag, last_minute = report.loop_lag, report.loop_lag_last_minute
    facts = {"loop_lag_p99_seconds": None if lag.p99_seconds is None else round(lag.p99_seconds, 4)}
    if lag.samples >= ENOUGH_LAGS and lag.p99_seconds is not None:
        seconds = min(lag.p99_seconds, lag.p99_seconds if last_minute.p99_seconds is None else last_minute.p99_seconds)
        if seconds > LATE_SECONDS:
            return PingResult(Health.DEGRADED, f"the event loop is {as_duration(seconds)} late (p99)", facts)
    return PingResult(Health.HEALTHY, None, facts)
