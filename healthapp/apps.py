"""Health as a Django app: declares the monitor and what this process reports of itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django.apps import AppConfig
from django.conf import settings

from esassistant.http.hot_path import hot_routes
from esassistant.registry import Registry, State, registry
from healthapp.advice import process_rules
from healthapp.checks import checks_of
from healthapp.monitor import HEALTH, HEALTH_METRICS, HealthMonitor
from healthapp.probes import ALIVE, readyz_answer
from healthapp.process import PROCESS, PROCESS_METRICS, ProcessWatch, ping_loop
from healthapp.timeline import SOURCES, TIMELINE, Timeline

OPENING_POLL_SECONDS = 0.05


class HealthAppConfig(AppConfig):
    name = "healthapp"
    verbose_name = "Health"

    def ready(self) -> None:
        declare(registry)


def declare(registry: Registry) -> None:
    """Declare `process`: what it takes of its machine; `health`: the monitor of everything that can be checked; and
    `timeline`: the last hour.
    """
    registry.register(
        PROCESS,
        _process,
        ping=ping_loop,
        stats=ProcessWatch.report,
        metrics=PROCESS_METRICS,
        rules=(process_rules,),
    )
    registry.register(HEALTH, _monitor, stats=HealthMonitor.last, metrics=HEALTH_METRICS)
    registry.register(TIMELINE, _timeline, needs=SOURCES, stats=Timeline.report)


@asynccontextmanager
async def _timeline(registry: Registry) -> AsyncIterator[Timeline]:
    timeline = Timeline(lambda: registry.reports(SOURCES))
    registry.spawn(timeline.keep_sampling, name="keep-sampling", owner="timeline")
    yield timeline


@asynccontextmanager
async def _process(registry: Registry) -> AsyncIterator[ProcessWatch]:
    process = ProcessWatch()
    registry.spawn(process.keep_watching, name="keep-watching", owner="process")
    yield process


@asynccontextmanager
async def _monitor(registry: Registry) -> AsyncIterator[HealthMonitor]:
    config = settings.ESASSISTANT.health
    monitor = HealthMonitor(checks_of(registry, config.timeout), config.ttl)
    registry.listen(lambda name: monitor.check_soon() if name.startswith(("elasticsearch", "store")) else None)

    async def keep_checking() -> None:
        # What opens after this is not unhealthy, but not there yet.
        while registry.state is State.OPENING:  # noqa: ASYNC110  (nothing is signalled, and it takes moments)
            await asyncio.sleep(OPENING_POLL_SECONDS)
        await monitor.keep_checking()

    registry.spawn(keep_checking, name="keep-checking", owner="health")
    with (
        hot_routes.answering("/livez", lambda _name, _details: ALIVE, probe=True),
        hot_routes.answering("/readyz", lambda _, verbose: readyz_answer(verbose=verbose), probe=True),
        hot_routes.answering("/api/health", lambda _, details: monitor.ready(details=details)),
    ):
        yield monitor
