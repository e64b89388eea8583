"""Cases 57 and 58: strangers with junk session cookies, and a database that is in trouble.

Mappings, status and health are in memory: what needs the database is who a session cookie belongs to.
"""

import asyncio
import importlib.util
import random
import statistics
import string
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import AsyncClient, Client
from elasticsearch import Elasticsearch
from pytest_django import DjangoDbBlocker

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server, manage
from esassistant.clock import now_utc
from esassistant.errors import StoreRefused
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp

if TYPE_CHECKING:
    from dev.servers.postgresql import Postgresql, PostgresqlServer

MAX_CONNECTIONS = 60
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HTML = {"Accept": "text/html"}
PASSWORD = "a long enough password"
SETTINGS = {
    "ESASSISTANT_DETAILS": "authorized",
    "HEALTH_CACHE_TTL": 1,
    "HEALTH_TIMEOUT": 1,
    "MAPPING_CACHE_REFRESH_INTERVAL": 0,
}


def cookie(key: str) -> dict[str, str]:
    return {"Cookie": f"{django_settings.SESSION_COOKIE_NAME}={key}"}


def junk() -> dict[str, str]:
    return cookie("".join(random.choices(string.ascii_lowercase + string.digits, k=32)))


@dataclass(frozen=True)
class Database:
    """A PostgreSQL with the tables, and the session of a superuser in it."""

    server: "PostgresqlServer"
    django: "Postgresql"
    session: dict[str, str]

    @contextmanager
    def connection(self) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(self.server.url.replace("postgres://", "postgresql://"), autocommit=True) as connection:
            yield connection

    def execute(self, statement: str) -> Any:
        with self.connection() as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else None


