"""The mapping cache as a Django app: declares its resources, from the store to the watch."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.conf import settings

from cacheapp.advice import (
    cache_rules,
    field_limit_rules,
    history_rules,
    refresh_rules,
    store_rules,
    watch_rules,
    webhook_rules,
)
from cacheapp.cache.cluster_fields import CLUSTER_FIELDS, ClusterFields
from cacheapp.cache.derived import FIELD_LIST, FIELDS, MAPPING_VIEWS, SCHEMA_TEXT, MappingViews
from cacheapp.cache.descriptions import DESCRIPTIONS, Descriptions
from cacheapp.cache.field_limits import FIELD_LIMITS, FieldLimits
from cacheapp.cache.http_answers import cache_stats, first_page, ready_mapping, ready_text, visible_to_reader
from cacheapp.cache.mapping_cache import MAPPING_CACHE, MappingCache
from cacheapp.cache.refresh_ahead import RefreshAhead
from cacheapp.change_reports import FEED_METRICS, HISTORY_METRICS, HISTORY_REPORT, WEBHOOKS_METRICS
from cacheapp.cluster.mapping_versions import MappingVersions
from cacheapp.cluster.metadata_version import MetadataClock
from cacheapp.cluster.reader import ClusterReader
from cacheapp.demand.learner import DEMAND, DemandLearner
from cacheapp.describe.near_names import with_near_names
from cacheapp.errors import MappingNotFound
from cacheapp.instances import INSTANCES, Instances
from cacheapp.panels import CACHE_PANEL, DEMAND_PANEL, HISTORY_PANEL, VALIDATION_PANEL, WEBHOOKS_PANEL
from cacheapp.reports import (
    CACHE_METRICS,
    DEMAND_METRICS,
    FIELD_LIMITS_METRICS,
    FIELD_USES_METRICS,
    FIELD_VALUES_METRICS,
    REFRESH_METRICS,
    REFRESHER_REPORT,
    SEARCH_METRICS,
    STORE_METRICS,
    VALIDATION_METRICS,
    WATCH_METRICS,
    PassOutcome,
    RefresherReport,
    StoreReport,
)
from cacheapp.rows import STORE_MODELS, ignored_rows
from cacheapp.search import SEARCH, Searches
from cacheapp.state.clusters import ClusterId
from cacheapp.state.names import Selection
from cacheapp.state.visible import Visible
from cacheapp.stores.database_thread import open_database_thread
from cacheapp.stores.protocol import STORE, Store
from cacheapp.stores.redis.store import RedisStore, open_redis_store
from cacheapp.stores.writes import RecordingStore
from cacheapp.sync.parameter_changes import ParameterChanges
from cacheapp.sync.pass_runner import PassRunner
from cacheapp.sync.refresher import REFRESHER, Refresher
from cacheapp.sync.schedule import Schedule
from cacheapp.sync.sharing import SHARING, Sharing
from cacheapp.sync.watch import WATCH, Watch
from cacheapp.validation import VALIDATION, Validations
from cacheapp.values.calls import open_calls
from cacheapp.values.gatherer import GATHERER, NOT_GATHERED, Gatherer
from cacheapp.values.known import KNOWN_VALUES, KnownValues
from cacheapp.values.policy import is_wanted, situation_of
from cacheapp.values.use_counts import USE_COUNTS, UseCounts
from esassistant.advice import percent
from esassistant.config.tokens import Right
from esassistant.deployment import DATABASE_WORK, DatabaseWork
from esassistant.elasticsearch.client import ELASTICSEARCH, ELASTICSEARCH_CACHE, ELASTICSEARCH_WATCH
from esassistant.elasticsearch.client import report as pool_report
from esassistant.http.answer import Answer
from esassistant.http.callers import Caller
from esassistant.http.direct_path import direct_routes
from esassistant.http.hot_path import AnswerSource, hot_routes
from esassistant.http.logins import LOGINS
from esassistant.http.streams import EVENT_STREAM, STREAMS
from esassistant.instance import instance_name, server_name
from esassistant.registry import Registry, registry
from esassistant.resource import Health, PingResult
from esassistant.shared_values import keep_exchanging

if TYPE_CHECKING:
    from cacheapp.feed.change_feed import ChangeFeed
    from cacheapp.history import History


class CacheConfig(AppConfig):
    name = "cacheapp"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Mapping cache"

    def ready(self) -> None:
        declare(registry)


def declare(registry: Registry) -> None:
    """Register all resources of the mapping cache, each with what it needs.

    `store`: what processes share. `shared_logins`: counts failed logins in the store. `mapping_cache`: answers for
    mappings. `database_work`: a database thread for the health app. `sharing`: publishes, and takes over what others
    published. `refresher`: makes passes. `refresh_schedule` is a resource of its own so that commands can open the
    refresher without it.
    """
    from cacheapp.history import HISTORY  # here, because Django loads models after all AppConfigs

    async def ping_store(store: Store) -> PingResult:
        facts = {"kind": _store_report(store).kind, "generation": await store.generation()}
        if (refused := _recorded(store).refused) is not None:
            return PingResult(Health.DEGRADED, refused.operator_detail, facts)
        foreign = registry.get(SHARING).foreign
        return PingResult(Health.HEALTHY if foreign is None else Health.DEGRADED, foreign and foreign.value, facts)

    async def ping_cache(cache: MappingCache) -> PingResult:
        refresher: RefresherReport | None = registry.reports([REFRESHER_REPORT]).get(REFRESHER_REPORT.name)
        last = None if refresher is None else refresher.last
        return _cache_health(cache, last.error if last is not None and last.outcome is PassOutcome.FAILED else None)

    registry.register(STORE, _store, ping=ping_store, stats=_store_report, metrics=STORE_METRICS, rules=(store_rules,))
    registry.register("shared_logins", _shared_logins, needs=(LOGINS, STORE))
    registry.register(
        MAPPING_CACHE,
        _mapping_cache,
        needs=(ELASTICSEARCH_CACHE,),
        ping=ping_cache,
        stats=MappingCache.report,
        metrics=CACHE_METRICS,
        panel=CACHE_PANEL,
        rules=(lambda report: cache_rules(settings.ESASSISTANT.mapping_cache)(report),),
    )
    _declare_answers(registry)
    if settings.ESASSISTANT.mcp:
        registry.register("mcp", _mcp, needs=(STREAMS, ELASTICSEARCH, CLUSTER_FIELDS, DESCRIPTIONS, VALIDATION, SEARCH))
    registry.register(DATABASE_WORK, _database_work)
    _declare_history(registry)
    registry.register(SHARING, _sharing, needs=(ELASTICSEARCH_CACHE, MAPPING_CACHE, STORE, HISTORY))
    registry.register(
        REFRESHER,
        _refresher,
        needs=(ELASTICSEARCH_CACHE, MAPPING_CACHE, DEMAND, SHARING, STORE, HISTORY),
        stats=Refresher.report,
        metrics=REFRESH_METRICS,
        rules=(
            lambda report: refresh_rules(settings.ESASSISTANT.mapping_cache, settings.ESASSISTANT.redis_url)(report),
        ),
    )
    registry.register("refresh_schedule", _refresh_schedule, needs=(REFRESHER, SHARING, STORE))
    registry.register(INSTANCES, _instances, needs=(STORE, REFRESHER, SHARING), stats=Instances.report)
    registry.register(
        WATCH,
        _watch,
        needs=(ELASTICSEARCH_WATCH, REFRESHER, SHARING, STORE),
        stats=Watch.report,
        metrics=WATCH_METRICS,
        rules=(watch_rules,),
    )

    _declare_webhooks(registry)

    async def ping_database() -> PingResult:
        history = registry.get(HISTORY)
        await history.ping()
        refusal = history.report().write_error
        return PingResult(Health.HEALTHY if refusal is None else Health.DEGRADED, refusal)

    registry.check("database", ping_database, needs=(HISTORY,))


def _declare_webhooks(registry: Registry) -> None:
    """Register `webhooks`."""
    from cacheapp.history import HISTORY  # here, as above
    from cacheapp.webhooks.opened import open_webhooks
    from cacheapp.webhooks.webhooks import NO_WEBHOOKS, WEBHOOKS, Webhooks

    async def ping(webhooks: Webhooks | None) -> PingResult:
        return PingResult(Health.HEALTHY) if webhooks is None else await webhooks.ping()

    registry.register(
        WEBHOOKS,
        open_webhooks,
        needs=(HISTORY,),
        ping=ping if settings.ESASSISTANT.webhooks_file else None,
        stats=lambda webhooks: NO_WEBHOOKS if webhooks is None else webhooks.report(),
        metrics=WEBHOOKS_METRICS,
        rules=(webhook_rules,),
        panel=WEBHOOKS_PANEL,
    )


def _declare_history(registry: Registry) -> None:
    """Register the history, which records changes, the feed, which sends them as they happen, and the recent counts."""
    from cacheapp.feed.change_feed import CHANGE_FEED, ChangeFeed  # here, as above
    from cacheapp.history import HISTORY, History
    from cacheapp.recent_counts import RECENT_COUNTS, open_recent_counts

    registry.register(
        HISTORY, _history, stats=History.report, metrics=HISTORY_METRICS, rules=(history_rules,), panel=HISTORY_PANEL
    )
    registry.register(
        CHANGE_FEED, _feed, needs=(STREAMS, HISTORY, INSTANCES), stats=ChangeFeed.report, metrics=FEED_METRICS
    )
    registry.register(RECENT_COUNTS, open_recent_counts, needs=(HISTORY,))


def _declare_answers(registry: Registry) -> None:
    """Register what is derived from the cache's mappings for callers."""
    registry.register(
        SEARCH,
        _search,
        needs=(ELASTICSEARCH, MAPPING_CACHE, VALIDATION),
        stats=Searches.report,
        metrics=SEARCH_METRICS,
    )
    registry.register(KNOWN_VALUES, _known_values)
    registry.register(
        DEMAND,
        _demand,
        needs=(MAPPING_CACHE, STORE, KNOWN_VALUES),
        stats=DemandLearner.report,
        metrics=DEMAND_METRICS,
        panel=DEMAND_PANEL,
    )
    registry.register("demand_exchange", _demand_exchange, needs=(DEMAND,))
    registry.register(MAPPING_VIEWS, _mapping_views, needs=(MAPPING_CACHE, DEMAND), stats=MappingViews.report)
    registry.register(
        USE_COUNTS,
        _use_counts,
        needs=(MAPPING_CACHE, STORE, DEMAND),
        stats=UseCounts.report,
        metrics=FIELD_USES_METRICS,
    )
    registry.register(DESCRIPTIONS, _descriptions, needs=(MAPPING_CACHE, MAPPING_VIEWS, KNOWN_VALUES, USE_COUNTS))
    registry.register(CLUSTER_FIELDS, _cluster_fields, needs=(MAPPING_CACHE, MAPPING_VIEWS))
    registry.register(
        FIELD_LIMITS,
        _field_limits,
        needs=(MAPPING_CACHE,),
        stats=FieldLimits.report,
        metrics=FIELD_LIMITS_METRICS,
        rules=(field_limit_rules,),
    )
    registry.register(
        VALIDATION,
        _validation,
        needs=(MAPPING_CACHE, KNOWN_VALUES, USE_COUNTS),
        stats=Validations.report,
        metrics=VALIDATION_METRICS,
        panel=VALIDATION_PANEL,
    )
    registry.register(
        GATHERER,
        _gatherer,
        needs=(
            *(ELASTICSEARCH, ELASTICSEARCH_CACHE, MAPPING_CACHE, MAPPING_VIEWS, STORE, KNOWN_VALUES, USE_COUNTS),
            DEMAND,
        ),
        stats=lambda gatherer: NOT_GATHERED if gatherer is None else gatherer.report(),
        metrics=FIELD_VALUES_METRICS,
    )


