"""The instances of a soak: `manage.py serve` in processes of their own, of one deployment, and what their logs say."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.soak.http import Caller, NoAnswer
from dev.servers.service import ROOT

START_SECONDS = 60.0
STOP_SECONDS = 20.0
SERVING = re.compile(r"Serving on (http://\S+:\d+)")
BAD_LINE = re.compile(r"Traceback| (?:ERROR|CRITICAL) |Warning: |never awaited|was destroyed|nobody foresaw")
"""None of these belongs in a log, whatever goes wrong around the service."""
KEPT_LINES = 20


class Instance:
    """One process, which may be killed and started again; ended at the end of the block.

    Every start gets a port of its own. `up_since`: when it last became ready, None while it isn't.
    """

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path) -> None:
        self.number = number
        self.log = folder / f"instance-{number}.log"
        self.url = ""
        self.up_since: float | None = None
        self.starts_total = 0
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Instance {self.number}>"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """By itself: `kill` makes it not so."""
        return self._process is not None and self._process.poll() is not None

    def was_up(self, sent_at: float) -> bool:
        """Whether it has been ready ever since then."""
        return self.up_since is not None and self.up_since <= sent_at

    def __enter__(self) -> Self:
        self.log.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it has begun; `wait_until_ready` waits for it to be ready."""
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--port", "0"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # a terminal's Ctrl-C is for the soak, which ends its instances in order
            )
        self.starts_total += 1

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        caller = Caller(timeout=5)
        while True:
            if found := SERVING.search(self._output()):
                self.url = found[1]
                with contextlib.suppress(NoAnswer):
                    if caller.ask(self.url, "/readyz").status == 200:
                        break
            if self.has_ended or time.monotonic() > deadline:
                raise RuntimeError(f"instance {self.number} did not get ready:\n{self._output()[-4000:]}")
            time.sleep(0.05)
        caller.close()
        self.up_since = time.monotonic()

    def kill(self) -> None:
        """End it at once, with no time to say goodbye."""
        self.up_since = None
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int | None:
        """End it in order; returns its exit code, None if there was nothing to end."""
        self.up_since = None
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def bad_lines(self) -> list[str]:
        """What the log says that it shouldn't, of all starts."""
        return [line.rstrip() for line in self._lines() if BAD_LINE.search(line)]

    def levels(self) -> Counter[str]:
        """How many lines there are of each level."""
        return Counter(found[1] for line in self._lines() if (found := re.search(r"^\S+ \S+ ([A-Z]+) ", line)))

    def _lines(self) -> Iterator[str]:
        if self.log.exists():
            with self.log.open(errors="replace") as log:
                yield from log

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")
