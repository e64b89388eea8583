"""A real Elasticsearch node for development and tests, without Docker: fetched by Maven, run by a JDK."""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from dev.servers.process import Process

__all__ = [
    "DEFAULT_VERSION",
    "MissingTool",
    "Node",
    "NodeError",
    "PortTaken",
    "install",
    "java_for",
]

SETTINGS = {
    "cluster.name": "esassistant-dev",
    "node.name": "embedded",
    "discovery.type": "single-node",
    "network.host": HOST,
    "transport.port": "0",
    "cluster.max_shards_per_node": "20000",
    # Otherwise a nearly full disk makes every index read-only.
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


class Node(Process):
    """One node on one data directory. It may be started again after `stop()` or `kill()`, and then keeps its port."""

    start_seconds = 90
    error = NodeError
    secured = False

    def __init__(
        self,
        data: Path,
        port: int = 0,
        version: str = DEFAULT_VERSION,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data.resolve()
        super().__init__("the node", log=self.data / "node.log", cwd=self.data)
        self.version = version
        self.heap = heap
        self.settings = dict(settings or {})
        self.headers: dict[str, str] = {}
        """The headers of the requests that check whether the node answers."""
        self._port = port

    @property
    def url(self) -> str:
        if not self._port:
            raise NodeError("the node has no port yet: call start() first")
        return f"http://{HOST}:{self._port}"

    def command_line(self) -> Sequence[str | Path]:
        home, java = install(self.version, secured=self.secured), require_java(self.version)
        self._port = _check_port(self._port) if self._port else free_port()
        settings = {
            **SETTINGS,
            "path.home": str(home),
            "path.data": str(self.data / "data"),
            "path.logs": str(self.data),
            "http.port": str(self._port),
            **self.settings,
        }
        return [
            java,
            f"-Xms{self.heap}",
            f"-Xmx{self.heap}",
            *JVM_OPTIONS,
            "-cp",
            f"{home / 'launcher'}:{home / 'lib'}/*",
            "Launcher",
            *(f"{name}={value}" for name, value in settings.items()),
        ]

    def answers(self) -> bool:
        """Return whether the node answers, and all of its indices are at least yellow."""
        return self._answers("/") and self._answers("/_cluster/health?wait_for_status=yellow&timeout=1s")

    def wait(self) -> None:
        """Block for as long as the node runs. If it ends by itself, raise NodeError."""
        code = self.process.wait()
        raise NodeError(f"the node ended by itself (exit code {code}); see {self.log}:\n{self.log_tail()}")

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", path, headers=self.headers)
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
