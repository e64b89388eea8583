"""Django's system checks of this project: `manage.py check`, and every command before it starts."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from esassistant.audit import Level, audit

MESSAGES = {Level.WARNING: checks.Warning, Level.ERROR: checks.Error}


@checks.register
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """The findings of the audit of the settings in force."""
    findings = audit(settings.ESASSISTANT, settings.ESASSISTANT_SETTINGS, settings.DEBUG, settings.ALLOWED_HOSTS)
    return [MESSAGES[found.level](found.message, hint=found.hint, id=found.id) for found in findings]
