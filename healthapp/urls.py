"""The addresses of the front page, of health and of performance. `/livez` and `/readyz` are answered before these, by
healthapp.probes.
"""

from django.contrib import admin
from django.urls import path

from healthapp import views
from healthapp.front_page import front

urlpatterns = [
    path("", front, name="front"),
    path("api/health", views.health, name="health"),
    path("api/performance", views.performance, name="performance"),
    path("metrics", views.metrics, name="metrics"),
    path("admin/status/", admin.site.admin_view(views.status), name="status"),
    path("admin/status/live", views.status_live, name="status-live"),
    path("admin/status/refresh", views.status_refresh, name="status-refresh"),
]
