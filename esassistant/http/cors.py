"""Which pages of other origins may ask, as django-cors-headers is told."""

from collections.abc import Sequence

from django.conf import settings


def cors_origins() -> Sequence[str]:
    """The origins; a project that embeds this service needs to know nothing of it."""
    origins: Sequence[str] = getattr(settings, "CORS_ALLOWED_ORIGINS", ())
    return origins
