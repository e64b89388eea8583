"""Advice of all resources together, and one's own resources and checks beside the project's."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

import cacheapp.apps
import esassistant.apps
import healthapp.apps
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.state.published import StoredIndex, StoredState
from cacheapp.state.snapshot import mapping_hash
from esassistant.advice import Advice, NotEnoughData, Recommendation, Rule
from esassistant.clock import monotonic
from esassistant.config.pools import parse_pools
from esassistant.registry import Registry
from esassistant.resource import Health, PingResult
from healthapp.advice_watch import advice
from healthapp.checks import checks_of, run_checks
from healthapp.monitor import HealthMonitor
from healthapp.performance import performance_report
from tests.support.advising import recommendations
from tests.support.fakes import A_MAPPING, B_MAPPING

FULL = Recommendation("disk.percent", 91.0, 90.0, 1, "disks", "The disk is full.", None)


@pytest.fixture
def declared() -> Registry:
    """A registry of its own with all that the project declares. Nothing listens where its cluster should be."""
    declared = Registry()
    for app in (esassistant.apps, cacheapp.apps, healthapp.apps):
        app.declare(declared)
    return declared


@asynccontextmanager
async def nothing(_: Registry) -> AsyncIterator[None]:
    yield


def register(registry: Registry, name: str, report: object, *rules: Rule) -> None:
    registry.register(name, nothing, stats=lambda _: report, rules=rules)


def advice_of(registry: Registry) -> tuple[Advice, ...]:
    return tuple(advice(registry, registry.reports(resource.name for resource in registry.declared())))


async def test_all_rules_of_all_resources(own_registry: Registry) -> None:
    """Each rule gets the report of its resource, in the order of declaration; what has no report at the moment, or
    isn't open, has no advice.
    """

    def saying(text: str) -> Rule:
        return lambda report: (replace(FULL, why=f"{text} {report}"), NotEnoughData(text, 1, 2, "x"))

    register(own_registry, "a", "A", saying("one"), saying("two"))
    register(own_registry, "silent", "S")
    register(own_registry, "without", None, saying("never"))
    register(own_registry, "b", "B", saying("three"), lambda _: ())
    register(own_registry, "closed", "C", saying("never"))
    async with own_registry.open(only=["a", "silent", "without", "b"]):
        found = advice_of(own_registry)
        assert await asyncio.to_thread(advice_of, own_registry) == found
    assert [each.why for each in recommendations(found)] == ["one A", "two A", "three B"]
    assert [each.metric for each in found if isinstance(each, NotEnoughData)] == ["one", "two", "three"]


async def test_a_rule_that_fails(own_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that raises, at once or halfway, is logged, and takes no other advice with it; nor does a report that
    fails.
    """

    def at_once(_: Any) -> Iterable[Advice]:
        raise KeyError("absent")

    def halfway(_: Any) -> Iterable[Advice]:
        yield replace(FULL, metric="first")
        raise KeyError("absent")

    def no_stats(_: Any) -> object:
        raise KeyError("absent")

    register(own_registry, "a", "A", at_once, halfway, lambda _: [FULL])
    own_registry.register("broken", nothing, stats=no_stats, rules=(lambda _: [FULL],))
    register(own_registry, "b", "B", lambda _: [FULL])
    async with own_registry.open():
        found = recommendations(advice_of(own_registry))
    assert [each.metric for each in found] == ["first", "disk.percent", "disk.percent"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "a rule of a failed",
        "a rule of a failed",
        "the report of resource broken failed",
    ]


@pytest.mark.django_db(transaction=True)
async def test_soon_after_the_start(declared: Registry) -> None:
    """A process that has just started, its cluster away, gets no advice on what it can't know, and says what it lacks;
    that its passes fail, it knows.
    """
    async with asyncio.timeout(10), declared.open():
        while declared.read("refresher").passes_total == 0:  # noqa: ASYNC110  (nothing is signalled)
            await asyncio.sleep(0.01)
        report = performance_report(declared)
    assert [each.metric for each in report.recommendations] == ["refresh.last.outcome"]
    assert {each.metric for each in report.not_enough_data} == {
        *(f"pools.{pool}" for pool in ("default", "cache", "watch", "health")),
        *("mapping_cache.misses_percent", "mapping_cache.stale_served_percent"),
        *("process.loop_lag.p99_seconds", "process.cpu_percent"),
    }


