"""The ASGI application: lifespan( counters( hot path( body limit( lanes( django, fast ) ) ) ) )."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402

from esassistant.access_log import access_log  # noqa: E402
from esassistant.body_limit import BodyLimit  # noqa: E402
from esassistant.counters import Counters  # noqa: E402
from esassistant.hot_path import HotPath, hot_routes  # noqa: E402
from esassistant.http_statistics import http_statistics  # noqa: E402
from esassistant.lanes import FastLane, Lanes, StockLane  # noqa: E402
from esassistant.lifespan import ASGIApp, Lifespan  # noqa: E402
from esassistant.registry import registry  # noqa: E402


def _application() -> Lifespan:
    config = settings.ESASSISTANT
    app: ASGIApp = Lanes(StockLane(), FastLane())
    app = BodyLimit(app, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    if config.hot_path:
        app = HotPath(app, hot_routes)
    app = Counters(app, http_statistics, access_log if config.access_log else None)
    return Lifespan(app, registry, config.drain_seconds)


application = _application()
