"""The system checks about views; those about settings are in test_audit.py."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from esassistant.api import api_view
from esassistant.config.checks import check_api_views


def sync_view(_: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def async_view(_: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("page", sync_view),
    path("api/async", async_view),
    path("api/ours", api_view("GET")(async_view)),
    path("api/", include([path("nested", sync_view)])),
    path("api/decorated", api_view("GET")(sync_view)),  # type: ignore[arg-type]
]


def test_our_own_views_pass() -> None:
    """No view of this project is refused."""
    assert check_api_views(None) == []


def test_sync_api_views_are_refused(settings: Any) -> None:
    """A view under /api/ that isn't `async def` is an error that names it, decorated or not; pages may be sync."""
    settings.ROOT_URLCONF = __name__
    errors = check_api_views(None)
    assert [(error.id, error.msg) for error in errors] == [
        ("esassistant.E002", "The view of /api/nested is not async."),
        ("esassistant.E002", "The view of /api/decorated is not async."),
    ]
    assert all("async def" in (error.hint or "") for error in errors)


@pytest.mark.parametrize("view", [sync_view, async_view])
def test_what_runs_in_the_fast_lane(view: Any) -> None:
    """Only what `api_view` decorates is marked for the fast lane."""
    assert not getattr(view, "is_api_view", False)
    assert getattr(api_view("GET")(view), "is_api_view", False)
