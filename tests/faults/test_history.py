"""Case 67, as far as the history itself: who reads the cluster is killed around writing and publishing, and whoever
goes on neither loses a change nor tells one twice; several databases behind one store.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.tcp_proxy import TcpProxy
from dev.ports import HOST
from dev.servers.process import wait_until
from dev.servers.redis import RedisServer
from dev.servers.service import Server
from tests.support.deployments import (
    KNOWN_SECONDS,
    LEASE_SECONDS,
    SETTINGS,
    add_field,
    has,
    locked_database,
    two_servers,
    watches,
)
from tests.support.fixtures import Figure

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def added(server: Server) -> list[str]:
    """The fields that were added, as the history tells it, oldest first; a gap is one too."""
    page = server.get("/api/changes").json()
    assert [change["id"] for change in page["changes"]] == list(range(1, page["last_id"] + 1))
    return [field for change in page["changes"] for field in (change["added"] or [change["kind"]])]


def test_case_67_killed_between_writing_and_publishing(
    redis: RedisServer, node: Node, cluster: Elasticsearch, figure: Figure
) -> None:
    """The change is written, the store can't be reached, and the process is killed: another reads the same, publishes
    it, and tells it no second time. What changes while none runs is told by the next that starts.
    """
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with TcpProxy(HOST, redis.port) as proxy:
        with two_servers(node.url, f"redis://{HOST}:{proxy.port}/0", redis.url) as (one, two):
            add_field(cluster, "b")
            wait_until(lambda: has(two, "b"), KNOWN_SECONDS)
            assert added(two) == ["b"]
            proxy.blackhole()
            add_field(cluster, "c")
            wait_until(lambda: added(two) == ["b", "c"], KNOWN_SECONDS)
            assert not has(two, "c")
            one.kill()
            taken_over = wait_until(lambda: has(two, "c"), 3 * LEASE_SECONDS)
            add_field(cluster, "d")
            wait_until(lambda: added(two) == ["b", "c", "d"], KNOWN_SECONDS)
            two.kill()
        add_field(cluster, "e")
        with Server(node.url, REDIS_URL=redis.url, **SETTINGS) as later:
            # Whether its fields are known depends on what the store still gives at the start, in time.
            wait_until(lambda: added(later)[3:] in (["e"], ["changed"]), 3 * LEASE_SECONDS)
            assert added(later)[:3] == ["b", "c", "d"]
    figure(67, f"killed after writing: published {taken_over:.1f} s later by another, no change twice, none lost")


def test_case_67_killed_between_publishing_and_writing(
    redis: RedisServer, node: Node, cluster: Elasticsearch, figure: Figure
) -> None:
    """The database is locked: mappings are published all the same, soon. The process is killed before it can write what
    it owes: another that reads the cluster tells it.
    """
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with two_servers(node.url, redis.url, redis.url) as (one, two):
        with locked_database():
            add_field(cluster, "b")
            published = wait_until(lambda: has(two, "b"), KNOWN_SECONDS)
            one.kill()
        assert added(two) == []
        told = wait_until(lambda: added(two) == ["b"], 3 * LEASE_SECONDS)
        add_field(cluster, "c")
        wait_until(lambda: added(two) == ["b", "c"], KNOWN_SECONDS)
    figure(67, f"database locked: published after {published:.1f} s; killed, told {told:.1f} s later by another, once")


def test_case_67_several_databases(
    redis: RedisServer, node: Node, cluster: Elasticsearch, tmp_path: Path, figure: Figure
) -> None:
    """Servers with databases of their own share a store: each has all changes, with ids of its own, and says so."""
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    own = {"REDIS_URL": redis.url, **SETTINGS}
    with (
        Server(node.url, **own) as one,
        Server(node.url, DATABASE_URL=f"sqlite:///{tmp_path / 'other.sqlite3'}", **own) as two,
    ):
        both = (one, two)
        wait_until(lambda: all(server.get("/readyz").status_code == 200 for server in both), 30)
        wait_until(lambda: any(map(watches, both)), 30)
        add_field(cluster, "b")
        wait_until(lambda: all(added(server) == ["b"] for server in both), KNOWN_SECONDS)
        pages: Callable[[], list[Any]] = lambda: [server.get("/api/changes").json() for server in both]  # noqa: E731
        wait_until(lambda: [page["shared"] for page in pages()] == [False, False], 20)
        assert len({page["history"] for page in pages()}) == 2
    figure(67, "two databases behind one store: both have all changes, and say that the ids are their own")
