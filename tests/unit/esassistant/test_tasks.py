"""Background tasks run on their own, come back after a crash, and end with their owner."""

import asyncio
import contextvars

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esassistant.tasks import (
    FIRST_RESTART_DELAY_SECONDS,
    LONGEST_RESTART_DELAY_SECONDS,
    SETTLED_AFTER_SECONDS,
    TaskReport,
    Tasks,
    restart_delay_seconds,
)
from tests.support.fakes import FakeClock, InstantSleep

VARIABLE = contextvars.ContextVar("VARIABLE", default="empty")


async def forever() -> None:
    await asyncio.Event().wait()


@given(st.integers(1, 10_000))
def test_restart_delays(crashes: int) -> None:
    """The delay starts at the shortest, never shrinks, doubles until it reaches the longest, and stays there."""
    delay = restart_delay_seconds(crashes)
    following = restart_delay_seconds(crashes + 1)
    assert restart_delay_seconds(1) == FIRST_RESTART_DELAY_SECONDS <= delay <= LONGEST_RESTART_DELAY_SECONDS
    assert following == min(2 * delay, LONGEST_RESTART_DELAY_SECONDS)


async def test_a_crashed_task_starts_again(fake_clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A crash is counted, logged with its traceback, named by type only, and followed by a restart."""
    runs = 0
    restarted = asyncio.Event()

    async def crash_once() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError("password=secret")
        restarted.set()
        await forever()

    tasks = Tasks(fake_clock, InstantSleep(fake_clock))
    tasks.spawn(crash_once, name="watch", owner="cache")
    await asyncio.wait_for(restarted.wait(), 2)
    assert tasks.reports() == (TaskReport("watch", "cache", running=True, crashes_total=1, last_error="OSError"),)
    [record] = caplog.records
    assert record.getMessage().startswith("background task watch of cache crashed")
    assert record.exc_info is not None
    await tasks.cancel("cache", 1)
    assert tasks.reports()[0].running is False


async def test_delays_start_over_after_a_long_run(fake_clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Crashes in a row wait ever longer; a task that had run for long starts over with the shortest delay."""
    run_seconds = iter([0.0, 0.0, SETTLED_AFTER_SECONDS - 1, SETTLED_AFTER_SECONDS, 0.0])

    async def crash() -> None:
        try:
            fake_clock.now += next(run_seconds)
        except StopIteration:
            return
        raise OSError

    sleep = InstantSleep(fake_clock)
    tasks = Tasks(fake_clock, sleep)
    await asyncio.wait_for(tasks.spawn(crash, name="watch", owner="cache"), 2)
    logged = [record.args[2] for record in caplog.records if isinstance(record.args, tuple)]
    assert sleep.delays == logged == [0.5, 1.0, 2.0, 0.5, 1.0]
    assert tasks.reports() == (TaskReport("watch", "cache", running=False, crashes_total=5, last_error="OSError"),)


async def test_a_task_that_returns_is_done() -> None:
    """Returning is no crash: the task is not started again."""
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    tasks = Tasks()
    await tasks.spawn(once, name="first", owner="a")
    await tasks.spawn(once, name="second", owner="b")
    assert runs == 2
    assert tasks.reports() == (TaskReport("first", "a", False, 0, None), TaskReport("second", "b", False, 0, None))


async def test_tasks_run_in_an_empty_context() -> None:
    """Neither kind of task sees the context variables of whoever started it."""
    seen: list[str] = []

    async def look() -> None:
        seen.append(VARIABLE.get())

    VARIABLE.set("a request's")
    tasks = Tasks()
    await tasks.spawn(look, name="look", owner="a")
    await tasks.flight(look, name="look", owner="a")
    assert seen == ["empty", "empty"]


async def test_a_flights_outcome_is_its_awaiters() -> None:
    """A flight gives its result or its error to whoever awaits it, runs once, and is no background task."""
    runs = 0

    async def fail() -> str:
        nonlocal runs
        runs += 1
        raise OSError("boom")

    async def succeed() -> str:
        return "result"

    tasks = Tasks()
    assert await tasks.flight(succeed, name="one", owner="a") == "result"
    failing = tasks.flight(fail, name="two", owner="a")
    assert failing.get_name() == "a:two"
    with pytest.raises(OSError, match="boom"):
        await failing
    assert (runs, tasks.reports()) == (1, ())


async def test_cancel_ends_the_owners_tasks_only() -> None:
    """`cancel` ends tasks and flights of one owner, those that ended already left alone; others' go on."""
    tasks = Tasks()
    mine = [tasks.spawn(forever, name="a", owner="me"), tasks.flight(forever, name="b", owner="me")]
    others = [tasks.spawn(forever, name="a", owner="you"), tasks.flight(forever, name="b", owner="you")]
    await tasks.cancel("nobody", 1)
    assert not any(task.done() for task in mine + others)
    await tasks.cancel("me", 1)
    assert [task.cancelled() for task in mine + others] == [True, True, False, False]
    await tasks.cancel("me", 0)
    await tasks.cancel("you", 1)
    assert all(task.cancelled() for task in others)


async def test_cancel_does_not_wait_for_what_resists(caplog: pytest.LogCaptureFixture) -> None:
    """A task that won't end is named in the log, and `cancel` comes back at its deadline."""
    release = asyncio.Event()

    async def resist() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            await release.wait()

    tasks = Tasks()
    task = tasks.flight(resist, name="stubborn", owner="me")
    await asyncio.sleep(0)
    await tasks.cancel("me", 0.02)
    assert [record.getMessage() for record in caplog.records] == ["task me:stubborn did not end within 0.0 s"]
    assert not task.done()
    release.set()
    await task


async def test_failure_while_ending_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a task raises while it is ended goes to the log, as nobody else may ever see it."""

    async def stumble() -> None:
        try:
            await forever()
        finally:
            raise OSError("boom")

    async def swallow() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            return

    tasks = Tasks()
    for function in (stumble, swallow):
        tasks.flight(function, name=function.__name__, owner="me")
    await asyncio.sleep(0)
    await tasks.cancel("me", 1)
    [record] = caplog.records
    assert record.getMessage() == "task me:stumble failed while it was ended"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], OSError)
