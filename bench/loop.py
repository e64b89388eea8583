"""How long callbacks block the event loop while 10 000 indices are refreshed: `python -m bench.loop [--passes N]`.

The bench measures the processor time of the loop's thread in each callback, so that other processes on the machine
don't count. It runs on asyncio's own loop, whose callbacks can be measured; those of uvloop run the same Python code.
"""

import asyncio
import gc
import sys
import time
from asyncio import Handle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from bench.command import Started, parser, save
from bench.report.lines import Goal, Line, milliseconds, print_lines
from bench.subjects.replay import replayed
from bench.subjects.stack import open_stack

GOAL = Goal(at_most=50)
"""The goal in milliseconds."""
SHOWN = 10
PASSES = 3


@dataclass
class Callbacks:
    """The callbacks that were measured: their seconds of processor time, and what ran."""

    measured: list[tuple[float, str]] = field(default_factory=list)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure every callback of every loop of this process, for the length of the block."""
        patched: Any = Handle
        run: Callable[[Handle], None] = patched._run  # noqa: SLF001

        def measured_run(handle: Handle) -> None:
            what = _described(handle)
            started = time.thread_time()
            run(handle)
            self.measured.append((time.thread_time() - started, what))

        patched._run = measured_run  # noqa: SLF001
        try:
            yield
        finally:
            patched._run = run  # noqa: SLF001


def _described(handle: Handle) -> str:
    """Describe a callback. For a step of a task, it is the innermost place at which the task goes on."""
    callback: Any = cast("Any", handle)._callback  # noqa: SLF001
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return " > ".join(_waiting(owner.get_coro()))
    return str(getattr(callback, "__qualname__", callback))


def _waiting(coroutine: Any) -> Iterator[str]:
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield f"{coroutine.__name__}:{frame.f_lineno}"
        coroutine = coroutine.cr_await


async def _run(url: str, passes: int) -> list[Line]:
    callbacks = Callbacks()
    collections: list[float] = []
    pass_seconds: list[float] = []
    started = 0.0

    def collected(phase: str, _: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.thread_time()
        else:
            collections.append(time.thread_time() - started)

    gc.callbacks.append(collected)
    for number in range(passes):
        async with open_stack(url) as stack:
            with callbacks.measuring():
                # The first pass fills an empty cache. The second one reads everything again, and replaces what is
                # known.
                first = await stack.full_pass()
                stack.runner._version = None  # noqa: SLF001  (otherwise the pass would find nothing changed)
                second = await stack.full_pass()
            pass_seconds += [first.duration_seconds, second.duration_seconds]
            print(f"pass {number + 1}:", *(_summary(report) for report in (first, second)), sep="  ", file=sys.stderr)
    gc.callbacks.remove(collected)
    callbacks.measured.sort(reverse=True)
    print(f"{len(callbacks.measured)} callbacks in {2 * passes} full passes; longest, processor time:")
    for seconds, what in callbacks.measured[:SHOWN]:
        print(f"  {seconds * 1000:7.1f} ms  {what}")
    longest = callbacks.measured[0][0]
    lines = [
        milliseconds("longest callback, processor time", [longest], len(callbacks.measured), GOAL),
        milliseconds("full pass while measured so", pass_seconds),
    ]
    if collections:
        lines.append(milliseconds("longest garbage collection", [max(collections)], len(collections)))
    return lines


def _summary(report: Any) -> str:
    return (
        f"{report.outcome.value}, {report.read_total} of {report.indices_total} read "
        f"in {report.duration_seconds:.2f} s by {report.requests_total} requests"
    )


def main() -> int:
    arguments = parser("loop", __doc__)
    arguments.add_argument("--passes", type=int, default=PASSES, help="pairs of full passes; default: %(default)s")
    options = arguments.parse_args()
    started = Started()
    with replayed() as url:
        lines = asyncio.run(_run(url, options.passes))
    print_lines(lines)
    save(options.json, **started.facts(), lines=lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
