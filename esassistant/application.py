"""The ASGI application: the layers that a request passes, from the outside in. They are static files, hot path,
counters, token limits, streams, limits, direct path and lanes (Django's own and the fast one).
"""

from django.conf import settings
from django.urls import reverse

from esassistant.addresses import OWN_STATIC
from esassistant.asgi_types import ASGIApp
from esassistant.config.model import Details
from esassistant.http.access_log import access_log
from esassistant.http.cors import cors_origins
from esassistant.http.counters import Counters
from esassistant.http.direct_path import DirectPath, direct_routes
from esassistant.http.hot_path import HotPath, hot_routes
from esassistant.http.lanes import FAST_AT_ONCE, FastLane, Gates, Lanes, StockLane
from esassistant.http.limits import InFlight, RequestLimits, RequestReader
from esassistant.http.login_lane import LoginLane
from esassistant.http.logins import logins
from esassistant.http.middleware import middleware
from esassistant.http.static_files import StaticFiles, all_static_files, own_static_files, read_static_file
from esassistant.http.statistics import http_statistics
from esassistant.http.stream_door import StreamDoor
from esassistant.http.streams import streams
from esassistant.http.token_limits import TokenLimits
from esassistant.lifespan import Lifespan
from esassistant.registry import registry


def new_application() -> Lifespan:
    """Return the whole application for our own server, under the settings in force."""
    in_flight, gates = _bounds()
    stock = StockLane()
    login_path = reverse("admin:login")
    logs_in = LoginLane(stock, gates.login, logins())
    counted, hot = _doors(Lanes(stock, FastLane(), gates, hot_routes.is_probe, {login_path: logs_in}), in_flight)
    if settings.DEBUG:  # a changed file is served at once
        static = StaticFiles(hot, counted, settings.STATIC_URL, {}, reread=read_static_file)
    else:
        static = StaticFiles(hot, counted, settings.STATIC_URL, all_static_files())
    return Lifespan(static, registry, settings.ESASSISTANT.drain_seconds, before_end=streams.end)


def new_embedded_application() -> ASGIApp:
    """Return the application that answers our addresses in another project. It sees them as if they were at
    the root.
    """
    in_flight, gates = _bounds()
    stock = StockLane(middleware(cors=bool(cors_origins())))
    counted, hot = _doors(Lanes(stock, FastLane(), gates, hot_routes.is_probe, {}), in_flight)
    return StaticFiles(hot, counted, OWN_STATIC, own_static_files())


def _bounds() -> tuple[InFlight, Gates]:
    config = settings.ESASSISTANT
    in_flight = InFlight.with_connections(config.max_in_flight, config.elasticsearch.max_connections)
    # If nobody needs a token, callers without one are not strangers.
    fast = FAST_AT_ONCE if config.details is Details.AUTHORIZED else in_flight.max_others
    return in_flight, Gates.usual(fast, config.max_in_flight)


def _doors(lanes: Lanes, in_flight: InFlight) -> tuple[Counters, ASGIApp]:
    """Return the counters with everything inside them, and the hot path around the counters."""
    config = settings.ESASSISTANT
    direct: ASGIApp = DirectPath(lanes, direct_routes) if config.hot_path else lanes
    reader = RequestReader(config.max_body_bytes, in_flight)
    bounded = StreamDoor(RequestLimits(direct, reader, in_flight, hot_routes.is_probe), streams, reader)
    counted = Counters(TokenLimits(bounded), http_statistics, access_log if config.access_log else None)
    return counted, HotPath(counted, hot_routes) if config.hot_path else counted
