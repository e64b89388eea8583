"""Case 51: the store can be read and not written. It is said, with the cause, until a write succeeds."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from elasticsearch import Elasticsearch

from cacheapp.stores.database import open_database_store
from cacheapp.stores.database_thread import DatabaseThread
from cacheapp.stores.redis.store import open_redis_store
from cacheapp.stores.writes import RecordingStore
from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server
from esassistant.errors import StoreRefused
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp
from tests.support.running import BEARER, refreshed, until
from tests.support.states import FIRST, LONG, load, take
from tests.support.stores import PATIENT, Backend

SAID_SECONDS = 20.0
"""Each process writes every five seconds; what others may still show of it counts for 15 s."""
Trouble = Callable[[RedisServer], Callable[[], object]]
"""Makes a Redis refuse writes; what it gives ends that."""


def read_only(redis: RedisServer) -> Callable[[], object]:
    redis.command("REPLICAOF", "127.0.0.1", "9")
    return lambda: redis.command("REPLICAOF", "NO", "ONE")


def out_of_memory(redis: RedisServer) -> Callable[[], object]:
    redis.command("CONFIG", "SET", "maxmemory", "1")
    return lambda: redis.command("CONFIG", "SET", "maxmemory", "0")


def unsaved(redis: RedisServer) -> Callable[[], object]:
    """Its snapshots can't be written, as a folder is in their place."""

    def saved(status: str) -> Callable[[], bool]:
        def is_so() -> bool:
            return bool(redis.command("INFO", "persistence")["rdb_last_bgsave_status"] == status)

        return is_so

    place = redis.folder / "dump.rdb"
    place.mkdir()
    redis.command("CONFIG", "SET", "save", "3600 1000000")
    redis.command("BGSAVE")
    wait_until(saved("err"), 10)

    def mend() -> None:
        place.rmdir()
        redis.command("BGSAVE")
        wait_until(saved("ok"), 10)

    return mend


TROUBLES: dict[str, Trouble] = {"READONLY": read_only, "OOM": out_of_memory, "MISCONF": unsaved}
REMEDIES = {"READONLY": "Name the primary", "OOM": "Raise its maxmemory", "MISCONF": "Its log says why"}


def writable(server: Server) -> float:
    [sample] = [line for line in server.get("/metrics").text.splitlines() if "_store_writable{" in line]
    return float(sample.rpartition(" ")[2])


def store_health(server: Server) -> Any:
    return server.get("/api/health").json()["services"]["store"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", TROUBLES)
def test_case_51_redis_takes_no_writes(node: Node, cluster: Elasticsearch, figure: Figure, code: str) -> None:
    """Health, statistics, advice, metric and log name the cause and the next step; mappings go on; all of it ends by
    itself with the first write that succeeds.
    """
    make_index(cluster, "known")
    settings = {"MAPPING_CACHE_REFRESH_INTERVAL": 0, "MIN_REFRESH_INTERVAL": 0}
    with RedisServer() as redis, Server(node.url, REDIS_URL=redis.url, **settings) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        assert store_health(server)["status"] == "healthy"
        mend = TROUBLES[code](redis)
        said = wait_until(lambda: store_health(server)["status"] == "degraded", SAID_SECONDS)
        error = store_health(server)["error"]
        told = server.get("/api/cache/stats").json()["store"]
        advice = server.get("/api/performance").json()["recommendations"]
        unpublished = server.refresh().json()
        answered = server.get("/api/mappings/known").status_code
        wait_until(lambda: writable(server) == 0.0, SAID_SECONDS)
        mend()
        ended = wait_until(lambda: store_health(server)["status"] == "healthy", SAID_SECONDS)
        wait_until(lambda: writable(server) == 1.0, SAID_SECONDS)
        after = server.get("/api/cache/stats").json()["store"]
        output = server.output()
    assert f"127.0.0.1:{redis.port}" in error
    assert f"({code})" in error
    assert REMEDIES[code] in error
    assert (told["writable"], f"127.0.0.1:{redis.port}" in told["write_error"]) == (False, False)
    assert f"({code})" in told["write_error"]
    [why] = [each["why"] for each in advice if each["metric"] == "store.write_error"]
    assert REMEDIES[code] in why
    assert (unpublished["published"], f"({code})" in unpublished["error"], answered) == (False, True, 200)
    assert (after["writable"], after["write_error"], after["unwritable_since"]) == (True, None, None)
    assert output.count("is not shared until a write succeeds") == 1
    assert output.count("the store takes writes again") == 1
    figure(51, f"Redis {code}: said after {said:.1f} s, over {ended:.1f} s after its end")


@contextmanager
def read_only_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New connections open SQLite's file for reading alone."""
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "NAME", f"file:{connection.settings_dict['NAME']}?mode=ro")
        yield


