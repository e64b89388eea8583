"""An open registry belongs to one process and one loop; other threads read reports."""

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from esassistant.errors import RegistryNotOpen, UnknownResource, WrongLoop
from esassistant.registry import Registry

VARIABLE = contextvars.ContextVar("VARIABLE", default="empty")


@asynccontextmanager
async def live(_: Registry) -> AsyncIterator[str]:
    yield "live"


async def test_get_belongs_to_one_loop(own_registry: Registry) -> None:
    """A live resource is refused to other threads and to other loops, with what to do instead."""
    own_registry.register("a", live)

    async def elsewhere() -> None:
        own_registry.get("a")

    async with own_registry.open():
        assert own_registry.get("a") == "live"
        for call in (lambda: own_registry.get("a"), lambda: asyncio.run(elsewhere())):
            with pytest.raises(WrongLoop, match=r"registry\.read"):
                await asyncio.to_thread(call)


@pytest.mark.parametrize("start", [Registry.spawn, Registry.flight])
async def test_tasks_start_on_the_registrys_loop(own_registry: Registry, start: Callable[..., Any]) -> None:
    """A task can't be started on another loop, where its owner couldn't end it."""
    own_registry.register("a", live)

    async def nothing() -> None:
        pass

    async def elsewhere() -> None:
        start(own_registry, nothing, name="task", owner="a")

    async with own_registry.open():
        with pytest.raises(WrongLoop):
            await asyncio.to_thread(lambda: asyncio.run(elsewhere()))


async def test_a_forked_process_has_no_resources(own_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the child gets an error, never the parent's connections."""
    own_registry.register("a", live, stats=str)
    async with own_registry.open():
        pid = os.getpid()
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: pid + 1)
            for asked in (own_registry.get, own_registry.read):
                with pytest.raises(RegistryNotOpen):
                    asked("a")


async def test_read_from_any_thread(own_registry: Registry) -> None:
    """A report is the same from the loop and from other threads, and is always computed on the loop."""
    computed_in: list[threading.Thread] = []

    def stats(value: str) -> tuple[str, int]:
        computed_in.append(threading.current_thread())
        return value, len(computed_in)

    own_registry.register("a", live, stats=stats)
    own_registry.register("silent", live)
    async with own_registry.open():
        assert own_registry.read("a") == ("live", 1)
        assert await asyncio.to_thread(own_registry.read, "a") == ("live", 2)
        assert await asyncio.to_thread(own_registry.tasks) == own_registry.tasks() == ()
        with pytest.raises(UnknownResource, match="gives no report"):
            own_registry.read("silent")
        with pytest.raises(UnknownResource, match="no resource named 'unheard'"):
            own_registry.read("unheard")
    assert computed_in == [threading.current_thread()] * 2


async def test_reports_of_several(own_registry: Registry) -> None:
    """Reports are taken in one turn of the loop, from any thread. What has none, or isn't open, is left out; what
    nobody declared is an error.
    """
    turns: list[int] = []

    def stats(value: str) -> str:
        asyncio.get_running_loop().call_soon(turns.append, len(turns))
        return f"{value}, seen in turn {len(turns)}"

    for name in ("a", "b", "closed"):
        own_registry.register(name, live, stats=stats)
    own_registry.register("silent", live)
    async with own_registry.open(only=["a", "b", "silent"]):
        wanted = ("b", "silent", "closed", "a")
        expected = dict.fromkeys(("b", "a"), "live, seen in turn 0")
        assert own_registry.reports(wanted) == expected
        await asyncio.sleep(0)
        assert len(turns) == 2
        turns.clear()
        assert await asyncio.to_thread(own_registry.reports, wanted) == expected
        assert own_registry.reports(()) == {}
        with pytest.raises(UnknownResource, match="no resource named 'unheard'"):
            own_registry.reports(["a", "unheard"])
    with pytest.raises(RegistryNotOpen):
        own_registry.reports(["a"])


async def test_a_report_that_fails_takes_no_other_with_it(
    own_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """One resource whose report fails is logged and left out, so that one's own mistake doesn't silence all others."""

    def broken(_: str) -> object:
        raise ValueError("broken")

    own_registry.register("a", live, stats=str)
    own_registry.register("broken", live, stats=broken)
    async with own_registry.open():
        assert own_registry.reports(["broken", "a"]) == {"a": "live"}
    assert [record.getMessage() for record in caplog.records] == ["the report of resource broken failed"]


async def test_read_from_another_loop(own_registry: Registry) -> None:
    """Code that runs in a loop of its own (`async_to_sync` in a thread) reads as a plain thread does."""
    own_registry.register("a", live, stats=str)

    async def elsewhere() -> Any:
        return own_registry.read("a")

    async with own_registry.open():
        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == "live"


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_reports_own_error_is_raised(error: type[Exception], in_thread: bool) -> None:
    """What `stats` raises reaches the reader as it is, in whichever thread; it never blocks the loop."""
    own_registry = Registry(read_seconds=0.1)

    def stats(_: str) -> object:
        raise error("broken")

    own_registry.register("a", live, stats=stats)
    async with own_registry.open():
        with pytest.raises(error, match="broken"):
            await asyncio.to_thread(own_registry.read, "a") if in_thread else own_registry.read("a")


async def test_read_does_not_wait_for_a_blocked_loop() -> None:
    """While the loop is blocked a reader gives up at the deadline, and may ask again later."""
    own_registry = Registry(read_seconds=0.05)
    errors: list[RegistryNotOpen] = []

    def read() -> None:
        try:
            own_registry.read("a")
        except RegistryNotOpen as error:
            errors.append(error)

    own_registry.register("a", live, stats=str)
    async with own_registry.open():
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(5)  # blocks the loop until the reader has given up
        assert await asyncio.to_thread(own_registry.read, "a") == "live"
    assert [error.retry_after_seconds for error in errors] == [1]
    assert "did not answer within" in errors[0].detail


@pytest.mark.parametrize("start", [Registry.spawn, Registry.flight])
async def test_tasks_start_in_an_empty_context(own_registry: Registry, start: Callable[..., Any]) -> None:
    """A task inherits nothing of the request that happened to start it."""
    own_registry.register("a", live)
    seen: list[str] = []

    async def look() -> None:
        seen.append(VARIABLE.get())

    function: Callable[[], Coroutine[Any, Any, None]] = look
    VARIABLE.set("a request's")
    async with own_registry.open():
        await start(own_registry, function, name="look", owner="a")
    assert seen == ["empty"]
