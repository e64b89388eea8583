"""Processes that answer requests, for tests and benches: they are waited for until they answer, and always ended."""

import re
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EVERY_SECONDS = 0.05
SHOWN_LINES = 30
"""How many lines of the log are shown if a process doesn't start."""
URL = re.compile(r"(?:^|Serving on )(http://\S+:\d+)", re.MULTILINE)


class ProcessError(Exception):
    """A process did not start, or isn't running."""


def wait_until(condition: Callable[[], object], seconds: float, every: float = EVERY_SECONDS) -> float:
    """Wait for a condition, and return the seconds that it took. Raises AssertionError if it isn't met in time."""
    started_at = time.monotonic()
    while not condition():
        if time.monotonic() - started_at > seconds:
            raise AssertionError(f"not so within {seconds:g} s: {condition}")
        time.sleep(every)
    return time.monotonic() - started_at


class Process(ABC):
    """One process at a time, which may be started again after `stop` or `kill`. As a context manager, it is ended with
    the block.

    Its standard input is a pipe that ends when this process dies; a program that should die too reads from it. `log`
    has the output of all of its starts.
    """

    start_seconds = 20.0
    stop_seconds = 15.0
    stop_signal = signal.SIGTERM
    error: type[Exception] = ProcessError
    """The class of the exception if it doesn't start, or isn't running."""

    def __init__(self, name: str, *, log: Path | None = None, **options: Any) -> None:
        """Make the object; `start` starts the process.

        Args:
            name: Its name in messages.
            log: The file that its output is appended to; None: a file in a folder that is deleted together with this
                object.
            options: Options of `subprocess.Popen`, such as `cwd` and `env`.
        """
        self.name = name
        if log is None:
            folder = tempfile.mkdtemp(prefix=f"{name}-")
            # Not at the end of the block, because the output may be read after that.
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            log = Path(folder) / "log"
        self.log = log
        self.folder = log.parent
        self.held = ExitStack()
        """What is closed together with it at the end."""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @abstractmethod
    def command_line(self) -> Sequence[str | Path]:
        """Return what to run. Called at each start."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it answers. Called again and again until it does."""

    def start(self, seconds: float | None = None) -> None:
        """Start it, and return when it answers, within `seconds` (None: `start_seconds`). If it doesn't, it is
        ended.
        """
        self.spawn()
        try:
            self.wait_for_answer(seconds)
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> None:
        """Start it without waiting for it. Raise `error` if it runs already."""
        if self._process is not None and self._process.poll() is None:
            raise self.error(f"{self.name} is running already: call stop() first")
        command_line = self.command_line()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command_line,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, so that Ctrl-C in a terminal doesn't reach it. A session of its own would do that
                # too; but only within our session does the kernel wake and end a suspended process when this one dies.
                process_group=0,
                **self._options,
            )

    def wait_for_answer(self, seconds: float | None = None) -> None:
        """Wait until it answers. If it doesn't, raise an error that has the end of its log."""
        limit = self.start_seconds if seconds is None else seconds
        process = self.process

        def answers_or_ended() -> bool:
            return self.answers() or process.poll() is not None

        try:
            wait_until(answers_or_ended, limit)
        except AssertionError:
            problem = f"{self.name} did not answer within {limit:g} s"
        else:
            if process.poll() is None:
                return
            problem = f"{self.name} ended before it answered (exit code {process.returncode})"
        raise self.error(f"{problem}; the end of its log, {self.log}:\n{self.log_tail()}")

    def stop(self) -> int | None:
        """End it in order, or at once if it doesn't end in time. Return the exit code; None if it wasn't started."""
        process, self._process = self._process, None
        if process is None:
            return None
        _close_input(process)
        if process.poll() is None:
            process.send_signal(self.stop_signal)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def kill(self) -> None:
        """Kill it at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_input(process)

    def suspend(self) -> None:
        """Suspend it: connections stay open and new ones are accepted, but nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `suspend`: what was sent meanwhile is answered now."""
        self.process.send_signal(signal.SIGCONT)

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started last. Raise `error` if none was started, or if it was stopped or killed by this
        object.
        """
        if self._process is None:
            raise self.error(f"{self.name} is not running: call start() first")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        """Return whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def output(self) -> str:
        """Return what it has printed since its latest start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = SHOWN_LINES) -> str:
        """Return the last lines that it has printed since its latest start."""
        return "\n".join(self.output().splitlines()[-lines:])

    def printed_url(self) -> str | None:
        """Return the first URL that it printed at the beginning of a line or after "Serving on"."""
        found = URL.search(self.output())
        return found[1] if found else None

    def close(self) -> None:
        """End it, and close what it holds."""
        try:
            self.held.close()
        finally:
            self.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Program(Process):
    """A program that prints its URL as soon as it listens there."""

    start_seconds = 120.0
    """Long, because the machine may be busy, and the program may have much to prepare."""

    def __init__(self, name: str, command_line: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        super().__init__(name, env=environment)
        self._command_line = command_line
        self.url = ""

    def command_line(self) -> Sequence[str | Path]:
        return self._command_line

    def answers(self) -> bool:
        self.url = self.printed_url() or ""
        return bool(self.url)


def _close_input(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
