"""A real Prometheus for tests: on a free port, in a temporary folder, always ended."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from dev.packages import require, which
from dev.ports import HOST, free_port
from dev.servers.process import Process

PACKAGE = "prometheus"


def prometheus() -> Path:
    """Return the path of prometheus, after installing it if it is missing and this process may. Otherwise raise
    `MissingPackage` with the remedy.
    """
    return require(lambda: which("prometheus"), PACKAGE, "prometheus is missing")


def promtool() -> Path:
    """Return the path of promtool, which is installed with prometheus. Raises as `prometheus` does."""
    return require(lambda: which("promtool"), PACKAGE, "promtool is missing")


class PrometheusServer(Process):
    """A Prometheus that runs for the length of the block, with the configuration in the file `config`."""

    start_seconds = 20
    stop_seconds = 10

    def __init__(self, config: Path) -> None:
        super().__init__("prometheus")
        self._config = config
        self._port = free_port()
        self._http = self.held.enter_context(httpx.Client(base_url=f"http://{HOST}:{self._port}", timeout=10))

    def command_line(self) -> Sequence[str | Path]:
        return [
            prometheus(),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self.folder / 'series'}",
            f"--web.listen-address={HOST}:{self._port}",
        ]

    def answers(self) -> bool:
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return what an address of its API answers under `data`. If it refuses, raise AssertionError with its
        reason.
        """
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {parameters}"
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the present labels and values of an expression that gives a vector."""
        found = self.get("query", query=expression)
        assert found["resultType"] == "vector"
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression that gives one series; None if it gives none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None
