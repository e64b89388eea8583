"""`GET /metrics` of real servers: right whichever worker answers, clean for promtool, and scraped by a real
Prometheus.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch
from prometheus_client.parser import text_string_to_metric_families

from cacheapp.instances import REPORT_SECONDS
from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.prometheus import PrometheusServer, promtool
from dev.servers.service import ROOT, TOKEN, Server, manage
from esassistant.registry import registry
from healthapp.metrics import PREFIX
from tests.support.receiver import entry

BEARER = {"Authorization": f"Bearer {TOKEN}"}
WORKERS = 2
AGE = "worker_report_age_seconds"
DEPLOY = ROOT / "deploy"

Series = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture(scope="module")
def server(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that are ready, with an index `shop` and a database of their own, which no test empties; details are
    for those with a token.
    """
    folder = tmp_path_factory.mktemp("metrics")
    database = f"sqlite:///{folder / 'store.sqlite3'}"
    targets = folder / "webhooks.toml"
    targets.write_text(entry("http://127.0.0.1:9/", "registry"))
    assert manage("migrate", elasticsearch_url=node.url, DATABASE_URL=database).returncode == 0
    with Elasticsearch(node.url) as cluster:
        cluster.indices.create(index="shop", settings={"number_of_replicas": 0})
        with Server(
            node.url,
            *("--workers", str(WORKERS)),
            DATABASE_URL=database,
            ESASSISTANT_DETAILS="authorized",
            ESASSISTANT_WEBHOOKS=targets,
            MAPPING_CACHE_WATCH="true",
        ) as server:
            wait_until(lambda: total(scrape(server), "cache_warm") == WORKERS, 20)
            wait_until(lambda: total(scrape(server), "webhook_state", target="registry", state="idle") == 1, 20)
            wait_until(lambda: total(scrape(server), "watch_state", state="watching") == 1, 10)
            wait_until(lambda: total(scrape(server), "mapping_fields_limit", family="shop") >= 1000, 10)
            yield server
        cluster.indices.delete(index="shop")


def get(server: Server, path: str) -> httpx.Response:
    """An answer over a connection of its own: any of the workers may accept it."""
    return server.get(path, headers={**BEARER, "Connection": "close"})


def scrape(server: Server) -> dict[Series, float]:
    """The value of each series."""
    answer = get(server, "/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def total(scraped: dict[Series, float], name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    return sum(
        value for (known, its_labels), value in scraped.items() if known == name and labels.items() <= set(its_labels)
    )


def only_grows(name: str) -> bool:
    return name.endswith(("_total", "_bucket", "_sum", "_count"))


def ages(scraped: dict[Series, float]) -> dict[str, float]:
    """How long ago each worker told what a scrape shows of it."""
    told = {dict(labels)["worker"]: age for (name, labels), age in scraped.items() if name == AGE}
    assert len(told) == WORKERS
    return told


def settled(server: Server) -> dict[Series, float]:
    """The first scrape in which every worker tells of a moment after this call."""
    called_at = time.monotonic()
    while True:
        asked_at = time.monotonic()
        scraped = scrape(server)
        if max(ages(scraped).values()) < asked_at - called_at:
            return scraped
        assert asked_at - called_at < REPORT_SECONDS + 2
        time.sleep(0.2)


def test_right_whichever_worker_answers(server: Server) -> None:
    """Each scrape has both workers; over many scrapes of either no counter falls while requests are made; and within
    the reporting interval the workers together have all that was sent.
    """
    last = settled(server)
    before = total(last, "http_requests_total", route="/api/mappings/{name}")
    seen: set[str] = set()
    sent = 0
    deadline = time.monotonic() + 120
    while len(seen) < WORKERS or sent < 300:
        assert time.monotonic() < deadline, "one worker answered all scrapes"
        for _ in range(5):
            assert get(server, "/api/mappings/shop").status_code == 200
            sent += 1
        now = scrape(server)
        seen.add(min(ages(now), key=ages(now).__getitem__))  # who answers tells of itself just then
        fallen = {series for series, value in last.items() if only_grows(series[0]) and now.get(series, 0) < value}
        assert fallen == set()
        last = now
    ended = settled(server)
    assert total(ended, "http_requests_total", route="/api/mappings/{name}") == before + sent
    assert total(ended, "http_request_duration_seconds_count", route="/api/mappings/{name}") == before + sent
    assert total(ended, "http_responses_total", route="/api/mappings/{name}", status="2xx") == before + sent