@asynccontextmanager
async def _store(registry: Registry) -> AsyncIterator[Store]:
    def announce() -> None:
        registry.announce("store")

    if url := settings.ESASSISTANT.redis_url:
        async with open_redis_store(url) as redis_store:
            yield RecordingStore(redis_store, on_change=announce)
        return
    # Imported here, not at the top: it needs the models, which Django loads after all AppConfigs.
    from cacheapp.stores.database import open_database_store

    async with open_database_store() as database_store:
        yield RecordingStore(database_store, on_change=announce)


@asynccontextmanager
async def _shared_logins(registry: Registry) -> AsyncIterator[None]:
    with registry.get(LOGINS).shared_by(registry.get(STORE)):
        yield


@asynccontextmanager
async def _mapping_cache(registry: Registry) -> AsyncIterator[MappingCache]:
    config = settings.ESASSISTANT.mapping_cache
    spawn = partial(registry.flight, name="read", owner="mapping_cache")
    reader = ClusterReader(registry.get(ELASTICSEARCH_CACHE), _selection(), indices_timeout=config.indices_timeout)
    yield MappingCache(reader, config, spawn)


def _selection() -> Selection:
    config = settings.ESASSISTANT.mapping_cache
    return Selection(config.include, config.exclude)


@asynccontextmanager
async def _search(registry: Registry) -> AsyncIterator[Searches]:
    timeout = settings.ESASSISTANT.elasticsearch.request_timeout
    searches = Searches(
        registry.get(ELASTICSEARCH),
        registry.get(MAPPING_CACHE),
        _selection(),
        timeout,
        scripts=settings.ESASSISTANT.search_scripts,
        validations=registry.get(VALIDATION),
    )

    async def search(name: str, body: bytes, caller: Caller) -> Answer:
        visible = Visible(caller.patterns)
        try:
            return await searches.answer(name, body, visible=visible)
        except MappingNotFound as error:
            if not caller.may(Right.READ):
                raise
            raise await with_near_names(error, registry.get(MAPPING_CACHE).snapshot, visible) from None

    with direct_routes.answering("/api/indices/{name}/search", search, Right.SEARCH):
        yield searches


