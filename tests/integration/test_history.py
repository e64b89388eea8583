"""The history: passes and mapping changes as rows, by the API and in the admin."""

from functools import partial
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from elasticsearch import Elasticsearch
from pytest_django import Settings

from cacheapp import history
from cacheapp.history import History
from cacheapp.models import MappingChange, PassRecord, Published
from dev.elasticsearch.node import Node
from tests.support.fixtures import OpenApp
from tests.support.running import refresh_with_history

NO_LIMIT = {"min_refresh_interval": 0.0}


async def changes_of(http: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    answer = await http.get(f"/api/mappings/{name}/history")
    changes: list[dict[str, Any]] = answer.json()["changes"]
    return changes


async def test_changes_of_an_index(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """What happened to an index is told newest first, with its fields; by an alias too, and after it is gone."""
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "long"}}}, aliases={"shops": {}})
    async with open_app(node.url, cache=NO_LIMIT) as http:
        assert await changes_of(http, "shop") == []
        cluster.indices.put_mapping(index="shop", properties={"b": {"type": "ip"}})
        await refresh_with_history(http)
        [added] = await changes_of(http, "shops")
        assert (added["kind"], added["added"], added["added_total"], added["index"]) == ("changed", ["b"], 1, "shop")
        cluster.indices.delete(index="shop")
        cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "keyword"}}})
        await refresh_with_history(http)
        cluster.indices.delete(index="shop")
        await refresh_with_history(http)
        deleted, recreated, _ = await changes_of(http, "shop")
        assert (deleted["kind"], recreated["kind"]) == ("deleted", "recreated")
        assert recreated["retyped"] == [{"name": "a", "before": "long", "after": "keyword"}]
        assert recreated["removed"] == ["b"]
        assert (await http.get("/api/mappings/UPPER/history")).status_code == 400


async def test_passes_are_rows(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Each full pass that ended is a row, with what its report said."""
    cluster.indices.create(index="shop")
    async with open_app(node.url, cache=NO_LIMIT) as http:
        await refresh_with_history(http)
    rows = await sync_to_async(lambda: list(PassRecord.objects.order_by("id")))()
    assert [(row.trigger, row.outcome, row.read_total) for row in rows] == [
        ("warm-up", "completed", 1),
        ("api", "completed", 1),
    ]


async def test_rows_are_bounded(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest rows of each kind are kept."""
    monkeypatch.setattr(history, "History", partial(History, kept_passes=2, kept_changes=3))
    async with open_app(node.url, cache=NO_LIMIT) as http:
        for number in range(4):
            cluster.indices.create(index=f"a{number}")
            cluster.indices.create(index=f"b{number}")
            await refresh_with_history(http)
    assert await sync_to_async(PassRecord.objects.count)() == 2
    names = await sync_to_async(lambda: list(MappingChange.objects.order_by("id").values_list("index", flat=True)))()
    assert names == ["b2", "a3", "b3"]


@pytest.mark.django_db
def test_the_admin_only_shows(settings: Settings) -> None:
    """Staff can look at and search the history, and change nothing."""
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x" * 20))
    totals = dict.fromkeys(("added_total", "removed_total", "retyped_total", "altered_total"), 0)
    lists: dict[str, list[str]] = {"added": [], "removed": [], "retyped": [], "altered": []}
    row = MappingChange.objects.create(
        index="shop", at="2026-01-01T00:00:00Z", kind="created", compared=False, instance="host:1", **lists, **totals
    )
    assert "shop" in client.get("/admin/cacheapp/mappingchange/?q=sho").content.decode()
    assert client.get(f"/admin/cacheapp/mappingchange/{row.pk}/change/").status_code == 200
    assert client.post(f"/admin/cacheapp/mappingchange/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/cacheapp/passrecord/add/").status_code == 403
    assert client.get("/admin/cacheapp/passrecord/").status_code == 200


async def test_all_changes_by_page(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """What happened to all indices, oldest first, by pattern of names that are gone too; a new index of a data stream's
    kind tells how it differs from the one before.
    """
    cluster.indices.create(index="logs-1", mappings={"properties": {"status": {"type": "long"}}})
    async with open_app(node.url, cache=NO_LIMIT) as http:
        cluster.indices.create(index="logs-2", mappings={"properties": {"status": {"type": "keyword"}}})
        cluster.indices.create(index="orders")
        await refresh_with_history(http)
        cluster.indices.delete(index="logs-1")
        await refresh_with_history(http)
        page = (await http.get("/api/changes")).json()
        assert [(one["id"], one["kind"], one["index"]) for one in page["changes"]] == [
            (1, "created", "logs-2"),
            (2, "created", "orders"),
            (3, "deleted", "logs-1"),
        ]
        rollover = page["changes"][0]
        assert (rollover["family"], rollover["compared_with"], rollover["compared"]) == ("logs*", "logs-1", True)
        assert rollover["retyped"] == [{"name": "status", "before": "long", "after": "keyword"}]
        assert (page["next"], page["oldest_id"], page["last_id"], page["shared"]) == (3, 1, 3, True)
        rest = (await http.get("/api/changes?since=1&pattern=logs-*,-logs-2&limit=1")).json()
        assert [one["id"] for one in rest["changes"]] == [3]
        assert (await http.get("/api/changes?kind=deleted,hidden")).json()["changes"][0]["id"] == 3
        gone = await http.get("/api/changes?since=4")
        assert (gone.status_code, gone.json()["oldest_id"], gone.json()["last_id"]) == (410, 1, 3)
        assert gone.json()["type"] == "/problems/changes-gone"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sinse=1", "since"),
        ("since=x", "whole number"),
        ("since=-1", "whole number"),
        ("limit=0", "from 1 to"),
        ("kind=renamed", "created,changed"),
        ("pattern=a,,b", "comma"),
        ("pattern=", "empty"),
    ],
)
async def test_what_is_asked_wrongly(node: Node, open_app: OpenApp, query: str, said: str) -> None:
    """Gets 400 that says what to send."""
    async with open_app(node.url, cache=NO_LIMIT) as http:
        answer = await http.get(f"/api/changes?{query}")
        assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text


