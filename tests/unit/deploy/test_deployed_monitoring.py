"""deploy/: alert rules, scrape configuration and dashboard are valid, work, and name only metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.servers.prometheus import promtool
from dev.servers.service import ROOT
from esassistant.metrics import Kind
from esassistant.registry import registry
from healthapp.metrics import PREFIX

DEPLOY = ROOT / "deploy"
RULES = (DEPLOY / "prometheus" / "alerts.yml").read_text()
RULE_TESTS = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana" / "esassistant.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)\n", RULES)
SUFFIXES = {Kind.COUNTER: ("_total",), Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """deploy/prometheus with the token that the example expects beside it."""
    folder = tmp_path / "prometheus"
    shutil.copytree(DEPLOY / "prometheus", folder)
    (folder / "esassistant.token").write_text("some-token-of-16-characters\n")
    return folder


def check(folder: Path, *words: str) -> None:
    """Run promtool in a folder; an AssertionError shows what it complains of."""
    ended = subprocess.run([promtool(), *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def exposed() -> set[str]:
    """The names of all samples that there can be."""
    metrics = {metric for resource in registry.declared() for metric in resource.metrics}
    names = {metric.name + suffix for metric in metrics for suffix in SUFFIXES.get(metric.kind, ("",))}
    return {PREFIX + name for name in (*names, "worker_report_age_seconds")}


def labels_of(name: str) -> set[str]:
    """The labels that the samples of this name have, those of Prometheus included."""
    plain = name.removeprefix(PREFIX)
    for resource in registry.declared():
        for metric in resource.metrics:
            if plain in {metric.name + suffix for suffix in SUFFIXES.get(metric.kind, ("",))}:
                state = {"state"} if metric.kind is Kind.STATE else set()
                return {*metric.labels, *state, "worker", "job", "instance", "le"}
    return {"worker", "job", "instance"}


def expressions(part: Any) -> Iterator[str]:
    """All PromQL in a dashboard or a part of it."""
    if isinstance(part, dict):
        if "expr" in part:
            yield part["expr"]
        for one in part.values():
            yield from expressions(one)
    elif isinstance(part, list):
        for one in part:
            yield from expressions(one)


def test_rules_are_valid(folder: Path) -> None:
    """promtool finds nothing wrong with the rules and their templates, linting included."""
    check(folder, "check", "rules", "--lint-fatal", "alerts.yml")


def test_configuration_is_valid(folder: Path) -> None:
    """Nor with the example configuration, whose rules and token are found where it says."""
    check(folder, "check", "config", "--lint-fatal", "prometheus.yml")


def test_rules_fire_and_do_not(folder: Path) -> None:
    """Each scenario of alerts_test.yml comes out, and there is at least one for each alert."""
    check(folder, "test", "rules", "alerts_test.yml")
    fired: dict[str, set[str]] = {}
    for scenario in RULE_TESTS.split('- name: "')[1:]:
        first, *later = scenario.split("eval_time: ")[1:]
        assert "alertname=" not in first, "a scenario begins with a moment at which nothing fires"
        about = re.split(r"\W", scenario, maxsplit=1)[0]
        fired.setdefault(about, set()).update(re.findall(r'alertname="(\w+)"', " ".join(later)))
    assert fired == {alert: {alert} for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts_say_what_to_do(alert: str) -> None:
    """Each alert has a severity, a summary and a description, and a section in docs/operations.md that it names."""
    (rule,) = re.findall(rf"- alert: {alert}\n(.*?)(?=\n\s*- alert: |\Z)", RULES, re.DOTALL)
    assert re.search(r"severity: (critical|warning)\n", rule)
    assert re.search(r'summary: ".{10,}"\n', rule)
    assert re.search(r"description: >-\n\s+\S", rule)
    assert f'runbook: "docs/operations.md#{alert.lower()}"' in rule
    assert f"\n#### {alert}\n" in OPERATIONS


def test_documented_alerts_exist() -> None:
    """docs/operations.md describes the alerts that there are, in their order."""
    assert re.findall(r"^#### (Esassistant\w+)$", OPERATIONS, re.MULTILINE) == ALERTS


PROMQL = [*re.findall(r"expr: (.*(?:\n {10}.*)*)", RULES), *expressions(DASHBOARD)]


def test_metrics_and_labels_exist() -> None:
    """Rules and dashboard ask only for metrics that are declared, by labels that these have."""
    assert len(PROMQL) > len(ALERTS)
    for expression in PROMQL:
        assert set(re.findall(rf"\b{PREFIX}\w+", expression)) <= exposed(), expression
        for name, matchers in re.findall(rf"\b({PREFIX}\w+)\{{(.*?)\}}", expression):
            asked = set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers)))
            assert asked <= labels_of(name), expression


def test_every_metric_is_shown() -> None:
    """No declared metric is missing from the dashboard, or it would be one that nobody looks at."""
    named = set(re.findall(rf"\b{PREFIX}\w+", " ".join(expressions(DASHBOARD))))
    parts = {name for name in exposed() if name.endswith(("_sum", "_count"))}
    assert exposed() - parts - named == set()


def test_dashboard_can_be_imported() -> None:
    """Its data source is a variable, its panels have ids of their own and don't overlap, and rows are in order."""
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]
    assert (DASHBOARD["id"], DASHBOARD["uid"], DASHBOARD["schemaVersion"] >= 38) == (None, "esassistant", True)
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Verdict",
        "HTTP",
        "Mapping cache",
        "Elasticsearch: pools and breakers",
        "Process",
    ]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        covered = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells, panel["title"]
        cells |= covered
        if panel["type"] != "row":
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(sources)
