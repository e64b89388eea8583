"""All addresses."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
    path("admin/", admin.site.urls),
]