@asynccontextmanager
async def _mapping_views(registry: Registry) -> AsyncIterator[MappingViews]:
    cache = registry.get(MAPPING_CACHE)
    spawn = partial(registry.flight, name="derive", owner="mapping_views")
    views = MappingViews(cache, spawn, on_asked=registry.get(DEMAND).note)
    ahead = RefreshAhead(views.asked_for, views.rebuild)
    cache.on_change(ahead.note_change)
    registry.spawn(ahead.run, name="refresh-ahead", owner="mapping_views")
    sources: dict[str, AnswerSource] = {
        "/api/indices": lambda _, caller: first_page(cache) if caller.reads_all else None,
        "/api/mappings/{name}": visible_to_reader(partial(ready_mapping, views)),
        "/api/mappings/{name}/fields": visible_to_reader(partial(ready_text, views, FIELD_LIST)),
        "/api/mappings/{name}/schema": visible_to_reader(partial(ready_text, views, SCHEMA_TEXT)),
    }
    with ExitStack() as stack:
        for template, source in sources.items():
            stack.enter_context(hot_routes.answering(template, source))
        yield views


@asynccontextmanager
async def _descriptions(registry: Registry) -> AsyncIterator[Descriptions]:
    spawn = partial(registry.flight, name="describe", owner="descriptions")
    known, uses = registry.get(KNOWN_VALUES), registry.get(USE_COUNTS)
    yield Descriptions(registry.get(MAPPING_CACHE), registry.get(MAPPING_VIEWS), spawn, values=known, uses=uses)


