"""The API's views through the whole of Django: with nothing open, and over stand-ins for cluster and store."""

import asyncio
import html
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import httpx
import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

import cacheapp.cache.http_answers
import cacheapp.views
import esassistant.views
import healthapp.front_page
import healthapp.views
from cacheapp.cache.cluster_fields import ClusterFields
from cacheapp.cache.derived import MappingViews
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.change_reports import FeedReport
from cacheapp.demand.learner import DemandLearner
from cacheapp.instances import Instances
from cacheapp.reports import FieldLimitsReport, FieldUsesReport, SearchReport, StoreReport, ValidationReport
from cacheapp.sync.refresher import Refresher
from cacheapp.values.gatherer import NOT_GATHERED
from cacheapp.values.known import KnownValues
from cacheapp.webhooks.webhooks import NO_WEBHOOKS
from esassistant.advice import Rule
from esassistant.asgi import application
from esassistant.clock import monotonic, now_utc
from esassistant.config.model import Details
from esassistant.elasticsearch.advice import pool_rules
from esassistant.elasticsearch.client import CLIENTS
from esassistant.elasticsearch.pools import Pools
from esassistant.errors import StoreUnavailable
from esassistant.http.connections import Connections
from esassistant.http.logins import Logins
from esassistant.http.statistics import HttpStatistics
from esassistant.http.streams import Streams
from esassistant.log_handler import QueuedHandler
from esassistant.registry import Registry
from esassistant.resource import Health, PingResult
from healthapp.advice_watch import AdviceWatch, advice
from healthapp.checks import Check
from healthapp.evidence import ServedMappings, Told
from healthapp.hour import DeploymentHour
from healthapp.judge import Judge, Sources
from healthapp.minutes import Minute
from healthapp.monitor import HealthMonitor
from healthapp.process import ProcessWatch
from healthapp.timeline import SOURCES, Timeline
from healthapp.verdict import Verdict
from tests.support.clients import pools
from tests.support.demand import demand_learner
from tests.support.fakes import A_MAPPING, B_MAPPING, FakeClock, FakeReader, Instance, MemoryStore, no_answer, spawn

