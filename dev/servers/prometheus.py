"""A real Prometheus of one's own: on a free port, in a folder that is thrown away, ended whatever happens."""

import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from dev.packages import require, which
from dev.ports import HOST, free_port
from dev.servers.service import wait_until

PACKAGE = "prometheus"


def prometheus() -> Path:
    """Where prometheus is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(lambda: which("prometheus"), PACKAGE, "prometheus is missing")


def promtool() -> Path:
    """Where promtool is, likewise."""
    return require(lambda: which("promtool"), PACKAGE, "promtool is missing")


START_SECONDS = 20
STOP_SECONDS = 10


class PrometheusServer:
    """Runs for the length of the block."""

    def __init__(self, config: Path, storage: Path) -> None:
        """`config`: its configuration file; `storage`: an empty folder, where it also writes its log."""
        self._config = config
        self._storage = storage
        self._log = storage / "log"

    def __enter__(self) -> Self:
        port = free_port()
        self._http = httpx.Client(base_url=f"http://{HOST}:{port}", timeout=10)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    prometheus(),
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._storage / 'series'}",
                    f"--web.listen-address={HOST}:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_ready, START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def get(self, path: str, **parameters: str) -> Any:
        """What an endpoint of its API answers under `data`; an AssertionError with its reason when it refuses."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {parameters}"
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values of an expression that gives a vector, as they are now."""
        found = self.get("query", query=expression)
        assert found["resultType"] == "vector"
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one series, None without any."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"prometheus did not start:\n{self._log.read_text()[-2000:]}")
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _end(self) -> None:
        self._http.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
