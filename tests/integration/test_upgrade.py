"""From 1.0 to 2.0, with the real 1.0.0 out of the project's history: what it left, its settings, both beside each other
on one store as in a rolling upgrade, and the way back.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.releases import Release, ReleaseMissing, installed_release
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server, environment, manage
from esassistant.management.commands.serve import DUE_MIGRATIONS

PASSWORD = "only-for-tests-93"
FOLLOWED_SECONDS = 15.0
"""For a change to reach every instance, on a busy machine."""
WATCH_LEASE_SECONDS = 10.0
TROUBLE = re.compile(r"^.*(?:Traceback|\bERROR\b|\bCRITICAL\b|Warning: ).*$", re.MULTILINE)


@dataclass(frozen=True)
class Deployment:
    """What all instances of a deployment share."""

    kind: str
    database_url: str
    redis_url: str
    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "MAPPING_CACHE_WATCH": "true",
            "MIN_REFRESH_INTERVAL": "0",
        }


class ReleasedServer(Server):
    """`manage.py serve` of a release."""

    def __init__(self, release: Release, elasticsearch_url: str, **settings: object) -> None:
        super().__init__(elasticsearch_url, **settings)
        self._options["cwd"] = release.folder
        self._python = release.python

    def command_line(self) -> Sequence[str]:
        return [str(self._python), "manage.py", "serve", "--port", "0"]


@pytest.fixture(scope="module")
def release() -> Release:
    try:
        return installed_release("1.0.0")
    except ReleaseMissing as missing:
        pytest.skip(f"1.0.0 can't be made here: {missing}")


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path, transactional_db: None) -> Iterator[Deployment]:
    """A store and a database for one deployment, both empty."""
    sqlite = f"sqlite:///{tmp_path / 'esassistant.sqlite3'}"
    if request.param == "sqlite":
        yield Deployment("sqlite", sqlite, "", tmp_path)
    elif request.param == "redis":
        with RedisServer() as redis:
            yield Deployment("redis", sqlite, redis.url, tmp_path)
    else:
        from dev.servers.postgresql import PostgresqlServer, programs

        if (found := programs()) is None:
            pytest.skip("PostgreSQL is not installed: neither initdb on the PATH nor /usr/lib/postgresql/*/bin")
        with PostgresqlServer(found) as server:
            yield Deployment("postgresql", server.url, "", tmp_path)


@pytest.fixture
def proxy(node: Node, cluster: Elasticsearch) -> Iterator[FaultProxy]:
    # Without replicas, which one node can't have, so that the cluster is green.
    mappings = {"properties": {"a": {"type": "date"}}}
    cluster.indices.create(index="shop", mappings=mappings, settings={"number_of_replicas": 0})
    with FaultProxy(node.url) as proxy:
        yield proxy


def manage_release(release: Release, *words: str, **settings: object) -> str:
    """Run a command of the release to its end."""
    done = subprocess.run(
        [release.python, "manage.py", *words],
        cwd=release.folder,
        env=environment("http://127.0.0.1:9", **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prepared(release: Release, deployment: Deployment) -> None:
    """What 1.0's README says: migrate, and a user for the admin."""
    manage_release(release, "migrate", "--no-input", **deployment.settings)
    words = ("createsuperuser", "--no-input", "--username", "ops", "--email", "ops@example.org")
    manage_release(release, *words, **deployment.settings, DJANGO_SUPERUSER_PASSWORD=PASSWORD)


def fields(server: Server) -> set[str]:
    answer = server.get("/api/mappings/shop")
    return set(answer.json()["shop"]["mappings"]["properties"]) if answer.status_code == 200 else set()


def add_field(cluster: Elasticsearch, name: str) -> None:
    cluster.indices.put_mapping(index="shop", properties={name: {"type": "ip"}})


def is_ready(server: Server) -> bool:
    return server.get("/readyz").status_code == 200


