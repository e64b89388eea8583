"""Cases 41, 42 and 45, on a node with real security: what a role doesn't allow, what is blocked, and which credentials
are refused, each named as what it is.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch

from cacheapp.cache.mapping_cache import MAPPING_CACHE
from cacheapp.reports import PassOutcome, WatchState
from dev.elasticsearch.install import CannotFetch, install
from dev.elasticsearch.node import Node
from dev.elasticsearch.secured import PASSWORD, SUPERUSER, SecuredNode
from dev.faults.proxy import FaultProxy
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fakes import denied
from tests.support.fixtures import Figure, OpenApp
from tests.support.nodes import NODE_VERSION
from tests.support.running import BEARER, QUIET_SECONDS, WATCHED, refreshed, report, until
from tests.support.secured import Role, api_key, user

pytestmark = pytest.mark.django_db(transaction=True)

NEGATIVE_TTL_SECONDS = 3.0
GETS = 30
STATE, NODE_STATS, CLUSTER_HEALTH = "^/_cluster/state", "^/_nodes/stats", "^/_cluster/health"
QUICK: dict[str, Any] = {"ttl": 0.2, "timeout": 2.0}
"""Health is checked five times a second: what is to be said once would be said often."""
NOT_COVERED = "or this service's role in Elasticsearch doesn't cover it"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredNode]:
    try:
        install(NODE_VERSION, secured=True)
    except CannotFetch as error:
        pytest.skip(f"no node with security here: {error}")
    settings = {"action.destructive_requires_name": "false"}
    data = Path(tmp_path_factory.mktemp("secured"))
    with SecuredNode(data, version=NODE_VERSION, settings=settings) as running:
        yield running


@pytest.fixture
def admin(secured: SecuredNode) -> Iterator[Elasticsearch]:
    """A client of the superuser; every index is gone afterwards, the one of users, roles and keys aside."""
    with Elasticsearch(secured.url, basic_auth=(SUPERUSER, PASSWORD), request_timeout=30) as client:
        for name in ("orders-1", "orders-2", "secret-1"):
            make_index(client, name)
        client.indices.put_alias(index="orders-1", name="orders")
        yield client
        client.indices.delete(index="orders*,secret*", ignore_unavailable=True)


async def search(http: httpx.AsyncClient, name: str) -> httpx.Response:
    return await http.post(f"/api/indices/{name}/search", json={}, headers=BEARER)


async def service_health(http: httpx.AsyncClient, name: str = "elasticsearch") -> dict[str, Any]:
    service: dict[str, Any] = (await http.get("/api/health", headers=BEARER)).json()["services"][name]
    return service


async def until_health(
    http: httpx.AsyncClient, status: str, text: str = "", *, name: str = "elasticsearch"
) -> dict[str, Any]:
    """The result of a check once it is `status` with `text` in it."""
    async with asyncio.timeout(10):
        while True:
            service = await service_health(http, name)
            if service["status"] == status and text in json.dumps(service):
                return service
            await asyncio.sleep(0.05)


def logged(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


async def test_case_41_a_role_narrowed_to_a_pattern(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """With the documented role on `orders*`, what it covers is read, searched and watched; unknown, foreign and
    restricted names are 404 that says so, after one call per name and negative TTL.
    """
    api_key(admin, Role())  # makes the restricted index
    denied_names = ("unknown", "secret-1", ".security", ".security-7")
    cache = {**WATCHED, "negative_ttl": NEGATIVE_TTL_SECONDS}
    with user(admin, Role()) as credentials, FaultProxy(secured.url) as proxy:
        async with open_app(proxy.url, cache=cache, health=QUICK, **credentials) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            await asyncio.sleep(QUIET_SECONDS)
            proxy.reset()
            answers = {
                name: [await http.get(f"/api/mappings/{name}", headers=BEARER) for _ in range(GETS)]
                for name in denied_names
            }
            calls = {name: proxy.count(f"^/{name.replace('.', '[.]')}/_mapping") for name in denied_names}
            searches = {name: await search(http, name) for name in denied_names}
            absent = await http.get("/api/mappings/orders-nothing", headers=BEARER)
            covered = [await http.get(f"/api/mappings/{name}", headers=BEARER) for name in ("orders", "orders-1")]
            found = [await search(http, name) for name in ("orders", "orders-1")]
            admin.indices.put_mapping(index="orders-1", properties={"new": {"type": "long"}})
            await until(lambda: report().last_change_at is not None)
            changed = (await http.get("/api/mappings/orders-1", headers=BEARER)).json()
            await asyncio.sleep(NEGATIVE_TTL_SECONDS)
            proxy.reset()
            again = [await http.get("/api/mappings/unknown", headers=BEARER) for _ in range(GETS)]
            calls_again = proxy.count("^/unknown/_mapping")
            healthy = await service_health(http)
    for name in denied_names:
        assert {answer.status_code for answer in (*answers[name], searches[name])} == {404}
        assert {NOT_COVERED in answer.json()["detail"] for answer in (*answers[name], searches[name])} == {True}
        assert {"retry-after" in answer.headers for answer in (*answers[name], searches[name])} == {False}
    assert calls == dict.fromkeys(denied_names, 1)
    assert ({answer.status_code for answer in again}, calls_again) == ({404}, 1)
    assert (absent.status_code, NOT_COVERED in absent.json()["detail"]) == (404, False)
    assert {answer.status_code for answer in (*covered, *found)} == {200}
    assert "new" in json.dumps(changed)
    assert healthy["status"] == "healthy"
    figure(
        41, f"{GETS} gets of each of {len(denied_names)} names: 404, {max(calls.values())} call each; again after TTL"
    )


async def test_case_41_together(secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure) -> None:
    """Names that are denied take nothing from one that is covered and asked for at the same time."""
    names = ("unknown", "secret-1", "orders-2", "orders-nothing")
    with user(admin, Role()) as credentials, FaultProxy(secured.url) as proxy:
        async with open_app(proxy.url, cache={"negative_ttl": NEGATIVE_TTL_SECONDS}, **credentials) as http:
            cache = registry.get(MAPPING_CACHE)
            cache.snapshot = cache.snapshot.without_bodies(list(cache.snapshot.bodies))  # evicted
            proxy.reset()
            answers = await asyncio.gather(*(http.get(f"/api/mappings/{name}") for name in names * GETS))
            calls = proxy.count("/_mapping")
    assert [answer.status_code for answer in answers] == [404, 404, 200, 404] * GETS
    assert calls <= 1 + len(names)
    figure(41, f"{len(answers)} gets of {len(names)} names at once: {calls} calls")


@pytest.mark.parametrize("privilege", ["read", "view_index_metadata"])
async def test_case_41_a_privilege_is_missing(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure, privilege: str
) -> None:
    """Each privilege of the documented role is needed, and named where it is missing: 503 for a name that is there, to
    callers, in the pass that failed and in health; neither user nor role is.
    """
    named = f"this service's role lacks the index privilege {privilege}"
    with user(admin, Role(without=frozenset({privilege}))) as credentials:
        async with open_app(secured.url, health=QUICK, **credentials) as http:
            mapping = await http.get("/api/mappings/orders-1", headers=BEARER)
            found = await search(http, "orders-1")
            last = await refreshed(http)
            if last.error is not None:
                await until_health(http, "degraded", named, name="mapping_cache")
    if privilege == "read":
        assert (mapping.status_code, last.outcome) == (200, PassOutcome.COMPLETED)
        refused = [found]
    else:
        assert (found.status_code, last.outcome) == (200, PassOutcome.FAILED)
        assert last.error is not None
        assert named in last.error
        refused = [mapping]
    for answer in refused:
        assert (answer.status_code, named in answer.json()["detail"]) == (503, True)
        assert "service]" not in answer.text
    figure(41, f"without {privilege}: 503, “{refused[0].json()['detail']}”")


async def test_what_a_role_does_not_cover_any_more_is_hidden(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp
) -> None:
    """An index that left our view as the role was narrowed is `hidden` in the changes; one that is gone, `deleted`."""
    with user(admin, Role(("orders*", "secret*"))) as credentials:
        async with open_app(secured.url, **credentials) as http:
            admin.security.put_role(name="service", **Role(("orders*",)).body())
            admin.indices.delete(index="orders-2")
            await refreshed(http)
            kinds = {
                change["index"]: change["kind"]
                for change in (await http.get("/api/changes", headers=BEARER)).json()["changes"]
            }
    assert kinds == {"secret-1": "hidden", "orders-2": "deleted"}


async def test_case_42_no_privilege_monitor(
    secured: SecuredNode,
    admin: Elasticsearch,
    open_app: OpenApp,
    figure: Figure,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without the cluster privilege `monitor` the service is healthy with an unknown status, finds changes by full
    passes on their schedule, and says once what is missing and what it costs.
    """
    # The node's own module for `GET /` isn't published; the one in its place lets everybody in.
    no_root = {"path": r"^/\?", "status": 403, "headers": {"X-Elastic-Product": ""}}
    body = denied("", "cluster privileges [monitor,manage,all]")
    cache = {**WATCHED, "refresh_interval": 1.0}
    with (
        user(admin, Role(without=frozenset({"monitor"}))) as credentials,
        FaultProxy(secured.url) as proxy,
        proxy.fault(body=body, **no_root),
        caplog.at_level(logging.INFO),
    ):
        async with open_app(proxy.url, cache=cache, health=QUICK, **credentials) as http:
            measured = await runs_without(http, proxy, admin, caplog, "the cluster privilege monitor")
    figure(42, measured)


