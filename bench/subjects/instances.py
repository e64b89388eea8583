"""Many instances of one deployment, without HTTP: `python -m bench.subjects.instances COUNT`.

Each is a process that opens all resources of the registry as `manage.py serve` does, with their background tasks; it
just doesn't answer requests. All are forked from one process that has imported everything. So 64 of them start in
seconds, and share the memory of the code. Lines of JSON on standard output tell what happens in which instance.
"""

import asyncio
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import uvloop

from bench.subjects.processes import memory_of, processor_seconds

FIELD = re.compile(rb'"(fleet_\d+)"')
"""The fields by which changes are recognized. No other field has such a name."""
POLL_SECONDS = 0.1
TAKE_TURNS_SECONDS = 20.0
STOP_SECONDS = 5.0
"""A process that was told to end is killed after this time."""


class Fleet:
    """The running instances, and what they have reported. Used by one thread."""

    def __init__(self, process: "subprocess.Popen[str]", count: int) -> None:
        self.count = count
        self.pids: dict[int, int] = {}
        """Number of a living instance → its process id."""
        self._process = process
        self._told = Condition()
        self._warm: set[int] = set()
        self._watching: dict[int, float] = {}
        self._learnt: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._ended = False
        Thread(target=self._listen, daemon=True).start()

    def wait_until_warm(self, seconds: float, *, watched: bool = True) -> None:
        """Return when all instances know the cluster and, if `watched`, one of them watches it."""

        def is_so() -> bool:
            return len(self._warm) == self.count and (bool(self._watching) or not watched)

        self._wait(is_so, seconds, "be warm")

    def learnt(self, field: str, seconds: float) -> list[float]:
        """Return the moments at which the living instances had the field in their mappings, by the monotonic clock,
        sorted.
        """
        self._wait(lambda: self.pids.keys() <= self._learnt[field].keys(), seconds, f"learn {field}")
        return sorted(self._learnt[field][number] for number in self.pids)

    def kill_the_watcher(self) -> float:
        """Kill the instance that watches, at once. Return when that was, on the monotonic clock. (While Redis doesn't
        answer in time, several instances watch, each for itself.)
        """
        self._wait(lambda: len(self._watching) == 1, TAKE_TURNS_SECONDS, "agree on who watches")
        [number] = self._watching
        at = time.monotonic()
        os.kill(self.pids.pop(number), signal.SIGKILL)
        del self._watching[number]
        return at

    def watched_since(self, seconds: float) -> float:
        """Return the moment (on the monotonic clock) at which the watching instance began to watch; the earliest one,
        if several watch. Wait up to `seconds` for one. Raise `RuntimeError` if none does.
        """
        self._wait(lambda: bool(self._watching), seconds, "watch")
        return min(self._watching.values())

    def _wait(self, is_so: Callable[[], bool], seconds: float, what: str) -> None:
        with self._told:
            if not self._told.wait_for(lambda: is_so() or self._ended, seconds) or self._ended:
                raise RuntimeError(f"the instances did not {what} within {seconds:g} s")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            number, at = told["instance"], told["at"]
            with self._told:
                match told["event"]:
                    case "begun":
                        self.pids[number] = told["pid"]
                    case "warm":
                        self._warm.add(number)
                    case "watching":
                        self._watching[number] = at
                    case "standby":
                        self._watching.pop(number, None)
                    case "learnt":
                        self._learnt[told["field"]][number] = at
                self._told.notify_all()
        with self._told:
            self._ended = True
            self._told.notify_all()

    def memory(self) -> list[dict[str, int]]:
        """Return the memory of each instance in bytes: `Rss`, and the part that it shares with nobody (`Private`)."""
        return [memory_of(pid) for pid in self.pids.values()]

    def processor_seconds(self) -> float:
        """Return the processor time of all instances together since they began."""
        return sum(processor_seconds(pid) for pid in self.pids.values())


@contextmanager
def running(count: int, environment: Mapping[str, str], log: Path) -> Iterator[Fleet]:
    """Run `count` instances for the length of a block. Their log is written to `log`."""
    command_line = [sys.executable, "-m", "bench.subjects.instances", str(count)]
    with log.open("ab") as written:
        process = subprocess.Popen(
            command_line,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            process_group=0,
        )
    with process:
        try:
            yield Fleet(process, count)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _tell(number: int, event: str, **facts: Any) -> None:
    told = {"instance": number, "event": event, "at": time.monotonic(), **facts}
    os.write(1, json.dumps(told).encode() + b"\n")  # a single write, so that the lines of several processes don't mix


async def _live(number: int) -> None:
    from cacheapp.cache.mapping_cache import MAPPING_CACHE
    from cacheapp.reports import WatchState
    from cacheapp.sync.sharing import SHARING
    from cacheapp.sync.watch import WATCH
    from esassistant.registry import registry

    parent = os.getppid()
    async with registry.open():
        cache, sharing, watch = registry.get(MAPPING_CACHE), registry.get(SHARING), registry.get(WATCH)
        known = cache.snapshot.bodies

        def note_changes() -> None:
            nonlocal known
            before, known = known, cache.snapshot.bodies
            for hashed in known.keys() - before.keys():
                for field in FIELD.findall(known[hashed]):
                    _tell(number, "learnt", field=field.decode())

        cache.on_change(note_changes)
        _tell(number, "begun", pid=os.getpid())
        is_warm = is_watching = False
        while os.getppid() == parent:  # ends when the parent is gone
            if not is_warm and cache.warm and sharing.pass_at is not None:
                is_warm = True
                _tell(number, "warm")
            if is_watching != (watch.report().state is WatchState.WATCHING):
                is_watching = not is_watching
                _tell(number, "watching" if is_watching else "standby")
            await asyncio.sleep(POLL_SECONDS)


def _begin(number: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    uvloop.run(_live(number))


def main() -> int:
    import gc

    import django

    django.setup()
    import esassistant.asgi  # noqa: F401  (all that a server imports)

    gc.collect()
    gc.freeze()
    forking = multiprocessing.get_context("fork")
    count = int(sys.argv[1])
    instances = [forking.Process(target=_begin, args=(number,), daemon=True) for number in range(count)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for instance in instances:
            instance.start()
        sys.stdin.read()  # until the bench ends
    except KeyboardInterrupt:
        pass
    for instance in instances:
        instance.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