def are_well(server: Server) -> bool:
    """Whether its checks say so; but for the one of the process itself, whose loop is late on a busy machine."""
    services = server.get("/api/health").json()["services"]
    return all(check["status"] == "healthy" for name, check in services.items() if name != "process")


def watches(server: Server) -> bool:
    return bool(server.get("/api/cache/stats").json()["watch"]["state"] == "watching")


def added(server: Server, path: str) -> set[str]:
    """The fields that the history says were added."""
    changes = server.get(path).json()["changes"]
    return {name for change in changes for name in change.get("added") or ()}


def login(server: Server) -> httpx.Cookies:
    """Log in to the admin, as a browser does; the cookies of the session."""
    page = server.get("/admin/login/?next=/admin/status/")
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    form = {"username": "ops", "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/status/"}
    answer = server.http.post("/admin/login/", data=form, headers={"Referer": server.url})
    assert answer.status_code == 302, answer.text
    cookies = httpx.Cookies(server.http.cookies)
    server.http.cookies.clear()
    return cookies


def is_let_in(server: Server, cookies: httpx.Cookies) -> bool:
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    return server.get("/admin/status/", headers=header).status_code == 200


def without_trouble(*servers: Server) -> bool:
    """Nothing in their logs looks like a fault."""
    found = [line for server in servers for line in TROUBLE.findall(server.output())]
    assert not found, found
    return True


def test_what_1_0_left(release: Release, deployment: Deployment, proxy: FaultProxy, cluster: Elasticsearch) -> None:
    """2.0 on the database and the Redis of 1.0: with the cluster away it answers what 1.0 knew, with the history, users
    and sessions of 1.0; with the cluster back it goes on. And 1.0 goes on after it.
    """
    prepared(release, deployment)
    with ReleasedServer(release, proxy.url, **deployment.settings) as old:
        wait_until(lambda: is_ready(old) and watches(old), 30)
        add_field(cluster, "b")
        wait_until(lambda: fields(old) == {"a", "b"}, FOLLOWED_SECONDS)
        wait_until(lambda: "b" in added(old, "/api/mappings/shop/history"), FOLLOWED_SECONDS)
        session = login(old)
        assert is_let_in(old, session)
        old.end()
    proxy.refuse()
    if deployment.kind == "postgresql":
        due = manage("serve", "--port", "0", elasticsearch_url=proxy.url, **deployment.settings)
        assert due.returncode == DUE_MIGRATIONS
        assert "Run `manage.py migrate`" in due.stderr
        migrated = manage("migrate", "--no-input", elasticsearch_url=proxy.url, **deployment.settings)
        assert migrated.returncode == 0, migrated.stderr
    with Server(proxy.url, **deployment.settings) as new:
        wait_until(lambda: is_ready(new), 30)
        assert fields(new) == {"a", "b"}
        assert new.get("/api/mappings/shop").headers["x-cache-source"] == "store"
        assert "b" in added(new, "/api/mappings/shop/history")
        assert is_let_in(new, session)
        assert is_let_in(new, login(new))
        proxy.accept()
        wait_until(lambda: watches(new), 60)
        add_field(cluster, "c")
        wait_until(lambda: fields(new) == {"a", "b", "c"}, FOLLOWED_SECONDS)
        wait_until(lambda: {"b", "c"} <= added(new, "/api/changes"), FOLLOWED_SECONDS)
        wait_until(lambda: are_well(new), 60)
        assert without_trouble(new)
        new.end()
    with ReleasedServer(release, proxy.url, **deployment.settings) as old:
        wait_until(lambda: is_ready(old) and watches(old), 30)
        assert fields(old) == {"a", "b", "c"}
        assert is_let_in(old, session)
        add_field(cluster, "d")
        wait_until(lambda: fields(old) == {"a", "b", "c", "d"}, FOLLOWED_SECONDS)
        assert without_trouble(old)