@pytest.mark.django_db(transaction=True)
async def test_advice_on_pools_is_by_the_settings(declared: Registry, settings: Settings) -> None:
    """What ELASTICSEARCH_POOLS says is what the line for a pool is made of, not what became of it."""
    listed = parse_pools("logs=logs-*:3;default=*:2")
    known = settings.ESASSISTANT_SETTINGS
    settings.ESASSISTANT_SETTINGS = {
        **known,
        "ELASTICSEARCH_POOLS": replace(known["ELASTICSEARCH_POOLS"], value=listed),
    }
    settings.ESASSISTANT = replace(
        settings.ESASSISTANT, elasticsearch=replace(settings.ESASSISTANT.elasticsearch, pools=listed)
    )
    async with declared.open(only=["elasticsearch"]):
        counters = declared.get("elasticsearch").transport._pools.pool_for("/logs-1/_search").counters
        counters.rejected["pool_exhausted"] = 100
        [found] = [each for each in recommendations(advice_of(declared)) if each.metric == "pools.logs.refused_percent"]
    assert found.setting == "ELASTICSEARCH_POOLS=logs=logs-*:6;default=*:2"


@pytest.mark.django_db(transaction=True)
async def test_facts_of_our_checks(declared: Registry) -> None:
    """Each check of ours says in a few facts what it found, healthy or not."""
    async with declared.open(only=["mapping_cache", "store", "sharing", "database", "pools", "process"]):
        checks = [check for check in checks_of(declared, 5.0) if check.name != "elasticsearch"]
        cold = await run_checks(checks)
        cache: MappingCache = declared.get("mapping_cache")
        known = {mapping_hash(body): body for body in (A_MAPPING, B_MAPPING)}
        indices = {name: StoredIndex("u", body, 1.0) for name, body in zip("ab", known, strict=True)}
        await cache.apply_published(StoredState(0.0, indices, {}, known), monotonic())
        cache.snapshot = cache.snapshot.without_bodies([mapping_hash(A_MAPPING)])
        warm = await run_checks(checks)
    assert {name: dict(service.facts) for name, service in cold.items()} == {
        "store": {"kind": "database", "generation": 0},
        "mapping_cache": {"indices": 0, "coverage_percent": None, "stale_indices": 0, "oldest_age_seconds": None},
        "database": {},
        "pools": {"in_use": 0, "waiting": 0, "open_breakers": 0},
        "process": {"loop_lag_p99_seconds": None},
    }
    assert {name for name, service in cold.items() if service.status is Health.HEALTHY} >= {
        "store",
        "database",
        "pools",
    }
    facts = warm["mapping_cache"].facts
    assert (facts["indices"], facts["coverage_percent"], facts["stale_indices"]) == (2, 50.0, 0)
    assert 1.0 <= float(facts["oldest_age_seconds"] or 0) < 10.0


@pytest.mark.django_db(transaction=True)
async def test_a_database_that_is_away(declared: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that can't be reached is unhealthy and says so, without the words of the driver; it is no outage."""
    from django.db import OperationalError
    from django.db.backends.base.base import BaseDatabaseWrapper

    def refuse(_: BaseDatabaseWrapper) -> None:
        raise OperationalError("password=1234")

    async with declared.open(only=["database"]):
        monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", refuse)
        checks = [check for check in checks_of(declared, 5.0) if check.name == "database"]
        found = (await run_checks(checks))["database"]
        monkeypatch.undo()
    assert (found.status, found.critical) == (Health.UNHEALTHY, False)
    assert "OperationalError" in (found.error or "")
    assert "1234" not in (found.error or "")


@pytest.mark.django_db(transaction=True)
async def test_what_opens_late_was_not_ill(declared: Registry) -> None:
    """A resource of one's own that opens after the monitor, and slowly, is never called unhealthy for that: the first
    checks run once everything is open.
    """

    @asynccontextmanager
    async def slow(_: Registry) -> AsyncIterator[str]:
        await asyncio.sleep(0.2)
        yield "live"

    async def ping(resource: str) -> PingResult:
        return PingResult(Health.HEALTHY, facts={"is": resource})

    declared.register("own", slow, ping=ping, critical=True)
    async with asyncio.timeout(10), declared.open():
        monitor: HealthMonitor = declared.get("health")
        report = await monitor.report()
        assert (report.services["own"].status, report.services["own"].facts) == (Health.HEALTHY, {"is": "live"})
        assert [each.after for each in report.transitions if each.service == "own"] == [Health.HEALTHY]


@pytest.mark.django_db(transaction=True)
async def test_a_report_that_fails_is_not_left_out(declared: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of its parts there is no report, but what is wrong with that part."""

    def fail(*_: Any, **__: Any) -> object:
        raise KeyError("absent")

    monkeypatch.setattr("cacheapp.history.HistoryReport", fail)
    async with asyncio.timeout(10), declared.open():
        with pytest.raises(KeyError, match="absent"):
            performance_report(declared)
