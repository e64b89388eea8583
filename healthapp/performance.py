"""The performance report: the numbers for tuning, from all resources that have a report."""

from dataclasses import dataclass
from typing import Any

from cacheapp.change_reports import (
    FEED_REPORT,
    HISTORY_REPORT,
    WEBHOOKS_REPORT,
    FeedReport,
    HistoryReport,
    WebhooksReport,
)
from cacheapp.reports import (
    CACHE_REPORT,
    DEMAND_REPORT,
    INSTANCES_REPORT,
    REFRESHER_REPORT,
    SEARCH_REPORT,
    STORE_REPORT,
    VALIDATION_REPORT,
    WATCH_REPORT,
    CacheReport,
    DemandReport,
    InstanceReport,
    RefresherReport,
    SearchReport,
    StoreReport,
    ValidationReport,
    WatchReport,
)
from esassistant.advice import NotEnoughData
from esassistant.elasticsearch.client import POOLS_REPORTS
from esassistant.elasticsearch.stats import PoolReport
from esassistant.http.access_log import ACCESS_LOG_REPORT, AccessLogReport
from esassistant.http.connections import CONNECTIONS_REPORT, ConnectionsReport
from esassistant.http.logins import LOGINS_REPORT, LoginsReport
from esassistant.http.statistics import HTTP_REPORT, HttpReport
from esassistant.http.streams import STREAMS_REPORT, StreamsReport
from esassistant.log_handler import LOG_REPORT, LogReport
from esassistant.registry import Registry
from esassistant.resource import ReportHandle
from esassistant.tasks import TaskReport
from healthapp.advice_watch import ADVICE_REPORT, RecentAdvice
from healthapp.judge import BASIS_REPORT, VERDICT_REPORT, Basis, VerdictReport
from healthapp.monitor import HEALTH_REPORT, HealthReport
from healthapp.process import PROCESS_REPORT, ProcessReport

SHOWN: tuple[ReportHandle[Any], ...] = (
    *POOLS_REPORTS,
    *(CACHE_REPORT, REFRESHER_REPORT, WATCH_REPORT, HISTORY_REPORT, FEED_REPORT, STORE_REPORT, INSTANCES_REPORT),
    *(SEARCH_REPORT, VALIDATION_REPORT, DEMAND_REPORT, WEBHOOKS_REPORT),
    *(PROCESS_REPORT, HTTP_REPORT, CONNECTIONS_REPORT, STREAMS_REPORT, LOGINS_REPORT, LOG_REPORT, ACCESS_LOG_REPORT),
    *(HEALTH_REPORT, VERDICT_REPORT, BASIS_REPORT, ADVICE_REPORT),
)


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """Everything since this process opened its registry. `health` is None while there is no report that is young
    enough, and `access_log` is None if there is no access log. `recommendations`: advice about the last ten minutes;
    `was`: advice of the last hour that is no longer given; `not_enough_data`: what can't be judged yet.
    """

    recommendations: tuple[RecentAdvice, ...]
    was: tuple[RecentAdvice, ...]
    not_enough_data: tuple[NotEnoughData, ...]
    process: ProcessReport
    http: HttpReport
    connections: ConnectionsReport
    streams: StreamsReport
    logins: LoginsReport
    log: LogReport
    access_log: AccessLogReport | None
    pools: dict[str, PoolReport]
    mapping_cache: CacheReport
    refresh: RefresherReport
    watch: WatchReport
    search: SearchReport
    validation: ValidationReport
    demand: DemandReport
    history: HistoryReport
    webhooks: WebhooksReport
    feed: FeedReport
    store: StoreReport
    health: HealthReport | None
    verdict: VerdictReport
    verdict_basis: Basis
    background_tasks: tuple[TaskReport, ...]
    instances: dict[str, InstanceReport]


def performance_report(registry: Registry) -> PerformanceReport:
    """Return the report, made from memory without calls to other services. Raise `RegistryNotOpen` if the resources
    aren't open, or if the event loop doesn't answer in time.
    """
    reports = registry.reports(SHOWN)
    for handle in SHOWN:
        if handle.name not in reports:
            reports[handle.name] = registry.read(handle)  # this raises the error
    advice = reports.typed(ADVICE_REPORT)
    return PerformanceReport(
        recommendations=advice.recommendations,
        was=advice.was,
        not_enough_data=advice.not_enough_data,
        process=reports.typed(PROCESS_REPORT),
        http=reports.typed(HTTP_REPORT),
        connections=reports.typed(CONNECTIONS_REPORT),
        streams=reports.typed(STREAMS_REPORT),
        logins=reports.typed(LOGINS_REPORT),
        log=reports.typed(LOG_REPORT),
        access_log=reports.typed(ACCESS_LOG_REPORT),
        pools={name: pool for client in POOLS_REPORTS for name, pool in reports.typed(client).items()},
        mapping_cache=reports.typed(CACHE_REPORT),
        refresh=reports.typed(REFRESHER_REPORT),
        watch=reports.typed(WATCH_REPORT),
        search=reports.typed(SEARCH_REPORT),
        validation=reports.typed(VALIDATION_REPORT),
        demand=reports.typed(DEMAND_REPORT),
        history=reports.typed(HISTORY_REPORT),
        webhooks=reports.typed(WEBHOOKS_REPORT),
        feed=reports.typed(FEED_REPORT),
        store=reports.typed(STORE_REPORT),
        health=reports.typed(HEALTH_REPORT),
        verdict=reports.typed(VERDICT_REPORT),
        verdict_basis=reports.typed(BASIS_REPORT),
        background_tasks=registry.tasks(),
        instances=reports.typed(INSTANCES_REPORT),
    )