def test_1_0_beside_2_0(release: Release, deployment: Deployment, proxy: FaultProxy, cluster: Elasticsearch) -> None:
    """A rolling upgrade: the database is migrated while 1.0 serves; then both answer each change, whoever watches, and
    each takes the watch over when the other ends. A session of one is one of the other.
    """
    prepared(release, deployment)
    with ReleasedServer(release, proxy.url, **deployment.settings) as old:
        wait_until(lambda: is_ready(old) and watches(old), 30)
        migrated = manage("migrate", "--no-input", elasticsearch_url=proxy.url, **deployment.settings)
        assert migrated.returncode == 0, migrated.stderr
        session = login(old)
        with Server(proxy.url, **deployment.settings) as new:
            wait_until(lambda: is_ready(new), 30)
            assert (watches(old), watches(new)) == (True, False)
            assert is_let_in(new, session)
            add_field(cluster, "b")  # 1.0 watches
            wait_until(lambda: fields(old) == fields(new) == {"a", "b"}, FOLLOWED_SECONDS)
            # What 1.0 last reported may be of its start.
            wait_until(lambda: sorted(watch_states(new)) == ["standby", "watching"], 30)
            assert new.refresh().status_code == 200
            add_field(cluster, "c")
            wait_until(lambda: fields(old) == fields(new) == {"a", "b", "c"}, FOLLOWED_SECONDS)
            wait_until(lambda: {"b", "c"} <= added(new, "/api/changes"), 3 * FOLLOWED_SECONDS)
            for server in (old, new):
                wait_until(partial(are_well, server), 60)
            assert without_trouble(old, new)
            old.end()
            wait_until(lambda: watches(new), 2 * WATCH_LEASE_SECONDS)
            with ReleasedServer(release, proxy.url, **deployment.settings) as late:
                wait_until(lambda: is_ready(late), 30)
                assert (watches(late), watches(new)) == (False, True)
                add_field(cluster, "d")  # 2.0 watches
                wait_until(lambda: fields(late) == fields(new) == {"a", "b", "c", "d"}, FOLLOWED_SECONDS)
                new.kill()
                wait_until(lambda: watches(late), 2 * WATCH_LEASE_SECONDS)
                add_field(cluster, "e")
                wait_until(lambda: "e" in fields(late), FOLLOWED_SECONDS)
                assert without_trouble(late)


def watch_states(server: Server) -> list[str]:
    """Of every instance that it has heard of."""
    wait_until(lambda: len(server.get("/api/cache/stats").json()["instances"]) == 2, FOLLOWED_SECONDS)
    return [each["report"]["watch"]["state"] for each in server.get("/api/cache/stats").json()["instances"].values()]


def test_the_env_file_of_1_0(release: Release, tmp_path: Path) -> None:
    """Each setting of 1.0 is one of 2.0, with its default then; the example of 1.0, filled in, is taken as it is."""
    documented = re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` ", (release.folder / "docs/settings.md").read_text(), re.M)
    left_out = {"ESASSISTANT_ENV_FILE", "DATABASE_URL"}
    lines = [f"{name}={value}" for name, value in documented if name not in left_out]
    example = re.sub(r"=$", "=0123456789abcdef", (release.folder / ".env.example").read_text(), flags=re.MULTILINE)
    env_file = tmp_path / ".env"
    env_file.write_text("\n".join([*lines, example]))
    env_file.chmod(0o600)
    wanted = {name: value for name, value in documented if name not in left_out}
    assert len(wanted) > 30
    unset: dict[str, Any] = {
        name: "" for name in environment("") if name in wanted or name in ("SECRET_KEY", "ALLOWED_HOSTS")
    }
    checked = manage(
        "check",
        elasticsearch_url="",
        **{**unset, "ESASSISTANT_ENV_FILE": str(env_file), "ESASSISTANT_API_TOKENS": "", "REDIS_URL": ""},
    )
    assert checked.returncode == 0, checked.stderr
