"""The ASGI application: lifespan( body limit( django ) )."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
_django: Any = get_asgi_application()

from django.conf import settings  # noqa: E402

from esassistant.body_limit import BodyLimit  # noqa: E402
from esassistant.lifespan import Lifespan  # noqa: E402
from esassistant.registry import registry  # noqa: E402

application = Lifespan(
    BodyLimit(_django, settings.DATA_UPLOAD_MAX_MEMORY_SIZE), registry, settings.ESASSISTANT.drain_seconds
)