async def test_another_selection_hides(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """What is no longer selected when the service starts again is hidden, not deleted as what is gone meanwhile; and
    it is shown again.
    """
    for name in ("kept", "left-out", "gone"):
        cluster.indices.create(index=name)
    async with open_app(node.url, cache=NO_LIMIT) as http:
        await refresh_with_history(http)
    cluster.indices.delete(index="gone")
    # The store may lose what was published: what the database has recorded is what counts.
    await Published.objects.all().adelete()
    async with open_app(node.url, cache={**NO_LIMIT, "exclude": ("left-*",)}) as http:
        await refresh_with_history(http)
    await Published.objects.all().adelete()
    async with open_app(node.url, cache={**NO_LIMIT, "exclude": ()}) as http:
        await refresh_with_history(http)
        page = (await http.get("/api/changes")).json()
    assert [(one["kind"], one["index"]) for one in page["changes"]] == [
        ("deleted", "gone"),
        ("hidden", "left-out"),
        ("shown", "left-out"),
    ]


async def test_comparison(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Of two indices, an alias, and mappings by their hashes; with the headers of mappings."""
    cluster.indices.create(index="v1", mappings={"properties": {"a": {"type": "long"}}}, aliases={"all": {}})
    cluster.indices.create(index="v2", mappings={"properties": {"a": {"type": "keyword"}}}, aliases={"all": {}})
    async with open_app(node.url, cache=NO_LIMIT) as http:
        answer = await http.get("/api/compare?a=v1&b=v2")
        found = answer.json()
        assert found["differences"]["retyped"] == [{"name": "a", "a": ["long"], "b": ["keyword"]}]
        assert {"age", "etag", "x-cache-state", "x-cache-source"} <= set(answer.headers)
        again = await http.get("/api/compare?a=v1&b=v2", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        hashes = "&".join(f"{side}={found[side]['mapping_hashes'][0]}" for side in "ab")
        assert (await http.get(f"/api/compare?{hashes}")).json()["differences"] == found["differences"]
        conflicts = (await http.get("/api/compare?a=all&b=v2")).json()["differences"]["conflicts_a"]
        assert conflicts == [{"name": "a", "types": ["keyword", "long"]}]
        for query, status in (("a=v1", 400), ("a=v1&b=nope", 404), ("a=v1&b=v2&c=v3", 400)):
            assert (await http.get(f"/api/compare?{query}")).status_code == status
