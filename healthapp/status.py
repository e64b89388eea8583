"""What the status page shows, made for templates from reports in memory. Makes no call to other services."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.template.loader import render_to_string

from esassistant.clock import now_utc
from esassistant.config.shown import shown_settings
from esassistant.database.failures import database_failure
from esassistant.elasticsearch.client import ELASTICSEARCH
from esassistant.errors import EsassistantError
from esassistant.instance import instance_name
from esassistant.registry import Registry
from esassistant.resource import Health
from esassistant.units import as_duration, clock_time
from healthapp import callers
from healthapp.checks import ServiceReport
from healthapp.findings import OF_CALLS, Trouble
from healthapp.hour import HOUR_REPORT
from healthapp.hour_charts import deployment_charts, process_charts
from healthapp.judge import VerdictReport
from healthapp.monitor import VERDICT_SERVICE, Transition
from healthapp.performance import PerformanceReport, performance_report
from healthapp.timeline import TIMELINE_REPORT
from healthapp.verdict import LEVELS, OPERATIONS, Effect, title_of, worst

logger = logging.getLogger(__name__)

RECENT_TRANSITIONS = 10
POOLS = "pools"
SERVICE_NAMES = {
    ELASTICSEARCH.name: "Elasticsearch",
    POOLS: "Connection pools",
    "store": "Store",
    "mapping_cache": "Mapping cache",
    "database": "Database",
    "process": "This process",
    "tokens_file": "File of tokens",
    VERDICT_SERVICE: "Service as a whole",
}


@dataclass(frozen=True, slots=True)
class ShownInstance:
    """One process of the deployment, as one line."""

    name: str
    is_this: bool
    age_seconds: float
    indices: int | None
    stale_indices: int | None
    watch: str | None
    requests_total: int | None
    resident_bytes: int | None


@dataclass(frozen=True, slots=True)
class ShownEffect:
    """One thing that is wrong, or worth saying. `guide`: where the documents say what to do. `level`: the status that
    gives its colour, never worse than that of the verdict.
    """

    title: str
    effect: Effect
    guide: str
    level: Health


@dataclass(frozen=True, slots=True)
class ShownService:
    """The result of a check. `since`: when this status began; None if that isn't known. `guide`: where the documents
    say what to do; empty if it is healthy. `level`: the status that gives its colour, never worse than that of the
    verdict. None if the check isn't healthy although the verdict is.
    """

    title: str
    report: ServiceReport
    since: datetime | None
    guide: str
    level: Health | None


def status_context(registry: Registry) -> dict[str, Any]:
    """Return everything that the page shows. Raises `RegistryNotOpen` if there is nothing to show."""
    report = performance_report(registry)
    timeline = registry.read(TIMELINE_REPORT)
    transitions = () if report.health is None else report.health.transitions
    effects = report.verdict.effects
    checks = {} if report.health is None else report.health.services
    services = shown_services(checks, transitions, effects)
    named = {name for name, check in checks.items() if check.status is not Health.HEALTHY}
    named |= {effect.callers for effect in breakers_of(checks, effects)}
    store_away = next((one for one in effects if one.trouble is Trouble.STORE_AWAY), None)
    return {
        "verdict": report.verdict,
        "since": since_unsaid(report.verdict, now_utc()),
        **number_classes(report.verdict.level),
        "store_away": store_away,
        "is_alone": store_away is not None and report.verdict_basis.processes == 1,
        "now": now_utc(),
        "this_process": instance_name(),
        "performance": report,
        "timeline": timeline,
        "all_callers": callers.together(report.verdict_basis),
        "searches": callers.searches(report.verdict_basis),
        "by_endpoint": callers.by_endpoint(report.verdict_basis),
        "by_pool": callers.by_pool(report.verdict_basis),
        "effects_on_callers": [shown_effect(one, effects) for one in effects if one.trouble in OF_CALLS],
        "causes": [
            shown_effect(one, effects) for one in effects if one.trouble not in OF_CALLS and one.callers not in named
        ],
        "troubled_services": [one for one in services if one.report.status is not Health.HEALTHY],
        "healthy_services": [one for one in services if one.report.status is Health.HEALTHY],
        "charts": deployment_charts(registry.read(HOUR_REPORT)),
        "process_charts": process_charts(timeline),
        "transitions": [(service_title(one.service), one) for one in transitions[:RECENT_TRANSITIONS]],
        "instances": list(shown_instances(report)),
        "panels": list(panels(registry)),
        "profile": settings.ESASSISTANT_SETTINGS["ESASSISTANT_PROFILE"].value,
        "changed_settings": [
            one.cells() for one in shown_settings(settings.ESASSISTANT_SETTINGS) if one.default is not None
        ],
    }


def service_title(name: str) -> str:
    """Return the name of a check for pages. A check of the user's own is called as in the code."""
    return SERVICE_NAMES.get(name, name.replace("_", " ").capitalize())


