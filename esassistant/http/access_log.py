"""The access log: one line per request on standard output, as JSON, or in a form for people if that is a terminal.

Serving a request only puts its line into a buffer. A background task formats and writes the lines in a thread, so that
neither formatting nor a slow reader of the log blocks the loop.
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
"""The most lines that wait to be written. If there are more, the oldest are lost, and counted."""
MAX_PATH_CHARACTERS = 500
MAX_SECRET_CHARACTERS = 200
"""How many characters beyond the shown part of a path are masked too. Otherwise the cut could leave the beginning of a
secret, which the mask doesn't recognize.
"""
ATOMIC_BYTES = 4096
"""How much can be written without blocking to a pipe that `poll` calls writable (POSIX's PIPE_BUF on Linux)."""
WRITABLE_WITHIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AccessLogReport:
    """Lines since the start. `lost_lines_total`: lines that were never written, as the reader of the log was too slow
    or had gone.
    """

    written_lines_total: int
    lost_lines_total: int


ACCESS_LOG_METRICS = (
    Metric(Kind.COUNTER, "access_log_written_lines", "Lines of the access log written.", "written_lines_total"),
    Metric(Kind.COUNTER, "access_log_lost_lines", "Lines lost as their reader was too slow.", "lost_lines_total"),
)


def access_log_rules(log: AccessLogReport) -> Iterable[Advice]:
    """Give the advice for the access log: no line should be lost."""
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
    """One request. The query string is left out, as it may contain secrets.

    `status`: None if the client left before an answer. `token`: the name of the caller's token; `api` for the tokens of
    `ESASSISTANT_API_TOKENS`.
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
    """The access log of the process. The counters add lines to it, and its background task writes them."""

    def __init__(
        self,
        descriptor: int,
        *,
        max_waiting: int = MAX_WAITING,
        write_every_seconds: float = WRITE_EVERY_SECONDS,
        writable_within_seconds: float = WRITABLE_WITHIN_SECONDS,
    ) -> None:
        """
        Args:
            descriptor: The descriptor of an open file, which stays open.
        """
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
        """Add a line. Never waits, and never fails."""
        self._lines_total += 1
        self._waiting.append(line)

    def report(self) -> AccessLogReport:
        pending = len(self._waiting) + self._under_way
        return AccessLogReport(self._written_total, self._lines_total - self._written_total - pending)

    async def keep_writing(self) -> None:
        """Background task: write the waiting lines a few times per second."""
        while True:
            await asyncio.sleep(self._write_every_seconds)
            await self.write_waiting()

    async def write_waiting(self) -> None:
        """Write the waiting lines, as far as the reader of the log accepts them."""
        lines = list(self._waiting)
        self._waiting.clear()
        if lines:
            self._under_way = len(lines)
            try:
                written, unread = await asyncio.to_thread(self._write, lines)
            finally:
                self._under_way = 0
            self._written_total += written
            # Unwritten lines wait again, before the newer ones. If there are too many, the oldest are lost.
            self._waiting.extendleft(reversed(unread[-self._free() :] if self._free() else ()))

    def _free(self) -> int:
        return (self._waiting.maxlen or 0) - len(self._waiting)

    def _write(self, lines: list[LogLine]) -> tuple[int, list[LogLine]]:
        """Write lines; return how many were written, and which must wait as the reader doesn't read.

        If writing fails (the reader is gone, or the disk is full), the lines are lost. That is logged once, as nothing
        here could help.
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
    """Yield chunks of whole lines, each with the number of its lines. A chunk has at least one line, and otherwise at
    most as many bytes as can be written at once.
    """
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
    """Return a path without secrets, cut to a maximum length, and without characters that could control a terminal."""
    path = mask_text(path[: MAX_PATH_CHARACTERS + MAX_SECRET_CHARACTERS])[:MAX_PATH_CHARACTERS]
    return path if path.isprintable() else "".join(one if one.isprintable() else "?" for one in path)


ACCESS_LOG: Handle[AccessLog | None] = Handle("access_log")
ACCESS_LOG_REPORT: ReportHandle[AccessLogReport | None] = ReportHandle("access_log")

access_log = AccessLog(STANDARD_OUTPUT)
"""The access log of this process."""
