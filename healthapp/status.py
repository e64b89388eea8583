"""What the status page shows: put together from reports in memory, for templates. Asks no other service."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.template.loader import render_to_string

from esassistant.clock import now_utc
from esassistant.config.shown import shown_settings
from esassistant.database.failures import database_failure
from esassistant.errors import EsassistantError
from esassistant.instance import instance_name
from esassistant.registry import Registry
from esassistant.units import as_bytes, as_count, as_percent, as_rate, as_seconds
from healthapp.charts import Chart, chart
from healthapp.performance import PerformanceReport, performance_report
from healthapp.timeline import TIMELINE_REPORT, TimelineReport

logger = logging.getLogger(__name__)

RECENT_TRANSITIONS = 10


@dataclass(frozen=True, slots=True)
class ShownInstance:
    """One process of the deployment, in a line."""

    name: str
    is_this: bool
    age_seconds: float
    indices: int | None
    stale_indices: int | None
    watch: str | None
    requests_total: int | None
    resident_bytes: int | None


def status_context(registry: Registry) -> dict[str, Any]:
    """Everything on the page. Raises `RegistryNotOpen` where there is nothing to show."""
    report = performance_report(registry)
    timeline = registry.read(TIMELINE_REPORT)
    return {
        "verdict": report.verdict,
        "now": now_utc(),
        "this_process": instance_name(),
        "performance": report,
        "timeline": timeline,
        "charts": charts(timeline),
        "transitions": () if report.health is None else report.health.transitions[:RECENT_TRANSITIONS],
        "instances": list(shown_instances(report)),
        "panels": list(panels(registry)),
        "profile": settings.ESASSISTANT_SETTINGS["ESASSISTANT_PROFILE"].value,
        "changed_settings": [
            one.cells() for one in shown_settings(settings.ESASSISTANT_SETTINGS) if one.default is not None
        ],
    }


def panels(registry: Registry) -> Iterable[str]:
    """The panels of resources, as HTML; what fails in one is said in its place."""
    for resource in registry.declared():
        if resource.panel is None:
            continue
        try:
            shown = resource.panel.context(registry.read(resource.name))
            yield render_to_string(resource.panel.template, dict(shown))
        except (EsassistantError, DatabaseError) as error:
            reason = (
                error.operator_detail
                if isinstance(error, EsassistantError)
                else f"the database {database_failure(error).why}"
            )
            yield render_to_string("healthapp/unshown_panel.html", {"name": resource.name, "reason": reason})
        except Exception as error:
            logger.exception("the panel of %s failed", resource.name)
            shown = {"name": resource.name, "reason": f"it failed ({type(error).__name__}); the log says more"}
            yield render_to_string("healthapp/unshown_panel.html", shown)


def shown_instances(report: PerformanceReport) -> Iterable[ShownInstance]:
    """All instances. What an instance of another version doesn't tell is None."""
    for name, instance in report.instances.items():
        told: Mapping[str, Any] = instance.report
        yield ShownInstance(
            name=name,
            is_this=name == instance_name(),
            age_seconds=instance.age_seconds,
            indices=_number(told, "mapping_cache", "indices"),
            stale_indices=_number(told, "mapping_cache", "stale_indices"),
            watch=str(state) if isinstance(state := _at(told, "watch", "state"), str) else None,
            requests_total=_number(told, "http", "together", "requests_total"),
            resident_bytes=_number(told, "process", "resident_bytes"),
        )


def _number(found: Any, *path: str) -> int | None:
    """A number in a report; None: there is none, or something else."""
    number = _at(found, *path)
    return number if isinstance(number, int) else None


def _at(found: Any, *path: str) -> Any:
    """A place in a report: in one's own, which is a dataclass, as in another's, which came as JSON."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    return getattr(found, "value", found)


def charts(timeline: TimelineReport) -> tuple[Chart, ...]:
    """The last hour as charts."""
    points = timeline.points
    times = [point.at for point in points]
    return (
        chart(
            "Requests",
            times,
            (
                ("answered", "line-1", [point.requests_per_second for point in points]),
                ("of them 5xx", "line-2", [point.errors_per_second for point in points]),
            ),
            as_rate,
        ),
        chart(
            "Latency of requests",
            times,
            (
                ("p50", "line-1", [point.p50_seconds for point in points]),
                ("p95", "line-2", [point.p95_seconds for point in points]),
                ("p99", "line-3", [point.p99_seconds for point in points]),
            ),
            as_seconds,
        ),
        chart(
            "Answers from memory",
            times,
            (("hit ratio", "line-1", [point.hit_percent for point in points]),),
            as_percent,
            100,
        ),
        chart(
            "Connections in use",
            times,
            (("in use", "line-1", [float(point.connections_in_use) for point in points]),),
            as_count,
        ),
        chart(
            "Event loop lag",
            times,
            (("p99", "line-1", [point.loop_lag_p99_seconds for point in points]),),
            as_seconds,
        ),
        chart("Memory", times, (("resident", "line-1", [point.resident_bytes for point in points]),), as_bytes),
    )
