"""A real redis-server of one's own: on a free port, in a folder that is thrown away, keeping nothing on disk."""

import contextlib
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from dev.packages import require, which
from dev.ports import HOST, free_port


def redis_server() -> Path:
    """Where redis-server is. Installs it if it is missing and this may; else raises `MissingPackage` with the remedy."""
    return require(lambda: which("redis-server"), "redis-server", "redis-server is missing")


START_SECONDS = 10
STOP_SECONDS = 5


class RedisServer:
    """Runs for the length of the block, on one port for life; a restart forgets all data."""

    def __init__(self, *, password: str = "", config: tuple[str, ...] = ()) -> None:
        """`config`: further words of redis-server's command line, such as `("--maxmemory", "10mb")`."""
        self.port = free_port()
        self._password = password
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """With the password, if there is one."""
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}{HOST}:{self.port}/0"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="esassistant-redis-")
        self._client = Redis(host=HOST, port=self.port, password=self._password or None, socket_timeout=START_SECONDS)
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> None:
        """Start it, or start it again after `stop` or `kill`; returns when it answers."""
        log = Path(self._folder.name) / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    redis_server(),
                    *("--bind", HOST, "--port", str(self.port), "--dir", self._folder.name),
                    *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                    *(("--requirepass", self._password) if self._password else ()),
                    *self._config,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(RedisError):
                self._client.ping()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order: its clients see their connections closed."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        self._wait()

    def suspend(self) -> None:
        """Freeze it: connections stay open, new ones are accepted, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `suspend`. What was sent meanwhile is answered now."""
        self._signal(signal.SIGCONT)

    def command(self, *words: bytes | str | int) -> Any:
        """Run one command on a connection apart from those under test, and return its answer."""
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]

    def empty(self) -> None:
        """Forget all data."""
        self.command("FLUSHALL")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None

    def _end(self) -> None:
        self._client.close()
        self.kill()
        self._folder.cleanup()
