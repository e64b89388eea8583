"""The log on standard error, written so that nothing waits for its reader.

`logging.StreamHandler` writes in the thread that logs, so a reader that stops reading blocks the event loop at the next
line. Here each line goes into a bounded queue, and a separate thread writes it. Lines that don't fit are lost; how many
is logged as soon as the reader reads again.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from esassistant.advice import Advice, judge
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle

STANDARD_ERROR: Final = 2
MAX_WAITING_BYTES: Final = 2**19
MAX_CHARACTERS: Final = 8000
"""The longest record, traceback included. Of a longer one, the beginning and the end are kept."""
END_SECONDS: Final = 1.0
"""The longest wait for lines that are still to be written."""
LOST: Final = b"%d records of the log were lost: its reader was too slow\n"


@dataclass(frozen=True, slots=True)
class LogReport:
    """Log records of this process since its start. `lost_records_total`: records that were never written, as the reader
    of the log was too slow or had gone.
    """

    written_records_total: int
    lost_records_total: int


LOG_METRICS = (
    Metric(
        Kind.COUNTER, "log_lost_records", "Records of the log lost as its reader was too slow.", "lost_records_total"
    ),
)


def log_rules(log: LogReport) -> Iterable[Advice]:
    """Give the advice for the log: no record should be lost."""
    return judge(
        "log.lost_records_total",
        log.lost_records_total,
        0,
        log.written_records_total + log.lost_records_total,
        1,
        "records",
        "Records are missing from the log: what reads standard error is too slow, is gone, or has no room to write.",
        None,
    )


def cut(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return a text with at most `most` of its characters, and a note that says how many are left out."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"


class ServerErrors(logging.Filter):
    """Drops Django's log records of answers below 500. Callers cause those, as often as they like; the statistics count
    them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", 500) >= 500


class QueuedHandler(logging.Handler):
    """Writes to a descriptor from its own thread, which the first record starts.

    `waits`: the caller waits until its record is written, unless nobody reads. That is so in commands, to keep their
    output in order, and in a server that starts or stops, so that its last lines aren't lost. A server that serves
    doesn't wait.
    """

    def __init__(
        self,
        descriptor: int = STANDARD_ERROR,
        *,
        max_bytes: int = MAX_WAITING_BYTES,
        end_seconds: float = END_SECONDS,
    ) -> None:
        super().__init__()
        self.waits = True
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._waiting_bytes = 0
        self._end_seconds = end_seconds
        self._waiting: deque[bytes] = deque()
        self._wake = threading.Condition()
        self._writer: threading.Thread | None = None
        self._is_writing = False
        self._written = 0
        self._lost = 0
        self._said_lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{cut(self.format(record))}\n".encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001  (whatever the arguments of a record raise, whoever logs goes on)
            line = f"a record of {record.name} could not be formatted\n".encode(errors="backslashreplace")
        with self._wake:
            if self._waiting_bytes + len(line) > self._max_bytes:
                self._lost += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            if self._writer is None or not self._writer.is_alive():  # a fork inherits no threads
                self._writer = threading.Thread(target=self._keep_writing, name="log", daemon=True)
                self._writer.start()
            self._wake.notify_all()
        if self.waits:
            self.waits = self._drained()

    def report(self) -> LogReport:
        return LogReport(self._written, self._lost)

    def flush(self) -> None:
        """Wait until everything is written, but not long for a reader that doesn't read."""
        self._drained()

    def _drained(self) -> bool:
        with self._wake:
            return self._wake.wait_for(lambda: not (self._waiting or self._is_writing), self._end_seconds)

    def _keep_writing(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting)
                line = self._waiting.popleft()
                self._waiting_bytes -= len(line)
                self._is_writing = True
            is_written = self._write(line)
            with self._wake:
                self._written += is_written
                self._lost += not is_written
                lost = self._lost - self._said_lost
            if is_written and lost and self._write(LOST % lost):
                self._said_lost += lost
            with self._wake:
                self._is_writing = False
                self._wake.notify_all()

    def _write(self, line: bytes) -> bool:
        """Write the whole line. Return False if that isn't possible, as the reader is gone or the disk is full."""
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            return False
        return True


def standard_error() -> QueuedHandler:
    """Return the handler of this process, for `LOGGING`."""
    return log_handler


log_handler = QueuedHandler()
"""The handler of this process."""

LOG: Handle[QueuedHandler] = Handle("log")
LOG_REPORT: ReportHandle[LogReport] = ReportHandle("log")
