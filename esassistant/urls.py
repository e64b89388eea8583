"""All addresses."""

from django.contrib import admin
from django.urls import include, path

from esassistant import views
from esassistant.front_page import front

urlpatterns = [
    path("", front, name="front"),
    path("api/openapi.json", views.openapi, name="openapi"),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
    path("admin/", admin.site.urls),
]