def since_unsaid(verdict: VerdictReport, now: datetime) -> datetime | None:
    """Return when the trouble began, or None if the sentence says it already."""
    since = verdict.since
    return None if since is None or clock_time(since, now) in verdict.sentence else since


def number_classes(level: Health | None) -> dict[str, str]:
    """Return the colours of numbers of bad calls under a verdict, as CSS classes. They are never worse than the
    verdict: a failed call alone is no trouble.
    """
    if level is None or level is Health.HEALTHY:
        return {"bad_class": "", "part_class": "", "bad_level": ""}
    return {
        "bad_class": "bad" if level is Health.UNHEALTHY else "warn",
        "part_class": "warn",
        "bad_level": level.value,
    }


def shown_effect(effect: Effect, effects: Iterable[Effect] = ()) -> ShownEffect:
    """Return an effect for the page. Calls that fail are as bad as their cause among `effects`."""
    title = title_of(effect.trouble, effect.callers)
    if effect.trouble is Trouble.BREAKER_OPEN:  # each pool has its own
        title += f" ({effect.callers})"
    levels = [effect.level]
    if effect.trouble is Trouble.CALLS_FAIL:
        levels += [one.level for one in effects if one.trouble in (Trouble.CLUSTER_AWAY, Trouble.CLUSTER_RED)]
    guide = f"{OPERATIONS}#{effect.trouble.section}"
    return ShownEffect(title[0].upper() + title[1:], effect, guide, worst(levels))


def breakers_of(services: Mapping[str, ServiceReport], effects: Iterable[Effect]) -> list[Effect]:
    """Return the open breakers among `effects`, if the check of the pools says the same in more words."""
    pools = services.get(POOLS)
    if pools is None or pools.status is Health.HEALTHY or not pools.facts.get("open_breakers"):
        return []
    return [effect for effect in effects if effect.trouble is Trouble.BREAKER_OPEN]


def shown_services(
    services: Mapping[str, ServiceReport], transitions: Iterable[Transition], effects: Iterable[Effect] = ()
) -> list[ShownService]:
    """Return all checks, the worst first, else in the order of declaration: the cluster, and so the cause of most
    trouble, is declared first. A check that affects the verdict is shown as the verdict describes it.
    """
    effects = list(effects)
    since: dict[str, datetime | None] = {}
    for transition in transitions:
        since.setdefault(transition.service, transition.at)
    known = {effect.callers: effect for effect in effects if effect.trouble not in OF_CALLS}
    if breakers := breakers_of(services, effects):
        began = min((one.since for one in breakers if one.since is not None), default=None)
        known[POOLS] = replace(breakers[0], callers=", ".join(one.callers for one in breakers), since=began)
    # A check may be healthy while callers tell otherwise: it saw a free connection, or a quick answer, at its moment.
    for name, began, why in _told_by_callers(effects):
        if (told := services.get(name)) is not None and told.status is Health.HEALTHY:
            services = {**services, name: replace(told, status=Health.DEGRADED, error=why)}
            since[name] = began
    verdict = worst(effect.level for effect in effects)
    shown = []
    for name, report in services.items():
        effect = known.get(name)
        if effect is None or report.status is Health.HEALTHY:
            level = min(report.status, verdict, key=LEVELS.index)
            is_old = level is Health.HEALTHY and report.status is not level
            shown.append(ShownService(service_title(name), report, since.get(name), "", None if is_old else level))
        else:
            as_told = shown_effect(effect)
            began = effect.since or since.get(name)
            shown.append(ShownService(as_told.title, report, began, as_told.guide, as_told.level))
    return sorted(
        shown, key=lambda one: (-LEVELS.index(one.level or Health.HEALTHY), one.report.status is Health.HEALTHY)
    )


def _told_by_callers(effects: Iterable[Effect]) -> Iterable[tuple[str, datetime | None, str]]:
    """Yield the checks that callers say more about than the check does: its name, since when it isn't healthy, and why
    it isn't.
    """
    for effect in effects:
        if effect.trouble is Trouble.CALLS_REFUSED:
            yield POOLS, effect.since, f"{effect.callers} find no free connection"
        elif effect.trouble is Trouble.CLUSTER_SLOW and effect.seconds is not None:
            yield ELASTICSEARCH.name, effect.since, f"{effect.callers} take {as_duration(effect.seconds)}"


def panels(registry: Registry) -> Iterable[str]:
    """Yield the panels of all resources as HTML. If one fails, the reason is shown in its place."""
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
    """Yield all instances. Values that an instance of another version doesn't report are None."""
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
    """Return a number in a report, or None if it isn't there or is something else."""
    number = _at(found, *path)
    return number if isinstance(number, int) else None


def _at(found: Any, *path: str) -> Any:
    """Return a value in a report. The report of this process is a dataclass; that of another one came as JSON."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    return getattr(found, "value", found)
