"""The change feed of real servers over a real node: what subscribers get, also when they come back, and who gets it."""

import asyncio
import importlib.util
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from elasticsearch import Elasticsearch
from pytest_django import DjangoDbBlocker

from cacheapp.models import MappingChange
from dev.elasticsearch.node import Node
from dev.event_stream import EventStream, following
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import TOKEN, Server
from esassistant.config.tokens import digest_of
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS: dict[str, Any] = {"MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 0}
SCOPED = "token-of-logs-0123456789"
SOON = 15.0
TOKENS_FILE = f"""
[[token]]
name = "logs"
sha256 = "{digest_of(SCOPED.encode())}"
may = ["read"]
indices = ["logs-*"]
"""


@contextmanager
def serving(node: Node, count: int = 1, *arguments: str, **settings: Any) -> Iterator[list[Server]]:
    """Servers that have read the cluster, one of which watches."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(node.url, *arguments, **SETTINGS, **settings)) for _ in range(count)]
        wait_until(lambda: all(server.get("/readyz").status_code == 200 for server in servers), 40)
        wait_until(lambda: any(watch_of(server) == "watching" for server in servers), 40)
        yield servers


def watch_of(server: Server) -> str:
    answer = server.get("/api/cache/stats", headers={"Authorization": f"Bearer {TOKEN}"})
    return str(answer.json()["watch"]["state"])


def recorded(server: Server, field: str) -> bool:
    return f'"{field}"' in server.get("/api/changes").text


def add_field(cluster: Elasticsearch, name: str, index: str = "shop") -> None:
    cluster.indices.put_mapping(index=index, properties={name: {"type": "ip"}})


def make(cluster: Elasticsearch, *names: str) -> None:
    for name in names:
        cluster.indices.create(index=name, mappings={"properties": {"a": {"type": "date"}}})


def told(stream: EventStream) -> list[str]:
    """The fields that were added, and the kinds of other changes, in the order they came."""
    return [field for one in stream.events for field in (one.data["added"] or [one.data["kind"]])]


async def test_a_change_is_told_at_once(node: Node, cluster: Elasticsearch) -> None:
    """The event of a new field has what the page of changes has of it; headers keep proxies from holding it back."""
    make(cluster, "shop")
    with serving(node) as [server]:
        async with following(f"{server.url}/api/changes") as stream:
            assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
            assert (stream.headers["x-accel-buffering"], stream.headers["cache-control"]) == ("no", "no-store")
            await asyncio.to_thread(add_field, cluster, "b")
            [event] = await stream.wait_for(1, SOON)
            page = (await asyncio.to_thread(server.get, "/api/changes")).json()
            assert event.data == page["changes"][-1]
            assert event.id == f"{event.data['id']}-{page['history']}"
            assert (event.data["kind"], event.data["added"]) == ("changed", ["b"])
            assert stream.retry_ms is not None
            assert stream.comments == [f"history {page['history']}"]
            report = (await asyncio.to_thread(server.get, "/api/performance")).json()["feed"]
            assert (report["subscribers"], report["events_total"], report["read_error"]) == (1, 1, None)
            metrics = (await asyncio.to_thread(server.get, "/metrics")).text
            assert "esassistant_feed_subscribers{" in metrics
        await asyncio.to_thread(
            wait_until, lambda: server.get("/api/performance").json()["feed"]["subscribers"] == 0, 5
        )


@pytest.mark.parametrize("store", ["redis", "database"])
async def test_coming_back_loses_and_doubles_none(node: Node, cluster: Elasticsearch, store: str) -> None:
    """A subscriber that leaves after each event or two, and comes back to the other of two servers, is told everything
    once and in order, whichever of them wrote it.
    """
    make(cluster, "shop")
    with ExitStack() as stack:
        redis = {"REDIS_URL": stack.enter_context(RedisServer()).url} if store == "redis" else {}
        servers = stack.enter_context(serving(node, 2, **redis))
        fields = [f"f{number}" for number in range(12)]

        def change() -> None:
            for field in fields:
                add_field(cluster, field)

        changing = asyncio.create_task(asyncio.to_thread(change))
        found: list[tuple[str, str]] = []
        last, turn = "", 0
        query = "?since=0"
        while len(found) < len(fields):
            async with following(f"{servers[turn % 2].url}/api/changes{query}", last_event_id=last) as stream:
                assert stream.status == 200, stream.body
                await stream.wait_for(1, SOON)
                found += [(event.id, field) for event in stream.events for field in event.data["added"]]
                last, turn = stream.last_event_id, turn + 1
        await changing
        # What comes soon after each other may be one change of the index, which has several fields.
        assert sorted(field for _, field in found) == sorted(fields)
        assert [ident for ident, _ in found] == sorted((ident for ident, _ in found), key=number_of)


def number_of(ident: str) -> int:
    return int(ident.partition("-")[0])


async def test_filters_and_scopes(node: Node, cluster: Elasticsearch, tmp_path: Path) -> None:
    """Each is told what it asks for, of what exists for it; who sees some of the names has to say of which."""
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS_FILE)
    file.chmod(0o600)
    make(cluster, "logs-1", "vault")
    with serving(node, ESASSISTANT_DETAILS="authorized", ESASSISTANT_TOKENS_FILE=file) as [server]:
        url = f"{server.url}/api/changes"
        async with AsyncExitStack() as stack:

            async def follow(query: str, token: str | None = TOKEN) -> EventStream:
                return await stack.enter_async_context(following(url + query, token=token))

            refused = [await follow(*given) for given in (("", None), ("", "wrong"), ("", SCOPED), ("?limit=1", TOKEN))]
            assert [one.status for one in refused] == [401, 401, 403, 400]
            async with asyncio.timeout(SOON):
                await refused[2].ended
            assert "pattern=logs-*" in msgspec.json.decode(refused[2].body)["detail"]
            whole, scoped = await follow(""), await follow("?pattern=*", SCOPED)
            created, named = await follow("?kind=created"), await follow("?pattern=vault,logs-*,-logs-2")
            await asyncio.to_thread(add_field, cluster, "b", "vault")
            await whole.wait_for(1, SOON)
            await asyncio.to_thread(make, cluster, "logs-2")
            await asyncio.to_thread(add_field, cluster, "c", "logs-1")
            await whole.wait_for(3, SOON)
            wanted = {
                whole: [("changed", "vault"), ("created", "logs-2"), ("changed", "logs-1")],
                scoped: [("created", "logs-2"), ("changed", "logs-1")],
                created: [("created", "logs-2")],
                named: [("changed", "vault"), ("changed", "logs-1")],
            }
            for stream, changes in wanted.items():
                events = await stream.wait_for(len(changes), SOON)
                assert [(event.data["kind"], event.data["index"]) for event in events] == changes
            assert scoped.events[0].data["compared_with"] == "logs-1"


async def test_case_67_rows_that_are_not_kept(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """410 with the oldest id, also for who was told something by another history; the page of changes says the same."""
    make(cluster, "shop")
    with serving(node) as [server]:
        for field in ("b", "c", "d"):
            add_field(cluster, field)
            wait_until(partial(recorded, server, field), SOON)
        await MappingChange.objects.filter(number__lte=2).adelete()
        for query, last in (("?since=0", None), ("?since=1", "1"), ("", "3-another"), ("?since=9", None)):
            async with following(f"{server.url}/api/changes{query}", last_event_id=last) as stream:
                assert stream.status == 410
                async with asyncio.timeout(SOON):
                    await stream.ended
                problem = msgspec.json.decode(stream.body)
                assert (problem["type"], problem["oldest_id"], problem["last_id"]) == ("/problems/changes-gone", 3, 3)
        async with following(f"{server.url}/api/changes?since=2") as stream:
            assert [event.data["added"] for event in await stream.wait_for(1, SOON)] == [["d"]]
    figure(67, "events after an id that is not kept any more, or of another history: 410 with the oldest id")


async def test_the_end_of_the_server(node: Node, cluster: Elasticsearch) -> None:
    """It tells changes through its drain, then streams end as whole answers; a client goes on elsewhere."""
    make(cluster, "shop")
    with serving(node, ESASSISTANT_DRAIN_SECONDS=2) as [server]:
        async with following(f"{server.url}/api/changes") as stream:
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(add_field, cluster, "b")
            await stream.wait_for(1, SOON)
            async with asyncio.timeout(SOON):
                await stream.ended
            assert stream.is_whole
            await asyncio.to_thread(server.wait, SOON)
        assert "Traceback" not in server.output()
    with serving(node) as [server]:
        await asyncio.to_thread(add_field, cluster, "c")
        async with following(f"{server.url}/api/changes", last_event_id=stream.last_event_id) as again:
            [event] = await again.wait_for(1, SOON)
            assert event.data["id"] == stream.events[0].data["id"] + 1


@pytest.fixture
def postgresql_url(django_db_blocker: DjangoDbBlocker, django_db_setup: None) -> Iterator[str]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver psycopg is not installed")
    from dev.servers.postgresql import Postgresql, PostgresqlServer, programs

    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed: neither initdb on the PATH nor /usr/lib/postgresql/*/bin")
    with PostgresqlServer(found) as server:
        postgresql = Postgresql(server)
        with django_db_blocker.unblock(), postgresql.as_default():
            postgresql.run(lambda: call_command("migrate", verbosity=0))
        yield server.url


@asynccontextmanager
async def all_following(servers: list[Server]) -> AsyncIterator[list[EventStream]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(following(f"{server.url}/api/changes")) for server in servers]


async def test_one_order_over_postgresql(node: Node, cluster: Elasticsearch, postgresql_url: str) -> None:
    """Two servers with nothing between them but PostgreSQL tell the same, with the same ids."""
    make(cluster, "shop")
    with serving(node, 2, DATABASE_URL=postgresql_url) as servers:
        async with all_following(servers) as streams:
            for field in ("b", "c", "d"):
                await asyncio.to_thread(add_field, cluster, field)
                for stream in streams:
                    async with asyncio.timeout(SOON):
                        while field not in told(stream):  # noqa: ASYNC110  (what is waited for comes by the loop)
                            await asyncio.sleep(0.01)
            assert [event.id for event in streams[0].events] == [event.id for event in streams[1].events]
            assert told(streams[0]) == told(streams[1]) == ["b", "c", "d"]
