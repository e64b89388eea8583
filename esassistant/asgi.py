"""The ASGI application, from the outside in: lifespan, static files, hot path, counters, token limits, streams, limits,
direct path, lanes (Django's and the fast one).
"""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "esassistant.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402
from django.urls import reverse  # noqa: E402

from esassistant.asgi_types import ASGIApp  # noqa: E402
from esassistant.config.model import Details  # noqa: E402
from esassistant.http.access_log import access_log  # noqa: E402
from esassistant.http.counters import Counters  # noqa: E402
from esassistant.http.direct_path import DirectPath, direct_routes  # noqa: E402
from esassistant.http.hot_path import HotPath, hot_routes  # noqa: E402
from esassistant.http.lanes import FAST_AT_ONCE, FastLane, Gates, Lanes, StockLane  # noqa: E402
from esassistant.http.limits import InFlight, RequestLimits, RequestReader  # noqa: E402
from esassistant.http.login_lane import LoginLane  # noqa: E402
from esassistant.http.logins import logins  # noqa: E402
from esassistant.http.static_files import StaticFiles  # noqa: E402
from esassistant.http.statistics import http_statistics  # noqa: E402
from esassistant.http.stream_door import StreamDoor  # noqa: E402
from esassistant.http.streams import streams  # noqa: E402
from esassistant.http.token_limits import TokenLimits  # noqa: E402
from esassistant.lifespan import Lifespan  # noqa: E402
from esassistant.registry import registry  # noqa: E402


def new_application() -> Lifespan:
    """The application under the settings in force."""
    config = settings.ESASSISTANT
    in_flight = InFlight.with_connections(config.max_in_flight, config.elasticsearch.max_connections)
    # Where nobody needs a token, callers without one are no strangers.
    fast = FAST_AT_ONCE if config.details is Details.AUTHORIZED else in_flight.max_others
    gates = Gates.usual(fast, config.max_in_flight)
    stock = StockLane()
    login = LoginLane(stock, gates.login, logins())
    lanes = Lanes(stock, FastLane(), login, gates, hot_routes.is_probe, reverse("admin:login"))
    direct: ASGIApp = DirectPath(lanes, direct_routes) if config.hot_path else lanes
    reader = RequestReader(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, in_flight)
    bounded = StreamDoor(RequestLimits(direct, reader, in_flight, hot_routes.is_probe), streams, reader)
    counted = Counters(TokenLimits(bounded), http_statistics, access_log if config.access_log else None)
    app: ASGIApp = HotPath(counted, hot_routes) if config.hot_path else counted
    return Lifespan(StaticFiles(app, counted), registry, config.drain_seconds, before_end=streams.end)


application = new_application()
