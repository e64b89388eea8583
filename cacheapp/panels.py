"""What the mapping cache shows of itself on the status page. Called in threads; the history is read by the ORM."""

from collections.abc import Mapping
from typing import Any

from cacheapp.reports import REFRESHER_REPORT, STORE_REPORT, WATCH_REPORT, CacheReport, HistoryReport
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
    from cacheapp.history import recent_changes, recent_passes  # here, as Django loads models after all AppConfigs

    return {"history": report, "passes": recent_passes(SHOWN_ROWS), "changes": recent_changes(SHOWN_ROWS)}


CACHE_PANEL = Panel("cacheapp/cache_panel.html", _cache)
HISTORY_PANEL = Panel("cacheapp/history_panel.html", _history)
