"""The performance report: the numbers that people tune by, from all resources that report."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from esassistant.advice import Advice, NotEnoughData, Recommendation
from esassistant.apps import CLIENTS
from esassistant.elasticsearch.stats import PoolReport
from esassistant.http.access_log import AccessLogReport
from esassistant.http.statistics import HttpReport
from esassistant.registry import Registry
from esassistant.tasks import TaskReport
from healthapp.monitor import HealthReport
from healthapp.process import ProcessReport

logger = logging.getLogger(__name__)

REPORTED = ("mapping_cache", "refresher", "watch", "history", "shared_answers", "instances")
"""Resources of other apps whose reports are shown as they are."""
OWN = ("process", "http", "access_log", "health")


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """Everything since this process opened its registry. `health` is None while there is no report that is young enough,
    `access_log` while there is none. `not_enough_data`: what can't be judged yet.
    """

    recommendations: tuple[Recommendation, ...]
    not_enough_data: tuple[NotEnoughData, ...]
    process: ProcessReport
    http: HttpReport
    access_log: AccessLogReport | None
    pools: dict[str, PoolReport]
    mapping_cache: Any
    refresh: Any
    watch: Any
    history: Any
    shared_answers: Any
    health: HealthReport | None
    background_tasks: tuple[TaskReport, ...]
    instances: Any


def performance_report(registry: Registry) -> PerformanceReport:
    """Put the report together from memory; asks no other service. Raises `RegistryNotOpen`."""
    shown = {*CLIENTS, *REPORTED, *OWN}
    reports = registry.reports(shown | {resource.name for resource in registry.declared() if resource.rules})
    for absent in shown - reports.keys():
        reports[absent] = registry.read(absent)  # which raises what is wrong
    pools: dict[str, PoolReport] = {}
    for client in CLIENTS:
        pools |= reports[client]
    found = tuple(advice(registry, reports))
    return PerformanceReport(
        recommendations=tuple(one for one in found if isinstance(one, Recommendation)),
        not_enough_data=tuple(one for one in found if isinstance(one, NotEnoughData)),
        process=reports["process"],
        http=reports["http"],
        access_log=reports["access_log"],
        pools=pools,
        mapping_cache=reports["mapping_cache"],
        refresh=reports["refresher"],
        watch=reports["watch"],
        history=reports["history"],
        shared_answers=reports["shared_answers"],
        health=reports["health"],
        background_tasks=registry.tasks(),
        instances=reports["instances"],
    )


def advice(registry: Registry, reports: Mapping[str, Any]) -> Iterable[Advice]:
    """What the rules of all resources say of their reports, as far as those are among `reports`."""
    for resource in registry.declared():
        for rule in resource.rules:
            if (report := reports.get(resource.name)) is None:
                continue
            try:
                yield from rule(report)
            except Exception:
                logger.exception("a rule of %s failed", resource.name)