T = TypeVar("T")
TOKEN = {"Authorization": "Bearer test-token-0123456789"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


class AwayDatabase:
    """Nothing is kept over restarts."""

    async def run(self, function: Callable[[], T], *, atomic: bool = True) -> T:
        raise StoreUnavailable("The database is away.", retry_after_seconds=1)


class World:
    """An open registry in the place of the process's own, over a cluster and a store in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.cluster = FakeReader({"a": A_MAPPING, "b": B_MAPPING})
        self.cluster.cluster_aliases["both"] = ("a", "b")
        self.instance = Instance(self.cluster, self.store, self.clock)
        self.health = Health.HEALTHY
        self.store_health = Health.HEALTHY
        checks = [Check("elasticsearch", 5.0, True, self.ping), Check("store", 5.0, False, self.ping_store)]
        self.monitor = HealthMonitor(checks, 30.0, clock=self.clock)
        self.pools = {client.name: pools(client.name.partition("_")[2] or "default") for client in CLIENTS}
        self.registry = Registry()
        self.declare("mapping_cache", self.instance.cache, MappingCache.report)
        views = MappingViews(self.instance.cache, spawn, clock=self.clock)
        self.declare("mapping_views", views, MappingViews.report)
        self.declare("refresher", self.instance.refresher, Refresher.report)
        self.declare("watch", None, lambda _: None)
        self.declare("history", None, lambda _: None)
        self.declare("webhooks", None, lambda _: NO_WEBHOOKS)
        self.declare("feed", None, lambda _: FeedReport(0, 900, 0, 0, 0, 0, None, None))
        self.declare("store", None, lambda _: StoreReport("redis", 3))
        instances = Instances(
            self.store, "one", lambda: {"refreshes": self.instance.refresher.latest_reports()}, clock=self.clock
        )
        self.declare("instances", instances, Instances.report)
        self.declare("health", self.monitor, HealthMonitor.last)
        self.declare("http", HttpStatistics(), HttpStatistics.report)
        self.declare("connections", Connections(10), Connections.report)
        self.declare("streams", Streams(), Streams.report)
        self.declare("logins", Logins(), Logins.report)
        self.declare("log", QueuedHandler(), QueuedHandler.report)
        self.declare("process", ProcessWatch(clock=self.clock), ProcessWatch.report)
        self.declare("access_log", None, lambda _: None)
        self.declare("timeline", Timeline(lambda: self.registry.reports(SOURCES), clock=self.clock), Timeline.report)
        self.declare("search", None, lambda _: SearchReport())
        self.declare("field_values", None, lambda _: NOT_GATHERED)
        self.declare("field_uses", None, lambda _: FieldUsesReport(0, 0, 0, 0))
        self.declare("demand", demand_learner(self.store, self.clock), DemandLearner.report)
        self.declare("field_limits", None, lambda _: FieldLimitsReport(None))
        self.declare("cluster_fields", ClusterFields(self.instance.cache, views), lambda _: None)
        self.declare("known_values", KnownValues(clock=self.clock), lambda _: None)
        self.declare("validation", None, lambda _: ValidationReport(0, 0, {}, {}, 0))
        judge = self.judge()
        self.declare("verdict", judge, Judge.report)
        self.declare("verdict_basis", judge, Judge.basis)
        hour = DeploymentHour(lambda _: Minute(), judge.level, self.store, clock=self.clock)
        self.declare("hour", hour, DeploymentHour.report)
        for client, its_pools in self.pools.items():
            self.declare(client, its_pools, lambda found: Pools.report(found, None), pool_rules(()))
        with_rules = list(self.pools)
        watch = AdviceWatch(
            lambda: self.registry.reports(with_rules), partial(advice, self.registry), judge.effects, clock=self.clock
        )
        self.declare("advice", watch, AdviceWatch.report)

    def judge(self) -> Judge:
        sources = Sources(Told, dict, lambda: ServedMappings(False, 0, 0, None), lambda: None)
        return Judge(sources, self.monitor, AwayDatabase(), "one", clock=self.clock)

    def declare(self, name: str, value: Any, stats: Callable[[Any], object], *rules: Rule) -> None:
        @asynccontextmanager
        async def factory(_: Registry) -> AsyncIterator[Any]:
            yield value

        self.registry.register(name, factory, stats=stats, rules=rules)

    async def ping(self) -> PingResult:
        return PingResult(self.health, None if self.health is Health.HEALTHY else "cluster status red")

    async def ping_store(self) -> PingResult:
        return PingResult(self.store_health, None if self.store_health is Health.HEALTHY else "it is away")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World()
    for module in (cacheapp.views, cacheapp.cache.http_answers, healthapp.views):
        monkeypatch.setattr(module, "registry", world.registry)
    async with world.registry.open():
        yield world


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/mappings/a"),
        ("GET", "/api/cache/stats"),
        ("POST", "/api/cache/refresh"),
        ("GET", "/api/cache/refresh/1"),
        ("GET", "/api/health"),
        ("GET", "/api/performance"),
        ("GET", "/metrics"),
    ],
)
async def test_registry_not_open(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Without an open registry each address answers 503 that names the remedy, as a problem."""
    response = await client.request(method, path, headers=TOKEN)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["title"]) == (503, "Not serving")
    assert "manage.py serve" in body["detail"]
    assert body["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/mappings/a", "GET, HEAD"),
        ("POST", "/api/cache/stats", "GET, HEAD"),
        ("GET", "/api/cache/refresh", "POST"),
        ("PUT", "/api/cache/refresh/1", "GET, HEAD"),
        ("POST", "/api/health", "GET, HEAD"),
    ],
)
async def test_methods(client: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    """Other methods are 405, whatever the state of the registry, and Allow names the right ones."""
    response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)


