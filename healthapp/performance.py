"""The performance report: the numbers that people tune by, from all resources that report."""

from dataclasses import dataclass
from typing import Any

from esassistant.elasticsearch.stats import PoolReport
from esassistant.http_statistics import HttpReport
from esassistant.registry import Registry
from esassistant.tasks import TaskReport
from healthapp.recommendations import ENOUGH_REQUESTS, Recommendation, recommend

CLIENTS = ("elasticsearch", "elasticsearch_cache", "elasticsearch_watch", "elasticsearch_health")


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """Everything since this process opened its registry. `recommendations_note` says so when there is too little data
    for any.
    """

    http: HttpReport
    pools: dict[str, PoolReport]
    mapping_cache: Any
    refresh: Any
    background_tasks: tuple[TaskReport, ...]
    recommendations: tuple[Recommendation, ...]
    recommendations_note: str | None
    instances: Any


def performance_report(registry: Registry) -> PerformanceReport:
    """Put the report together from memory; asks no other service."""
    pools: dict[str, PoolReport] = {}
    for client in CLIENTS:
        pools |= registry.read(client)
    enough = any(pool.requests_total >= ENOUGH_REQUESTS for pool in pools.values())
    note = None if enough else f"not enough data: no pool has made {ENOUGH_REQUESTS} requests yet"
    return PerformanceReport(
        http=registry.read("http"),
        pools=pools,
        mapping_cache=registry.read("mapping_cache"),
        refresh=registry.read("refresher"),
        background_tasks=registry.tasks(),
        recommendations=recommend(pools),
        recommendations_note=note,
        instances=registry.read("instances"),
    )