@asynccontextmanager
async def _known_values(_: Registry) -> AsyncIterator[KnownValues]:
    yield KnownValues()


@asynccontextmanager
async def _demand(registry: Registry) -> AsyncIterator[DemandLearner]:
    cache, known = registry.get(MAPPING_CACHE), registry.get(KNOWN_VALUES)
    families = settings.ESASSISTANT.field_values.families
    learner = DemandLearner(
        registry.get(STORE),
        lambda: cache.snapshot,
        lambda: _cluster(cache),
        settings.ESASSISTANT.mapping_cache.predict,
        ages=known.gathered_ages,
        is_gathered=lambda family: is_wanted(family, families) and not known.is_left_out(family.name),
    )
    yield learner


@asynccontextmanager
async def _demand_exchange(registry: Registry) -> AsyncIterator[None]:
    exchange = registry.get(DEMAND).exchange
    registry.spawn(partial(keep_exchanging, exchange), name="exchange-demand", owner="demand_exchange")
    yield


@asynccontextmanager
async def _use_counts(registry: Registry) -> AsyncIterator[UseCounts]:
    cache = registry.get(MAPPING_CACHE)
    store, on_search = registry.get(STORE), registry.get(DEMAND).note
    uses = UseCounts(store, lambda: cache.snapshot, lambda: _cluster(cache), on_search=on_search)
    registry.spawn(partial(keep_exchanging, uses.exchange), name="exchange-uses", owner="field_uses")
    yield uses


