"""All addresses."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="status")),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
    path("admin/", admin.site.urls),
]
