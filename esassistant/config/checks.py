"""Django's system checks of this project. They run with `manage.py check`, and before every command."""

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
    """Return the findings of the audit of the settings in force."""
    return _findings(deployed=False)


@checks.register(checks.Tags.security, deploy=True)
def check_deployed_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Return the findings that `check --deploy` adds. They replace Django's own warnings about settings that we derive
    from ours.
    """
    return _findings(deployed=True)


def _findings(*, deployed: bool) -> list[checks.CheckMessage]:
    given = settings.ESASSISTANT_SETTINGS
    findings = audit(settings.ESASSISTANT, given, settings.DEBUG, settings.ALLOWED_HOSTS, deployed=deployed)
    return [MESSAGES[found.level](found.message, hint=found.hint, id=found.id) for found in findings]


@checks.register(checks.Tags.security)
def check_tokens_file(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Check that only this service's user can write or read the file of tokens. Whoever can write it can
    make tokens.
    """
    return _file_messages(
        settings.ESASSISTANT.tokens_file,
        writer="The file of tokens can be written by {whose}, who can give himself any right.",
        writer_id="esassistant.E003",
        reader="The file of tokens can be written by its group, or read by everybody.",
        reader_id="esassistant.W018",
    )


@checks.register(checks.Tags.security)
def check_webhooks_file(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Check that only this service's user can write or read the file of webhook targets.

    Whoever can write it can have names and fields of indices sent anywhere. Whoever can read it learns the secrets in
    it.
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
    """Return a message if others than this service's user can write or read a file of secrets.

    Args:
        path: The file; empty if there is none.
        writer, writer_id: The error if everybody or another user (`{whose}`) can write it.
        reader, reader_id: The warning if its group can write it, or everybody can read it.
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
    """Check that every view under our `/api/` is `async def`. A sync view would need a thread for each request, or
    block the loop.
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
    """Yield all routes below `resolver`, each with its view."""
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views_of(pattern, route)
        else:
            yield route, pattern.callback
