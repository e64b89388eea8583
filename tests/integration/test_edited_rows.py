"""Case 63: rows of the history and of instances that somebody edited. Pages, API and metrics go on without them."""

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import AsyncClient
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from esassistant.instance import server_name
from esassistant.registry import registry
from tests.support.calls import make_index
from tests.support.fixtures import Figure, OpenApp
from tests.support.running import refresh_with_history

BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGES = (
    "/admin/status/",
    "/admin/cacheapp/passrecord/",
    "/admin/cacheapp/mappingchange/",
    "/admin/cacheapp/passrecord/{pass_id}/change/",
    "/admin/cacheapp/mappingchange/{change_id}/change/",
    "/browse/shop",
)
ADDRESSES = (
    "/api/mappings/shop/history",
    "/api/changes?pattern=s*",
    "/api/cache/stats",
    "/api/performance",
    "/metrics",
)
CHANGE, PASS, HEAD = "cacheapp_mappingchange", "cacheapp_passrecord", "cacheapp_historyhead"
EDITS = [
    *(
        (CHANGE, column, value)
        for column in ("added", "retyped")
        for value in ("5", "'5'", "'no JSON'", """'{"x": 1}'""")
    ),
    (CHANGE, "retyped", """'["a"]'"""),
    (CHANGE, "at", "'2026-99-99 00:00:00'"),
    (CHANGE, "at", "'yesterday'"),
    (CHANGE, "added_total", "'many'"),
    (CHANGE, "added_total", "-1"),
    (CHANGE, "compared", "7"),
    (CHANGE, "kind", "x'ff'"),
    (CHANGE, "instance", "CAST(x'ff' AS TEXT)"),
    (CHANGE, "number", "'many'"),
    (CHANGE, "family", "x'ff'"),
    (HEAD, "last_id", "'many'"),
    (PASS, "duration_seconds", "'long'"),
    (PASS, "duration_seconds", "-1"),
    (PASS, "started_at", "'2026-99-99 00:00:00'"),
    (PASS, "started_at", "'yesterday'"),
    (PASS, "read_total", "'many'"),
    (PASS, "outcome", "x'ff'"),
    (PASS, "error", "CAST(x'ff' AS TEXT)"),
]
HOSTILE_REPORTS: tuple[Any, ...] = (
    5,
    {
        "server": "here",
        "mapping_cache": {"indices": "many"},
        "http": {"together": 5},
        "process": {"resident_bytes": "x"},
    },
    {"server": "here", "http": {"together": {"requests_total": {"a": []}}}, "watch": {"state": {}}, "log": []},
)


@sync_to_async
def execute(statement: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")  # as in a file of before Django had these constraints
        cursor.execute(statement, values)
        return cursor.fetchone() if cursor.description else None


async def ignored(http: Any) -> int:
    told = (await http.get("/api/cache/stats", headers=BEARER)).json()["history"]["ignored_rows_total"]
    assert "esassistant_history_ignored_rows_total" in (await http.get("/metrics", headers=BEARER)).text
    return int(told)


async def test_case_63_edited_history(
    node: Node,
    cluster: Elasticsearch,
    open_app: OpenApp,
    async_client: AsyncClient,
    figure: Figure,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each page and address is 200 with each kind of edited row; what can be shown is; what can't is counted."""
    user = await get_user_model().objects.acreate_superuser("ada", "ada@example.org", "a long enough password")
    await async_client.aforce_login(user)
    make_index(cluster, "shop")
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}) as http:
        await refresh_with_history(http)
        cluster.indices.put_mapping(index="shop", properties={"gift": {"type": "text"}})
        await refresh_with_history(http)
        [change] = (await http.get("/api/mappings/shop/history", headers=BEARER)).json()["changes"]
        change_id = await execute("SELECT max(id) FROM cacheapp_mappingchange")
        pass_id = await execute("SELECT max(id) FROM cacheapp_passrecord")
        before = await ignored(http)
        for table, column, value in EDITS:
            [kept] = await execute(f"SELECT {column} FROM {table} ORDER BY id DESC")  # noqa: S608
            await execute(
                f"UPDATE {table} SET {column} = {value} WHERE id = (SELECT max(id) FROM {table})"  # noqa: S608
            )
            for page in PAGES:
                address = page.format(pass_id=pass_id[0], change_id=change_id[0])
                status = (await async_client.get(address)).status_code
                assert status in ((200, 302) if "change/" in page else (200,)), (table, column, value, page, status)
            for address in ADDRESSES:
                assert (await http.get(address, headers=BEARER)).status_code == 200, (table, column, value, address)
            await execute(f"UPDATE {table} SET {column} = %s WHERE id = (SELECT max(id) FROM {table})", kept)  # noqa: S608
        after = await ignored(http)
        again = (await http.get("/api/mappings/shop/history", headers=BEARER)).json()["changes"]
    assert after - before >= len(EDITS)
    assert again == [change]
    assert "Traceback" not in caplog.text
    figure(63, f"history: {len(EDITS)} edits x {len(PAGES) + len(ADDRESSES)} pages and addresses, no 500")


async def test_case_63_hostile_reports(
    node: Node, cluster: Elasticsearch, open_app: OpenApp, async_client: AsyncClient, figure: Figure
) -> None:
    """What another instance seems to tell, of any shape, breaks neither the status page nor metrics or statistics."""
    user = await get_user_model().objects.acreate_superuser("ada", "ada@example.org", "a long enough password")
    await async_client.aforce_login(user)
    async with open_app(node.url) as http:
        for report in HOSTILE_REPORTS:
            text = json.dumps(report).replace('"here"', json.dumps(server_name()))
            await registry.get("store").report("other:1", text.encode(), 60.0)
            await registry.get("instances").look()
            for address in ("/metrics", "/api/cache/stats", "/api/performance"):
                assert (await http.get(address, headers=BEARER)).status_code == 200, (report, address)
            page = await async_client.get("/admin/status/")
            assert page.status_code == 200
            assert (b"other:1" in page.content) == isinstance(report, dict)
        told = (await http.get("/api/cache/stats", headers=BEARER)).json()["store"]
    assert told["poisoned_total"] >= 1
    figure(63, f"reports: {len(HOSTILE_REPORTS)} hostile ones, no 500")