@asynccontextmanager
async def _gatherer(registry: Registry) -> AsyncIterator[Gatherer | None]:
    config = settings.ESASSISTANT.field_values
    if not config.families:
        yield None
        return
    cache, views, uses = registry.get(MAPPING_CACHE), registry.get(MAPPING_VIEWS), registry.get(USE_COUNTS)
    clients = registry.get(ELASTICSEARCH), registry.get(ELASTICSEARCH_CACHE)
    async with open_calls(settings.ESASSISTANT.elasticsearch) as calls:
        gatherer = Gatherer(
            registry.get(KNOWN_VALUES),
            calls,
            registry.get(STORE),
            config,
            snapshot=lambda: cache.snapshot,
            fields_of=partial(views.of, FIELDS),
            choose=registry.get(DEMAND).choose,
            used=uses.most_used,
            situation=lambda: situation_of(pool for client in clients for pool in pool_report(client).values()),
            cluster=lambda: _cluster(cache),
        )
        registry.spawn(gatherer.run, name="gather-values", owner="field_values")
        yield gatherer


def _cluster(cache: MappingCache) -> ClusterId:
    return ClusterId(cache.snapshot.cluster_uuid or "", _cluster_urls())


def _cluster_urls() -> str:
    """Return a hash of the cluster's URLs. It tells clusters apart while none can be reached."""
    urls = ",".join(sorted(settings.ESASSISTANT.elasticsearch.urls))
    return hashlib.blake2b(urls.encode(), digest_size=16).hexdigest()


def _mcp(registry: Registry) -> AbstractAsyncContextManager[None]:
    # Imported here, not at the top: the SDK is an optional dependency, and takes memory. Where processors are busy the
    # import takes seconds, which must not count against the deadline for opening.
    from cacheapp.mcp.server import open_mcp

    return open_mcp(registry)


@asynccontextmanager
async def _cluster_fields(registry: Registry) -> AsyncIterator[ClusterFields]:
    yield ClusterFields(registry.get(MAPPING_CACHE), registry.get(MAPPING_VIEWS))


@asynccontextmanager
async def _field_limits(registry: Registry) -> AsyncIterator[FieldLimits]:
    limits = FieldLimits(registry.get(MAPPING_CACHE))
    registry.spawn(limits.keep_counting, name="count-fields", owner="field_limits")
    yield limits


@asynccontextmanager
async def _database_work(_: Registry) -> AsyncIterator[DatabaseWork]:
    async with open_database_thread("health") as thread:
        yield thread


@asynccontextmanager
async def _validation(registry: Registry) -> AsyncIterator[Validations]:
    spawn = partial(registry.flight, name="prepare", owner="validation")
    known, uses = registry.get(KNOWN_VALUES), registry.get(USE_COUNTS)
    yield Validations(registry.get(MAPPING_CACHE), spawn, values=known, uses=uses)


@asynccontextmanager
async def _history(registry: Registry) -> AsyncIterator["History"]:
    from cacheapp.history import History  # here, as above

    async with open_database_thread("history") as thread:
        history = History(thread, instance_name())
        registry.spawn(history.keep_writing, name="write-history", owner="history")
        registry.spawn(history.keep_probing, name="probe-database", owner="history")
        yield history
        await history.write_rest()


@asynccontextmanager
async def _feed(registry: Registry) -> AsyncIterator["ChangeFeed"]:
    from cacheapp.feed.change_feed import ADDRESS, ChangeFeed  # here, as above
    from cacheapp.history import HISTORY
    from cacheapp.shown_changes import is_shared

    history, instances = registry.get(HISTORY), registry.get(INSTANCES)
    feed = ChangeFeed(history, lambda name: is_shared(name, instances.told_by_others(HISTORY_REPORT.name)))
    registry.spawn(feed.run, name="feed-changes", owner="feed")
    with history.telling(feed.note_news):
        async with registry.get(STREAMS).answering(ADDRESS, feed.answer, media_type=EVENT_STREAM):
            yield feed


@asynccontextmanager
async def _sharing(registry: Registry) -> AsyncIterator[Sharing]:
    from cacheapp.history import HISTORY  # here, as above

    cache = registry.get(MAPPING_CACHE)
    yield Sharing(
        cache,
        registry.get(STORE),
        cluster_urls=_cluster_urls(),
        identify=cache.reader.cluster_uuid,
        instance=instance_name(),
        history=registry.get(HISTORY),
        on_store_change=lambda: registry.announce("store"),
    )


