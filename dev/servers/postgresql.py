"""A PostgreSQL cluster for tests, if this machine has PostgreSQL's programs."""

import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections

from dev.packages import which
from dev.ports import HOST, free_port
from dev.servers.process import Process

USER = "esassistant"
QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB")


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`; None if there is none."""
    if (initdb := which("initdb")) is not None:
        return initdb.resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class PostgresqlServer(Process):
    """A server that runs for the length of the block, always on the same port. Its data survive `stop` and `start`."""

    start_seconds = 20
    stop_seconds = 10
    stop_signal = signal.SIGINT  # ends its connections too

    def __init__(self, programs: Path, *, max_connections: int = 40) -> None:
        options: dict[str, Any] = {}
        # PostgreSQL refuses to run as root.
        if not os.geteuid():
            nobody = pwd.getpwnam("nobody")
            options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        super().__init__("postgresql", **options)
        self._programs = programs
        self._settings = (*QUICK, f"max_connections={max_connections}")
        self.port = free_port()
        if options:
            os.chown(self.folder, options["user"], options["group"])
        self._options["cwd"] = self.folder

    def start(self, seconds: float | None = None) -> None:
        """Start the server. The first start makes the cluster. Raise an error of the class in `error`, as
        `Process.start` does, if it doesn't answer in time, or if making the cluster fails.
        """
        if not (self.folder / "data").exists():
            words = ("--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
            ended = subprocess.run(
                [self._programs / "initdb", "-D", self.folder / "data", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=self.start_seconds,
                check=False,
                **self._options,
            )
            if ended.returncode:
                raise self.error(f"initdb failed:\n{ended.stdout[-2000:]}")
        super().start(seconds)

    def command_line(self) -> Sequence[str | Path]:
        sockets = ("-k", self.folder, "-h", HOST, "-p", str(self.port))
        settings = [word for setting in self._settings for word in ("-c", setting)]
        return [self._programs / "postgres", "-D", self.folder / "data", *sockets, *settings]

    def answers(self) -> bool:
        try:
            psycopg.connect(host=HOST, port=self.port, user=USER, dbname="postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def url(self) -> str:
        """The URL for `DATABASE_URL`."""
        return f"postgres://{USER}@{HOST}:{self.port}/postgres"

    def database(self) -> dict[str, Any]:
        """The settings of this database for Django."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": USER,
            "HOST": HOST,
            "PORT": self.port,
            "OPTIONS": {"connect_timeout": 5},
        }


class Postgresql:
    """A server as Django's default database, for threads that haven't used the default database yet.

    Django's connections belong to threads, and the store works in a thread of its own. So the main thread keeps SQLite.
    """

    def __init__(self, server: PostgresqlServer) -> None:
        self.server = server

    @contextlib.contextmanager
    def as_default(self) -> Iterator[None]:
        connections["default"]  # makes the main thread's connection first
        before = connections.settings["default"]
        connections.settings["default"] = connections.configure_settings({"default": self.server.database()})["default"]
        try:
            yield
        finally:
            connections.settings["default"] = before

    def run(self, function: Callable[[], object]) -> None:
        """Run a function in a thread of its own, whose connections are closed afterwards."""

        def call() -> None:
            try:
                function()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as executor:
            executor.submit(call).result()
