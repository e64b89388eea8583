"""All addresses."""

from django.contrib import admin
from django.urls import include, path

from esassistant import views

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.failed
urlpatterns = [
    path("api/openapi.json", views.openapi, name="openapi"),
    path("api/docs", views.api_page, name="api-page"),
    path("docs/<slug:name>", views.guide, name="guide"),
    path("logout", views.log_out, name="log-out"),
    path("problems/", views.problems, name="problems"),
    path("problems/<slug:name>", views.problem, name="problem"),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
    path("admin/", admin.site.urls),
]
