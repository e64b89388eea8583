"""What the mapping cache shows of itself on the status page. Called in threads; the history is read by the ORM."""

from collections.abc import Mapping
from typing import Any

from esassistant.registry import registry
from esassistant.resource import Panel

SHOWN_ROWS = 8


def _cache(report: Any) -> Mapping[str, Any]:
    reports = registry.reports(("refresher", "watch", "shared_answers"))
    return {
        "cache": report,
        "refresh": reports.get("refresher"),
        "watch": reports.get("watch"),
        "shared_answers": reports.get("shared_answers"),
    }


def _history(report: Any) -> Mapping[str, Any]:
    from cacheapp.models import MappingChange, PassRecord  # here, as Django loads models after all AppConfigs

    return {
        "history": report,
        "passes": list(PassRecord.objects.order_by("-id")[:SHOWN_ROWS]),
        "changes": list(MappingChange.objects.order_by("-id")[:SHOWN_ROWS]),
    }


CACHE_PANEL = Panel("cacheapp/cache_panel.html", _cache)
HISTORY_PANEL = Panel("cacheapp/history_panel.html", _history)