def serverless(status: int) -> str:
    reason = "this API is not available in this project"
    cause = {"type": "api_not_available_exception", "reason": reason}
    return json.dumps({"error": {"root_cause": [cause], **cause}, "status": status})


@pytest.mark.parametrize("status", [404, 410])
async def test_case_42_serverless(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    figure: Figure,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """The same where Elasticsearch has no cluster state, node statistics and cluster health, as on serverless."""
    make_index(cluster, "orders-1")
    path = f"{STATE}|{NODE_STATS}|{CLUSTER_HEALTH}"
    with (
        FaultProxy(node.url) as proxy,
        proxy.fault(path=path, status=status, body=serverless(status)),
        caplog.at_level(logging.INFO),
    ):
        async with open_app(proxy.url, cache={**WATCHED, "refresh_interval": 1.0}, health=QUICK) as http:
            measured = await runs_without(http, proxy, cluster, caplog, f"cluster health (status {status})")
    figure(42, measured)


async def runs_without(
    http: httpx.AsyncClient,
    proxy: FaultProxy,
    cluster: Elasticsearch,
    caplog: pytest.LogCaptureFixture,
    missing: str,
) -> str:
    """Assert what holds without the cluster's health, state and statistics, with an index `orders-1`; return what was
    measured.
    """
    await until(lambda: report().state is WatchState.REFUSED)
    passes = registry.read("refresher").passes_total
    cluster.indices.put_mapping(index="orders-1", properties={"new": {"type": "long"}})
    await until(lambda: "new" in str(registry.get(MAPPING_CACHE).snapshot.bodies), 6)
    await until(lambda: registry.read("refresher").passes_total >= passes + 3, 8)
    whole = await http.get("/api/health", headers=BEARER)
    service = whole.json()["services"]["elasticsearch"]
    outcomes = registry.read("refresher").outcomes
    assert (whole.status_code, whole.json()["status"]) == (200, "healthy")
    assert (service["status"], service["facts"]) == ("healthy", {"status": "unknown", "missing": missing})
    assert outcomes == {**dict.fromkeys(outcomes, 0), "completed": registry.read("refresher").passes_total}
    told = logged(caplog, "Elasticsearch doesn't tell its health"), logged(caplog, "let us wait for changes")
    assert [len(lines) for lines in told] == [1, 1]
    assert missing in told[0][0]
    asked = {name: proxy.count(path) for name, path in (("health", CLUSTER_HEALTH), ("state", STATE))}
    assert asked["health"] == 1
    assert asked["state"] <= 1 + registry.read("refresher").passes_total  # the watch once, and each pass
    return (
        f"{missing}: healthy, {outcomes['completed']} full passes, said once; asked for health {asked['health']} times"
    )


async def test_case_45_an_index_is_blocked(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A block on an index is named as that: `index.blocks.read` to who searches, `index.blocks.metadata` in the pass
    that it fails; neither is a missing privilege.
    """
    with user(admin, Role()) as credentials:
        async with open_app(secured.url, health=QUICK, **credentials) as http:
            admin.indices.put_settings(index="orders-2", settings={"index.blocks.read": True})
            found, other = await search(http, "orders-2"), await search(http, "orders-1")
            mapping = await http.get("/api/mappings/orders-2", headers=BEARER)
            admin.indices.put_settings(index="orders-2", settings={"index.blocks.metadata": True})
            last = await refreshed(http)
            kept = await http.get("/api/mappings/orders-2", headers=BEARER)
            for block in ("metadata", "read"):
                admin.indices.put_settings(index="orders-2", settings={f"index.blocks.{block}": None})
            after = await search(http, "orders-2")
    detail = found.json()["detail"]
    assert (found.status_code, detail) == (
        503,
        "Elasticsearch has a block (403) that forbids it: index read (api) of orders-2.",
    )
    assert (other.status_code, mapping.status_code, kept.status_code, after.status_code) == (200, 200, 200, 200)
    assert last.error == "Elasticsearch has a block (403) that forbids it: index metadata (api) of orders-2."
    figure(45, f"index.blocks.read: 503, “{detail}”")


async def test_case_45_the_cluster_is_blocked(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A block on the whole cluster, here of one that has not recovered its state, is named as that."""
    make_index(cluster, "orders-1")
    cause = {
        "type": "cluster_block_exception",
        "reason": "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];",
    }
    body = json.dumps({"error": {"root_cause": [cause], **cause}, "status": 503})
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, health=QUICK) as http:
            await until_health(http, "healthy")
            with proxy.fault(status=503, body=body):
                service = await until_health(http, "unhealthy", "state not recovered")
                found = await search(http, "orders-1")
    assert (found.status_code, found.json()["detail"]) == (503, service["error"])
    figure(45, f"cluster block: “{service['error']}”")


async def test_case_45_a_key_is_revoked(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """A revoked key is named in health and to callers; what is known is answered, the watch asks again every five
    seconds instead of pausing, and nothing storms.
    """
    key_id, encoded = api_key(admin, Role())
    seconds = 9.0
    with FaultProxy(secured.url) as proxy:
        async with open_app(proxy.url, cache=WATCHED, health={**QUICK, "ttl": 1.0}, api_key=encoded) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            before = (await http.get("/api/mappings/orders-1", headers=BEARER)).status_code
            admin.security.invalidate_api_key(ids=[key_id])
            admin.indices.put_mapping(index="orders-1", properties={"wakes": {"type": "long"}})
            await until(lambda: report().state is WatchState.RECONNECTING)
            proxy.reset()
            service = await until_health(http, "unhealthy", "401")
            unknown = await http.get("/api/mappings/orders-9", headers=BEARER)
            known = await http.get("/api/mappings/orders-1", headers=BEARER)
            await asyncio.sleep(seconds)
            asked, watch = proxy.count(STATE), report()
    revoked = "Elasticsearch refused our credentials (401): the API key has been invalidated."
    assert (before, known.status_code, unknown.status_code) == (200, 200, 503)
    assert (service["error"], unknown.json()["detail"]) == (revoked, revoked)
    assert key_id not in json.dumps(service) + unknown.text
    assert (watch.state, watch.last_error) == (WatchState.RECONNECTING, revoked)
    assert 2 <= asked <= 6
    figure(45, f"revoked key: “{revoked}”; the watch asked {asked} times in {seconds:g} s, not refused")


async def test_case_45_good_credentials_while_security_recovers(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Good credentials that get 401 for a while watch again within five seconds after it, without any call."""
    with user(admin, Role()) as credentials, FaultProxy(secured.url) as proxy:
        async with open_app(proxy.url, cache=WATCHED, health=QUICK, **credentials) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            with proxy.fault(status=401, headers={"X-Elastic-Product": ""}):
                admin.indices.put_mapping(index="orders-1", properties={"wakes": {"type": "long"}})
                await until(lambda: report().state is WatchState.RECONNECTING)
                await until_health(http, "unhealthy", "401")
                await asyncio.sleep(3)
            seconds = await until(lambda: report().state is WatchState.WATCHING, 6)
            assert "wakes" in str(registry.get(MAPPING_CACHE).snapshot.bodies)
            await until_health(http, "healthy")
    figure(45, f"401 for a while: watched again {seconds:.1f} s afterwards")


async def test_case_45_a_gateway_forbids(
    secured: SecuredNode, admin: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """The 403 of something before Elasticsearch is neither a missing privilege nor a block: nobody can be asked."""
    told = r"What answers at ELASTICSEARCH_URL( \([0-9.:]+\))? is not Elasticsearch \(status 403\)"
    html = {"status": 403, "body": "<html>forbidden</html>", "headers": {"X-Elastic-Product": ""}}
    with user(admin, Role()) as credentials, FaultProxy(secured.url) as proxy:
        async with open_app(proxy.url, cache=WATCHED, health=QUICK, **credentials) as http:
            await until(lambda: report().state is WatchState.WATCHING)
            with proxy.fault(**html):
                admin.indices.put_mapping(index="orders-1", properties={"wakes": {"type": "long"}})
                await until(lambda: report().state is WatchState.RECONNECTING)
                service = await until_health(http, "unhealthy", "403")
                answers = [await http.get("/api/mappings/unknown", headers=BEARER), await search(http, "orders-1")]
    assert re.match(told, service["error"])
    assert {(answer.status_code, bool(re.match(told, answer.json()["detail"]))) for answer in answers} == {(503, True)}
    figure(45, "403 of a gateway: “… is not Elasticsearch (status 403) …”, 503; the watch reconnects")
