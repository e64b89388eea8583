"""What processes share: a command publishes, servers take over, a later server starts warm without the cluster."""

import json
import re
import time
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server, manage

pytestmark = pytest.mark.django_db(transaction=True)


def test_across_processes(node: Node, cluster: Elasticsearch) -> None:
    """A command's pass is in a running server within 2 s, and in one that starts later with the cluster down."""
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})
    with FaultProxy(node.url) as proxy:
        with Server(proxy.url, MAPPING_CACHE_REFRESH_INTERVAL=0) as server:
            wait_until(lambda: server.get("/readyz").status_code == 200, 10)
            # The server has no schedule, and its mappings are fresh: it learns of the change by the store alone.
            cluster.indices.put_mapping(index="shop", properties={"b": {"type": "date"}})
            ended = manage("warm_cache", "--format", "json", elasticsearch_url=proxy.url)
            proxy.refuse()
            assert ended.returncode == 0, ended.stderr
            result = json.loads(ended.stdout)
            assert (result["outcome"], result["published"], result["changed_total"]) == ("completed", True, 1)

            def fields() -> set[str]:
                return set(server.get("/api/mappings/shop").json()["shop"]["mappings"]["properties"])

            wait_until(lambda: fields() == {"a", "b"}, 2)
            assert server.get("/api/mappings/shop").headers["x-cache-source"] == "store"
        with Server(proxy.url) as later:
            wait_until(lambda: later.get("/readyz").status_code == 200, 5)
            answer = later.get("/api/mappings/shop")
            assert set(answer.json()["shop"]["mappings"]["properties"]) == {"a", "b"}
            assert answer.headers["x-cache-source"] == "store"
            assert int(answer.headers["age"]) >= 0


def test_exit_codes(node: Node, cluster: Elasticsearch) -> None:
    """0 completed, 75 within MIN_REFRESH_INTERVAL with the seconds left, 0 with --force, 1 without a cluster, 3
    partial.
    """
    for name in ("good", "bad"):
        cluster.indices.create(index=name)
    assert manage("refresh_cache", elasticsearch_url=node.url).returncode == 0
    limited = manage("refresh_cache", "--format", "json", elasticsearch_url=node.url)
    assert limited.returncode == 75
    assert 0 < json.loads(limited.stdout)["retry_after_seconds"] <= 60
    assert manage("refresh_cache", "--force", elasticsearch_url=node.url).returncode == 0
    down = manage("warm_cache", elasticsearch_url="http://127.0.0.1:9", ELASTICSEARCH_MAX_RETRIES=0)
    assert down.returncode == 1
    assert "could not be reached" in down.stdout
    with FaultProxy(node.url) as proxy, proxy.fault(path="/bad/_mapping", status=500):
        partial = manage("warm_cache", "--full", elasticsearch_url=proxy.url, MAPPING_CACHE_BATCH_SIZE=1)
    assert partial.returncode == 3
    assert re.search(r"bad .* answered with status 500", partial.stdout)
    for wrong in (["--nonsense"], ["--full", "--index", "a"], ["--index", "a b"]):
        assert manage("warm_cache", *wrong, elasticsearch_url=node.url).returncode == 2
    assert manage("refresh_cache", "--wait-for-lease", "-1", elasticsearch_url=node.url).returncode == 2


def test_a_part_is_warmed(node: Node, cluster: Elasticsearch) -> None:
    """`warm_cache` reads what changed; with names or patterns those, by an alias too; and says when there are none."""
    for name in ("logs-1", "logs-2", "shop"):
        cluster.indices.create(index=name, aliases={"all-logs": {}} if name.startswith("logs") else {})

    def warmed(*arguments: str) -> tuple[int, str, int]:
        ended = manage("warm_cache", "--format", "json", *arguments, elasticsearch_url=node.url)
        result = json.loads(ended.stdout)
        return ended.returncode, result["outcome"], result["read_total"]

    assert warmed("--index", "nope") == (1, "failed", 3)  # nothing was published yet: so everything is read, first
    assert warmed("--index", "shop") == (0, "completed", 1)
    assert warmed() == (0, "unchanged", 0)
    cluster.indices.put_mapping(index="shop", properties={"a": {"type": "ip"}})
    assert warmed() == (0, "completed", 1)
    assert warmed("--index", "all-logs") == (0, "completed", 2)
    assert warmed("--pattern", "*-1", "--index", "shop") == (0, "completed", 2)
    assert warmed("--full") == (0, "completed", 3)
    assert warmed("--index", "absent") == (1, "failed", 0)


