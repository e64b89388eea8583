"""The ASGI application of our own server."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
django.setup(set_prefix=False)

from esassistant.application import new_application  # noqa: E402

__all__ = ["application", "new_application"]

application = new_application()
