"""Cases 33 to 35: what answers in the place of the cluster takes no name away, and what a read does to the names is
looked at again.
"""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.reports import PassOutcome, WatchState
from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.process import wait_until
from dev.servers.service import Server, manage
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fakes import index_not_found
from tests.support.fixtures import Figure, OpenApp
from tests.support.running import BEARER, QUIET_SECONDS, WATCHED, refreshed, report, until

pytestmark = pytest.mark.django_db(transaction=True)

TTL_SECONDS = 1.0
FAULT_SECONDS = 4.0
PLAIN, HTML, JSON = (
    {"X-Elastic-Product": "", "Content-Type": kind} for kind in ("text/plain", "text/html", "application/json")
)
GATEWAYS: dict[str, dict[str, Any]] = {
    "404 text": {"status": 404, "body": "404 page not found", "headers": PLAIN},
    "404 JSON": {"status": 404, "body": index_not_found("known"), "headers": JSON},
    "404 HTML": {"status": 404, "body": "<html>not found</html>", "headers": HTML},
    "200 {}": {"status": 200, "body": "{}", "headers": JSON},
    "200 HTML": {"status": 200, "body": "<html>log in</html>", "headers": HTML},
    "403": {"status": 403, "body": "<html>forbidden</html>", "headers": HTML},
}
NOT_ELASTICSEARCH = "What answers at ELASTICSEARCH_URL is not Elasticsearch"


async def names(http: httpx.AsyncClient) -> list[str]:
    return [row["name"] for row in (await http.get("/api/indices", headers=BEARER)).json()["names"]]


async def search(http: httpx.AsyncClient, name: str) -> httpx.Response:
    return await http.post(f"/api/indices/{name}/search", json={}, headers=BEARER)


@pytest.mark.parametrize("gateway", GATEWAYS)
async def test_case_33_a_gateway_answers(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure, gateway: str
) -> None:
    """While a gateway answers everything, known names are stale, unknown ones and searches 503, and health says why;
    afterwards everything is as before, and what was made meanwhile is there, without any call.
    """
    make_index(cluster, "known")
    cluster.indices.put_alias(index="known", name="also")
    cache = {**WATCHED, "ttl": TTL_SECONDS, "max_stale": 60.0, "refresh_interval": 1.0}
    answers: list[httpx.Response] = []
    refused: list[httpx.Response] = []
    states: set[WatchState] = set()
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache=cache, health={"ttl": 0.5, "timeout": 0.4}) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            await asyncio.sleep(QUIET_SECONDS)
            before = await names(http)
            with proxy.fault(**GATEWAYS[gateway]):
                ends_at = time.monotonic() + FAULT_SECONDS
                make_index(cluster, "later")  # wakes the watch
                while time.monotonic() < ends_at:
                    answers += [await http.get(f"/api/mappings/{name}") for name in ("known", "also")]
                    refused += [await http.get(f"/api/mappings/unknown-{len(refused)}")]
                    refused += [await search(http, name) for name in ("known", "unknown")]
                    states.add(report().state)
                    await asyncio.sleep(0.1)
                during = await names(http)
                health = (await http.get("/api/health", headers=BEARER)).json()["services"]["elasticsearch"]
                failed = (await refreshed(http)).error
            removed_at = time.monotonic()
            proxy.reset()
            await until(lambda: "later" in registry.get(MAPPING_CACHE).snapshot.indices)
            await until(lambda: report().state is WatchState.WATCHING)
            await until(lambda: registry.get(MAPPING_CACHE).report().stale_indices == 0)
            seconds = time.monotonic() - removed_at
            after = await names(http)
            found = (await search(http, "known")).status_code
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].headers["X-Cache-State"] == answers[-2].headers["X-Cache-State"] == "stale"
    assert {answer.status_code for answer in refused} == {503}
    assert {NOT_ELASTICSEARCH in answer.json()["detail"] for answer in refused} == {True}
    assert (health["status"], "is not Elasticsearch" in health["error"]) == ("unhealthy", True)
    assert failed is not None
    assert NOT_ELASTICSEARCH in failed
    assert WatchState.REFUSED not in states
    assert WatchState.RECONNECTING in states
    assert (during, after, found) == (before, sorted([*before, "later"]), 200)
    stale = sum(answer.headers["X-Cache-State"] == "stale" for answer in answers)
    figure(
        33,
        f"{gateway}: {stale} stale answers, 503 {len(refused)} times, {len(set(before) - set(during))} names lost; "
        f"as before {seconds:.1f} s afterwards",
    )


