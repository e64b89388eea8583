"""What clashes in a project that embeds this service is a system check with a hint."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.contrib import admin
from django.core.checks import CheckMessage
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from pytest_django import Settings

from esassistant.config import embedding_checks
from esassistant.config.embedding_checks import check_embedding, check_prefix


def theirs(_: HttpRequest) -> HttpResponse:
    return HttpResponse()


OURS = path("assistant/", include("esassistant.urls"))
ADMIN = path("admin/", admin.site.urls)
urlpatterns = [OURS, ADMIN, path("api/theirs", theirs)]
NUMBERS = itertools.count()


@pytest.fixture
def embedded(settings: Settings) -> Settings:
    """Settings of a project that embeds this service as documented."""
    known: dict[str, Any] = settings.ESASSISTANT_SETTINGS
    settings.ESASSISTANT_SETTINGS = {name: one for name, one in known.items() if name != "DATABASE_URL"}
    settings.ROOT_URLCONF = __name__
    return settings


def urlconf(monkeypatch: pytest.MonkeyPatch, settings: Settings, *patterns: object) -> None:
    module = SimpleNamespace(urlpatterns=list(patterns))
    name = f"urls_of_a_test_{next(NUMBERS)}"  # never the same again: Django keeps what it finds by the name
    monkeypatch.setitem(__import__("sys").modules, name, module)
    settings.ROOT_URLCONF = name


def ids(messages: list[CheckMessage]) -> list[str]:
    assert all(message.hint for message in messages)
    return [message.id or "" for message in messages]


def test_a_server_of_our_own() -> None:
    """It has none of these checks."""
    assert (check_embedding(None), check_prefix(None)) == ([], [])


@pytest.mark.usefixtures("embedded")
def test_as_documented() -> None:
    """Nothing clashes; sync views of theirs under /api/ are their business."""
    assert (check_embedding(None), check_prefix(None)) == ([], [])


@pytest.mark.parametrize(
    "patterns",
    [(ADMIN,), (path("", include("esassistant.urls")), ADMIN), (path("<slug:x>/", include("esassistant.urls")), ADMIN)],
)
def test_a_prefix_of_its_own(embedded: Settings, monkeypatch: pytest.MonkeyPatch, patterns: tuple[object, ...]) -> None:
    """Our addresses are included, not at the root, and not below parameters."""
    urlconf(monkeypatch, embedded, *patterns)
    assert ids(check_prefix(None)) == ["esassistant.E004"]


def test_their_view_below_our_prefix(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, as our limits hold for it."""
    urlconf(monkeypatch, embedded, OURS, ADMIN, path("assistant/theirs", theirs))
    [message] = check_prefix(None)
    assert ids([message]) == ["esassistant.W024"]
    assert "/assistant/theirs" in message.msg


def test_no_admin(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could log in to the pages."""
    urlconf(monkeypatch, embedded, OURS)
    assert ids(check_embedding(None)) == ["esassistant.E005"]


def test_times_without_zones(embedded: Settings) -> None:
    """The database would refuse ours."""
    embedded.USE_TZ = False
    assert ids(check_embedding(None)) == ["esassistant.E006"]


def test_templates_that_are_not_found(embedded: Settings) -> None:
    """Pages would fail one by one."""
    [engine] = embedded.TEMPLATES
    embedded.TEMPLATES = [{**engine, "APP_DIRS": False}]
    assert ids(check_embedding(None)) == ["esassistant.E007"]


@pytest.mark.usefixtures("embedded")
def test_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nothing was tested with is said."""
    monkeypatch.setattr(embedding_checks, "connections", {"default": SimpleNamespace(vendor="mysql")})
    assert ids(check_embedding(None)) == ["esassistant.W025"]


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize(("is_first", "said"), [(True, "hides that of"), (False, "is hidden by that of")])
def test_commands_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first: bool, said: str) -> None:
    """Which of the two runs is said: that of the app that INSTALLED_APPS names first."""
    folder = tmp_path / "management" / "commands"
    folder.mkdir(parents=True)
    (folder / "serve.py").touch()
    other = SimpleNamespace(name="shop", path=str(tmp_path))
    configs: list[AppConfig | SimpleNamespace] = list(apps.get_app_configs())
    configs.insert(0 if is_first else len(configs), other)
    monkeypatch.setattr(apps, "get_app_configs", lambda: configs)
    [message] = check_embedding(None)
    assert ids([message]) == ["esassistant.W023"]
    assert message.msg == f"The command serve of shop {said} esassistant."
