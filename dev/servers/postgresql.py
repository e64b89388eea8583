"""A PostgreSQL cluster of the tests' own, as far as this machine has PostgreSQL's programs."""

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from django.db import connections

from dev.packages import which
from dev.ports import HOST, free_port

USER = "esassistant"
START_SECONDS = 20
STOP_SECONDS = 10
QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB", "max_connections=40")


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None: there is none."""
    if (initdb := which("initdb")) is not None:
        return initdb.resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class PostgresqlServer:
    """Runs for the length of the block, on one port for life. Its data survive `stop` and `start`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user = None if os.geteuid() else pwd.getpwnam("nobody")

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="esassistant-postgresql-")
        try:
            if self._user is not None:
                os.chown(self._folder.name, self._user.pw_uid, self._user.pw_gid)
            self._make()
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
        """Start it, or start it again; returns when it answers."""
        options = [word for setting in QUICK for word in ("-c", setting)]
        sockets = ("-k", self._folder.name, "-h", HOST, "-p", str(self.port))
        self._process = self._spawn("postgres", *sockets, *options)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(host=HOST, port=self.port, user=USER, dbname="postgres", connect_timeout=5).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it with its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def database(self) -> dict[str, Any]:
        """Django's settings for it."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": USER,
            "HOST": HOST,
            "PORT": self.port,
            "OPTIONS": {"connect_timeout": 5},
        }

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log"

    def _make(self) -> None:
        initdb = self._spawn("initdb", "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        if initdb.wait(START_SECONDS):
            raise RuntimeError(f"initdb failed:\n{self._log.read_text()[-2000:]}")

    def _spawn(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        user = self._user
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [self._programs / program, "-D", Path(self._folder.name) / "data", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder.name,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )

    def _end(self) -> None:
        self.stop()
        self._folder.cleanup()


class Postgresql:
    """A server as Django's default database, for threads that have not used the default one yet.

    Django's connections belong to threads, and the store works in one of its own: the main thread keeps SQLite.
    """

    def __init__(self, server: PostgresqlServer) -> None:
        self.server = server

    @contextlib.contextmanager
    def as_default(self) -> Iterator[None]:
        connections["default"]  # the main thread's is made before
        before = connections.settings["default"]
        connections.settings["default"] = connections.configure_settings({"default": self.server.database()})["default"]
        try:
            yield
        finally:
            connections.settings["default"] = before

    def run(self, function: Callable[[], object]) -> None:
        """In a thread of its own, whose connections are closed afterwards."""

        def call() -> None:
            try:
                function()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as executor:
            executor.submit(call).result()
