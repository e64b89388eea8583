"""Django's system checks of this project: `manage.py check`, and every command before it starts."""

import inspect
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.urls import URLResolver, get_resolver

from esassistant.addresses import prefix
from esassistant.config.audit import Level, audit

MESSAGES = {Level.WARNING: checks.Warning, Level.ERROR: checks.Error}


@checks.register
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """The findings of the audit of the settings in force."""
    return _findings(deployed=False)


@checks.register(checks.Tags.security, deploy=True)
def check_deployed_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """What `check --deploy` says of our settings, in place of what Django says of those that it makes of them."""
    return _findings(deployed=True)


def _findings(*, deployed: bool) -> list[checks.CheckMessage]:
    given = settings.ESASSISTANT_SETTINGS
    findings = audit(settings.ESASSISTANT, given, settings.DEBUG, settings.ALLOWED_HOSTS, deployed=deployed)
    return [MESSAGES[found.level](found.message, hint=found.hint, id=found.id) for found in findings]


@checks.register(checks.Tags.security)
def check_tokens_file(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Nobody else can write the file of tokens, which would be to make tokens, nor need read it."""
    return _file_messages(
        settings.ESASSISTANT.tokens_file,
        writer="The file of tokens can be written by {whose}, who can give himself any right.",
        writer_id="esassistant.E003",
        reader="The file of tokens can be written by its group, or read by everybody.",
        reader_id="esassistant.W018",
    )


@checks.register(checks.Tags.security)
def check_webhooks_file(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Nobody else can write the file of targets, which would be to have names and fields sent to him, nor read it: the
    secrets stand in it.
    """
    return _file_messages(
        settings.ESASSISTANT.webhooks_file,
        writer="The file of targets of webhooks can be written by {whose}, who can have every change sent anywhere.",
        writer_id="esassistant.E008",
        reader="The file of targets of webhooks can be written by its group, or read by everybody, "
        "who can sign events.",
        reader_id="esassistant.W026",
    )


def _file_messages(path: str, *, writer: str, writer_id: str, reader: str, reader_id: str) -> list[checks.CheckMessage]:
    """Say who can write or read a file of secrets though only this service needs to.

    Args:
        path: Empty: there is no such file.
        writer, writer_id: The error where everybody or another user (`{whose}`) can write it.
        reader, reader_id: The warning where its group can write it, or everybody can read it.
    """
    try:
        found = Path(path).stat() if path else None
    except OSError:
        return []  # which the settings tell
    if found is None:
        return []
    hint = f"chmod 600 {path}, owned by the user that this service runs as."
    if found.st_mode & stat.S_IWOTH or found.st_uid not in (0, os.geteuid()):
        whose = "everybody" if found.st_mode & stat.S_IWOTH else "another user"
        return [checks.Error(writer.format(whose=whose), hint=hint, id=writer_id)]
    if found.st_mode & (stat.S_IWGRP | stat.S_IROTH):
        return [checks.Warning(reader, hint=hint, id=reader_id)]
    return []


@checks.register(checks.Tags.urls)
def check_api_views(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Every view under our `/api/` is `async def`: a sync one would hop to a thread for each request, or hold up the
    loop.
    """
    return [
        checks.Error(
            f"The view of /{route} is not async.",
            hint="Make it `async def`, decorated with `esassistant.api.api_view`, or put it outside of /api/.",
            id="esassistant.E002",
        )
        for route, view in views_of(get_resolver())
        if f"/{route}".startswith(f"{prefix()}/api/") and not inspect.iscoroutinefunction(inspect.unwrap(view))
    ]


def views_of(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All addresses below `resolver`, with their views."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views_of(pattern, route)
        else:
            yield route, pattern.callback
