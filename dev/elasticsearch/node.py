"""A real Elasticsearch node for development and tests, without Docker: fetched by Maven, run by a JDK."""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.elasticsearch.install import (
    CACHE,
    DEFAULT_VERSION,
    MissingTool,
    NodeError,
    install,
    java_for,
    require_java,
)
from dev.packages import say
from dev.ports import HOST, free_port

__all__ = [
    "DEFAULT_VERSION",
    "MissingTool",
    "Node",
    "NodeError",
    "PortTaken",
    "StartFailed",
    "install",
    "java_for",
]

STOP_SECONDS = 15

SETTINGS = {
    "cluster.name": "esassistant-dev",
    "node.name": "embedded",
    "discovery.type": "single-node",
    "network.host": HOST,
    "transport.port": "0",
    "cluster.max_shards_per_node": "20000",
    # A nearly full disk would otherwise make every index read-only.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}

JVM_OPTIONS = (
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    "-Dfile.encoding=UTF-8",
    "-Dio.netty.noUnsafe=true",
    "-Djava.awt.headless=true",
    "-Dlog4j2.disable.jmx=true",
    "-Dlog4j2.level=INFO",
)


class PortTaken(NodeError):
    pass


class StartFailed(NodeError):
    pass


class Node:
    """One node on one data directory; may be started again after `stop()` or `kill()`, and then keeps its port."""

    def __init__(
        self,
        data: Path,
        port: int = 0,
        version: str = DEFAULT_VERSION,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data.resolve()
        self.version = version
        self.heap = heap
        self.settings = dict(settings or {})
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        if not self._port:
            raise NodeError("the node has no port yet: call start() first")
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> Path:
        return self.data / "node.log"

    def start(self, timeout_seconds: float = 90) -> None:
        """Returns once the node answers and the indices that exist are at least yellow."""
        if self._process is not None and self._process.poll() is None:
            raise NodeError("the node is running already: call stop() first")
        home = install(self.version)
        java = require_java(self.version)
        self._port = _check_port(self._port) if self._port else free_port()
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self._command(java, home),
                cwd=self.data,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Out of reach of a terminal's Ctrl-C. A session of its own would do that too, but only within
                # ours does the kernel wake and end a suspended node when this process dies.
                process_group=0,
            )
        try:
            self._await_ready(self._process, time.monotonic() + timeout_seconds, timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _close_input(process)
        if process.poll() is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def suspend(self) -> None:
        """The node still accepts connections, but answers nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process = self._running()
        process.kill()
        process.wait()
        _close_input(process)

    def wait(self) -> None:
        """Blocks as long as the node runs; its end, which nobody asked for, is a NodeError."""
        code = self._running().wait()
        raise NodeError(f"the node ended by itself (exit code {code}); see {self.log}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that the latest start wrote; the log itself is appended to."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise NodeError("the node is not running: call start() first")
        return self._process

    def _command(self, java: Path, home: Path) -> list[str]:
        settings = {
            **SETTINGS,
            "path.home": str(home),
            "path.data": str(self.data / "data"),
            "path.logs": str(self.data),
            "http.port": str(self._port),
            **self.settings,
        }
        return [
            str(java),
            f"-Xms{self.heap}",
            f"-Xmx{self.heap}",
            *JVM_OPTIONS,
            "-cp",
            f"{home / 'launcher'}:{home / 'lib'}/*",
            "Launcher",
            *(f"{name}={value}" for name, value in settings.items()),
        ]

    def _await_ready(self, process: subprocess.Popen[bytes], deadline: float, timeout_seconds: float) -> None:
        while not (self._answers("/") and self._answers("/_cluster/health?wait_for_status=yellow&timeout=1s")):
            if process.poll() is not None:
                problem = f"the node ended before it was ready (exit code {process.returncode})"
            elif time.monotonic() > deadline:
                problem = f"the node was not ready within {timeout_seconds:g} s"
            else:
                time.sleep(0.1)
                continue
            raise StartFailed(f"{problem}; its log, {self.log}, should tell why:\n{self.log_tail()}")

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _check_port(port: int) -> int:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {HOST}:{port} ({os.strerror(error.errno or 0)}): "
            "stop what uses that port, or choose another (0 takes a free one)"
        ) from error
    return port


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.elasticsearch.node", description=__doc__)
    parser.add_argument("--version", default=DEFAULT_VERSION, help="of Elasticsearch (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9200, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="default: a directory per version, beside the installed node")
    parser.add_argument("--heap", default="512m", help="default: %(default)s")
    options = parser.parse_args()
    data = options.data or CACHE / "data" / options.version
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Node(data, options.port, options.version, options.heap) as node:
            print(node.url, flush=True)
            node.wait()
    except (NodeError, OSError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
