"""System checks of a project that embeds this service: what conflicts, and what to do about it."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.management import find_commands
from django.db import connections
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import NoReverseMatch, get_resolver, reverse

from esassistant.addresses import is_embedded, prefix
from esassistant.config.checks import views_of

OWN_APPS = ("esassistant", "cacheapp", "healthapp")
VENDORS = ("sqlite", "postgresql")


@checks.register
def check_embedding(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Check what this service needs from a project that embeds it."""
    return list(_missing()) + list(_hidden_commands()) if is_embedded() else []


@checks.register(checks.Tags.urls)
def check_prefix(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Check that our addresses have a prefix, and that no other view lies below it."""
    if not is_embedded():
        return []
    if not (at := prefix()):
        return [
            checks.Error(
                "The addresses of esassistant have no fixed prefix of their own in this project.",
                hint='In urls.py: path("assistant/", include("esassistant.urls")). The prefix has no parameters.',
                id="esassistant.E004",
            )
        ]
    return [
        checks.Warning(
            f"The view of /{route} is below the prefix of esassistant, whose limits hold for it.",
            hint="Give esassistant a prefix that no other view is below, or move the view.",
            id="esassistant.W024",
        )
        for route, view in views_of(get_resolver())
        if f"/{route}".startswith(f"{at}/") and view.__module__.partition(".")[0] not in OWN_APPS
    ]


def _missing() -> Iterator[checks.CheckMessage]:
    try:
        reverse("admin:login")
    except NoReverseMatch:
        yield checks.Error(
            "The pages of esassistant need Django's admin, where staff log in; it has no address in this project.",
            hint='In urls.py: path("admin/", admin.site.urls).',
            id="esassistant.E005",
        )
    if not settings.USE_TZ:
        yield checks.Error(
            "esassistant writes times with their zone; with USE_TZ = False the database refuses them.",
            hint="Set USE_TZ = True.",
            id="esassistant.E006",
        )
    vendor = connections["default"].vendor
    if vendor not in VENDORS:
        yield checks.Warning(
            f"esassistant is tested with SQLite and PostgreSQL; the default database is {vendor}.",
            hint="Try it out before you rely on it. With REDIS_URL processes share mappings without the database.",
            id="esassistant.W025",
        )
    try:
        get_template("esassistant/base.html")
    except TemplateDoesNotExist:
        yield checks.Error(
            "The templates of esassistant are not found.",
            hint='Set "APP_DIRS": True in TEMPLATES, or add the loader of app directories.',
            id="esassistant.E007",
        )


def _hidden_commands() -> Iterator[checks.CheckMessage]:
    """Yield a warning for each command of ours that another app has too. Of two commands with the same name, Django
    takes the one whose app comes first in INSTALLED_APPS.
    """
    own = {name for app in OWN_APPS for name in find_commands(f"{apps.get_app_config(app).path}/management")}
    is_before = True
    for app in apps.get_app_configs():
        if app.name in OWN_APPS:
            is_before = False
            continue
        for name in sorted(own & set(find_commands(f"{app.path}/management"))):
            hides = "hides that of esassistant" if is_before else "is hidden by that of esassistant"
            yield checks.Warning(
                f"The command {name} of {app.name} {hides}.",
                hint="Of two commands with one name Django takes that of the app which INSTALLED_APPS names first.",
                id="esassistant.W023",
            )