async def test_case_51_sqlite_is_read_only(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same over a SQLite file that this process may only read."""
    caplog.set_level(logging.INFO)
    make_index(cluster, "known")

    def store_status() -> str | None:
        report = registry.read("health")
        return None if report is None else report.services["store"].status.value

    async with open_app(node.url, health={"ttl": 0.5}, cache={"min_refresh_interval": 0.0}) as http:
        await refreshed(http)
        with read_only_file(monkeypatch):
            said = await until(lambda: store_status() == "degraded", SAID_SECONDS)
            health = (await http.get("/api/health", headers=BEARER)).json()["services"]["store"]
            unpublished = await refreshed(http)
            assert (await http.get("/api/mappings/known", headers=BEARER)).status_code == 200
        ended = await until(lambda: store_status() == "healthy", SAID_SECONDS)
        assert (await refreshed(http)).published
    assert "its file is read-only" in health["error"]
    assert (unpublished.published, "its file is read-only" in (unpublished.error or "")) == (False, True)
    assert caplog.text.count("is not shared until a write succeeds") == 1
    assert caplog.text.count("the store takes writes again") == 1
    figure(51, f"SQLite read-only: said after {said:.1f} s, over {ended:.1f} s after its end")


@pytest.mark.django_db(transaction=True)
async def test_case_51_a_read_only_sqlite_file_is_read(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    """What was published there is taken over by a process that may only read the file."""
    async with open_database_store() as store:
        await store.publish(FIRST, await take(store))
    with read_only_file(monkeypatch):
        async with open_database_store() as store:
            assert (await load(store)).state.indices.keys() == FIRST.indices.keys()
            with pytest.raises(StoreRefused, match="its file is read-only"):
                await store.report("one", b"{}", LONG)
    figure(51, "SQLite read-only: what was published is read")


async def fill(store: RecordingStore) -> None:
    """Write more than other tests may have left room for."""
    for number in range(500):
        await store.report(f"{number}", b"x" * 200_000, LONG)


@pytest.mark.django_db(transaction=True)
async def test_case_51_sqlite_is_full(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    """A file that may not grow is full to SQLite, as a disk is; a small write ends it once there is room."""
    options = connection.settings_dict["OPTIONS"]
    async with open_database_store() as inner:
        store = RecordingStore(inner)
        with monkeypatch.context() as patched:
            patched.setitem(options, "init_command", f"{options['init_command']} PRAGMA max_page_count=1;")
            with pytest.raises(StoreRefused, match="its disk is full"):
                await fill(store)
            assert await store.generation() == 0
        assert store.refused is not None
        await store.report("one", b"x", LONG)
        assert store.refused is None
    figure(51, "SQLite full: named, over with the next write")


async def test_case_51_postgresql_is_read_only(postgresql: Backend, figure: Figure) -> None:
    """A PostgreSQL that takes reads alone, as a standby does, is named; host and port are for operators."""

    def set_default(value: str) -> None:
        with connection.cursor() as cursor:
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")

    async with postgresql.open() as inner:
        store, thread = RecordingStore(inner), thread_of(inner)
        await store.publish(FIRST, await take(store))
        await thread.run(lambda: set_default("on"), atomic=False)
        try:
            with pytest.raises(StoreRefused, match="it is read-only, as a standby is") as caught:
                await store.report("one", b"{}", LONG)
            assert (await load(store)).state.indices.keys() == FIRST.indices.keys()
        finally:
            await thread.run(lambda: set_default("off"), atomic=False)
        assert store.refused is not None
        await store.report("one", b"{}", LONG)
        assert store.refused is None
    place = f"{connection.settings_dict['HOST']}:{connection.settings_dict['PORT']}"
    assert (place in caught.value.operator_detail, place in caught.value.detail) == (True, False)
    figure(51, "PostgreSQL read-only: named, over with the next write")


def thread_of(store: Any) -> DatabaseThread:
    thread: DatabaseThread = store._thread
    return thread


async def test_case_51_the_acl_that_is_advised_suffices(redis_server: RedisServer, figure: Figure) -> None:
    """A user of Redis without rights is told which it needs, and with these everything works."""
    redis_server.command("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "-@all", "+@read", "+@connection")
    try:
        url = redis_server.url.replace("redis://", "redis://app:secret@")
        async with open_redis_store(url, timeouts=PATIENT) as store:
            with pytest.raises(StoreRefused, match="NOPERM") as caught:
                await store.generation()
            rights = caught.value.detail.partition("REDIS_URL ")[2].rstrip(".").split()
            redis_server.command("ACL", "SETUSER", "app", *rights)
            await store.publish(FIRST, await take(store))
            await store.report("one", b"{}", LONG)
            assert (await load(store)).state.indices.keys() == FIRST.indices.keys()
            await store.wait_for_change(0.1)
    finally:
        redis_server.command("ACL", "DELUSER", "app")
    figure(51, "Redis NOPERM: the rights that the message names suffice")
