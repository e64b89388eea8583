"""The status page: for staff, from memory, honest when there is nothing to show."""

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def staff(transactional_db: None, async_client: AsyncClient) -> AsyncClient:
    """A browser session of a superuser."""
    user = get_user_model().objects.create_superuser("ada", "ada@example.org", "a long enough password")
    async_client.force_login(user)
    return async_client


async def test_it_shows_services_cache_and_pools(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, staff: AsyncClient
) -> None:
    """Staff see the verdict, each service, the last refresh, the pools and the history with their numbers; the part
    that is renewed shows the same.
    """
    cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        await http.get("/api/health")
        page = (await staff.get("/admin/status/")).content.decode()
        live = await staff.get("/admin/status/live", headers={"HX-Request": "true"})
    parts = (
        "Serving fresh mappings.",
        "completed",
        "1 index, 0 aliases, 1 different mapping",
        "0 / 50",
        "no data",
        "(api)",
    )
    for part in parts:
        assert part in page
        assert part in live.content.decode()
    assert "<html" not in live.content.decode()
    assert "no-store" in live["Cache-Control"]


async def test_it_says_when_nothing_is_open(staff: AsyncClient) -> None:
    """Without an open registry the page says what to do, instead of failing."""
    page = (await staff.get("/admin/status/")).content.decode()
    assert "manage.py serve" in page


async def test_it_is_for_staff(transactional_db: None, async_client: AsyncClient) -> None:
    """Others are sent to the login."""
    answer = await async_client.get("/admin/status/")
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


async def test_the_part_that_is_renewed(staff: AsyncClient) -> None:
    """It is for the page alone: who comes there otherwise is sent to the page; without a session it is 401, never a
    login, which would be shown in its place.
    """
    led_to = await staff.get("/admin/status/live")
    assert (led_to.status_code, led_to["Location"]) == (302, "/admin/status/")
    refused = await AsyncClient().get("/admin/status/live", headers={"HX-Request": "true"})
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
    assert b"/admin/login/?next=/admin/status/" in (await staff.get("/admin/status/")).content.replace(b"%2F", b"/")


async def test_the_admin_leads_there(staff: AsyncClient) -> None:
    """The admin's start page links to the status page."""
    assert b"/admin/status/" in (await staff.get("/admin/")).content


async def test_refreshing_from_the_page(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, staff: AsyncClient
) -> None:
    """Staff are asked first, then the refresh begins; a second one within the interval is refused with the time to
    wait.
    """
    async with open_app(node.url):
        question = await staff.get("/admin/status/refresh")
        assert "Refresh all mappings?" in question.content.decode()
        told = []
        for _ in range(2):
            answer = await staff.post("/admin/status/refresh")
            assert (answer.status_code, answer["Location"]) == (302, "/admin/status/")
            told.append((await staff.get("/admin/status/")).content.decode())
    assert "The refresh has begun." in told[0]
    assert "The next one is possible in" in told[1]


async def test_refreshing_is_for_staff_with_csrf(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, async_client: AsyncClient, transactional_db: None
) -> None:
    """Nobody in particular is sent to the login; a staff session without its CSRF token gets 403."""
    async with open_app(node.url):
        assert "/admin/login/" in (await async_client.post("/admin/status/refresh"))["Location"]
        user = await get_user_model().objects.acreate_superuser("eve", "eve@example.org", "a long enough password")
        strict = AsyncClient(enforce_csrf_checks=True)
        await strict.aforce_login(user)
        assert (await strict.post("/admin/status/refresh")).status_code == 403
