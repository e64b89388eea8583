"""All addresses of this service. They can be included under any prefix."""

from django.urls import include, path

from esassistant import views

app_name = "esassistant"
urlpatterns = [
    path("api/openapi.json", views.openapi, name="openapi"),
    path("api/docs", views.api_page, name="api-page"),
    path("docs/", views.guide_start, name="guide-start"),
    path("docs/<slug:name>", views.guide, name="guide"),
    path("logout", views.log_out, name="log-out"),
    path("problems/", views.problems, name="problems"),
    path("problems/<slug:name>", views.problem, name="problem"),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
]
