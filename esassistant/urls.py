"""All addresses of this service, to be included under any prefix."""

from django.urls import include, path

from esassistant import views

app_name = "esassistant"
urlpatterns = [
    path("api/openapi.json", views.openapi, name="openapi"),
    path("api/docs", views.api_page, name="api-page"),
    path("problems/", views.problems, name="problems"),
    path("problems/<slug:name>", views.problem, name="problem"),
    path("", include("cacheapp.urls")),
    path("", include("healthapp.urls")),
]
