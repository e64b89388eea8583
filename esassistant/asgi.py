"""The ASGI application: lifespan( django )."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
_django: Any = get_asgi_application()

from django.conf import settings  # noqa: E402

from esassistant.lifespan import Lifespan  # noqa: E402
from esassistant.registry import registry  # noqa: E402

application = Lifespan(_django, registry, settings.ESASSISTANT.drain_seconds)
