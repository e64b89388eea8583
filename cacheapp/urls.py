"""Addresses of the mapping cache."""

from django.urls import path

from cacheapp import views
from cacheapp.browse import tool_views
from cacheapp.browse import views as browse

urlpatterns = [
    path("api/cache/stats", views.cache_stats, name="cache-stats"),
    path("api/cache/refresh", views.refresh, name="cache-refresh"),
    path("api/cache/refresh/<str:refresh_id>", views.refresh_report, name="cache-refresh-report"),
    path("api/indices", views.indices, name="indices"),
    path("api/fields", views.cluster_fields, name="fields"),
    path("api/indices/<path:name>/search", views.search, name="search"),
    path("api/mappings/<str:name>/schema", views.schema, name="mapping-schema"),
    path("api/mappings/<str:name>/fields", views.fields, name="mapping-fields"),
    path("api/mappings/<str:name>/validate", views.validate, name="mapping-validate"),
    path("api/mappings/<str:name>/describe", views.describe, name="mapping-describe"),
    path("api/changes", views.changes, name="changes"),
    path("api/compare", views.comparison, name="compare"),
    path("api/describe", views.describe_cluster, name="describe"),
    path("api/mappings/<str:name>/history", views.history, name="mapping-history"),
    # `path`, not `str`: a name with a slash in it is an illegal name, not an unknown address.
    path("api/mappings/<path:name>", views.mapping, name="mapping"),
    path("api/mappings", views.no_name),
    path("api/mappings/", views.no_name),
    path("changes", tool_views.changes, name="changes-page"),
    path("compare", tool_views.comparison, name="compare-page"),
    path("validate", tool_views.validation, name="validate-page"),
    path("describe", tool_views.description, name="describe-page"),
    path("browse/", browse.names, name="browse"),
    path("browse/<path:name>", browse.one_name, name="browse-name"),
]
