"""The origins whose pages may call us, as configured for django-cors-headers."""

from collections.abc import Sequence

from django.conf import settings


def cors_origins() -> Sequence[str]:
    """Return the origins. They are empty if a project that embeds this service doesn't set them."""
    origins: Sequence[str] = getattr(settings, "CORS_ALLOWED_ORIGINS", ())
    return origins
