"""Health as a Django app: declares the monitor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.apps import AppConfig
from django.conf import settings

from esassistant.hot_path import hot_routes
from esassistant.registry import Registry, registry
from healthapp import answers
from healthapp.checks import checks_of
from healthapp.monitor import HealthMonitor


class HealthConfig(AppConfig):
    name = "healthapp"
    verbose_name = "Health"

    def ready(self) -> None:
        declare(registry)


def declare(registry: Registry) -> None:
    """Declare `health`: the monitor of every resource that registered a ping."""
    registry.register("health", _monitor, stats=HealthMonitor.last)


@asynccontextmanager
async def _monitor(registry: Registry) -> AsyncIterator[HealthMonitor]:
    config = settings.ESASSISTANT.health
    monitor = HealthMonitor(checks_of(registry, config.timeout), config.ttl)
    registry.listen(lambda name: monitor.check_soon() if name.startswith("elasticsearch") else None)
    registry.spawn(monitor.keep_checking, name="keep-checking", owner="health")
    with (
        hot_routes.answering("/livez", answers.livez, probe=True),
        hot_routes.answering("/readyz", answers.readyz, probe=True),
        hot_routes.answering("/api/health", lambda _, details: monitor.ready(details=details)),
    ):
        yield monitor
