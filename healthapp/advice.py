"""Advice on how the process is run, from its own report. Pure functions."""

from collections.abc import Iterable

from esassistant.advice import Advice, judge, percent
from esassistant.units import as_seconds
from healthapp.process import CPU_WINDOW_SECONDS, LATE_SECONDS, ProcessReport

ENOUGH_SAMPLES = 200
LAG_SECONDS = 0.05
CPU_PERCENT = 85.0
DESCRIPTORS_PERCENT = 80.0


def process_rules(process: ProcessReport) -> Iterable[Advice]:
    """Give the advice for a process."""
    yield from judge(
        "process.loop_lag.p99_seconds",
        process.loop_lag.p99_seconds,
        LAG_SECONDS,
        process.loop_lag.samples,
        ENOUGH_SAMPLES,
        "wake-ups",
        _of_lag(process.loop_lag.p99_seconds or 0.0),
        None,
    )
    yield from judge(
        "process.cpu_percent",
        process.cpu_percent,
        CPU_PERCENT,
        round(process.cpu_window_seconds),
        round(CPU_WINDOW_SECONDS / 2),
        "seconds",
        "This process has nearly all that one processor gives, and Python code runs on one at a time. More workers: "
        "`serve --workers`.",
        None,
    )
    if process.descriptors_open is not None and process.descriptors_limit is not None:
        yield from judge(
            "process.descriptors_percent",
            percent(process.descriptors_open, process.descriptors_limit),
            DESCRIPTORS_PERCENT,
            process.descriptors_limit,
            1,
            "descriptors",
            "Nearly all file descriptors are in use; new connections will fail. `LimitNOFILE=` in systemd, or "
            "`ulimit -n`.",
            None,
        )


def _of_lag(seconds: float) -> str:
    urgency = "" if seconds > LATE_SECONDS else f" Not urgent: up to {as_seconds(LATE_SECONDS)} counts as healthy."
    return (
        f"Requests wait for the event loop of this process, 99 % of them for at most {as_seconds(seconds)}: code "
        f"blocks it, or it gets too little processor time.{urgency} More workers (`serve --workers`), or fewer "
        "processes on this machine."
    )