@pytest.fixture(scope="module")
def database(django_db_blocker: DjangoDbBlocker, django_db_setup: None) -> Iterator[Database]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver psycopg is not installed")
    from dev.servers.postgresql import Postgresql, PostgresqlServer, programs

    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed: neither initdb on the PATH nor /usr/lib/postgresql/*/bin")
    keys: list[str] = []

    def prepare() -> None:
        call_command("migrate", verbosity=0)
        client = Client()
        client.force_login(get_user_model().objects.create_superuser("ada", "ada@example.org", PASSWORD))
        keys.append(client.cookies[django_settings.SESSION_COOKIE_NAME].value)

    with PostgresqlServer(found, max_connections=MAX_CONNECTIONS) as server:
        postgresql = Postgresql(server)
        with django_db_blocker.unblock(), postgresql.as_default():
            postgresql.run(prepare)
        yield Database(server, postgresql, cookie(keys[0]))


@pytest.fixture(scope="module")
def serving(node: Node, database: Database) -> Iterator[Server]:
    with Elasticsearch(node.url) as client:
        make_index(client, "known")
        try:
            with Server(node.url, DATABASE_URL=database.server.url, **SETTINGS) as server:
                wait_until(lambda: server.get("/readyz").status_code == 200, 30)
                yield server
        finally:
            client.indices.delete(index="known")


JUNK_COOKIES = 400
PATHS = ("/", "/browse/", "/api/health", "/api/indices", "/admin/", "/admin/status/")


class Watched:
    """How many connections others have to a PostgreSQL at most, for the length of the block."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most = 0
        self.looks = 0

    def _watch(self) -> None:
        count = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        with self._database.connection() as connection:
            while not self._ended.is_set():
                self.most = max(self.most, connection.execute(count).fetchone()[0])
                self.looks += 1

    def __enter__(self) -> "Watched":
        self._thread.start()
        wait_until(lambda: self.looks, 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


async def flood(url: str) -> Counter[int]:
    """Ask with so many junk cookies at once; the statuses."""
    limits = httpx.Limits(max_connections=JUNK_COOKIES)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        asked = [http.get(PATHS[i % len(PATHS)], headers=junk() | HTML) for i in range(JUNK_COOKIES)]
        return Counter(answer.status_code for answer in await asyncio.gather(*asked))


@pytest.mark.parametrize("free", [MAX_CONNECTIONS, 4], ids=["all free", "few free"])
def test_case_57_junk_session_cookies(database: Database, serving: Server, figure: Figure, free: int) -> None:
    """Strangers' answers and refusals, no 500, few connections; also where others have taken nearly all of them."""
    before = len(serving.output())
    taken = MAX_CONNECTIONS - free
    with held_connections(database, taken) as held, Watched(database) as watched:
        statuses = asyncio.run(flood(serving.url))
    assert set(statuses) <= {200, 302, 401, 503}
    assert statuses[200] + statuses[302] + statuses[401] > 0
    assert watched.looks > 1
    assert watched.most - held <= 16
    assert "Traceback" not in serving.output()[before:]
    wait_until(lambda: serving.get("/admin/", headers=database.session).status_code == 200, 30)
    told = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))
    figure(57, f"{watched.most - held} connections at most; {told}; {free} free")


@contextmanager
def held_connections(database: Database, number: int) -> Iterator[int]:
    """Take so many connections for the length of the block."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(database.connection())
        yield number


@contextmanager
def stopped(database: Database) -> Iterator[None]:
    database.server.stop()
    try:
        yield
    finally:
        database.server.start()


@contextmanager
def suspended(database: Database) -> Iterator[None]:
    database.server.suspend()
    try:
        yield
    finally:
        database.server.resume()


@contextmanager
def locked(database: Database) -> Iterator[None]:
    with database.connection() as connection, connection.transaction():
        connection.execute("LOCK TABLE django_session, auth_user IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def not_migrated(database: Database) -> Iterator[None]:
    database.execute("ALTER TABLE django_session RENAME TO elsewhere")
    try:
        yield
    finally:
        database.execute("ALTER TABLE elsewhere RENAME TO django_session")


Trouble = Callable[[Database], Any]
TROUBLES: dict[str, tuple[Trouble, str]] = {
    "stopped": (stopped, "could not be reached"),
    "suspended": (suspended, "could not be reached"),
    "locked": (locked, "is kept locked by another process"),
    "not migrated": (not_migrated, "lacks a table or a column"),
}
FROM_MEMORY = ("/", "/browse/", "/browse/known", "/admin/status/", "/api/health", "/api/performance", "/api/indices")
WITH_TOKEN = (
    "/",
    "/browse/",
    "/browse/known",
    "/api/health",
    "/api/performance",
    "/api/indices",
    "/metrics",
    "/api/cache/stats",
)
FOR_STRANGERS = ("/", "/api/health", "/api/cache/stats", "/api/openapi.json")
FOR_KNOWN = ("/browse/", "/api/indices", "/api/performance", "/admin/status/", "/admin/")


def timed(server: Server, path: str, headers: dict[str, str]) -> tuple[httpx.Response, float]:
    started_at = time.monotonic()
    answer = server.get(path, headers=headers | HTML)
    return answer, time.monotonic() - started_at


@pytest.mark.parametrize("kind", TROUBLES)
def test_case_58_the_database_is_in_trouble(database: Database, serving: Server, figure: Figure, kind: str) -> None:
    """Who was known stays known, and the status page, mappings and API go on from memory; a junk cookie is a
    stranger's; what needs the database is 503 with the cause, which health and the log say too; all of it ends by
    itself, and no session is lost.
    """
    trouble, cause = TROUBLES[kind]
    wait_until(lambda: serving.get("/admin/", headers=database.session).status_code == 200, 30)
    # The trouble before this one is remembered for some seconds.
    wait_until(lambda: serving.get("/browse/", headers=junk() | HTML).status_code != 503, 30)
    before = len(serving.output())
    with trouble(database):
        _, first = timed(serving, "/admin/status/", database.session)
        asked = [(path, database.session, {200}) for path in FROM_MEMORY]
        asked += [(path, BEARER, {200}) for path in WITH_TOKEN]
        asked += [(path, junk(), {200}) for path in FOR_STRANGERS]
        asked += [(path, junk(), {503}) for path in FOR_KNOWN]
        took = []
        for path, headers, expected in asked:
            answer, seconds = timed(serving, path, headers)
            took.append(seconds)
            assert answer.status_code in expected, (path, headers, answer.status_code, answer.text[:300])
            assert "set-cookie" not in answer.headers or "sessionid" not in answer.headers["set-cookie"]
            if answer.status_code == 503:
                assert cause in answer.text, (path, answer.text)
                assert "127.0.0.1" not in answer.text

        def health() -> str:
            found = serving.get("/api/health", headers=BEARER).json()["services"]["database"]["error"]
            return str(found)

        wait_until(lambda: cause in health(), 30)
    recovered = wait_until(lambda: serving.get("/admin/", headers=database.session).status_code == 200, 30)
    output = serving.output()[before:]
    assert "Traceback" not in output
    said = sum(cause in line and "WARNING" in line and "esassistant.database" in line for line in output.splitlines())
    # Once; not at all where the same was said within the last minute.
    assert said == 1 or (said == 0 and kind == "suspended")
    # A machine that does much else answers later, but not half of the requests: each would wait two seconds or more.
    assert statistics.median(took) <= 1.0
    figure(
        58,
        f"PostgreSQL {kind}: {len(took)} answers, the slowest after {max(took):.2f} s (the first {first:.1f} s); "
        f"over {recovered:.1f} s after its end",
    )


async def fill(store: Any, len_bytes: int) -> None:
    """Write more than other tests may have left room for."""
    for number in range(500):
        await store.report(f"{len_bytes}-{number}", b"x" * len_bytes, 60.0)


@sync_to_async
def fill_sessions() -> None:
    """Leave no room in the table of sessions either."""
    connection.close()  # of this thread: it was opened before the disk was full
    refused = 0
    while refused < 20:
        key = "".join(random.choices(string.ascii_lowercase, k=32))
        try:
            Session.objects.create(session_key=key, session_data="", expire_date=now_utc() + timedelta(days=14))
            refused = 0
        except OperationalError:
            refused += 1


async def log_in(client: AsyncClient) -> int:
    form = {"username": "ada", "password": PASSWORD}
    answer = await client.post("/admin/login/?next=/", form, headers=HTML)
    if answer.status_code == 503:
        assert b"its disk is full" in answer.content
    return int(answer.status_code)


@pytest.mark.django_db(transaction=True)
async def test_case_58_the_disk_is_full(
    node: Node, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, figure: Figure, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite, in a file that may not grow, as where the disk is full: who is logged in reads on, a login is 503 with
    the cause, which health says too; with room again everything works.
    """
    user = await get_user_model().objects.acreate_superuser("ada", "ada@example.org", PASSWORD)
    browser, other = AsyncClient(), AsyncClient()
    await browser.aforce_login(user)
    options = connection.settings_dict["OPTIONS"]
    async with open_app(node.url, health={"ttl": 0.5}) as http:
        with monkeypatch.context() as patched:
            patched.setitem(options, "init_command", f"{options['init_command']} PRAGMA max_page_count=1;")
            for len_bytes in (200_000, 3_000):
                with pytest.raises(StoreRefused, match="its disk is full"):
                    await fill(registry.get("store"), len_bytes)
            await fill_sessions()
            answers = [
                (await browser.get(path, headers=HTML)).status_code for path in FROM_MEMORY[:2] + FROM_MEMORY[3:]
            ]
            refused = await log_in(other)
            health = (await http.get("/api/health", headers=BEARER)).json()["services"]["store"]
            told = f"{health['error']}"
        await sync_to_async(lambda: connection.close())()  # that of the thread
        accepted = await log_in(other)
    assert set(answers) == {200}
    assert (refused, accepted) == (503, 302)
    assert "its disk is full" in told
    assert "Traceback" not in caplog.text
    figure(58, "SQLite, disk full: pages go on, a login is 503 with the cause")


def test_a_database_without_its_tables_keeps_serve_from_starting(database: Database) -> None:
    """Where it is none of the server's own: the exit code and the remedy say what to do."""
    database.execute("CREATE DATABASE empty")
    url = database.server.url.replace("/postgres", "/empty")
    ended = manage("serve", "--port", "0", elasticsearch_url="http://127.0.0.1:9", DATABASE_URL=url)
    assert ended.returncode == 78
    assert "are due. Run `manage.py migrate`, then start again." in ended.stderr
    assert f"127.0.0.1:{database.server.port}" in ended.stderr
