"""The status page: for staff, from memory, honest when there is nothing to show."""

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from tests.integration.conftest import OpenApp
from tests.server import TOKEN

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
    """Staff see each service, the last refresh and the pools with their numbers."""
    cluster.indices.create(index="shop")
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        await http.get("/api/health")
        page = (await staff.get("/admin/status/")).content.decode()
    assert "elasticsearch" in page
    assert "completed" in page
    assert "1, 0 aliases, 1 distinct mappings" in page
    assert "0 / 50" in page
    assert "no data" in page


async def test_it_says_when_nothing_is_open(staff: AsyncClient) -> None:
    """Without an open registry the page says what to do, instead of failing."""
    page = (await staff.get("/admin/status/")).content.decode()
    assert "manage.py serve" in page


async def test_it_is_for_staff(transactional_db: None, async_client: AsyncClient) -> None:
    """Others are sent to the login."""
    answer = await async_client.get("/admin/status/")
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


async def test_the_admin_leads_there(staff: AsyncClient) -> None:
    """The admin's start page links to the status page."""
    assert b"/admin/status/" in (await staff.get("/admin/")).content
