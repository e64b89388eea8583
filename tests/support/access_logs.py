"""Access logs that the test reads: from a pipe that holds as little as possible, and from a terminal."""

import asyncio
import contextlib
import fcntl
import json
import os
import select
from datetime import UTC, datetime
from typing import Any

from esassistant.http import access_log as module
from esassistant.http.access_log import ATOMIC_BYTES, WRITE_EVERY_SECONDS, AccessLog, LogLine

AT = datetime(2026, 3, 4, 5, 6, 7, 891_000, UTC)


def a_line(path: str = "/api/mappings", **changes: Any) -> LogLine:
    fields: dict[str, Any] = {
        "time": AT,
        "request_id": "r-1",
        "client": "10.0.0.1",
        "method": "GET",
        "path": path,
        "route": "/api/mappings",
        "door": "hot",
        "status": 200,
        "duration_ms": 0.123,
        "bytes": 17,
        "token": None,
        **changes,
    }
    return LogLine(**fields)


class Pipe:
    """A log that the test reads from a pipe. The pipe holds as little as possible: `ATOMIC_BYTES`. The log waits only
    briefly for room in it, unless told otherwise.
    """

    def __init__(
        self,
        max_waiting: int = 100,
        *,
        flags: int = 0,
        write_every_seconds: float = WRITE_EVERY_SECONDS,
        writable_within_seconds: float = 0.02,
    ) -> None:
        self._reader, self._descriptor = os.pipe2(flags)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, ATOMIC_BYTES)
        self.log = AccessLog(
            self._descriptor,
            max_waiting=max_waiting,
            write_every_seconds=write_every_seconds,
            writable_within_seconds=writable_within_seconds,
        )

    def write(self, *paths: str) -> None:
        for path in paths:
            self.log.write(a_line(path))

    def read(self) -> bytes:
        """Return what can be read now."""
        ready, _, _ = select.select([self._reader], [], [], 0)
        return os.read(self._reader, 2 * ATOMIC_BYTES) if ready else b""

    def read_paths(self) -> list[str]:
        return [json.loads(line)["path"] for line in self.read().splitlines()]

    async def arrived(self) -> None:
        """Wait until there is something to read."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._reader, readable.set)
        try:
            await asyncio.wait_for(readable.wait(), 2)
        finally:
            loop.remove_reader(self._reader)

    async def next_paths(self) -> list[str]:
        """Return the paths of the lines that come next."""
        await self.arrived()
        return self.read_paths()

    async def read_all(self) -> list[str]:
        """Return the paths of all lines that wait; read for as long as more is written."""
        paths = self.read_paths()
        while True:
            await self.log.write_waiting()
            if not (more := self.read_paths()):
                return paths
            paths += more

    def leave(self) -> None:
        """Close the reader's end."""
        os.close(self._reader)
        self._reader = -1

    def close(self) -> None:
        for descriptor in (self._reader, self._descriptor):
            if descriptor >= 0:
                os.close(descriptor)


def length_of(line: LogLine) -> int:
    return len(module._as_json(line))


def on_pipe(*lines: LogLine) -> bytes:
    """Return what a program that reads the log gets."""
    with contextlib.closing(Pipe()) as made:
        for line in lines:
            made.log.write(line)
        asyncio.run(made.log.write_waiting())
        return made.read()


def on_terminal(*lines: LogLine) -> str:
    """Return what a terminal gets, with the line ends that it makes."""
    master, descriptor = os.openpty()
    try:
        log = AccessLog(descriptor)
        for line in lines:
            log.write(line)
        asyncio.run(log.write_waiting())
        os.write(descriptor, b"END")
        shown = b""
        while not shown.endswith(b"END"):
            shown += os.read(master, 8192)
        return shown.removesuffix(b"END").decode("ascii")
    finally:
        os.close(master)
        os.close(descriptor)
