"""All addresses of our own server: those of this service, and the admin."""

from django.contrib import admin
from django.urls import include, path

from esassistant import views

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.failed
urlpatterns = [
    path("", include("esassistant.urls")),
    path("admin/", admin.site.urls),
]
