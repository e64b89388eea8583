"""Addresses of the mapping cache."""

from django.urls import path

from cacheapp import views

urlpatterns = [
    path("api/cache/stats", views.cache_stats, name="cache-stats"),
    path("api/cache/refresh", views.refresh, name="cache-refresh"),
    path("api/cache/refresh/<str:refresh_id>", views.refresh_report, name="cache-refresh-report"),
    path("api/mappings/<path:name>", views.mapping, name="mapping"),
]
