"""`manage.py` in processes of its own: servers and commands, as an operator starts them."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "test-token-0123456789"  # noqa: S105  (of servers that tests start)
START_SECONDS = 40


def environment(elasticsearch_url: str, **settings: object) -> dict[str, str]:
    """The environment of a process under test: nothing of the developer's, the test database, quick intervals."""
    wanted = {
        "DJANGO_SETTINGS_MODULE": "esassistant.settings",
        "ESASSISTANT_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "DEBUG": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "ESASSISTANT_DETAILS": "always",
        "ESASSISTANT_API_TOKENS": TOKEN,
        "ESASSISTANT_DRAIN_SECONDS": "0",
        # A test that is about the watch switches it on: to others, what it reads by itself would be noise.
        "MAPPING_CACHE_WATCH": "false",
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "REDIS_URL": "",
        "ELASTICSEARCH_URL": elasticsearch_url,
        "PYTHONWARNINGS": "default",
    }
    return {**os.environ, **wanted, **{name: str(value) for name, value in settings.items()}}


def manage(
    *arguments: str, elasticsearch_url: str, timeout: float = 60, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(elasticsearch_url, **settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Server:
    """`manage.py serve` on a free port; ended at the end of the block, whatever state it is in."""

    def __init__(self, elasticsearch_url: str, *arguments: str, **settings: object) -> None:
        self._command = [sys.executable, "manage.py", "serve", "--port", "0", *arguments]
        self._environment = environment(elasticsearch_url, **settings)
        self._output: list[str] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            self.url = self._announced_url()
            wait_until(self._answers, START_SECONDS)
        except BaseException:
            self._end()
            raise
        self.http = httpx.Client(base_url=self.url, timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self._end()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def refresh(self, query: str = "?wait=true") -> httpx.Response:
        return self.http.post(f"/api/cache/refresh{query}", headers={"Authorization": f"Bearer {TOKEN}"})

    def output(self) -> str:
        """Everything the server printed; only after its end."""
        return "".join(self._output)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 30) -> int:
        rest, _ = self.process.communicate(timeout=seconds)
        self._output.append(rest)
        return self.process.returncode

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _announced_url(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.process.stdout], [], [], 0.2)
            line = self.process.stdout.readline() if readable else ""
            self._output.append(line)
            if found := re.search(r"Serving on (http://\S+:\d+)", line):
                return found[1]
            if self.process.poll() is not None:
                break
        raise AssertionError(f"the server said nothing of serving:\n{self.output()}")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def wait_until(condition: Callable[[], object], seconds: float, every: float = 0.05) -> float:
    """Wait for a condition and return the seconds it took; an AssertionError says that it never held."""
    started_at = time.monotonic()
    while not condition():
        if time.monotonic() - started_at > seconds:
            raise AssertionError(f"not so within {seconds:g} s: {condition}")
        time.sleep(every)
    return time.monotonic() - started_at
