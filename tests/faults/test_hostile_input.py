"""Case 28: hostile names and hostile Hosts are refused, cost the cluster nothing and leave nothing behind."""

import asyncio
import socket
from urllib.parse import quote, urlsplit

import httpx
import pytest
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN, Server
from esassistant.registry import registry
from tests.support.fixtures import Figure, OpenApp

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
FORBIDDEN = st.sampled_from([*'"<>?\\|#: ', "\x00", "\n", "\r", "\x7f", "A", "É"])
HOSTILE = st.one_of(
    st.builds("{}{}{}".format, st.text("ab-_.", max_size=5), FORBIDDEN, st.text("ab-_.", max_size=5)),
    st.builds("{}{}".format, st.sampled_from("-_+"), st.text("abc", max_size=5)),
    st.text("abc", min_size=256, max_size=600),
    st.sampled_from(["_mapping", "<logs-{now/d}>", "é" * 200, "a\\..\\b"]),
    # Lists that can't be any: what is illegal alone is so among others.
    st.sampled_from(["a,,b", ",a", "a,..", "-x*", "a,-x", "a*,<now>", "a*,b:c", "*,_all", "a*,_b"]),
)


@pytest.fixture(scope="module")
def hostile_names() -> list[str]:
    """What hypothesis makes of the strategy, once: the application is opened only once."""
    names: list[str] = []

    @hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(HOSTILE)
    @example(" ")
    def collect(name: str) -> None:
        names.append(name)

    collect()
    return names


async def test_case_28_hostile_names_reach_nothing(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, hostile_names: list[str], figure: Figure
) -> None:
    """No name that can't be an index's gets anything but 400, by the hot path and by Django, none reaches the cluster
    or is kept, as a key or as a label of a statistic, and what is said about it is a problem of bounded length.
    """
    cluster.indices.create(index="a-secret-index")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health={"ttl": 3600.0}) as http:
            for path in ("/api/mappings/A", "/api/mappings/%0A", "/metrics"):  # what such answers are counted as
                await http.get(path, headers=AUTHORIZED)
                await http.get(path, headers={**AUTHORIZED, "Cookie": "sessionid=x"})
            await http.post("/api/cache/refresh?index=A", headers=AUTHORIZED)
            before, labels_before = registry.read("mapping_cache"), await labels(http)
            await asyncio.sleep(0.2)
            proxy.reset()
            for name in hostile_names:
                encoded = quote(name, safe="")
                answer = await http.get(f"/api/mappings/{encoded}", headers=AUTHORIZED)
                posted = await http.post(f"/api/cache/refresh?index={encoded}", headers=AUTHORIZED)
                # The hot path leaves whoever has a session to Django.
                by_django = await http.get(f"/api/mappings/{encoded}", headers={**AUTHORIZED, "Cookie": "sessionid=x"})
                # No address has a line break in it.
                assert answer.status_code == by_django.status_code == (404 if "\n" in name else 400), name
                assert posted.status_code == 400, name
                for refused in (answer, by_django, posted):
                    assert refused.headers["Content-Type"] == "application/problem+json"
                    assert len(refused.content) < 2000
            after, labels_after = registry.read("mapping_cache"), await labels(http)
            targets = [exchange.target for exchange in proxy.requests]
    # Health is checked whatever callers send.
    assert [target for target in targets if not target.startswith("/_cluster/health")] == []
    assert (after.indices, after.aliases, after.in_flight) == (before.indices, before.aliases, before.in_flight)
    new_labels = labels_after - labels_before
    assert len(new_labels) <= 10
    figure(
        28,
        f"{len(hostile_names)} names, 3 requests each: all 400 (404 with a line break), 0 calls, {len(new_labels)} "
        "new labels",
    )


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("debug", [False, True])
def test_case_28_hostile_hosts(figure: Figure, *, debug: bool) -> None:
    """A Host that isn't ours gets 400 as a problem, byte for byte as it comes over the wire, whatever it is; the probes
    answer under any.
    """
    refused = 0
    with Server("http://127.0.0.1:9", DEBUG=str(debug), ALLOWED_HOSTS="127.0.0.1") as server:
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80:80",
            "<script>",
            "a" * 5000,
            "",
            "é",
            "a@b",
        ):
            for path in ("/api/health", "/api/mappings/x", "/api/nothing"):
                status, answer = raw_get(server.url, path, host)
                assert status == 400, (host, path)
                assert "application/problem+json" in answer
                assert "script" not in answer
                assert len(answer) < 2000
                refused += 1
            assert raw_get(server.url, "/livez", host)[0] == 200
        assert server.get("/api/health").status_code in (200, 503)
        server.end()
    assert len(server.output()) < 20_000, "the log doesn't grow with what strangers send"
    figure(28, f"DEBUG={debug}: {refused} of {refused} requests with a hostile Host 400")


async def labels(http: httpx.AsyncClient) -> set[str]:
    """Every series of /metrics: names with their labels."""
    text = (await http.get("/metrics", headers=AUTHORIZED)).text
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def raw_get(url: str, path: str, host: str) -> tuple[int, str]:
    """Status and whole answer to a request with exactly this Host, which HTTP clients would refuse to send."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer.decode()