@asynccontextmanager
async def _refresher(registry: Registry) -> AsyncIterator[Refresher]:
    from cacheapp.history import HISTORY  # here, as above

    config = settings.ESASSISTANT.mapping_cache
    history = registry.get(HISTORY)
    metadata = MetadataClock(registry.get(ELASTICSEARCH_CACHE)) if config.watch else None
    cache = registry.get(MAPPING_CACHE)
    history.ask_hidden_by(cache.reader.hidden_among)
    refresher = Refresher(
        PassRunner(cache, cache.reader, config, metadata, history, first=registry.get(DEMAND).first_indices),
        registry.get(SHARING),
        registry.get(STORE),
        config,
        partial(registry.flight, name="pass", owner="refresher"),
        history=history,
        on_progress=lambda: registry.announce("refresher"),
    )
    cache.read_listing_by(refresher.list_now)
    yield refresher


@asynccontextmanager
async def _instances(registry: Registry) -> AsyncIterator[Instances]:
    def collect() -> dict[str, object]:
        shared = [resource.name for resource in registry.declared() if resource.metrics]
        return {
            **registry.reports(shared),
            "server": server_name(),
            "cluster": registry.get(SHARING).cluster,
            "refreshes": registry.get(REFRESHER).latest_reports(),
        }

    instances = Instances(registry.get(STORE), instance_name(), collect)
    registry.listen(lambda name: instances.publish_soon() if name == "refresher" else None)
    registry.spawn(instances.keep_publishing, name="report-instance", owner="instances")
    with hot_routes.answering("/api/cache/stats", lambda _, caller: cache_stats(details=caller.reads_all)):
        yield instances


@asynccontextmanager
async def _refresh_schedule(registry: Registry) -> AsyncIterator[None]:
    interval = settings.ESASSISTANT.mapping_cache.refresh_interval
    schedule = Schedule(registry.get(REFRESHER), registry.get(SHARING), registry.get(STORE), interval)
    registry.spawn(schedule.keep_fresh, name="keep-fresh", owner="refresh_schedule")
    registry.spawn(schedule.follow_store, name="follow-store", owner="refresh_schedule")
    yield


@asynccontextmanager
async def _watch(registry: Registry) -> AsyncIterator[Watch]:
    client, refresher = registry.get(ELASTICSEARCH_WATCH), registry.get(REFRESHER)
    parameters = ParameterChanges(MappingVersions(client), refresher)
    spawn = partial(registry.flight, name="watch", owner="watch")
    watch = Watch(MetadataClock(client), parameters, refresher, registry.get(SHARING), registry.get(STORE), spawn)
    if settings.ESASSISTANT.mapping_cache.watch:
        registry.spawn(watch.run, name="keep-watching", owner="watch")
    yield watch
    await watch.release_lease()


def _store_report(store: Store) -> StoreReport:
    recorded = _recorded(store)
    refused, inner = recorded.refused, recorded.store
    return StoreReport(
        kind="redis" if isinstance(inner, RedisStore) else "database",
        poisoned_total=ignored_rows.total(STORE_MODELS)
        + (inner.link.poisoned_total if isinstance(inner, RedisStore) else 0),
        writable=refused is None,
        write_error=None if refused is None else refused.detail,
        unwritable_since=None if refused is None else refused.since,
        refused_writes_total=recorded.refused_total,
    )


def _recorded(store: Store) -> RecordingStore:
    assert isinstance(store, RecordingStore)  # `_store` makes no other
    return store


def _cache_health(cache: MappingCache, failure: str | None) -> PingResult:
    """Return the health of the cache, by its report. `failure`: why the last pass failed; None if it didn't."""
    stats, snapshot = cache.report(), cache.snapshot
    facts = {
        "indices": stats.indices,
        "coverage_percent": percent(sum(map(snapshot.is_whole, snapshot.indices)), len(snapshot.indices)),
        "stale_indices": stats.stale_indices,
        "oldest_age_seconds": None if stats.oldest_age_seconds is None else round(stats.oldest_age_seconds, 3),
    }
    if not stats.warm:
        return PingResult(Health.DEGRADED, f"no mappings yet: {failure or 'the first pass has not ended'}", facts)
    if stats.stale_indices:
        why = "" if failure is None else f"; the last pass failed: {failure}"
        return PingResult(Health.DEGRADED, f"{stats.stale_indices} of {stats.indices} mappings are stale{why}", facts)
    return PingResult(Health.HEALTHY, None, facts)
