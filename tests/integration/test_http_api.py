"""The HTTP API on a real node: shapes, headers, errors."""

import asyncio
import json
import time

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.service import TOKEN
from tests.support.fixtures import OpenApp

BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def test_a_mapping_is_what_elasticsearch_says(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """/api/mappings/{name} answers in Elasticsearch's own shape, equal to what the cluster itself renders."""
    mappings = {"properties": {"a": {"type": "text", "fields": {"raw": {"type": "keyword"}}}, "n": {"type": "nested"}}}
    cluster.indices.create(index="shop", mappings=mappings)
    async with open_app(node.url) as http:
        answer = await http.get("/api/mappings/shop")
    assert answer.status_code == 200
    assert answer.json() == cluster.indices.get_mapping(index="shop").body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"


async def test_an_alias_gives_all_its_indices(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An alias over several indices answers with each of them, before and after a full pass."""
    for name in ("logs-1", "logs-2"):
        cluster.indices.create(index=name, mappings={"properties": {name[-1]: {"type": "date"}}}, aliases={"logs": {}})
    async with open_app(node.url) as http:
        read_through = (await http.get("/api/mappings/logs")).json()
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        after_pass = (await http.get("/api/mappings/logs")).json()
    assert read_through == after_pass == cluster.indices.get_mapping(index="logs").body


async def test_hidden_and_closed_indices_are_known(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """An index that is hidden or closed has a mapping all the same."""
    cluster.indices.create(index="hidden", settings={"hidden": True}, mappings={"properties": {"h": {"type": "ip"}}})
    cluster.indices.create(index="closed", mappings={"properties": {"c": {"type": "ip"}}})
    cluster.indices.close(index="closed")
    async with open_app(node.url) as http:
        result = await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        assert result.json()["read_total"] == 2
        for name in ("hidden", "closed"):
            answer = await http.get(f"/api/mappings/{name}")
            assert answer.json()[name]["mappings"]["properties"][name[0]] == {"type": "ip"}
            assert answer.headers["x-cache-source"] == "memory"


async def test_an_etag_saves_the_body(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """If-None-Match with the mapping's ETag gives 304; the ETag changes with the mapping."""
    cluster.indices.create(index="shop", mappings={"properties": {"a": {"type": "long"}}})
    async with open_app(node.url) as http:
        etag = (await http.get("/api/mappings/shop")).headers["etag"]
        unchanged = await http.get("/api/mappings/shop", headers={"If-None-Match": f'"x", W/{etag}'})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        cluster.indices.put_mapping(index="shop", properties={"b": {"type": "long"}})
        changed = await http.post("/api/cache/refresh?index=shop", headers=BEARER)
        assert changed.headers["etag"] != etag
        assert set(changed.json()["shop"]["mappings"]["properties"]) == {"a", "b"}


async def test_errors_are_problems(node: Node, open_app: OpenApp, cluster: Elasticsearch) -> None:
    """400, 401, 404 and 405 are problem+json with a request id that is also in the header."""
    async with open_app(node.url) as http:
        answers = {
            400: await http.get("/api/mappings/UPPER"),
            401: await http.post("/api/cache/refresh"),
            404: await http.get("/api/nothing/here"),
            405: await http.delete("/api/health"),
        }
        absent = await http.get("/api/mappings/absent")
        wrong_token = await http.post("/api/cache/refresh", headers={"Authorization": "Bearer wrong"})
    for status, answer in answers.items():
        assert answer.status_code == answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["detail"]
    assert answers[401].headers["www-authenticate"] == "Bearer"
    assert answers[405].headers["allow"] == "GET, HEAD"
    assert absent.status_code == 404
    assert wrong_token.status_code == 401


async def test_health_has_its_parts(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """/api/health names each service with status, latency and whether it's critical, and is as old as its Age header
    says.
    """
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        answer = await http.get("/api/health")
        report = answer.json()
    assert answer.status_code == 200
    assert set(report) == {
        *("status", "verdict", "since", "effects", "next_step", "checked_at", "duration_ms", "ttl_seconds", "services"),
    }
    assert report["verdict"]
    services = {"elasticsearch", "pools", "store", "mapping_cache", "database", "process"}
    assert set(report["services"]) == services
    assert report["services"]["elasticsearch"]["critical"] is True
    assert report["services"]["elasticsearch"]["error"] is None
    assert int(answer.headers["age"]) <= 2 * report["ttl_seconds"]
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_yellow_cluster_degrades(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Unassigned replicas make the cluster yellow: degraded, still 200."""
    cluster.indices.create(index="replicated", settings={"number_of_replicas": 1})
    async with open_app(node.url) as http:
        answer = await http.get("/api/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "yellow" in answer.json()["services"]["elasticsearch"]["error"]


async def test_refresh_reports_progress_and_result(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """POST /api/cache/refresh gives 202 with a Location, where progress and then the result are found."""
    cluster.indices.create(index="shop")
    async with open_app(node.url, cache={"min_refresh_interval": 0.0}) as http:
        accepted = await http.post("/api/cache/refresh", headers=BEARER)
        assert accepted.status_code == 202
        location = accepted.headers["location"]
        deadline = time.monotonic() + 10
        while (report := (await http.get(location)).json())["outcome"] in ("started", "joined"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert report["outcome"] == "completed"
    assert (report["indices_total"], report["failed_total"], report["published"]) == (1, 0, True)


async def test_refresh_is_rate_limited(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A second refresh within MIN_REFRESH_INTERVAL gives 429 with the seconds to wait."""
    async with open_app(node.url, cache={"min_refresh_interval": 30.0}) as http:
        first = await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        second = await http.post("/api/cache/refresh", headers=BEARER)
    assert first.status_code == 200
    assert second.status_code == 429
    assert 0 < int(second.headers["retry-after"]) <= 30


async def test_numbers_are_null_before_there_is_data(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """Ratios and latencies are null, not 0 or 100 %, before the first call; what can't be judged yet is named."""
    async with open_app(node.url) as http:
        stats = (await http.get("/api/cache/stats")).json()
        performance = (await http.get("/api/performance")).json()
    assert stats["cache"]["answers"]["hit_ratio"] is None
    assert performance["pools"]["default"]["success_percent"] is None
    latency = performance["pools"]["default"]["latency"]
    assert (latency["samples"], latency["p50_seconds"], latency["max_seconds"]) == (0, None, None)
    assert performance["recommendations"] == []
    missing = {each["metric"]: (each["sample_size"], each["needed"]) for each in performance["not_enough_data"]}
    assert missing["pools.default"] == (0, 100)


async def test_hits_and_misses_are_counted(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """One read-through and then answers from memory show as one miss and hits, with the ratio of both."""
    async with open_app(node.url) as http:
        await http.post("/api/cache/refresh?wait=true", headers=BEARER)
        cluster.indices.create(index="new")
        for _ in range(4):
            assert (await http.get("/api/mappings/new")).status_code == 200
        answers = json.loads((await http.get("/api/cache/stats")).content)["cache"]["answers"]
    assert (answers["hits_total"], answers["misses_total"], answers["hit_ratio"]) == (3, 1, 0.75)


async def test_head_has_no_body(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """HEAD answers like GET, without the body."""
    async with open_app(node.url) as http:
        answer = await http.head("/api/health")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_bad_parameters_are_refused(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """A parameter that can't be understood is a 400 that says what to write, not silently false."""
    async with open_app(node.url) as http:
        answer = await http.post("/api/cache/refresh?wait=maybe", headers=BEARER)
    assert answer.status_code == 400
    assert "wait=true" in answer.json()["detail"]


async def test_an_unknown_refresh_is_404(node: Node, cluster: Elasticsearch, open_app: OpenApp) -> None:
    """The report of a refresh that this process doesn't know is a 404."""
    async with open_app(node.url) as http:
        assert (await http.get("/api/cache/refresh/0123")).status_code == 404
