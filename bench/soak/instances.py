"""The instances of a soak: processes of `manage.py serve` in one deployment, and what their logs say."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from dev.servers.process import Process
from dev.servers.service import ROOT, SERVE

BAD_LINE = re.compile(r"Traceback| (?:ERROR|CRITICAL) |Warning: |never awaited|was destroyed|nobody foresaw")
"""Text that must not be in a log, whatever goes wrong around the service."""


class Instance(Process):
    """One process, which may be killed and started again.

    Every start gets a new port. `up_since`: when it last became ready; None while it isn't.
    """

    start_seconds = 120
    stop_seconds = 20

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path) -> None:
        super().__init__(f"instance {number}", log=folder / f"instance-{number}.log", cwd=ROOT, env=environment)
        self.number = number
        self.url = ""
        self.up_since: float | None = None
        self.starts_total = 0

    def __repr__(self) -> str:
        return f"<Instance {self.number}>"

    def was_up(self, sent_at: float) -> bool:
        """Return whether it has been ready ever since that moment."""
        return self.up_since is not None and self.up_since <= sent_at

    def command_line(self) -> Sequence[str]:
        return SERVE

    def answers(self) -> bool:
        self.url = self.printed_url() or self.url
        try:
            return bool(self.url) and httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def spawn(self) -> None:
        super().spawn()
        self.starts_total += 1

    def wait_for_answer(self, seconds: float | None = None) -> None:
        super().wait_for_answer(seconds)
        self.up_since = time.monotonic()

    def kill(self) -> None:
        self.up_since = None
        super().kill()

    def stop(self) -> int | None:
        self.up_since = None
        return super().stop()

    def bad_lines(self) -> list[str]:
        """Return the lines that must not be in the log, of all starts."""
        return [line.rstrip() for line in self._lines() if BAD_LINE.search(line)]

    def levels(self) -> Counter[str]:
        """Return the number of lines of each level."""
        return Counter(found[1] for line in self._lines() if (found := re.search(r"^\S+ \S+ ([A-Z]+) ", line)))

    def _lines(self) -> Iterator[str]:
        if self.log.exists():
            with self.log.open(errors="replace") as log:
                yield from log