async def test_case_34_the_listing_alone_is_answered_by_a_gateway(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A gateway that lets mappings through, but no listing: passes fail with the cause, and no name is dropped."""
    make_index(cluster, "known")
    listing = "^/(_settings|_resolve|_nodes)"
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"min_refresh_interval": 0.0}) as http:
            with proxy.fault(path=listing, **GATEWAYS["404 text"]):
                failed = await refreshed(http)
                make_index(cluster, "later")
                read = (await http.get("/api/mappings/later")).status_code
                known = await names(http)
            recovered = await refreshed(http)
        with proxy.fault(path=listing, **GATEWAYS["404 text"]):
            command = await asyncio.to_thread(manage, "warm_cache", elasticsearch_url=proxy.url)
    assert (failed.outcome, read, known) == (PassOutcome.FAILED, 200, ["known", "later"])
    assert failed.error is not None
    assert failed.error.startswith(NOT_ELASTICSEARCH)
    assert (recovered.outcome, recovered.indices_total) == (PassOutcome.COMPLETED, 2)
    assert (command.returncode, NOT_ELASTICSEARCH in command.stdout) == (1, True)
    assert "Traceback" not in command.stdout + command.stderr
    figure(34, f"listing answered 404 by a gateway: {known} kept, exit {command.returncode}, “{failed.error}”")


def test_case_34_a_path_too_many(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """A path in ELASTICSEARCH_URL that Elasticsearch takes for an index is named as the likely cause."""
    command = manage("warm_cache", elasticsearch_url=f"{node.url}/elsewhere")
    said = command.stdout.strip().splitlines()[-1]
    assert (command.returncode, "is there a path in ELASTICSEARCH_URL" in said) == (1, True)
    assert "Traceback" not in command.stdout + command.stderr
    figure(34, f"a path too many: exit {command.returncode}, “{said}”")


async def test_case_35_a_read_adds_a_name(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """After a read of a name that the last pass did not list, the next pass lists anew, at the same metadata version;
    the one after it finds nothing changed.
    """
    make_index(cluster, "shop")
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache=WATCHED) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            with proxy.fault(path="^/_settings/", status=200, body=settings_of(node, "shop")):
                make_index(cluster, "behind")
                await asyncio.sleep(QUIET_SECONDS)
                outcomes = [(await refreshed(http)).outcome for _ in range(2)]
                listed = await names(http)
            read = (await http.get("/api/mappings/behind")).status_code
            outcomes += [(await refreshed(http)).outcome for _ in range(2)]
            known = await names(http)
    assert (listed, read, known) == (["shop"], 200, ["behind", "shop"])
    assert outcomes == [PassOutcome.COMPLETED, PassOutcome.UNCHANGED] * 2
    figure(35, f"added: the next passes are {outcomes[2].value} and {outcomes[3].value}")


def test_case_35_a_read_drops_a_name(node: Node, cluster: Elasticsearch, figure: Figure) -> None:
    """A name that a node that lags denies, and doesn't list, goes in every process; the next pass of each brings it
    back, at the same metadata version.
    """
    for name in ("shop", "denied"):
        make_index(cluster, name)
    settings = {"MAPPING_CACHE_WATCH": True, "MIN_REFRESH_INTERVAL": 0, "MAPPING_CACHE_REFRESH_INTERVAL": 0}
    with FaultProxy(node.url) as proxy, Server(proxy.url, **settings) as one, Server(node.url, **settings) as two:
        for server in (one, two):
            wait_until(lambda server=server: server.get("/readyz").status_code == 200, 20)  # type: ignore[misc]
        for server in (one, two):
            wait_until(lambda server=server: outcome(server) == "unchanged", 20, every=0.5)  # type: ignore[misc]
        with (
            proxy.fault(path="^/denied/_mapping", status=404, body=index_not_found("denied")),
            proxy.fault(path="^/_settings/", status=200, body=settings_of(node, "shop")),
        ):
            gone = one.http.post("/api/cache/refresh?index=denied", headers=BEARER).status_code
            wait_until(lambda: listed_names(two) == ["shop"], 5)
            left = listed_names(one)
        outcomes = {"two": [outcome(two), outcome(two)], "one": [outcome(one), outcome(one)]}
        wait_until(lambda: listed_names(one) == listed_names(two) == ["denied", "shop"], 5)
    assert (gone, left) == (404, ["shop"])
    assert outcomes["two"] == ["completed", "unchanged"]
    assert outcomes["one"] == ["completed", "unchanged"]
    figure(
        35, f"dropped: the next pass of two processes is {outcomes['one'][0]}, {outcomes['two'][0]}; the name is back"
    )


def settings_of(node: Node, name: str) -> str:
    """What a node that knows only the index `name` lists."""
    answer = httpx.get(f"{node.url}/_settings/index.uuid", params={"flat_settings": "true"}).json()
    return json.dumps({name: answer[name]})


def outcome(server: Server) -> str:
    return str(server.refresh().json().get("outcome"))


def listed_names(server: Server) -> list[str]:
    return [row["name"] for row in server.get("/api/indices", headers=BEARER).json()["names"]]
