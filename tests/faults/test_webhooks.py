"""Case 68: receivers of webhooks that are down, slow or wrong, and the end of the process that sends to them."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.ports import HOST, free_port
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from tests.support.fixtures import Figure
from tests.support.receiver import Received, Reply, WebhookReceiver, entry

pytestmark = pytest.mark.django_db(transaction=True)

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SETTINGS: dict[str, Any] = {"MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 0}
TAKE_OVER_SECONDS = 20.0
"""The lease of who is killed ends after 10 s."""
TAKEN_BEFORE = 3
INDICES = ("shop", "logs", "users")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "webhooks.toml"
    path.touch(0o600)
    return path


def webhooks(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/api/performance", headers=BEARER).json()["webhooks"]
    return found


def sends(server: Server) -> bool:
    """Whether this process does, and has looked how far all targets are."""
    report = webhooks(server)
    return bool(report["sends"] and all(target["behind"] is not None for target in report["targets"].values()))


def last_id(server: Server) -> int:
    found: int = server.get("/api/changes").json()["last_id"]
    return found


def has_later(server: Server, number: int) -> bool:
    return last_id(server) > number


def create(cluster: Elasticsearch) -> None:
    for index in INDICES:
        cluster.indices.create(index=index, mappings={"properties": {"a": {"type": "date"}}})


def change(cluster: Elasticsearch, server: Server, fields: int) -> list[int]:
    """Add fields to all indices, one after the other, each as a change of its own; returns the ids of the changes."""
    first = last_id(server)
    for number in range(fields):
        for index in INDICES:
            before = last_id(server)
            cluster.indices.put_mapping(index=index, properties={f"f{first}-{number}": {"type": "ip"}})
            wait_until(partial(has_later, server, before), 10)
    return list(range(first + 1, last_id(server) + 1))


def per_index(taken: list[Received]) -> dict[str, list[int]]:
    """The ids that were taken, in the order in which each came first, by index."""
    found: dict[str, list[int]] = {}
    for received in taken:
        ids = found.setdefault(received.data["index"], [])
        if received.data["id"] not in ids:
            ids.append(received.data["id"])
    return found


def in_order(taken: list[Received]) -> bool:
    return all(ids == sorted(ids) for ids in per_index(taken).values())


def test_case_68_down_slow_and_wrong(
    node: Node, cluster: Elasticsearch, receiver: WebhookReceiver, file: Path, figure: Figure
) -> None:
    """One receiver is down, one slow, one answers 500, one redirects: each gets all that it takes in the end, and none
    holds up the one that is well.
    """
    port = free_port()

    def slow() -> Reply:
        time.sleep(0.3)
        return Reply()

    replies: dict[str, Callable[[], Reply]] = {
        "/well": Reply,
        "/slow": slow,
        "/wrong": lambda: Reply(500),
        "/moved": lambda: Reply(302, {"location": f"http://{HOST}:{receiver.port}/stolen"}),
    }
    receiver.answer = lambda received: replies[received.path]()
    base = f"http://{HOST}:{receiver.port}"
    targets = [entry(f"{base}{path}", path.strip("/")) for path in replies]
    file.write_text("".join([*targets, entry(f"http://{HOST}:{port}/down", "down")]))
    create(cluster)

    def taken(path: str) -> list[Received]:
        return [received for received in receiver.taken if received.path == path]

    def has_all(path: str) -> bool:
        return len(taken(path)) == len(ids)

    with Server(node.url, ESASSISTANT_WEBHOOKS=file, **SETTINGS) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 30)
        wait_until(lambda: sends(server), 15)
        ids = change(cluster, server, 3)
        took = wait_until(lambda: has_all("/well"), 10)
        assert sorted(received.data["id"] for received in taken("/well")) == ids
        assert in_order(taken("/well"))
        wait_until(lambda: has_all("/slow"), 15)
        assert in_order(taken("/slow"))
        report = webhooks(server)["targets"]
        for name, error in (
            ("wrong", "it answered 500"),
            ("moved", "it answered 302: redirects aren't followed"),
            ("down", "the receiver could not be reached: the connection was refused"),
        ):
            assert (report[name]["state"], report[name]["behind"] >= len(ids) - 1) == ("failing", True)
            assert report[name]["error"].startswith(error)
            assert 0 < report[name]["attempts_total"] < 12
        assert report["well"]["state"] == "idle"
        assert "stolen" not in {received.path for received in receiver.tried}
        replies |= {"/wrong": Reply, "/moved": Reply}
        for path in ("/wrong", "/moved"):
            wait_until(partial(has_all, path), 40)
            assert in_order(taken(path))
        assert base not in server.output()
    figure(
        68, f"{len(ids)} changes: a receiver that is well had them {took:.1f} s after the last, beside four that aren't"
    )
    figure(
        68, "slow, 500 and a redirect: all came in the end, in the order of each index; the redirect was not followed"
    )


def test_case_68_killed_amid_deliveries(
    node: Node, cluster: Elasticsearch, receiver: WebhookReceiver, file: Path, figure: Figure
) -> None:
    """The process that sends is killed (`kill -9`) while events are under way: another sends what is left, nothing is
    lost, and what comes twice has the same id.
    """
    killed = threading.Event()

    def until_killed(received: Received) -> Reply:
        if received.data["id"] > TAKEN_BEFORE:
            killed.wait(120)  # who sends gives up sooner, and tries again
        return Reply()

    receiver.answer = until_killed
    file.write_text(entry(receiver.url))
    create(cluster)
    settings = {"ESASSISTANT_WEBHOOKS": file, **SETTINGS}
    with Server(node.url, **settings) as one, Server(node.url, **settings) as two:
        wait_until(lambda: all(server.get("/readyz").status_code == 200 for server in (one, two)), 30)
        wait_until(lambda: sends(one) or sends(two), 15)
        sender, other = (one, two) if sends(one) else (two, one)
        assert not webhooks(other)["sends"]
        ids = change(cluster, other, 4)
        wait_until(lambda: len(receiver.tried) > TAKEN_BEFORE, 10)
        sender.kill()
        under_way = len(receiver.tried) - TAKEN_BEFORE
        assert sorted(receiver.ids) == ids[:TAKEN_BEFORE] == [1, 2, 3]
        killed.set()
        took_over = wait_until(lambda: set(receiver.ids) >= set(ids), TAKE_OVER_SECONDS)
        assert in_order(receiver.taken)
        by_message: dict[str, set[int]] = {}
        for received in receiver.taken:
            by_message.setdefault(received.headers["webhook-id"], set()).add(received.data["id"])
        assert all(len(found) == 1 for found in by_message.values())
        assert len(by_message) == len(ids)
        twice = len(receiver.taken) - len(ids)
        assert twice <= under_way
        later = change(cluster, other, 1)
        wait_until(lambda: set(receiver.ids) >= set(later), 10)
    figure(
        68,
        f"killed after {TAKEN_BEFORE} of {len(ids)} events were taken, amid others: the rest came within "
        f"{took_over:.1f} s from another process, none lost, {twice} twice",
    )


def test_case_68_restart_with_a_receiver_that_was_down(
    node: Node, cluster: Elasticsearch, receiver: WebhookReceiver, file: Path, figure: Figure
) -> None:
    """What waits for a receiver survives the end of all processes, and what changed while none ran is sent too."""
    receiver.answer = lambda _: Reply(503, {"retry-after": "1"})
    file.write_text(entry(receiver.url, indices='["shop", "logs"]', kinds='["changed"]'))
    create(cluster)
    settings = {"ESASSISTANT_WEBHOOKS": file, **SETTINGS}
    with Server(node.url, **settings) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 30)
        wait_until(lambda: sends(server), 15)
        change(cluster, server, 2)
        wait_until(lambda: len(receiver.tried) >= 2, 10)
        server.kill()
    assert receiver.taken == []
    cluster.indices.put_mapping(index="shop", properties={"meanwhile": {"type": "ip"}})
    receiver.answer = lambda _: Reply()
    with Server(node.url, **settings):
        wait_until(lambda: len(receiver.taken) >= 5, TAKE_OVER_SECONDS + 30)
    fields: dict[str, list[str]] = {index: [] for index in ("shop", "logs")}
    for received in receiver.taken:
        fields[received.data["index"]] += received.data["added"]
    assert len(fields["shop"]) == 3
    assert fields["shop"][-1] == "meanwhile"
    assert len(fields["logs"]) == 2
    assert in_order(receiver.taken)
    figure(68, "receiver down, all processes killed, a change meanwhile: all sent by the next process, in order")