CSRF_COOKIE = f"csrftoken={'c' * 32}"
BAD_FORMS = ["application/x-www-form-urlencoded; charset=utf-16", "multipart/form-data; boundary="]


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/browse/", "/nothing", "/api/nothing"])
@pytest.mark.parametrize("content_type", BAD_FORMS)
@pytest.mark.parametrize("accept", ["text/html", "*/*"])
async def test_bad_forms(
    client: httpx.AsyncClient, path: str, content_type: str, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A form that can't be read is the fault of who sent it: no 5xx, nothing in the log, whoever made up the cookie."""
    headers = {"Content-Type": content_type, "Cookie": CSRF_COOKIE, "Accept": accept}
    response = await client.post(path, content=b"a=b", headers=headers)
    assert response.status_code in (400, 403, 404, 405)
    assert response.headers["X-Request-ID"]
    assert response.headers["content-type"].startswith(
        "text/html" if accept == "text/html" and not path.startswith("/api/") else "application/problem+json"
    )
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_pages_of_errors(client: httpx.AsyncClient) -> None:
    """Who asks for a page that isn't there gets one in the layout of all pages, with the id of the request."""
    response = await client.get("/nothing", headers={"Accept": "text/html", "X-Request-ID": "page-1"})
    assert response.status_code == 404
    assert "There is nothing at this address." in response.text
    assert "request page-1" in response.text


@pytest.mark.parametrize("view", [esassistant.views.forbidden, esassistant.views.failed])
def test_pages_of_other_errors(view: Callable[..., HttpResponse]) -> None:
    """They say what happened, and look at nothing of the request."""
    request = RequestFactory().post("/", b"a=b", content_type="multipart/form-data; boundary=")
    response = view(request) if view is esassistant.views.failed else view(request, Exception())
    assert response.status_code in (403, 500)
    assert response["Content-Type"].startswith("text/html")


async def test_mapping(client: httpx.AsyncClient, world: World) -> None:
    """A mapping comes in Elasticsearch's own shape, with its age, state and source beside it."""
    # Views tell ages by the clock of the process: the world's begins so far behind that both meet.
    made_at = world.clock.now = monotonic() - 12.7
    first = await client.get("/api/mappings/a")
    assert (first.status_code, first.json()) == (200, {"a": {"mappings": json.loads(A_MAPPING)}})
    assert first.headers["content-type"] == "application/json"
    assert (first.headers["x-cache-source"], first.headers["x-cache-state"]) == ("elasticsearch", "fresh")
    world.clock.advance(12.7)
    second = await client.get("/api/mappings/a")
    assert (second.headers["x-cache-source"], second.headers["x-cache-state"]) == ("memory", "stale")
    assert 12 <= int(second.headers["age"]) <= monotonic() - made_at
    assert second.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("given", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
async def test_not_modified(client: httpx.AsyncClient, world: World, given: str) -> None:
    """Who has the mapping gets 304 without a body, whichever way the ETag is listed."""
    etag = (await client.get("/api/mappings/a")).headers["etag"]
    response = await client.get("/api/mappings/a", headers={"If-None-Match": given.format(etag=etag)})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert "content-type" not in response.headers
    changed = await client.get("/api/mappings/b", headers={"If-None-Match": etag})
    assert changed.status_code == 200


@pytest.mark.parametrize("path", ["A", "a,,b", "a,..", "a*,<now>", "a/b", "%2e%2e%2fx", "a%20b", "-x"])
async def test_illegal_names(client: httpx.AsyncClient, world: World, path: str) -> None:
    """A name that can't be legal is 400, and the cluster hears nothing of it."""
    response = await client.get(f"/api/mappings/{path}")
    assert (response.status_code, response.json()["title"]) == (400, "Illegal name")
    assert world.cluster.requests_total == 0


async def test_unknown_and_unavailable(client: httpx.AsyncClient, world: World) -> None:
    """An unknown index is 404; a cluster that can't be asked is 503 with Retry-After."""
    assert (await client.get("/api/mappings/nothing")).status_code == 404
    world.cluster.failure = no_answer()
    response = await client.get("/api/mappings/a")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


async def test_refresh_needs_token(client: httpx.AsyncClient, world: World) -> None:
    """Without a valid token nothing is started."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic test-token-0123456789"}):
        response = await client.post("/api/cache/refresh", headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert world.cluster.requests_total == 0


async def test_refresh_started_and_joined(client: httpx.AsyncClient, world: World) -> None:
    """A refresh is 202 with the address of its report; asking again joins it."""
    world.cluster.gate.clear()
    first = await client.post("/api/cache/refresh", headers=TOKEN)
    second = await client.post("/api/cache/refresh", headers=TOKEN)
    assert [response.status_code for response in (first, second)] == [202, 202]
    assert [response.json()["outcome"] for response in (first, second)] == ["started", "joined"]
    assert first.headers["location"] == second.headers["location"] == first.json()["url"]
    assert (await client.get(first.headers["location"])).json()["outcome"] == "started"
    world.cluster.gate.set()
    await world.instance.refresher.wait(first.json()["id"])
    report = (await client.get(first.headers["location"])).json()
    assert (report["outcome"], report["read_total"], report["published"]) == ("completed", 2, True)


async def test_refresh_waited_for_then_limited(client: httpx.AsyncClient, world: World) -> None:
    """`wait=true` answers with the result; the next one within the interval is 429 with Retry-After."""
    done = await client.post("/api/cache/refresh?wait=true", headers=TOKEN)
    assert (done.status_code, done.json()["outcome"]) == (200, "completed")
    world.clock.advance(19.5)
    limited = await client.post("/api/cache/refresh", headers=TOKEN)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "41")
    assert "a moment ago" in limited.json()["detail"]


async def test_refresh_elsewhere(client: httpx.AsyncClient, world: World) -> None:
    """While another process refreshes the answer is 429 and says so."""
    await world.store.lease("refresh", "other", 30.0)
    response = await client.post("/api/cache/refresh", headers=TOKEN)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert "Another process" in response.json()["detail"]


async def test_failed_refresh(client: httpx.AsyncClient, world: World) -> None:
    """A refresh that was waited for and failed is 503 with the reason."""
    world.cluster.failure = no_answer()
    response = await client.post("/api/cache/refresh?wait=true", headers=TOKEN)
    assert (response.status_code, response.json()["detail"]) == (503, "Elasticsearch could not be reached.")


async def test_refresh_of_one_index(client: httpx.AsyncClient, world: World) -> None:
    """`?index=` reads that name now, and answers with its mapping."""
    await client.get("/api/mappings/a")
    world.cluster.indices["a"] = B_MAPPING
    response = await client.post("/api/cache/refresh?index=a", headers=TOKEN)
    assert (response.status_code, response.json()) == (200, {"a": {"mappings": json.loads(B_MAPPING)}})
    assert (await client.post("/api/cache/refresh?index=*", headers=TOKEN)).status_code == 400


async def test_refresh_parameters(client: httpx.AsyncClient, world: World) -> None:
    """A `wait` that is neither true nor false is 400; an unknown report is 404."""
    response = await client.post("/api/cache/refresh?wait=maybe", headers=TOKEN)
    assert (response.status_code, "wait=true" in response.json()["detail"]) == (400, True)
    assert (await client.get("/api/cache/refresh/unknown")).status_code == 404


async def test_cache_stats(client: httpx.AsyncClient, world: World) -> None:
    """Statistics of cache and passes, not to be stored; the hit ratio is null before the first answer."""
    response = await client.get("/api/cache/stats")
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["cache"]["answers"]["hit_ratio"] is None
    assert response.json()["refresh"]["passes_total"] == 0
    assert response.json()["store"] == {
        "kind": "redis",
        "poisoned_total": 3,
        "writable": True,
        "write_error": None,
        "unwritable_since": None,
        "refused_writes_total": 0,
    }
    await client.get("/api/mappings/a")
    assert (await client.get("/api/cache/stats")).json()["cache"]["answers"]["misses_total"] == 1


async def test_health(client: httpx.AsyncClient, world: World) -> None:
    """200 with each service's state and the report's age; 503 only when unhealthy; the ETag follows the report."""
    made_at = world.clock.now = monotonic() - 5.9
    healthy = await client.get("/api/health")
    assert (healthy.status_code, healthy.json()["status"]) == (200, "healthy")
    assert set(healthy.json()) == {"status", "checked_at", "duration_ms", "ttl_seconds", "services"} | {
        *("verdict", "since", "effects", "next_step"),
    }
    assert healthy.json()["services"]["elasticsearch"]["critical"] is True
    world.clock.advance(5.9)
    again = await client.get("/api/health")
    assert 5 <= int(again.headers["age"]) <= monotonic() - made_at
    assert again.headers["etag"] == healthy.headers["etag"]
    world.clock.advance(100.0)
    world.health = Health.UNHEALTHY
    unhealthy = await client.get("/api/health")
    assert (unhealthy.status_code, unhealthy.json()["status"]) == (503, "unhealthy")
    assert unhealthy.json()["services"]["elasticsearch"]["error"] == "cluster status red"
    assert unhealthy.headers["etag"] != healthy.headers["etag"]
    world.clock.advance(100.0)
    world.health = Health.DEGRADED
    assert (await client.get("/api/health")).status_code == 200


async def test_performance(client: httpx.AsyncClient, world: World) -> None:
    """All resources in one report; advice only after enough requests."""
    quiet = (await client.get("/api/performance")).json()
    assert set(quiet["pools"]) == {"default", "cache", "watch", "health"}
    assert quiet["recommendations"] == []
    assert {"pools.default", "pools.cache"} <= {missing["metric"] for missing in quiet["not_enough_data"]}
    counters = world.pools["elasticsearch"].pool_for("/").counters
    for _ in range(100):
        counters.sent("search", 0)
        counters.failed("search", "request_timeout")
    busy = (await client.get("/api/performance")).json()
    assert "pools.default" not in {missing["metric"] for missing in busy["not_enough_data"]}
    assert busy["recommendations"][0]["metric"] == "pools.default.timeouts_percent"


def status_page() -> HttpResponse:
    request = RequestFactory().get("/admin/status/")
    request.user = AnonymousUser()
    return healthapp.views.status(request)


def test_status_page_not_open() -> None:
    """The status page says what to do when nothing is open."""
    response = status_page()
    assert response.status_code == 200
    assert "manage.py serve" in response.content.decode()


async def test_status_page(world: World) -> None:
    """The status page is made in a thread of its own, from reports alone: the cluster isn't asked."""
    await world.monitor.report()
    response = await asyncio.to_thread(status_page)
    page = response.content.decode()
    assert response.status_code == 200
    assert "Healthy" in page
    assert "No mappings yet" in page
    assert "Connection pools and breakers" in page
    assert world.cluster.requests_total == 0


async def test_status_page_while_the_store_is_away(world: World) -> None:
    """Then only this process is known, and the page says so. The row of the store, which isn't critical, is not worse
    than the verdict; when the trouble began is said once.
    """
    world.store_health = Health.UNHEALTHY
    await world.monitor.report()
    page = (await asyncio.to_thread(status_page)).content.decode()
    assert page.count("of this process alone, as the store can't be used") == 2
    assert "of all processes" not in page
    assert "all processes</h2>" not in page
    assert '<span class="state degraded">The store can&#x27;t be used</span>' in page
    assert '<p class="meta">Since ' not in page


async def test_status_page_needs_staff(client: httpx.AsyncClient) -> None:
    """Who isn't logged in is sent to the login."""
    response = await client.get("/admin/status/")
    assert response.status_code == 302
    assert "/admin/login/" in response.headers["location"]


async def test_front_page_not_open(client: httpx.AsyncClient) -> None:
    """The front page says what to do when nothing is open."""
    response = await client.get("/", headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert "manage.py serve" in response.text


async def test_front_page_says_what_is_wrong(
    client: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Strangers get the sentence that `/api/health` gives them, without hosts; who may read details the whole one."""
    monkeypatch.setattr(healthapp.front_page, "registry", world.registry)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED)
    whole, public = "es:9200 doesn't answer.", "Elasticsearch doesn't answer."
    await world.monitor.report()
    world.monitor.note_verdict(Verdict(Health.UNHEALTHY, whole, public, now_utc(), (), None))
    said = [html.unescape((await client.get("/", headers=headers)).text) for headers in ({}, TOKEN)]
    assert [(whole in text, public in text) for text in said] == [(False, True), (True, False)]


async def test_front_page_refuses_a_wrong_token(client: httpx.AsyncClient) -> None:
    """As everything else does: it would show less without a word."""
    assert (await client.get("/", headers={"Authorization": "Bearer wrong"})).status_code == 401
