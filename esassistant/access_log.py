"""The access log: a line for each request on standard output, as JSON, or for people where that is a terminal.

Serving a request only puts its line into a buffer. A background task formats and writes what has gathered, in a thread,
so that neither formatting nor a slow reader of the log holds up the loop.
"""

import asyncio
import os
import select
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from esassistant.masking import mask_text

STANDARD_OUTPUT = 1
WRITE_EVERY_SECONDS = 0.25
MAX_WAITING = 20_000
"""So many lines wait at most; of what is beyond, the oldest are lost, and counted."""
MAX_PATH_CHARACTERS = 500
ATOMIC_BYTES = 4096
"""A pipe that `poll` calls writable takes so many bytes without blocking (POSIX's PIPE_BUF on Linux)."""
WRITABLE_WITHIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AccessLogReport:
    """Since the start. `lost_lines_total`: never written, as the reader of the log was too slow."""

    written_lines_total: int
    lost_lines_total: int


class Line(msgspec.Struct, gc=False):
    """One request. No query string: it may hold anything, secrets too. `status` None: the client left before an answer."""

    time: datetime
    request_id: str
    client: str | None
    method: str
    path: str
    route: str | None
    door: str
    status: int | None
    duration_ms: float
    bytes: int


class AccessLog:
    """One per process: the counters write to it, its task empties it."""

    def __init__(self, descriptor: int, *, max_waiting: int = MAX_WAITING) -> None:
        """`descriptor` of an open file, which stays open."""
        self._descriptor = descriptor
        self._format = _for_people if os.isatty(descriptor) else _as_json
        self._waiting: deque[Line] = deque(maxlen=max_waiting)
        self._lines_total = 0
        self._written_total = 0

    def write(self, line: Line) -> None:
        """Never waits, and never fails."""
        self._lines_total += 1
        self._waiting.append(line)

    def report(self) -> AccessLogReport:
        return AccessLogReport(self._written_total, self._lines_total - self._written_total - len(self._waiting))

    async def keep_writing(self) -> None:
        """Background task."""
        while True:
            await asyncio.sleep(WRITE_EVERY_SECONDS)
            await self.write_waiting()

    async def write_waiting(self) -> None:
        """Write what has gathered, as far as the reader of the log takes it."""
        lines = list(self._waiting)
        self._waiting.clear()
        if lines:
            written = await asyncio.to_thread(self._write, lines)
            self._written_total += written
            # What could not be written waits on, before what has come since; too much of it is lost, oldest first.
            self._waiting.extendleft(reversed(lines[written:][-self._free() :] if self._free() else ()))

    def _free(self) -> int:
        return (self._waiting.maxlen or 0) - len(self._waiting)

    def _write(self, lines: list[Line]) -> int:
        """Write lines, and say how many: it stops when the reader doesn't read."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        written = 0
        for count, chunk in _chunks(map(self._format, lines)):
            if not poll.poll(WRITABLE_WITHIN_SECONDS * 1000):
                break
            os.write(self._descriptor, chunk)
            written += count
        return written


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines together, up to what can be written at once, and how many."""
    count, chunk = 0, b""
    for line in lines:
        if chunk and len(chunk) + len(line) > ATOMIC_BYTES:
            yield count, chunk
            count, chunk = 0, b""
        count += 1
        chunk += line
    if chunk:
        yield count, chunk


def _as_json(line: Line) -> bytes:
    line.path = mask_text(line.path[:MAX_PATH_CHARACTERS])
    return msgspec.json.encode(line) + b"\n"


def _for_people(line: Line) -> bytes:
    path = mask_text(line.path[:MAX_PATH_CHARACTERS]).encode("ascii", "backslashreplace").decode()
    shown = "".join(character if character.isprintable() else "?" for character in path)
    return (
        f"{line.time:%H:%M:%S} {line.status or '---'} {line.method} {shown} {line.duration_ms:.1f} ms ({line.door})\n"
    ).encode()


access_log = AccessLog(STANDARD_OUTPUT)
"""Of this process."""
