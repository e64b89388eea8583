"""What the apps declare opens in order, without a cluster and whatever the database's state, and closes cleanly."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_django import Settings

import cacheapp.apps
import esassistant.apps
import healthapp.apps
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.change_reports import WEBHOOKS_REPORT, TargetState
from cacheapp.reports import STORE_REPORT, StoreReport
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from cacheapp.stores.protocol import STORE
from cacheapp.stores.redis.store import RedisStore
from cacheapp.stores.writes import RecordingStore
from cacheapp.sync.refresher import REFRESHER, Refresher
from cacheapp.webhooks.webhooks import NO_WEBHOOKS, WEBHOOKS
from esassistant.clock import monotonic
from esassistant.config.webhooks import load_targets
from esassistant.registry import Registry, registry
from esassistant.resource import Health
from healthapp.checks import checks_of, run_checks
from healthapp.monitor import HealthMonitor
from tests.support.fakes import A_MAPPING
from tests.support.receiver import entry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def declared() -> Registry:
    """A registry of its own with all that the project declares. Nothing listens where its cluster should be."""
    declared = Registry()
    for app in (esassistant.apps, cacheapp.apps, healthapp.apps):
        app.declare(declared)
    return declared


def test_ready_declares_the_same(declared: Registry) -> None:
    """The process's own registry has what the apps declare, by Django's start alone."""
    assert {resource.name for resource in registry.declared()} == {resource.name for resource in declared.declared()}


async def test_opens_without_cluster(declared: Registry) -> None:
    """An absent cluster doesn't keep anything from opening; the background tasks run and end with the registry."""
    async with asyncio.timeout(10):
        async with declared.open():
            assert isinstance(declared.get("mapping_cache"), MappingCache)
            assert isinstance(declared.get("refresher"), Refresher)
            assert isinstance(declared.get("health"), HealthMonitor)
            assert {task.name for task in declared.tasks()} == {
                "keep-fresh",
                "keep-pinging",
                "follow-store",
                "keep-watching",
                "keep-checking",
                "keep-judging",
                "keep-writing",
                "keep-sampling",
                "keep-asking",
                "keep-counting",
                "refresh-ahead",
                "count-fields",
                "exchange-demand",
                "feed-changes",
                "exchange-uses",
                "report-instance",
                "say-failed-logins",
                "probe-database",
                "write-history",
            }
            assert all(task.running for task in declared.tasks())
            await declared.get("health").report()
            assert not declared.read("mapping_cache").warm


async def test_commands_open_no_schedule(declared: Registry) -> None:
    """The refresher opens without the tasks that would run passes by themselves; a pass then fails and says why."""
    async with declared.open(only=["refresher"]):
        assert {task.name for task in declared.tasks()} == {"keep-pinging", "probe-database", "write-history"}
        refresher: Refresher = declared.get("refresher")
        answer = await refresher.ask("test", limited=False)
        assert answer.id is not None
        report = await refresher.wait(answer.id)
        assert report.outcome.value == "failed"
        assert (report.error or "").startswith("Elasticsearch could not be reached: the connection was refused.")


async def test_report_of_the_store(declared: Registry, settings: Settings) -> None:
    """It says what kind the store is, and of Redis how many values were poisoned, also where no Redis can be
    reached.
    """
    async with declared.open(only=["store"]):
        assert declared.read(STORE_REPORT) == StoreReport("database", 0)
    settings.ESASSISTANT = replace(settings.ESASSISTANT, redis_url="redis://127.0.0.1:9/0")
    async with declared.open(only=["store"]):
        recorded = declared.get(STORE)
        assert isinstance(recorded, RecordingStore)
        assert isinstance(recorded.store, RedisStore)
        recorded.store.link.note_poison("somewhere")
        assert declared.read(STORE_REPORT) == StoreReport("redis", 1)


async def test_pings(declared: Registry) -> None:
    """The cluster is critical; the store is healthy when it answers; the cache is degraded while cold or stale, and
    says why the last pass failed.
    """
    async with declared.open(only=["elasticsearch", "refresher", "store", "sharing"]):
        checks = checks_of(declared, 5.0)
        cold = await run_checks(checks)
        assert {check.name for check in checks if check.critical} == {"elasticsearch"}
        assert cold["elasticsearch"].status is Health.UNHEALTHY
        assert cold["store"].status is Health.HEALTHY
        assert cold["mapping_cache"].status is Health.DEGRADED
        assert "first pass" in (cold["mapping_cache"].error or "")
        refresher = declared.get(REFRESHER)
        await refresher.wait((await refresher.ask("test", limited=False)).id or "")
        cold = await run_checks(checks)
        why = "Elasticsearch could not be reached: the connection was refused."
        assert (cold["mapping_cache"].error or "").startswith(f"no mappings yet: {why}")
        cache: MappingCache = declared.get("mapping_cache")
        known = mapping_hash(A_MAPPING)
        indices = {"fresh": StoredIndex("u", known, 1.0), "stale": StoredIndex("u", known, 3600.0)}
        await cache.apply_published(StoredState(0.0, indices, {}, {known: A_MAPPING}), monotonic())
        stale = (await run_checks(checks))["mapping_cache"]
        assert stale.status is Health.DEGRADED
        assert (stale.error or "").startswith(f"1 of 2 mappings are stale; the last pass failed: {why}")
        await cache.apply_published(
            StoredState(0.0, {"fresh": StoredIndex("u", known)}, {}, {known: A_MAPPING}), monotonic()
        )
        assert (await run_checks(checks))["mapping_cache"].status is Health.HEALTHY


async def test_webhooks(declared: Registry, settings: Settings, tmp_path: Path) -> None:
    """Without a file nothing is sent, and nothing is said of it in health; with one, this process sends once it has the
    lease, and gives it back at the end.
    """
    async with declared.open(only=["webhooks"]):
        assert declared.get(WEBHOOKS) is None
        assert declared.read(WEBHOOKS_REPORT) == NO_WEBHOOKS
    assert "webhooks" not in {resource.name for resource in declared.declared() if resource.ping}
    path = tmp_path / "webhooks.toml"
    path.write_text(entry("http://127.0.0.1:9/"))
    config = replace(settings.ESASSISTANT, webhooks_file=str(path), webhook_targets=load_targets(path))
    settings.ESASSISTANT = config
    with_file = Registry()
    for app in (esassistant.apps, cacheapp.apps, healthapp.apps):
        app.declare(with_file)
    for _ in range(2):
        async with with_file.open(only=["webhooks"]), asyncio.timeout(5):
            assert {task.name for task in with_file.tasks() if task.owner == "webhooks"} == {
                "follow-webhooks",
                "keep-sending",
            }
            while with_file.read(WEBHOOKS_REPORT).targets["registry"].state is not TargetState.IDLE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert with_file.read(WEBHOOKS_REPORT).sends
    [ping] = [resource.ping for resource in with_file.declared() if resource.name == "webhooks"]
    assert ping is not None
    assert (await ping(None)).health is Health.HEALTHY
