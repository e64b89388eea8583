"""Who may read and change what: anonymous, token, staff session; in both settings of ESASSISTANT_DETAILS."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch
from pytest_django import Settings

from dev.elasticsearch.node import Node
from dev.faults.proxy import FaultProxy
from dev.servers.service import TOKEN
from esassistant.config.model import Details
from tests.support.fixtures import Figure, OpenApp
from tests.support.settings import allow_origins

BEARER = {"Authorization": f"Bearer {TOKEN}"}
DETAILED = (
    "/api/indices",
    "/api/mappings/shop",
    "/api/mappings/shop/schema",
    "/api/mappings/shop/fields",
    "/api/performance",
    "/metrics",
)
TOTALS = ("/api/health", "/api/cache/stats")


@pytest.fixture
def details(settings: Settings, request: pytest.FixtureRequest) -> Details:
    """`ESASSISTANT_DETAILS` as the test's parameter says."""
    wanted: Details = request.param
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=wanted)
    return wanted


async def browser(*, staff: bool) -> AsyncClient:
    """A logged-in session that checks CSRF like a real one."""
    user = await get_user_model().objects.acreate_user("ada", "ada@example.org", "a long password", is_staff=staff)
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(user)
    return client


@pytest.mark.parametrize("details", [Details.AUTHORIZED], indirect=True)
async def test_anonymous_callers_get_totals(
    details: Details, node: Node, cluster: Elasticsearch, open_app: OpenApp
) -> None:
    """With `authorized`, nobody in particular gets status and totals, and 401 for names, mappings and numbers in
    detail.
    """
    cluster.indices.create(index="shop")
    async with open_app(node.url) as http:
        anonymous = {path: await http.get(path) for path in (*DETAILED, *TOTALS)}
        known = {path: await http.get(path, headers=BEARER) for path in (*DETAILED, *TOTALS)}
    assert {path: anonymous[path].status_code for path in DETAILED} == dict.fromkeys(DETAILED, 401)
    assert {path: known[path].status_code for path in known} == dict.fromkeys(known, 200)
    assert set(anonymous["/api/health"].json()) == {
        *("status", "verdict", "since", "effects", "next_step", "checked_at", "duration_ms", "ttl_seconds"),
    }
    assert "services" in known["/api/health"].json()
    assert set(anonymous["/api/cache/stats"].json()["cache"]) == {"warm", "indices", "answers"}
    assert "body_bytes" in known["/api/cache/stats"].json()["cache"]


@pytest.mark.parametrize("details", [Details.ALWAYS], indirect=True)
async def test_reads_may_be_public(details: Details, node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """With `always`, everybody reads everything; changing something still needs a token."""
    cluster.indices.create(index="shop")
    async with open_app(node.url) as http:
        statuses = [(await http.get(path)).status_code for path in (*DETAILED, *TOTALS)]
        change = await http.post("/api/cache/refresh")
    assert statuses == [200] * len(statuses)
    assert change.status_code == 401


@pytest.mark.parametrize("details", [Details.AUTHORIZED], indirect=True)
async def test_staff_sessions(details: Details, node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A staff session reads details, and changes something only with its CSRF token."""
    cluster.indices.create(index="shop")
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}):
        staff = await browser(staff=True)
        assert (await staff.get("/api/mappings/shop")).status_code == 200
        without = await staff.post("/api/cache/refresh?wait=true")
        page = await staff.get("/logout")
        assert page.status_code == 200
        token = staff.cookies["csrftoken"].value
        with_token = await staff.post("/api/cache/refresh?wait=true", headers={"X-CSRFToken": token})
    assert without.status_code == 403
    assert without["Content-Type"] == "application/problem+json"
    assert "CSRF" in without.json()["detail"]
    assert with_token.status_code == 200


@pytest.mark.parametrize("details", [Details.AUTHORIZED], indirect=True)
async def test_other_users_are_nobody(details: Details, node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A session of somebody who isn't staff is worth nothing here."""
    async with open_app(node.url):
        user = await browser(staff=False)
        assert (await user.get("/api/performance")).status_code == 401
        assert (await user.post("/api/cache/refresh")).status_code == 401


@pytest.mark.parametrize("details", [Details.AUTHORIZED], indirect=True)
async def test_case_26_who_may_refresh(
    details: Details, node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Without a token and with a wrong one a refresh is 401, of a session without its CSRF token 403, and none of these
    reaches the cluster.
    """
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"min_refresh_interval": 0.0}, health={"ttl": 3600.0}) as http:
            staff = await browser(staff=True)
            proxy.reset()
            none = [(await http.post("/api/cache/refresh?wait=true")).status_code for _ in range(10)]
            wrong = {"Authorization": f"Bearer {TOKEN}x"}
            bad = [(await http.post("/api/cache/refresh?wait=true", headers=wrong)).status_code for _ in range(10)]
            without = [(await staff.post("/api/cache/refresh?wait=true")).status_code for _ in range(10)]
            calls = proxy.count() - proxy.count(path="^/_cluster/health")
    assert (none, bad, without, calls) == ([401] * 10, [401] * 10, [403] * 10, 0)
    figure(
        26,
        f"{len(none)} without, {len(bad)} with a bad token: 401; {len(without)} without CSRF: 403; {calls} calls",
    )


async def test_case_26_a_flood_of_valid_refreshes(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, figure: Figure
) -> None:
    """Whoever has a token gets one refresh per interval, however often he asks, and the cluster is listed as often; the
    others hear when to come back.
    """
    interval, intervals = 1.0, 3
    with FaultProxy(node.url) as proxy:
        async with open_app(proxy.url, cache={"min_refresh_interval": interval}) as http:
            await asyncio.sleep(interval)
            proxy.reset()
            answers: list[httpx.Response] = []
            began_at = time.monotonic()
            while time.monotonic() < began_at + (intervals - 0.5) * interval or len(answers) < 30:
                answers.append(await http.post("/api/cache/refresh?wait=true", headers=BEARER))
            seconds = time.monotonic() - began_at
            passes = proxy.count(path="_settings/index.uuid")
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert passes == statuses[200]
    assert 2 <= passes <= 1 + seconds / interval
    assert all(0 < int(answer.headers["retry-after"]) <= 2 for answer in answers if answer.status_code == 429)
    figure(
        26,
        f"{len(answers)} valid ones in {seconds:.1f} s, one allowed per {interval:g} s: {passes} passes, the rest 429",
    )


async def test_cors(settings: Settings, node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Only configured origins may call from a browser, only /api/, and never with cookies."""
    allow_origins(settings, "https://ui.example.org")

    async def preflight(http: httpx.AsyncClient, origin: str, path: str) -> httpx.Headers:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        return (await http.options(path, headers=headers)).headers

    async with open_app(node.url) as http:
        allowed = await preflight(http, "https://ui.example.org", "/api/health")
        other_origin = await preflight(http, "https://evil.example.org", "/api/health")
        other_path = await preflight(http, "https://ui.example.org", "/admin/login/")
    assert allowed["access-control-allow-origin"] == "https://ui.example.org"
    assert "authorization" in allowed["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed
    assert "access-control-allow-origin" not in other_origin
    assert "access-control-allow-origin" not in other_path
