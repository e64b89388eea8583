"""The description of the API is true: schemathesis makes requests of it, sends them to a real server, and finds
nothing.

Requests are such as the document permits and such as it doesn't, single ones and chains of them. Examples are few, and
the same each time; with more of them it finds nothing either: see CONTRIBUTING.md.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import ROOT, TOKEN, Server

pytestmark = pytest.mark.django_db(transaction=True)

BEARER = {"Authorization": f"Bearer {TOKEN}"}
BOUNDARIES = ("--phases", "examples,coverage")
"""What lies at the bounds of the schemas, and just beyond; without chances, and without chains of requests."""
SECONDS = 120
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Findings:
    """What schemathesis printed, whether it found anything, and which statuses it got by method and path template."""

    output: str
    found: bool
    statuses: dict[tuple[str, str], set[int]]


def schemathesis(server: Server, folder: Path, *options: str, **headers: str) -> Findings:
    """Run schemathesis against the document that `server` serves."""
    document, report = folder / "openapi.json", folder / "requests.har"
    document.write_bytes(server.get("/api/openapi.json").content)  # loaded from its address, that would be left out
    given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", "tests/schemathesis.toml"),
        *("run", str(document), "--url", server.url, "--generation-deterministic", "--continue-on-failure"),
        *("--report-har-path", str(report), *given, *options),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    output = ended.stdout + ended.stderr
    assert report.exists(), output
    templates = list(json.loads(document.read_text())["paths"])
    return Findings(output, ended.returncode != 0, statuses_in(json.loads(report.read_text()), templates))


def statuses_in(har: dict[str, Any], templates: list[str]) -> dict[tuple[str, str], set[int]]:
    """The statuses in a report, by method and template: of those that fit, the longest."""
    patterns = {
        template: re.compile(re.sub(r"{\w+}", "[^/]*", template))
        for template in sorted(templates, key=len, reverse=True)
    }
    found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for entry in har["log"]["entries"]:
        path = urlsplit(entry["request"]["url"]).path
        for template, pattern in patterns.items():
            if pattern.fullmatch(path):
                found[entry["request"]["method"], template].add(entry["response"]["status"])
                break
    return dict(found)


@pytest.fixture(autouse=True)
def indices(cluster: Elasticsearch) -> None:
    """Indices of several kinds, two of which disagree, and aliases, one with capitals."""
    status = {"properties": {"status": {"type": "keyword"}, "items": {"type": "nested"}}}
    cluster.indices.create(index="orders", mappings=status, aliases={"All-Orders": {}})
    cluster.index(index="orders", document={"status": "shipped"}, refresh=True)
    for name, type_ in (("logs-1", "integer"), ("logs-2", "keyword")):
        fields = {"status": {"type": type_}, "message": {"type": "text", "fields": {"raw": {"type": "keyword"}}}}
        cluster.indices.create(index=name, mappings={"properties": fields}, aliases={"logs": {}})


def test_with_a_token(node: Node, tmp_path: Path) -> None:
    """Who may do everything finds no untruth, and every operation has answered with success."""
    with Server(node.url, ESASSISTANT_DETAILS="authorized", MIN_REFRESH_INTERVAL=0) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        findings = schemathesis(server, tmp_path, "--max-examples", "10", **BEARER)
        paths = server.get("/api/openapi.json").json()["paths"]
    assert not findings.found, findings.output
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {one for one in operations if not findings.statuses.get(one, set()) & {200, 202}} == set()


def test_without_credentials(node: Node, tmp_path: Path) -> None:
    """Nobody in particular finds no untruth, and gets nothing but totals and refusals."""
    with Server(node.url, ESASSISTANT_DETAILS="authorized") as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        findings = schemathesis(server, tmp_path, *BOUNDARIES)
    assert not findings.found, findings.output
    allowed = {path for (_, path), statuses in findings.statuses.items() if 200 in statuses}
    assert allowed == {"/livez", "/readyz", "/api/health", "/api/cache/stats", "/api/openapi.json"}


def test_with_a_session(node: Node, tmp_path: Path) -> None:
    """A staff user's browser, which Django's own lane answers, finds no untruth, and may do everything too."""
    browser = Client()
    browser.force_login(get_user_model().objects.create_user("ada", is_staff=True))
    csrf = "c" * 32
    cookies = f"sessionid={browser.cookies['sessionid'].value}; csrftoken={csrf}"
    with Server(node.url, ESASSISTANT_DETAILS="authorized", MIN_REFRESH_INTERVAL=0) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200, 10)
        options = (*BOUNDARIES, "--generation-with-security-parameters", "false")
        findings = schemathesis(server, tmp_path, *options, **{"Cookie": cookies, "X-CSRFToken": csrf})
    assert not findings.found, findings.output
    changes = ("POST", "/api/cache/refresh"), ("POST", "/api/indices/{name}/search")
    assert all(200 in findings.statuses[change] for change in changes)


def test_without_a_cluster(tmp_path: Path) -> None:
    """With no cluster, no mappings and a breaker that has opened, all that is answered is what the document says: 503,
    and 429 where a refresh was tried a moment ago.
    """
    with Server(NOWHERE, ESASSISTANT_DETAILS="authorized", MIN_REFRESH_INTERVAL=3600, HEALTH_TIMEOUT=1) as server:
        wait_until(lambda: server.refresh().status_code == 429, 20)  # the first may have joined the warm-up, uncounted
        findings = schemathesis(server, tmp_path, *BOUNDARIES, **BEARER)
        breaker = server.get("/api/performance", headers=BEARER).json()["pools"]["default"]["breaker"]
    assert not findings.found, findings.output
    refused = {path for (_, path), statuses in findings.statuses.items() if 503 in statuses}
    assert refused >= {"/readyz", "/api/health", "/api/mappings/{name}", "/api/indices/{name}/search"}
    assert 429 in findings.statuses["POST", "/api/cache/refresh"]
    assert breaker["trips_total"] > 0
