"""What the mapping cache shows of itself on the status page. Called in threads; the history is read by the ORM."""

from collections.abc import Mapping
from typing import Any

from cacheapp.reports import (
    REFRESHER_REPORT,
    STORE_REPORT,
    WATCH_REPORT,
    CacheReport,
    DemandReport,
    HistoryReport,
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
    # Here, as Django loads models after all AppConfigs.
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
    """What _warmed_ahead.html shows: what was gathered ahead and what became of it, by family and in all; and what each
    policy would have done with what was asked for.
    """
    return {
        "demand": report,
        "fates": [(fate.replace("_", " "), count) for fate, count in report.fates.items()],
        "shadow": [(policy, shadow) for policy, shadow in report.shadow.items() if shadow.asks_total],
    }


CACHE_PANEL = Panel("cacheapp/cache_panel.html", _cache)
HISTORY_PANEL = Panel("cacheapp/history_panel.html", _history)
DEMAND_PANEL = Panel("cacheapp/demand_panel.html", warmed_ahead)
VALIDATION_PANEL = Panel("cacheapp/validation_panel.html", _validation)
