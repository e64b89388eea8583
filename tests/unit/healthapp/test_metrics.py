"""Reports of all workers as Prometheus reads them: families, labels, kinds; and what the project declares."""

import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

import cacheapp.apps
import esassistant.apps
import healthapp.apps
from cacheapp.instances import Instances
from esassistant.durations import Durations, totals_of
from esassistant.instance import server_name
from esassistant.metrics import Kind, Metric
from esassistant.registry import Registry
from healthapp.metrics import PREFIX, Worker, exposition, workers_of
from tests.support.fakes import FakeClock, MemoryStore

HITS = Metric(Kind.COUNTER, "hits", "Hits.", "hits_total")
RESERVED_LABELS = {"worker", "state", "le", "job", "instance", "quantile"}
BOUNDED_LABELS = {
    "route": "templates of the URLconf, at most 200",
    "status": "the first digit",
    "door": "three",
    "pool": "as set, at most 16, and ours",
    "kind": "a fixed list; of the verdict: routes and pools, at most 256",
    "sort": "two",
    "got": "four",
    "trouble": "a fixed list",
    "reason": "fixed lists",
    "outcome": "four",
    "service": "declared checks",
    "code": "of findings: a fixed list",
    "token": "of the file of tokens: the first 100, `api` and `other`",
    "target": "of webhooks: as set, at most 20",
    "fate": "a fixed list",
    "policy": "a fixed list",
    "family": "of names that the cluster has: the first 50, and `other`; or the 20 fullest",
}
"""Every label that a metric has, and why it has few values. Names that callers choose must never be among them."""


def declared(**metrics: tuple[Metric, ...]) -> Registry:
    """A registry with resources of these names and metrics, none of which is open."""
    registry = Registry()
    for name, its_metrics in metrics.items():
        registry.register(name, lambda _: nullcontext(), stats=lambda _: None, metrics=its_metrics)
    return registry


def workers(**reports: Mapping[str, Any]) -> dict[str, Worker]:
    return {name: Worker(0.5, report) for name, report in reports.items()}


