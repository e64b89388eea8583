"""The history in Django's admin: rows can be viewed and searched, but not changed."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from cacheapp.models import MappingChange, PassRecord


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # (generic in its stubs alone)
    """Rows that only the service writes, so that the admin can't add, change or delete them."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False


@admin.register(PassRecord)
class PassRecordAdmin(ReadOnlyAdmin):
    list_display = (
        "started_at",
        "outcome",
        "trigger",
        "duration_seconds",
        "read_total",
        "changed_total",
        "failed_total",
    )
    list_filter = ("outcome", "trigger", "started_at")
    search_fields = ("refresh_id", "error", "instance")
    ordering = ("-id",)


@admin.register(MappingChange)
class MappingChangeAdmin(ReadOnlyAdmin):
    list_display = ("at", "index", "kind", "added_total", "removed_total", "retyped_total", "altered_total", "instance")
    list_filter = ("kind", "at")
    search_fields = ("index", "instance")
    ordering = ("-id",)
