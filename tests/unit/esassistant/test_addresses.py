"""Addresses below a prefix: found once from the URLs, and written into answers and texts."""

from collections.abc import Iterator

import pytest
from django.http import HttpRequest
from django.urls import include, path, set_script_prefix
from pytest_django import Settings

from esassistant.addresses import own_path, own_static, placed, prefix

urlpatterns = [path("data/assistant/", include("esassistant.urls"))]

TEXT = "Read /api/indices (or /problems/x), not /others/api/x, ./api or https://h/api/y."


@pytest.fixture
def _below(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    set_script_prefix("/")


def test_at_the_root() -> None:
    """A server of our own has none: nothing changes."""
    request = HttpRequest()
    request.path_info = "/api/health"
    assert (prefix(), placed(TEXT), own_path(request)) == ("", TEXT, "/api/health")
    assert own_static("esassistant/pages.css") == "/static/esassistant/pages.css"


@pytest.mark.usefixtures("_below")
def test_below_a_prefix(settings: Settings) -> None:
    """Our addresses in a text get it; those of others, and whole URLs, don't."""
    request = HttpRequest()
    request.path_info = "/data/assistant/api/health"
    assert prefix() == "/data/assistant"
    assert own_path(request) == "/api/health"
    said = (
        "Read /data/assistant/api/indices (or /data/assistant/problems/x), not /others/api/x, ./api or https://h/api/y."
    )
    assert placed(TEXT) == said
    assert own_static("esassistant/pages.css") == "/static/esassistant/pages.css"
    embedded = {name: one for name, one in settings.ESASSISTANT_SETTINGS.items() if name != "DATABASE_URL"}
    settings.ESASSISTANT_SETTINGS = embedded
    assert own_static("esassistant/pages.css") == "/data/assistant/static/esassistant/pages.css"


@pytest.mark.usefixtures("_below")
def test_where_the_server_mounts_the_whole_project() -> None:
    """That part belongs to a request, and is no part of the prefix that is remembered."""
    set_script_prefix("/shop/")
    assert prefix() == "/data/assistant"


def test_without_our_addresses(settings: Settings) -> None:
    """A project that hasn't included them has no prefix, which its system checks tell."""
    settings.ROOT_URLCONF = "tests.support.no_urls"
    assert prefix() == ""
