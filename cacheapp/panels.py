"""The panels of the mapping cache on the status page. Called in threads; that of the history reads the database."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cacheapp.change_reports import HistoryReport, TargetState, WebhooksReport
from cacheapp.reports import (
    INSTANCES_REPORT,
    REFRESHER_REPORT,
    STORE_REPORT,
    WATCH_REPORT,
    CacheReport,
    DemandReport,
    ValidationReport,
)
from esassistant.registry import registry
from esassistant.resource import Panel

SHOWN_ROWS = 8


def _cache(report: CacheReport) -> Mapping[str, Any]:
    reports = registry.reports((REFRESHER_REPORT, WATCH_REPORT, STORE_REPORT))
    return {
        "cache": report,
        "refresh": reports.get("refresher"),
        "watch": reports.get("watch"),
        "store": reports.get("store"),
    }


def _history(report: HistoryReport) -> Mapping[str, Any]:
    # Imported here, because Django loads models after all AppConfigs.
    from cacheapp.history import recent_passes
    from cacheapp.shown_changes import recent_changes

    return {"history": report, "passes": recent_passes(SHOWN_ROWS), "changes": recent_changes(SHOWN_ROWS)}


def _validation(report: ValidationReport) -> Mapping[str, Any]:
    codes = sorted(((count, code) for code, count in report.codes.items() if count), reverse=True)
    return {
        "validation": report,
        "codes": [(code.replace("_", " "), count) for count, code in codes[:SHOWN_ROWS]],
        "families": list(report.families.items())[:SHOWN_ROWS],
    }


def warmed_ahead(report: DemandReport) -> Mapping[str, Any]:
    """Return the context of _warmed_ahead.html: which field values were gathered ahead and what became of them, by
    family and in all, and what each policy would have achieved.
    """
    return {
        "demand": report,
        "fates": [(fate.replace("_", " "), count) for fate, count in report.fates.items()],
        "shadow": [(policy, shadow) for policy, shadow in report.shadow.items() if shadow.asks_total],
    }


def _webhooks(report: WebhooksReport) -> Mapping[str, Any]:
    """Return the context of the panel, by the report of the process that sends, which may be another one."""
    others = registry.reports((INSTANCES_REPORT,)).get(INSTANCES_REPORT.name) or {}
    told = (sent_by(seen.report.get("webhooks")) for seen in others.values())
    return shown_webhooks(report if report.sends else next(filter(None, told), report))


def shown_webhooks(report: WebhooksReport) -> Mapping[str, Any]:
    """Return a context: the report, and the names of the targets that take no events."""
    troubles = (TargetState.FAILING, TargetState.PAUSED)
    return {
        "webhooks": report,
        "unwell": [name for name, target in report.targets.items() if target.state in troubles],
    }


def sent_by(told: object) -> WebhooksReport | None:
    """Return the report of another instance if that is the one that sends, else None. Also None if it can't be read:
    the instance may have another version.
    """
    try:
        report = msgspec.convert(told, WebhooksReport)
    except msgspec.ValidationError:
        return None
    return report if report.sends else None


CACHE_PANEL = Panel("cacheapp/cache_panel.html", _cache)
HISTORY_PANEL = Panel("cacheapp/history_panel.html", _history)
DEMAND_PANEL = Panel("cacheapp/demand_panel.html", warmed_ahead)
VALIDATION_PANEL = Panel("cacheapp/validation_panel.html", _validation)
WEBHOOKS_PANEL = Panel("cacheapp/webhooks_panel.html", _webhooks)
