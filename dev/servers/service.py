"""Run `manage.py` in processes of its own: servers and commands, as an operator starts them."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import httpx
from django.db import connection

from dev.servers.process import Process

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "test-token-0123456789"  # noqa: S105  (of servers that tests start)
SERVE = (sys.executable, "manage.py", "serve", "--port", "0")


def environment(elasticsearch_url: str, **settings: object) -> dict[str, str]:
    """Return the environment of a process under test: no settings of the developer, the test database, short
    intervals.
    """
    wanted = {
        "DJANGO_SETTINGS_MODULE": "esassistant.settings",
        "ESASSISTANT_ENV_FILE": os.devnull,
        "SECRET_KEY": "only-for-tests",
        "DEBUG": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "ESASSISTANT_DETAILS": "always",
        "ESASSISTANT_API_TOKENS": TOKEN,
        "ESASSISTANT_DRAIN_SECONDS": "0",
        # A test about the watch switches it on. In other tests, the watch's own reading would only disturb.
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
    """Run a command until it ends."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(elasticsearch_url, **settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Server(Process):
    """`manage.py serve` on a free port. It is ended at the end of the block, in whatever state it is."""

    start_seconds = 90
    stop_seconds = 30

    def __init__(self, elasticsearch_url: str, *arguments: str, **settings: object) -> None:
        super().__init__("serve", cwd=ROOT, env=environment(elasticsearch_url, **settings))
        self._arguments = arguments
        self.url = ""

    def command_line(self) -> Sequence[str]:
        return [*SERVE, *self._arguments]

    def answers(self) -> bool:
        self.url = self.printed_url() or ""
        try:
            return bool(self.url) and httpx.get(f"{self.url}/livez", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        super().__enter__()
        self.http = self.held.enter_context(httpx.Client(base_url=self.url, timeout=30))
        return self

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def refresh(self, query: str = "?wait=true") -> httpx.Response:
        return self.http.post(f"/api/cache/refresh{query}", headers={"Authorization": f"Bearer {TOKEN}"})

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 30) -> int:
        """Wait for the end, and return the exit code. Raise `TimeoutExpired` if it doesn't come within `seconds`."""
        return self.process.wait(seconds)
