"""All addresses."""

from django.contrib import admin
from django.urls import include, path

from esassistant import views

urlpatterns = [
    path("api/openapi.json", views.openapi, name="openapi"),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
    path("admin/", admin.site.urls),
]
