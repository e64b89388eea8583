"""Case 44: what the cluster sends has no end, unpacks to gigabytes, or is no answer: the call fails, that is all."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import TOKEN, Server
from tests.support.fixtures import Figure
from tests.support.hostile import HostileProxy, Pieces, bomb, endless, packed, with_length, zipped

pytestmark = pytest.mark.django_db(transaction=True)

BOUND_BYTES = 64_000_000
SETTINGS = {
    # The least: answers with mappings may have BOUND_BYTES then, as searches may.
    "MAPPING_CACHE_MAX_BYTES": 1_000_000,
    "MAPPING_CACHE_REFRESH_INTERVAL": 0,
    "MAPPING_CACHE_TTL": 3600,
    "MIN_REFRESH_INTERVAL": 0,
    "HEALTH_CACHE_TTL": 0.5,
    "HEALTH_TIMEOUT": 0.5,
}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LIVEZ_SECONDS = 0.25
NOISE = 8.0
"""Others use the processors too; what holds the loop for the whole of such an answer takes seconds."""
SHORT = {"ELASTICSEARCH_REQUEST_TIMEOUT": 2, "ELASTICSEARCH_INDICES_TIMEOUT": 2, "MAPPING_CACHE_FETCH_TIMEOUT": 2}
MAPPING, LISTING, SEARCH, HEALTH = "/_mapping", "^/_settings/", "/_search", "^/_cluster/health"


def fields(total: int, digits: int) -> bytes:
    """A mapping of so many fields, whose names have so many digits."""
    each = (b'"%0*d":{"type":"long"}' % (digits, number) for number in range(total))
    return b'{"properties":{%b}}' % b",".join(each)


def named(**mappings: bytes) -> bytes:
    """Members of an answer with mappings."""
    return b",".join(b'"%b":{"mappings":%b}' % (name.encode(), body) for name, body in mappings.items())


@dataclass
class Taken:
    """What a server took of its machine, and of its callers' time, for the length of a block."""

    grown_bytes: int = 0
    slowest_seconds: float = 0.0
    statuses: set[int] = field(default_factory=set)
    """Of /livez."""

    def within_bounds(self) -> str:
        """Assert what is expected of every case; returns the figures."""
        assert self.statuses == {200}
        assert self.slowest_seconds <= NOISE * LIVEZ_SECONDS
        assert self.grown_bytes <= 2 * BOUND_BYTES
        grown, allowed = self.grown_bytes / 1e6, 2 * BOUND_BYTES / 1e6
        return f"RSS + {grown:.0f} MB of {allowed:.0f}, /livez {1000 * self.slowest_seconds:.0f} ms at most"


@contextmanager
def watched(server: Server) -> Iterator[Taken]:
    taken, stopping, process = Taken(), threading.Event(), Path(f"/proc/{server.process.pid}")

    def probe() -> None:
        with httpx.Client(base_url=server.url) as http:
            while not stopping.wait(0.01):
                asked_at = time.monotonic()
                taken.statuses.add(http.get("/livez").status_code)
                taken.slowest_seconds = max(taken.slowest_seconds, time.monotonic() - asked_at)

    def memory(kind: str) -> int:
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return 1024 * int(lines[kind].split()[0])

    (process / "clear_refs").write_text("5")  # from now on VmHWM is the most of the block
    before = memory("VmRSS")
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stopping.set()
        thread.join(10)
        taken.grown_bytes = memory("VmHWM") - before


