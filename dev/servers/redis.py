"""A real redis-server for tests: on a free port, in a temporary folder, without data on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from dev.packages import require, which
from dev.ports import HOST, free_port
from dev.servers.process import Process


def redis_server() -> Path:
    """Return the path of redis-server, after installing it if it is missing and this process may. Otherwise raise
    `MissingPackage` with the remedy.
    """
    return require(lambda: which("redis-server"), "redis-server", "redis-server is missing")


class RedisServer(Process):
    """A server that runs for the length of the block, always on the same port. A restart loses all data."""

    start_seconds = 10
    stop_seconds = 5

    def __init__(self, *, password: str = "", config: tuple[str, ...] = ()) -> None:
        """Make a server; the block starts it. `config`: further words of redis-server's command line, such as
        `("--maxmemory", "10mb")`.
        """
        super().__init__("redis-server")
        self.port = free_port()
        self._password = password
        self._config = config
        self._client = Redis(host=HOST, port=self.port, password=password or None, socket_timeout=self.start_seconds)
        self.held.callback(self._client.close)

    @property
    def url(self) -> str:
        """Its URL, with the password if there is one."""
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}{HOST}:{self.port}/0"

    def command_line(self) -> Sequence[str | Path]:
        return [
            redis_server(),
            *("--bind", HOST, "--port", str(self.port), "--dir", self.folder),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *(("--requirepass", self._password) if self._password else ()),
            *self._config,
        ]

    def answers(self) -> bool:
        try:
            self._client.ping()
        except RedisError:
            return False
        return True

    def command(self, *words: bytes | str | int) -> Any:
        """Run one command, on another connection than those under test, and return its answer."""
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]

    def empty(self) -> None:
        """Forget all data."""
        self.command("FLUSHALL")