def test_a_database_that_lacks_its_tables(node: Node, cluster: Elasticsearch, tmp_path: Path) -> None:
    """Without tables, or without its file, nothing can be published: the command says which, names the remedy, fails,
    and makes none.
    """
    path = tmp_path / "empty.sqlite3"
    ended = manage("warm_cache", elasticsearch_url=node.url, DATABASE_URL=f"sqlite:///{path}")
    assert (ended.returncode, path.exists()) == (1, False)
    assert (
        f"The database {path} isn't there. `manage.py serve` and `manage.py migrate` make it."
        in ended.stdout + ended.stderr
    )
    path.touch()
    ended = manage("warm_cache", elasticsearch_url=node.url, DATABASE_URL=f"sqlite:///{path}")
    assert ended.returncode == 1
    assert "lacks a table or a column. Run `manage.py migrate`." in ended.stdout


def test_samples_load_once(node: Node, cluster: Elasticsearch) -> None:
    """`load_samples` makes the indices and the data stream with their documents, and leaves them alone the second
    time.
    """
    for left_alone in (0, 10):
        loaded = manage("load_samples", elasticsearch_url=node.url)
        assert loaded.returncode == 0, loaded.stderr
        assert loaded.stdout.count("left alone") == left_alone
        cluster.indices.refresh(index="*")
        assert cluster.count(index="orders").body["count"] == 27
        assert len(cluster.indices.get_alias(name="logs-web").body) == 6
        assert cluster.count(index="metrics-shop").body["count"] == 48
        stream = cluster.indices.resolve_index(name="metrics-shop").body["data_streams"][0]
        assert len(stream["backing_indices"]) == 2
    unreachable = manage("load_samples", elasticsearch_url="http://127.0.0.1:9")
    assert unreachable.returncode == 1
    assert "Can't reach Elasticsearch" in unreachable.stderr


def test_another_clusters_mappings_are_not_taken(node: Node, cluster: Elasticsearch) -> None:
    """A server set to another cluster doesn't answer with what was published for the first, not even while its own is
    absent.
    """
    cluster.indices.create(index="shop")
    assert manage("warm_cache", elasticsearch_url=node.url).returncode == 0
    with Server("http://127.0.0.1:9") as other:
        time.sleep(2.5)  # two polls of the store
        assert other.get("/readyz").status_code == 503
        assert other.get("/api/mappings/shop").status_code == 503


def test_a_partial_pass_of_a_command_keeps_the_rest(node: Node, cluster: Elasticsearch) -> None:
    """What a command couldn't read stays as it was published before: a server that starts later still has it."""
    for name in ("good", "bad"):
        cluster.indices.create(index=name)
    with FaultProxy(node.url) as proxy:
        assert manage("warm_cache", elasticsearch_url=proxy.url).returncode == 0
        with proxy.fault(path="/bad/_mapping", status=500):
            options = ("--full", "--format", "json")
            partial = manage("warm_cache", *options, elasticsearch_url=proxy.url, MAPPING_CACHE_BATCH_SIZE=1)
        assert (partial.returncode, json.loads(partial.stdout)["changed_total"]) == (3, 0)
        proxy.refuse()
        with Server(proxy.url) as server:
            wait_until(lambda: server.get("/readyz").status_code == 200, 5)
            assert server.get("/api/mappings/bad").status_code == 200
