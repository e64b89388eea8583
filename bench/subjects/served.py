"""This project's server as an operator runs it, for benches that ask it over HTTP."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server, environment, manage

WARM_SECONDS = 90


@contextmanager
def served(elasticsearch_url: str, folder: Path, **settings: object) -> Iterator[Server]:
    """Run `manage.py serve` with a database in `folder`. The block begins once the server has read the cluster."""
    wanted = in_force(folder, **settings)
    migrate(elasticsearch_url, wanted)
    with Server(elasticsearch_url, **wanted) as server:
        wait_until(partial(_is_ready, server), WARM_SECONDS)
        wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", WARM_SECONDS)
        yield server


@contextmanager
def sharing(elasticsearch_url: str, store: str, count: int) -> Iterator[list[Server]]:
    """Run `count` instances of one deployment until they are warm. They share one SQLite file and, with `store`
    "redis", a Redis too.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sharing-")))
        redis_url = stack.enter_context(RedisServer()).url if store == "redis" else ""
        shared = in_force(folder, REDIS_URL=redis_url)
        migrate(elasticsearch_url, shared)
        instances = [stack.enter_context(Server(elasticsearch_url, **shared)) for _ in range(count)]
        for instance in instances:
            wait_until(partial(_is_ready, instance), WARM_SECONDS)
        yield instances


def _is_ready(server: Server) -> bool:
    return server.get("/readyz").status_code == 200


def migrate(elasticsearch_url: str, settings: Mapping[str, Any]) -> None:
    """Make the tables of the database that these settings name. Raise `RuntimeError` if that fails."""
    migrated = manage("migrate", "--verbosity", "0", elasticsearch_url=elasticsearch_url, **settings)
    if migrated.returncode:
        raise RuntimeError(migrated.stderr)


def environment_of(elasticsearch_url: str, folder: Path) -> dict[str, str]:
    """Return the environment for a process that isn't `manage.py serve`. It has the settings and the database of the
    server that `served` started in `folder`.
    """
    return environment(elasticsearch_url, **in_force(folder))


def in_force(folder: Path, **settings: object) -> dict[str, Any]:
    """Return the settings that differ from those of the tests' servers."""
    own = {
        "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
        "MAPPING_CACHE_WATCH": "true",
        "PYTHONWARNINGS": "",
    }
    return {**own, **settings}
