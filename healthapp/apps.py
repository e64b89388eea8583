"""Health as a Django app: declares the monitor and what this process reports of itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from django.apps import AppConfig
from django.conf import settings

from cacheapp.reports import CACHE_REPORT, STORE_REPORT
from esassistant.breaker import BreakerReport, BreakerState
from esassistant.clock import now_utc
from esassistant.deployment import DATABASE_WORK, INSTANCE_REPORTS, SHARED_VALUES
from esassistant.elasticsearch.client import (
    ELASTICSEARCH,
    ELASTICSEARCH_CACHE,
    breaker_reports,
    searches_of_minute,
    windows,
)
from esassistant.elasticsearch.pings import PINGS
from esassistant.http.hot_path import hot_routes
from esassistant.http.statistics import HTTP
from esassistant.instance import instance_name
from esassistant.registry import Registry, State, registry
from esassistant.windows import minutes_together
from healthapp.advice import process_rules
from healthapp.advice_watch import ADVICE, AdviceWatch, advice
from healthapp.checks import checks_of
from healthapp.evidence import NOT_CALLERS, OpenBreaker, ServedMappings, Told, Unwritable, kinds_of
from healthapp.hour import HOUR, DeploymentHour
from healthapp.judge import BASIS_REPORT, VERDICT, VERDICT_METRICS, Judge, Sources
from healthapp.minutes import Counts, Minute
from healthapp.monitor import HEALTH, HEALTH_METRICS, HealthMonitor
from healthapp.probes import ALIVE, readyz_answer
from healthapp.process import PROCESS, PROCESS_METRICS, ProcessWatch, ping_loop
from healthapp.timeline import SOURCES, TIMELINE, Timeline

OPENING_POLL_SECONDS = 0.05


class HealthAppConfig(AppConfig):
    name = "healthapp"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Health"

    def ready(self) -> None:
        declare(registry)


def declare(registry: Registry) -> None:
    """Declare the resources of health:

    - `process` reports what the process uses of its machine.
    - `health` is the monitor, which runs all checks.
    - `verdict` says how things are for callers, and `verdict_basis` the numbers behind it.
    - `advice` says what to change.
    - `timeline` has the last hour of this process.
    - `hour` has what callers of the whole deployment got in the last hour.
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
    registry.register(
        VERDICT,
        _judge,
        needs=(
            HEALTH,
            HTTP,
            ELASTICSEARCH,
            ELASTICSEARCH_CACHE,
            PINGS,
            CACHE_REPORT,
            STORE_REPORT,
            INSTANCE_REPORTS,
            DATABASE_WORK,
        ),
        stats=Judge.report,
        metrics=VERDICT_METRICS,
    )
    registry.register(BASIS_REPORT.name, _basis, needs=(VERDICT,), stats=Judge.basis)
    registry.register(ADVICE, _advice, needs=(VERDICT,), stats=AdviceWatch.report)
    registry.register(TIMELINE, _timeline, needs=SOURCES, stats=Timeline.report)
    registry.register(
        HOUR, _hour, needs=(HTTP, ELASTICSEARCH, PINGS, VERDICT, SHARED_VALUES), stats=DeploymentHour.report
    )


@asynccontextmanager
async def _timeline(registry: Registry) -> AsyncIterator[Timeline]:
    timeline = Timeline(lambda: registry.reports(SOURCES))
    registry.spawn(timeline.keep_sampling, name="keep-sampling", owner="timeline")
    yield timeline


@asynccontextmanager
async def _hour(registry: Registry) -> AsyncIterator[DeploymentHour]:
    def collect(number: int) -> Minute:
        routes = registry.get(HTTP).whole_minute(number).items()
        return Minute(
            requests=Counts.of(minutes_together(counts for route, counts in routes if route not in NOT_CALLERS)),
            searches=Counts.of(searches_of_minute(registry.get(ELASTICSEARCH), number)),
            pings=Counts.of(registry.get(PINGS).whole_minute(number)),
        )

    hour = DeploymentHour(collect, registry.get(VERDICT).level, registry.get(SHARED_VALUES))
    registry.spawn(hour.keep_counting, name="keep-counting", owner="hour")
    yield hour