def exposed(registry: Registry, told: Mapping[str, Worker]) -> dict[str, list[Sample]]:
    """The samples by family, as Prometheus' own parser for Python reads them."""
    families = list(text_string_to_metric_families(exposition(registry, told).decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {family.name.removeprefix(PREFIX): family.samples for family in families}


def values(samples: list[Sample], *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}


def test_each_worker_has_its_own_samples() -> None:
    """One series per worker: numbers of different processes are never added up here, as one may restart."""
    registry = declared(cache=(HITS,))
    families = exposed(registry, workers(w7={"cache": {"hits_total": 3}}, w8={"cache": {"hits_total": 4}}))
    assert values(families["hits"], "worker") == {("w7",): 3.0, ("w8",): 4.0}
    assert {sample.name for sample in families["hits"]} == {"esassistant_hits_total"}
    assert values(families["worker_report_age_seconds"], "worker") == {("w7",): 0.5, ("w8",): 0.5}


def test_a_resource_that_is_not_open() -> None:
    """What a worker doesn't tell of has no sample; the family is declared all the same."""
    registry = declared(cache=(HITS,), off=(Metric(Kind.GAUGE, "off", "Off.", "value"),))
    told = workers(w7={"cache": {"hits_total": 3}, "off": None}, w8={"server": "here"})
    families = exposed(registry, told)
    assert values(families["hits"], "worker") == {("w7",): 3.0}
    assert families["off"] == []


def test_no_workers() -> None:
    """Without any report all families are there, empty."""
    assert exposed(declared(cache=(HITS,)), {}) == {"worker_report_age_seconds": [], "hits": []}


def test_what_several_resources_share() -> None:
    """A metric that several resources declare is one family with the samples of all: the pools of four clients."""
    in_use = Metric(Kind.GAUGE, "in_use", "In use.", "*.in_use", ("pool",))
    registry = declared(one=(in_use,), other=(in_use,))
    told = workers(w7={"one": {"a": {"in_use": 1}}, "other": {"b": {"in_use": 2}}})
    assert values(exposed(registry, told)["in_use"], "pool", "worker") == {("a", "w7"): 1.0, ("b", "w7"): 2.0}


def test_states() -> None:
    """A state is 1 for the present word and 0 for all others, so that each can be counted and alerted on."""
    state = Metric(Kind.STATE, "breaker", "The breaker.", "*.state", ("pool",), ("closed", "open"))
    families = exposed(declared(one=(state,)), workers(w7={"one": {"a": {"state": "open"}, "b": {"state": None}}}))
    assert values(families["breaker"], "pool", "state") == {("a", "closed"): 0.0, ("a", "open"): 1.0}


def test_scale_and_truth() -> None:
    """A scale makes milliseconds seconds, also of a counter; True is 1."""
    metrics = (
        Metric(Kind.GAUGE, "check_seconds", "Time.", "latency_ms", scale=0.001),
        Metric(Kind.COUNTER, "cpu_seconds", "Time.", "cpu_ms", scale=0.001),
        Metric(Kind.GAUGE, "warm", "Warm.", "warm"),
    )
    told = workers(w7={"one": {"latency_ms": 250, "cpu_ms": 2000, "warm": True}})
    families = exposed(declared(one=metrics), told)
    assert [families[name][0].value for name in ("check_seconds", "cpu_seconds", "warm")] == [0.25, 2.0, 1.0]


def test_histograms() -> None:
    """Buckets count up to the one without a bound, which is the number of all; the sum is that of the durations."""
    lags = Durations()
    for seconds in (0.0, 1e-5, 0.002, 0.002, 0.5, 1000.0):
        lags.record(seconds, 1.0)
    report = msgspec.json.decode(msgspec.json.encode({"lags": totals_of((lags,))}))  # as it comes from the store
    metric = Metric(Kind.HISTOGRAM, "lag_seconds", "How late.", "lags")
    samples = exposed(declared(loop=(metric,)), workers(w7={"loop": report}))["lag_seconds"]
    buckets = [(float(one.labels["le"]), one.value) for one in samples if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert (buckets[0], buckets[-1]) == ((1e-5, 2.0), (float("inf"), 6.0))
    assert [count for bound, count in buckets if 0.0025 < bound < 0.4] == [4.0] * 5
    (total,) = (one.value for one in samples if one.name.endswith("_count"))
    (total_seconds,) = (one.value for one in samples if one.name.endswith("_sum"))
    assert total == 6.0
    assert total_seconds == pytest.approx(1000.50401)


def test_any_text_can_be_a_label() -> None:
    """What a URL pattern or a check is called comes through whole, whatever it is made of."""
    name = 'a "quoted" \\ one\nof two lines, ü'
    metric = Metric(Kind.COUNTER, "requests", "Requests.", "*.total", ("route",))
    families = exposed(declared(http=(metric,)), workers(w7={"http": {name: {"total": 1}}}))
    assert values(families["requests"], "route") == {(name,): 1.0}


def all_declared() -> Registry:
    registry = Registry()
    for app in (esassistant.apps, cacheapp.apps, healthapp.apps):
        app.declare(registry)
    return registry


METRICS = list(dict.fromkeys(metric for resource in all_declared().declared() for metric in resource.metrics))


def test_declared_names_are_unique() -> None:
    """Two metrics never share a name: Prometheus would refuse the whole scrape."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert len(names) > 40


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_declared_metrics_follow_the_conventions(metric: Metric) -> None:
    """Names are plain words with the base unit last (seconds, bytes); counters leave `_total` to the exposition; no
    label hides one that is ours or Prometheus'; the help is a sentence.
    """
    words = metric.name.split("_")
    assert re.fullmatch("[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", metric.name)
    assert not {"ms", "milliseconds", "percent", "kb", "mb", "minutes"} & set(words)
    assert not {"total", "count", "sum", "bucket", "info"} & {words[-1]}
    for unit in {"seconds", "bytes"} & set(words):
        assert words[-1] == unit
    assert (metric.kind is Kind.HISTOGRAM) <= (words[-1] in ("seconds", "bytes"))
    assert len(set(metric.labels)) == len(metric.labels)
    assert not set(metric.labels) & RESERVED_LABELS
    assert re.fullmatch(r"[A-Z0-9].*\.", metric.help)
    assert len(set(metric.states)) == len(metric.states)


def test_every_label_is_bounded() -> None:
    """A new label is not added without thinking of how many values it can have."""
    assert {label for metric in METRICS for label in metric.labels} == set(BOUNDED_LABELS)


class Deployment:
    """Workers that share a store in memory; `here` is the one that is asked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.hits = 1
        self.here = self.worker("host:7", server_name())
        self.registry = Registry()
        self.registry.register("instances", lambda _: nullcontext(self.here))

    def worker(self, name: str, server: str) -> Instances:
        return Instances(
            self.store, name, lambda: {"server": server, "cache": {"hits_total": self.hits}}, clock=self.clock
        )

    async def seen(self) -> dict[str, tuple[float, int]]:
        """The age and the hits of each worker that a scrape gives."""
        async with self.registry.open():
            found = await workers_of(self.registry)
        return {name: (worker.age_seconds, worker.reports["cache"]["hits_total"]) for name, worker in found.items()}


async def test_workers_of_this_server() -> None:
    """All workers of one server, by their process ids, and none of another server's, as they told; this one just
    now.
    """
    deployment = Deployment()
    await deployment.worker("host:8", server_name()).publish()
    await deployment.worker("host:9", "host:1").publish()
    deployment.clock.advance(2.0)
    deployment.hits = 5
    assert await deployment.seen() == {"7": (0.0, 5), "8": (2.0, 1)}


async def test_only_this_worker_while_the_store_is_away() -> None:
    """Nothing is known of the others then, and a scrape doesn't fail: that health is bad is what it has to tell."""
    deployment = Deployment()
    await deployment.worker("host:8", server_name()).publish()
    deployment.store.down = True
    assert await deployment.seen() == {"7": (0.0, 1)}