def test_promtool_is_content(server: Server) -> None:
    """`promtool check metrics` finds nothing, neither in the format nor in names and help; every metric has a value."""
    get(server, "/api/mappings/shop")
    answer = get(server, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    ended = subprocess.run(
        [promtool(), "check", "metrics"], input=answer.text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr.strip()) == (0, "", "")
    families = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
    declared = {PREFIX + metric.name for resource in registry.declared() for metric in resource.metrics}
    without = {name for name in declared if not families[name]}
    # The access log is off, nothing has been asked for long enough to be usual, and no search was wrong.
    named = ("access_log_written_lines", "access_log_lost_lines", "verdict_usual_seconds", "wrong_searches_by_family")
    assert without == {f"{PREFIX}{name}" for name in named}


def test_access_and_secrets(server: Server) -> None:
    """401 without a token, and with one that isn't ours; no secret is among the metrics; POST is refused."""
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert TOKEN not in get(server, "/metrics").text
    assert httpx.post(f"{server.url}/metrics", headers=BEARER).status_code == 405


def test_callers_make_no_series(server: Server) -> None:
    """Whatever paths, names and methods callers send, the values of labels stay those that the service knows."""
    known = {"/api/mappings/{name}", "/api/indices/{name}/search", "unmatched"}
    get(server, "/api/mappings/shop")
    for number in range(30):
        for path in (f"/made-up-{number}", f"/api/mappings/absent-{number}", f"/api/indices/absent-{number}/nothing"):
            get(server, path)
        httpx.post(f"{server.url}/api/indices/absent-{number}/search", json={}, headers=BEARER)
        httpx.request(f"METHOD{number}", f"{server.url}/made-up", headers=BEARER)
    scraped = settled(server)
    assert {dict(labels)["route"] for name, labels in scraped if name == "http_requests_total"} <= {
        *known,
        "/livez",
        "/metrics",
    }
    assert not [labels for _, labels in scraped if re.search("made-up|absent|METHOD", str(labels))]
    assert {dict(labels)["kind"] for name, labels in scraped if name == "elasticsearch_requests_total"} <= {
        *("cluster", "long_poll", "mapping", "nodes", "other", "resolve", "search", "settings")
    }


WITHOUT_VALUES = 'status="5xx"|access_log|verdict_trouble|verdict_usual_seconds|wrong_searches_by_family'


def dashboard_expressions() -> Iterator[str]:
    """What the dashboard asks, its variables filled in."""
    dashboard = json.loads((DEPLOY / "grafana" / "esassistant.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            asked = target["expr"]
            for variable, value in (("$__rate_interval", "10s"), ("$job", ".*"), ("$instance", ".*")):
                asked = asked.replace(variable, value)
            yield asked


def test_a_real_prometheus(server: Server, tmp_path: Path) -> None:
    """Prometheus, set up as in deploy/, scrapes the server with its token; sums over workers are what was asked; every
    rule is evaluated; every expression of the dashboard finds something.
    """
    example = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    config = tmp_path / "prometheus.yml"
    config.write_text(example.replace("127.0.0.1:8000", server.url.removeprefix("http://")).replace(": 15s", ": 1s"))
    (tmp_path / "alerts.yml").write_text((DEPLOY / "prometheus" / "alerts.yml").read_text())
    (tmp_path / "esassistant.token").write_text(f"{TOKEN}\n")
    before = total(settled(server), "cache_hits_total")
    with PrometheusServer(config) as prometheus:
        for _ in range(20):
            assert get(server, "/api/mappings/shop").status_code == 200
        wait_until(lambda: prometheus.value("up") == 1, 20)
        hits = "sum without (worker) (esassistant_cache_hits_total)"
        wait_until(lambda: prometheus.value(hits) == before + 20, REPORT_SECONDS + 5)
        assert prometheus.value("count(esassistant_process_uptime_seconds)") == WORKERS
        wait_until(lambda: {rule["health"] for rule in rules(prometheus)} == {"ok"}, 10)
        alerts = set(re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus" / "alerts.yml").read_text()))
        assert {rule["name"] for rule in rules(prometheus)} == alerts
        # Nothing is wrong, nothing failed on the server's side, and there is no access log.
        nothing = {asked for asked in dashboard_expressions() if re.search(WITHOUT_VALUES, asked)}

        def missing() -> set[str]:
            return {asked for asked in dashboard_expressions() if not prometheus.query(asked)}

        with suppress(AssertionError):
            wait_until(lambda: missing() == nothing, 30, every=1)
        assert missing() == nothing


def rules(prometheus: PrometheusServer) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
