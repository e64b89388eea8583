"""The header of each page: true for its reader, made without the database, and no more than that reader may know."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.test import RequestFactory
from pytest_django import Settings

import esassistant.http.layout
from esassistant.config.model import Details
from esassistant.elasticsearch.identity import ClusterIdentity
from esassistant.http.layout import Layout, layout_of
from esassistant.registry import Registry
from esassistant.resource import Health

STAFF = User(username="ada", is_staff=True)


def a_request(path: str = "/browse/?q=a&b", user: Any = None, *, session: bool = False) -> HttpRequest:
    request = RequestFactory().get(path)
    if session:
        request.COOKIES[django_settings.SESSION_COOKIE_NAME] = "x" * 32
    if user is not None:
        request._cached_user = user  # type: ignore[attr-defined]
    return request


@pytest.fixture
async def opened(own_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A process that knows how it is and what it serves."""
    for name, report in (
        ("health", SimpleNamespace(status=Health.DEGRADED)),
        ("cluster_identity", ClusterIdentity("shop", "9.5.3")),
    ):

        @asynccontextmanager
        async def factory(_: Registry, report: Any = report) -> AsyncIterator[Any]:
            yield report

        own_registry.register(name, factory, stats=lambda value: value)
    monkeypatch.setattr(esassistant.http.layout, "registry", own_registry)
    async with own_registry.open():
        yield


async def test_by_reader(opened: None, settings: Settings) -> None:
    """Staff see cluster and their name; strangers the state alone, which the API tells them too, and where to log in;
    who may be logged in is not told to.
    """
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.AUTHORIZED)
    assert layout_of(a_request(user=STAFF, session=True)) == Layout("degraded", "shop", "9.5.3", "ada")
    login = "/admin/login/?next=%2Fbrowse%2F%3Fq%3Da%26b"
    for stranger in (a_request(), a_request(user=AnonymousUser(), session=True)):
        assert layout_of(stranger) == Layout("degraded", login_url=login)
    assert layout_of(a_request(session=True)) == Layout("degraded")
    assert layout_of(a_request("/admin/login/?next=/x")).login_url == ""
    assert layout_of(a_request(user=User(username="bob"), session=True)).user == ""


async def test_details_for_everybody(opened: None, settings: Settings) -> None:
    """Where details are public the cluster is."""
    settings.ESASSISTANT = replace(settings.ESASSISTANT, details=Details.ALWAYS)
    assert layout_of(a_request()).cluster == "shop 9.5.3"


def test_nothing_is_open() -> None:
    """Without an open registry, and for a page that is made once for everybody, there is nothing to tell."""
    assert layout_of(a_request(session=True)) == Layout()
    assert layout_of(None) == Layout()
