"""The access log: a line for each request on standard output, as JSON, or for people where that is a terminal.

Serving a request only puts its line into a buffer. A background task formats and writes what has gathered, in a thread,
so that neither formatting nor a slow reader of the log holds up the loop.
"""

import asyncio
import logging
import os
import select
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from esassistant.advice import Advice, judge
from esassistant.masking import mask_text
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle

logger = logging.getLogger(__name__)

STANDARD_OUTPUT = 1
WRITE_EVERY_SECONDS = 0.25
MAX_WAITING = 20_000
"""So many lines wait at most; of what is beyond, the oldest are lost, and counted."""
MAX_PATH_CHARACTERS = 500
MAX_SECRET_CHARACTERS = 200
"""So much more of a path is masked than is shown, lest the beginning of a secret stay that the end cuts through."""
ATOMIC_BYTES = 4096
"""A pipe that `poll` calls writable takes so many bytes without blocking (POSIX's PIPE_BUF on Linux)."""
WRITABLE_WITHIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AccessLogReport:
    """Since the start. `lost_lines_total`: never written, as the reader of the log was too slow, or is gone."""

    written_lines_total: int
    lost_lines_total: int


ACCESS_LOG_METRICS = (
    Metric(Kind.COUNTER, "access_log_written_lines", "Lines of the access log written.", "written_lines_total"),
    Metric(Kind.COUNTER, "access_log_lost_lines", "Lines lost as their reader was too slow.", "lost_lines_total"),
)


def access_log_rules(log: AccessLogReport) -> Iterable[Advice]:
    """The rule for the access log: no line should be lost."""
    lines = log.written_lines_total + log.lost_lines_total
    return judge(
        "access_log.lost_lines_total",
        log.lost_lines_total,
        0,
        lines,
        1,
        "lines",
        "Requests are missing from the access log: what reads standard output is too slow, is gone, or has no room "
        "to write.",
        None,
    )


class LogLine(msgspec.Struct, gc=False):
    """One request. No query string: it may hold anything, secrets too. `status` None: the client left before an
    answer. `token`: the name of the caller's token, `api` for those of `ESASSISTANT_API_TOKENS`.
    """

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
    token: str | None


class AccessLog:
    """One per process: the counters write to it, its task empties it."""

    def __init__(
        self,
        descriptor: int,
        *,
        max_waiting: int = MAX_WAITING,
        write_every_seconds: float = WRITE_EVERY_SECONDS,
        writable_within_seconds: float = WRITABLE_WITHIN_SECONDS,
    ) -> None:
        """`descriptor` of an open file, which stays open."""
        self._descriptor = descriptor
        self._format = _for_people if os.isatty(descriptor) else _as_json
        self._waiting: deque[LogLine] = deque(maxlen=max_waiting)
        self._write_every_seconds = write_every_seconds
        self._writable_within_seconds = writable_within_seconds
        self._lines_total = 0
        self._written_total = 0
        self._under_way = 0
        self._told = False

    def write(self, line: LogLine) -> None:
        """Never waits, and never fails."""
        self._lines_total += 1
        self._waiting.append(line)

    def report(self) -> AccessLogReport:
        pending = len(self._waiting) + self._under_way
        return AccessLogReport(self._written_total, self._lines_total - self._written_total - pending)

    async def keep_writing(self) -> None:
        """Background task."""
        while True:
            await asyncio.sleep(self._write_every_seconds)
            await self.write_waiting()

    async def write_waiting(self) -> None:
        """Write what has gathered, as far as the reader of the log takes it."""
        lines = list(self._waiting)
        self._waiting.clear()
        if lines:
            self._under_way = len(lines)
            try:
                written, unread = await asyncio.to_thread(self._write, lines)
            finally:
                self._under_way = 0
            self._written_total += written
            # What could not be written waits on, before what has come since; too much of it is lost, oldest first.
            self._waiting.extendleft(reversed(unread[-self._free() :] if self._free() else ()))

    def _free(self) -> int:
        return (self._waiting.maxlen or 0) - len(self._waiting)

    def _write(self, lines: list[LogLine]) -> tuple[int, list[LogLine]]:
        """Write lines; say how many, and which wait on as the reader doesn't read. Where nothing can be written (the
        reader is gone, the disk full) they are lost, which is told once: nothing here could mend it.
        """
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        written = 0
        try:
            for count, chunk in _chunks(map(self._format, lines)):
                if not poll.poll(self._writable_within_seconds * 1000):
                    return written, lines[written:]
                os.write(self._descriptor, chunk)
                written += count
        except OSError as error:
            if not self._told:
                self._told = True
                logger.warning("the access log loses lines: it can't be written (%s)", type(error).__name__)
        return written, []


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines, of which there is at least one, together up to what can be written at once, and how many."""
    count, chunk = 0, b""
    for line in lines:
        if chunk and len(chunk) + len(line) > ATOMIC_BYTES:
            yield count, chunk
            count, chunk = 0, b""
        count += 1
        chunk += line
    yield count, chunk


def _as_json(line: LogLine) -> bytes:
    line.path = _shown(line.path)
    return msgspec.json.encode(line) + b"\n"


def _for_people(line: LogLine) -> bytes:
    path = _shown(line.path).encode("ascii", "backslashreplace").decode()
    return (
        f"{line.time:%H:%M:%S} {line.status or '---'} {line.method} {path} {line.duration_ms:.1f} ms ({line.door})\n"
    ).encode()


def _shown(path: str) -> str:
    """A path without secrets, bounded, and without what could steer a terminal that shows it."""
    path = mask_text(path[: MAX_PATH_CHARACTERS + MAX_SECRET_CHARACTERS])[:MAX_PATH_CHARACTERS]
    return path if path.isprintable() else "".join(one if one.isprintable() else "?" for one in path)


ACCESS_LOG: Handle[AccessLog | None] = Handle("access_log")
ACCESS_LOG_REPORT: ReportHandle[AccessLogReport | None] = ReportHandle("access_log")

access_log = AccessLog(STANDARD_OUTPUT)
"""Of this process."""
