"""Webhooks of a real server over TLS: who gets what, in which form, and how the file of targets is followed."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.ports import HOST
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from tests.support.receiver import SECRET, Reply, WebhookReceiver, entry

pytestmark = pytest.mark.django_db(transaction=True)

BEARER = {"Authorization": f"Bearer {TOKEN}"}
SETTINGS: dict[str, Any] = {"MAPPING_CACHE_WATCH": "true", "MAPPING_CACHE_REFRESH_INTERVAL": 0}


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


@pytest.fixture
def receiver(ca: trustme.CA) -> Iterator[WebhookReceiver]:
    """With a certificate for the name that the targets have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with WebhookReceiver(context) as receiver:
        yield receiver


def put(path: Path, *entries: str) -> None:
    """Replace the file as the documents say: no half of it is ever read."""
    path.with_suffix(".new").write_text("".join(entries))
    path.with_suffix(".new").chmod(0o600)
    path.with_suffix(".new").replace(path)


def report(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/api/performance", headers=BEARER).json()["webhooks"]
    return found


def states(server: Server) -> dict[str, str]:
    return {name: target["state"] for name, target in report(server)["targets"].items()}


def test_from_a_mapping_to_its_receivers(
    node: Node, cluster: Elasticsearch, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """Each target gets the changes that its entry covers, signed, over TLS, as `/api/changes` tells them; a target that
    comes gets what is new, one that is paused goes on when the file is written again, and a bad file changes nothing.
    """
    path, base = tmp_path / "webhooks.toml", f"https://localhost:{receiver.port}"
    local = {"allow_networks": json.dumps([f"{HOST}/32", "::1/128"])}
    everything = entry(f"{base}/all", "all", **local)
    logs = entry(f"{base}/logs", "logs", indices='["logs-*"]', kinds='["created", "deleted"]', **local)
    public = entry(f"{base}/public", "public").replace(f'allow_networks = ["{HOST}/32"]\n', "")
    put(path, everything, logs, public)
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "date"}}})

    def ids(place: str) -> list[int]:
        return [received.data["id"] for received in receiver.taken if received.path == place]

    def told(place: str, number: int) -> Callable[[], bool]:
        return lambda: len(ids(place)) >= number

    with Server(node.url, ESASSISTANT_WEBHOOKS=path, SSL_CERT_FILE=tmp_path / "ca.pem", **SETTINGS) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 30)
        wait_until(lambda: states(server) == {"all": "idle", "logs": "idle", "public": "idle"}, 15)
        cluster.indices.put_mapping(index="shop", properties={"b": {"type": "ip"}})
        wait_until(told("/all", 1), 15)
        cluster.indices.create(index="logs-1")
        wait_until(told("/all", 2), 15)
        cluster.indices.put_mapping(index="logs-1", properties={"b": {"type": "ip"}})
        wait_until(told("/all", 3), 15)
        wait_until(told("/logs", 1), 15)
        changes = server.get("/api/changes").json()["changes"]
        events = [received.event for received in receiver.taken if received.path == "/all"]
        assert [event["data"] for event in events] == changes
        assert [event["type"].rpartition(".")[2] for event in events] == ["changed", "created", "changed"]
        assert ids("/logs") == [2]
        assert ids("/public") == []
        assert report(server)["targets"]["public"]["outcomes"]["forbidden"] > 0
        assert "is this machine" in report(server)["targets"]["public"]["error"]

        receiver.answer = lambda received: Reply(410 if received.path == "/logs" else 204)
        put(path, everything, logs, entry(f"{base}/new", "new", **local))
        wait_until(lambda: set(states(server)) == {"all", "logs", "new"}, 15)
        wait_until(lambda: report(server)["targets"]["new"]["behind"] == 0, 15)
        cluster.indices.create(index="logs-2")
        wait_until(told("/new", 1), 15)
        wait_until(lambda: states(server)["logs"] == "paused", 15)
        assert ids("/new") == [4]

        receiver.answer = lambda _: Reply()
        put(path, everything, "[[target]]\n")
        wait_until(lambda: not report(server)["readable"], 15)
        assert set(states(server)) == {"all", "logs", "new"}
        assert "target 2 (line 7): name is missing" in report(server)["error"]
        put(path, everything, logs)
        wait_until(told("/logs", 2), 15)
        assert ids("/logs") == [2, 4]
        wait_until(lambda: states(server) == {"all": "idle", "logs": "idle"}, 15)
        metrics = server.get("/metrics", headers=BEARER).text
        gone = [line for line in metrics.splitlines() if 'outcome="gone"' in line and 'target="logs"' in line]
        assert any(line.endswith(" 1.0") for line in gone)
        for text in (metrics, server.output(), json.dumps(report(server))):
            assert SECRET not in text
            assert base not in text