@asynccontextmanager
async def _process(registry: Registry) -> AsyncIterator[ProcessWatch]:
    process = ProcessWatch()
    registry.spawn(process.keep_watching, name="keep-watching", owner="process")
    yield process


@asynccontextmanager
async def _judge(registry: Registry) -> AsyncIterator[Judge]:
    clients = (registry.get(ELASTICSEARCH), registry.get(ELASTICSEARCH_CACHE))

    def tell() -> Told:
        breakers = {pool: report for client in clients for pool, report in breaker_reports(client).items()}
        return Told(
            kinds_of(registry.get(HTTP).windows(), windows(clients[0])),
            registry.get(PINGS).window(),
            {pool: _open(report) for pool, report in breakers.items() if report.refuses},
        )

    def mappings() -> ServedMappings:
        cache = registry.read(CACHE_REPORT)
        return ServedMappings(cache.warm, cache.indices, cache.stale_indices, cache.oldest_age_seconds)

    def unwritable() -> Unwritable | None:
        store = registry.read(STORE_REPORT)
        if store.writable or store.write_error is None or store.unwritable_since is None:
            return None
        return Unwritable(store.write_error, store.unwritable_since)

    judge = Judge(
        Sources(tell, registry.get(INSTANCE_REPORTS).others, mappings, unwritable),
        registry.get(HEALTH),
        registry.get(DATABASE_WORK),
        instance_name(),
    )
    loop = asyncio.get_running_loop()

    def look_soon(name: str) -> None:
        if name == "refresher":  # a pass has ended, so the served mappings may have changed
            loop.call_soon(judge.look)

    registry.listen(look_soon)
    registry.spawn(judge.keep_judging, name="keep-judging", owner="verdict")
    registry.spawn(judge.keep_writing, name="keep-writing", owner="verdict")
    yield judge
    registry.get(HEALTH).on_report = lambda: None  # the sources of the judge will be closed soon
    await judge.write(with_usual=True)


def _open(report: BreakerReport) -> OpenBreaker:
    """Return a breaker that refuses calls, with the time since it was last closed."""
    opened = next((one for one in report.transitions if one.before is BreakerState.CLOSED), report.transitions[-1])
    return OpenBreaker(report.reason or "", (now_utc() - opened.at).total_seconds())


@asynccontextmanager
async def _basis(registry: Registry) -> AsyncIterator[Judge]:
    yield registry.get(VERDICT)


@asynccontextmanager
async def _advice(registry: Registry) -> AsyncIterator[AdviceWatch]:
    with_rules = [resource.name for resource in registry.declared() if resource.rules]
    watch = AdviceWatch(
        lambda: registry.reports(with_rules),
        partial(advice, registry),
        registry.get(VERDICT).effects,
    )
    registry.spawn(watch.keep_watching, name="keep-watching", owner="advice")
    yield watch


@asynccontextmanager
async def _monitor(registry: Registry) -> AsyncIterator[HealthMonitor]:
    config = settings.ESASSISTANT.health
    monitor = HealthMonitor(checks_of(registry, config.timeout), config.ttl)
    registry.listen(lambda name: monitor.check_soon() if name.startswith(("elasticsearch", "store")) else None)

    async def keep_checking() -> None:
        # Wait until all resources are open: one that isn't open yet must not count as unhealthy.
        while registry.state is State.OPENING:  # noqa: ASYNC110  (nothing is signalled, and it takes moments)
            await asyncio.sleep(OPENING_POLL_SECONDS)
        await monitor.keep_checking()

    registry.spawn(keep_checking, name="keep-checking", owner="health")
    with (
        hot_routes.probing("/livez", lambda _verbose: ALIVE),
        hot_routes.probing("/readyz", lambda verbose: readyz_answer(verbose=verbose)),
        hot_routes.answering("/api/health", lambda _, caller: monitor.ready(details=caller.reads_all)),
    ):
        yield monitor
