"""Exports the reports of all workers of one server as metrics for Prometheus.

A scrape reaches only one of the workers, and that one answers with what all workers have published in the store. For
itself, too, it uses the published report. Otherwise its counters would be newer here than in the answer of the next
worker, where they would seem to fall.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from esassistant.deployment import INSTANCE_REPORTS
from esassistant.instance import server_name
from esassistant.metrics import Kind, Metric, samples
from esassistant.registry import Registry

PREFIX: Final = "esassistant_"

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Worker:
    """The reports that one worker published `age_seconds` ago, by resource, read from JSON."""

    age_seconds: float
    reports: Mapping[str, Any]


async def workers_of(registry: Registry) -> dict[str, Worker]:
    """Return the workers of this server by process id. While the store is away it is only this one; health reports
    that.
    """
    told = await registry.get(INSTANCE_REPORTS).reports()
    return {
        name.rpartition(":")[2]: Worker(seen.age_seconds, seen.report)
        for name, seen in sorted(told.items())
        if seen.report.get("server") == server_name()
    }


def exposition(registry: Registry, workers: Mapping[str, Worker]) -> bytes:
    """Return the metrics of all resources in the text format of Prometheus."""
    collected = CollectorRegistry(auto_describe=False)
    collected.register(_Workers(registry, workers))
    return generate_latest(collected)


class _Workers(Collector):
    def __init__(self, registry: Registry, workers: Mapping[str, Worker]) -> None:
        self._registry = registry
        self._workers = workers

    def collect(self) -> Iterable[Family]:
        age = GaugeMetricFamily(
            f"{PREFIX}worker_report_age_seconds", "How old what a worker told is.", labels=("worker",)
        )
        for name, worker in self._workers.items():
            age.add_metric((name,), worker.age_seconds)
        yield age
        resources: dict[Metric, list[str]] = {}
        for resource in self._registry.declared():
            for metric in resource.metrics:
                resources.setdefault(metric, []).append(resource.name)
        for metric, names in resources.items():
            family = _family(metric)
            for pid, resource_name in product(self._workers, names):
                for labels, value in samples(metric, self._workers[pid].reports.get(resource_name)):
                    # The report of another process may be of another version, or edited. A value that doesn't fit gives
                    # no sample.
                    with suppress(TypeError, ValueError, LookupError, AttributeError):
                        _add(family, metric, (pid, *labels), value)
            yield family


def _family(metric: Metric) -> Family:
    name, labels = PREFIX + metric.name, ("worker", *metric.labels)
    if metric.kind is Kind.COUNTER:
        return CounterMetricFamily(name, metric.help, labels=labels)
    if metric.kind is Kind.HISTOGRAM:
        return HistogramMetricFamily(name, metric.help, labels=labels)
    if metric.kind is Kind.STATE:
        return GaugeMetricFamily(name, f"{metric.help} 1 for the present one.", labels=(*labels, "state"))
    return GaugeMetricFamily(name, metric.help, labels=labels)


def _add(family: Family, metric: Metric, labels: tuple[str, ...], value: Any) -> None:
    if isinstance(family, HistogramMetricFamily):
        family.add_metric(labels, buckets=list(value["buckets"].items()), sum_value=value["sum_seconds"])
    elif metric.kind is Kind.STATE:
        for state in metric.states:
            family.add_metric((*labels, state), 1.0 if value == state else 0.0)
    else:
        family.add_metric(labels, float(value) * metric.scale)
