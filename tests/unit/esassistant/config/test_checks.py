"""The system checks about views and files; those about settings are in test_audit.py."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from esassistant.api import api_view
from esassistant.config import checks
from esassistant.config.checks import check_api_views, check_tokens_file, check_webhooks_file


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


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (0o600, []),
        (0o640, []),
        (0o660, ["esassistant.W018"]),
        (0o644, ["esassistant.W018"]),
        (0o602, ["esassistant.E003"]),
        (0o666, ["esassistant.E003"]),
    ],
)
def test_who_may_write_tokens(settings: Any, tmp_path: Path, mode: int, found: list[str]) -> None:
    """Whoever can write the file of tokens has any right, and is an error; who can read it without need is told."""
    path = tmp_path / "tokens.toml"
    path.touch()
    path.chmod(mode)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, tokens_file=str(path))
    messages = check_tokens_file(None)
    assert [message.id for message in messages] == found
    assert all(f"chmod 600 {path}" in (message.hint or "") for message in messages)


def test_whose_file_it_is(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user, who can change its mode, is an error; of root's it is none. What isn't there is told by
    the settings.
    """
    path = tmp_path / "tokens.toml"
    assert check_tokens_file(None) == []
    settings.ESASSISTANT = replace(settings.ESASSISTANT, tokens_file=str(path))
    assert check_tokens_file(None) == []
    path.touch(0o600)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    messages = check_tokens_file(None)
    assert [message.msg for message in messages] == (
        [] if owner == 0 else ["The file of tokens can be written by another user, who can give himself any right."]
    )


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (0o600, []),
        (0o640, []),
        (0o660, ["esassistant.W026"]),
        (0o604, ["esassistant.W026"]),
        (0o602, ["esassistant.E008"]),
    ],
)
def test_who_may_write_targets(settings: Any, tmp_path: Path, mode: int, found: list[str]) -> None:
    """Whoever can write the file of targets has every change sent anywhere; who can read it can sign events."""
    path = tmp_path / "webhooks.toml"
    assert check_webhooks_file(None) == []
    settings.ESASSISTANT = replace(settings.ESASSISTANT, webhooks_file=str(path))
    assert check_webhooks_file(None) == []
    path.touch()
    path.chmod(mode)
    messages = check_webhooks_file(None)
    assert [message.id for message in messages] == found
    assert all(f"chmod 600 {path}" in (message.hint or "") for message in messages)


def test_each_id_is_of_one_check() -> None:
    """Two checks of one id couldn't be silenced by themselves, nor looked up."""
    sources = "\n".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))
    ids = Counter(re.findall(r"""(?:id="esassistant\.|_rule\(\s*")([EW]\d{3})\"""", sources))
    assert len(ids) > 30
    assert [name for name, times in ids.items() if times > 1] == []