@contextmanager
def warm_server(node: Node, cluster: Elasticsearch, **settings: float) -> Iterator[tuple[HostileProxy, Server]]:
    """A server behind the proxy that knows the index `good`; the index `new` it doesn't know yet."""
    one: dict[str, Any] = {"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"a": {"type": "ip"}}}}
    cluster.indices.create(index="good", **one)
    with HostileProxy(node.url) as proxy, Server(proxy.url, **SETTINGS, **settings) as server:
        server.http.headers.update(BEARER)
        wait_until(lambda: server.get("/api/cache/stats").json()["cache"]["warm"], 15)
        cluster.indices.create(index="new", **one)
        yield proxy, server


def assert_all_is_well(server: Server, *, healthy: bool = True) -> None:
    """Whatever the cluster sends, what is known is answered, and pages are shown."""
    for path in ("/", "/api/indices", "/api/mappings/good", "/api/mappings/good/fields", "/api/mappings/good/schema"):
        assert server.get(path).status_code == 200, path
    assert server.get("/api/mappings/good").json()["good"]["mappings"] == {"properties": {"a": {"type": "ip"}}}
    assert [one["name"] for one in server.get("/api/indices").json()["names"]] == ["good"]
    assert (server.get("/api/health").status_code == 200) == healthy


def assert_nothing_is_left(proxy: HostileProxy, server: Server) -> None:
    """Afterwards everything is as if nothing had been."""
    proxy.poured.clear()
    assert server.refresh().json()["outcome"] == "completed"
    assert server.get("/api/mappings/new").json()["new"]["mappings"] == {"properties": {"a": {"type": "ip"}}}
    # Calls that failed are the verdict's for half a minute.
    wait_until(lambda: server.get("/api/health").json()["status"] == "healthy", 70)


@pytest.mark.parametrize(
    ("kind", "pieces", "settings"),
    [
        ("an endless body", endless(), {}),
        ("an endless body in chunks of one byte", endless(piece=b"x"), SHORT),
        ("600 kB of gzip that are 600 MB", packed(bomb(600)), {}),
    ],
)
def test_case_44_more_than_is_read(
    node: Node, cluster: Elasticsearch, figure: Figure, kind: str, pieces: Pieces, settings: dict[str, float]
) -> None:
    """Mappings, a listing, a search and the health check that are far too large, one after the other: each fails within
    its bound, is counted, and nothing else suffers.
    """
    with warm_server(node, cluster, **settings) as (proxy, server):
        with watched(server) as taken:
            proxy.poured[HEALTH] = pieces
            wait_until(lambda: server.get("/api/health").status_code == 503, 10)
            assert_all_is_well(server, healthy=False)
            del proxy.poured[HEALTH]
            proxy.poured[LISTING] = pieces
            refreshed = server.refresh()
            del proxy.poured[LISTING]
            proxy.poured[MAPPING] = pieces
            missed = server.get("/api/mappings/new")
            del proxy.poured[MAPPING]
            proxy.poured[SEARCH] = pieces
            searched = server.http.post("/api/indices/good/search", content=b"{}")
            wait_until(lambda: server.get("/api/health").status_code == 200, 10)
            assert_all_is_well(server)
        pools = server.get("/api/performance").json()["pools"]
        assert_nothing_is_left(proxy, server)
    assert (refreshed.status_code, missed.status_code) == (503, 503)
    assert searched.status_code in (400, 503)
    if settings is not SHORT:  # else it takes longer than it may
        for failed in (refreshed, missed, searched):
            assert re.search("Elasticsearch answers with more than (24|64) MB.", failed.json()["detail"])
        assert min(pools[name]["failures"]["too_large"] for name in ("cache", "default", "health")) >= 1
    figure(44, f"{kind}: each call failed; {taken.within_bounds()}")


GOOD = b'{"properties":{"a":{"type":"ip"}}}'
NOT_UTF8 = b'{"properties":{"\xff":{"type":"ip"}}}'
ALIASES = json.dumps({"aliases": [{"name": name, "indices": ["good"]} for name in ("", "a b", "_all")]}).encode()


@pytest.mark.parametrize(
    ("kind", "bad", "outcome"),
    [
        ("a million fields in 29 MB", named(new=fields(1_000_000, 8)), "partial"),
        ("a million fields in 71 MB", named(new=fields(1_000_000, 50)), None),
        ("invalid UTF-8", named(new=NOT_UTF8), "partial"),
        ("no JSON object", named(new=b"[1]"), "partial"),
        ("a key twice", named(new=b'{"properties":{"a":{"type":"ip"},"a":{"type":"long"}}}'), "partial"),
        ("a number beyond all parsers", named(new=b'{"_meta":{"a":1e999}}'), "partial"),
        ("an index twice", named(new=GOOD) + b"," + named(new=b"{}"), None),
        ("an empty name", named(**{"": GOOD}), "partial"),
        ("an illegal name", named(**{"a b": GOOD}), "partial"),
    ],
)
def test_case_44_no_answer(
    node: Node, cluster: Elasticsearch, figure: Figure, kind: str, bad: bytes, outcome: str | None
) -> None:
    """A mapping that can be none is not answered and not kept, by a read of its name and by a pass, which takes the
    others of the same answer and says what failed; where the answer as a whole can't be taken, the pass has failed.
    Names that can be none are in no list.
    """
    with warm_server(node, cluster) as (proxy, server):
        known = server.get("/api/cache/stats").json()["cache"]["body_bytes"]
        with watched(server) as taken:
            proxy.poured[f"/new{MAPPING}"] = packed(zipped(b"{%b}" % bad))
            missed = server.get("/api/mappings/new")
            assert_all_is_well(server)
            proxy.poured[MAPPING] = packed(zipped(b"{%b,%b}" % (named(good=GOOD), bad)))
            del proxy.poured[f"/new{MAPPING}"]
            proxy.poured["^/_resolve/"] = with_length(ALIASES)
            refreshed = server.refresh()
            stats = server.get("/api/cache/stats").json()
            assert_all_is_well(server)
        assert_nothing_is_left(proxy, server)
    assert missed.status_code == 503
    if outcome is None:
        assert refreshed.status_code == 503
    else:
        failed = {one["index"] for one in refreshed.json()["errors"]}
        assert (refreshed.json()["outcome"], failed) == (outcome, {"new"})
    assert stats["cache"]["body_bytes"] == known
    assert (stats["cache"]["indices"], stats["cache"]["aliases"]) == (1, 0)
    assert stats["refresh"]["illegal_names_total"] >= 3
    figure(44, f"{kind}: nothing of it is kept; {taken.within_bounds()}")
