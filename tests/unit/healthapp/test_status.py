"""What the status page is made of, beside the reports: panels, instances, charts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from cacheapp.reports import WatchState
from esassistant.errors import RegistryNotOpen
from esassistant.instance import instance_name
from esassistant.registry import Registry
from esassistant.resource import Health, Panel
from healthapp.checks import ServiceReport
from healthapp.evidence import Told as ToldCalls
from healthapp.findings import Trouble
from healthapp.judge import VerdictReport
from healthapp.monitor import Transition
from healthapp.status import (
    ShownInstance,
    breakers_of,
    number_classes,
    panels,
    service_title,
    shown_effect,
    shown_instances,
    shown_services,
    since_unsaid,
)
from healthapp.verdict import Effect

TEMPLATE = "healthapp/unshown_panel.html"


def declare(registry: Registry, name: str, context: Callable[[Any], Mapping[str, Any]]) -> None:
    @asynccontextmanager
    async def factory(_: Registry) -> AsyncIterator[str]:
        yield f"<{name}>"

    registry.register(name, factory, stats=lambda value: value, panel=Panel(TEMPLATE, context))


def failing(error: Exception) -> Callable[[Any], Mapping[str, Any]]:
    def context(_: Any) -> Mapping[str, Any]:
        raise error

    return context


async def test_panels(own_registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Each resource's panel shows its report, escaped; one that fails says so in its place and harms no other."""
    declare(own_registry, "one", lambda report: {"name": "One", "reason": report})
    declare(own_registry, "two", failing(RegistryNotOpen("The registry is closing.")))
    declare(own_registry, "three", failing(OperationalError("password=hunter2")))
    declare(own_registry, "four", failing(ValueError("bug")))
    own_registry.register("without", lambda _: asynccontextmanager(nothing)())
    async with own_registry.open():
        shown = await asyncio.to_thread(lambda: list(panels(own_registry)))
    assert len(shown) == 4
    assert "&lt;one&gt;" in shown[0]
    assert "The registry is closing." in shown[1]
    assert "the database failed (OperationalError)" in shown[2]
    assert "it failed (ValueError)" in shown[3]
    assert "hunter2" not in "".join(shown)
    assert "the panel of four failed" in caplog.text


async def nothing() -> AsyncIterator[None]:
    yield None


def test_a_panel_needs_stats(own_registry: Registry) -> None:
    """A panel without a report to show is refused when it is declared."""
    with pytest.raises(ValueError, match="no stats"):
        own_registry.register("x", lambda _: asynccontextmanager(nothing)(), panel=Panel(TEMPLATE, lambda _: {}))


@dataclass(frozen=True)
class Told:
    age_seconds: float
    report: Mapping[str, Any]


def test_instances() -> None:
    """One's own report, made of dataclasses, and another's, which came as JSON, are shown alike; what one of another
    version doesn't tell is unknown.
    """
    own = {
        "mapping_cache": SimpleNamespace(indices=9, stale_indices=1),
        "watch": SimpleNamespace(state=WatchState.WATCHING),
        "http": SimpleNamespace(together=SimpleNamespace(requests_total=5)),
        "process": SimpleNamespace(resident_bytes=100),
    }
    other = {"mapping_cache": {"indices": 8}, "watch": {"state": "standby"}, "http": {"together": None}}
    report: Any = SimpleNamespace(instances={instance_name(): Told(0.0, own), "b:2": Told(3.0, other)})
    assert list(shown_instances(report)) == [
        ShownInstance(instance_name(), True, 0.0, 9, 1, "watching", 5, 100),
        ShownInstance("b:2", False, 3.0, 8, None, "standby", None, None),
    ]


NOW = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("trouble", "callers", "title"),
    [
        (Trouble.CALLS_FAIL, "searches", "Searches fail"),
        (Trouble.CLUSTER_AWAY, "elasticsearch", "Elasticsearch can't be asked"),
        (Trouble.OTHER_CHECK, "orders", "The check orders fails"),
        (Trouble.BREAKER_OPEN, "pool logs", "Calls get 503 at once (pool logs)"),
    ],
)
def test_effects(trouble: Trouble, callers: str, title: str) -> None:
    """What is wrong has a title in words, and the section of the guide that says what to do."""
    effect = Effect(trouble, callers, Health.DEGRADED, NOW, 3, 3, None, None, False)
    shown = shown_effect(effect)
    assert (shown.title, shown.guide) == (title, f"docs/operations.md#verdict-{trouble.value}")


def test_services() -> None:
    """Checks are shown by what is wrong with them or what people call them, the worst first, with since when, and where
    to read what to do.
    """
    reports = {
        "mapping_cache": ServiceReport(Health.HEALTHY, 1.0, False, None),
        "my_orders": ServiceReport(Health.UNHEALTHY, 1.0, False, "away"),
        "store": ServiceReport(Health.DEGRADED, 1.0, False, "slow"),
    }
    changes = [Transition(at, "store", None, Health.DEGRADED, None) for at in (NOW, NOW - timedelta(hours=1))]
    earlier = NOW - timedelta(hours=2)
    effects = [
        Effect(Trouble.STORE_AWAY, "store", Health.DEGRADED, earlier, None, None, None, None, False),
        Effect(Trouble.MAPPINGS_STALE, "mapping_cache", Health.DEGRADED, NOW, None, None, None, None, False),
    ]
    assert [(one.title, one.since, one.guide) for one in shown_services(reports, changes, effects)] == [
        ("My orders", None, ""),
        ("The store can't be used", earlier, "docs/operations.md#verdict-store-away"),
        ("Mapping cache", None, ""),
    ]
    assert shown_services(reports, changes)[1].since == NOW
    assert service_title("verdict") == "Service as a whole"


def effect_of(trouble: Trouble, callers: str, level: Health = Health.DEGRADED) -> Effect:
    return Effect(trouble, callers, level, NOW, None, None, None, None, False)


def test_colours_agree() -> None:
    """A row is never worse than the verdict, and failing calls are as bad as their cause. A check that failed while the
    verdict is healthy has no colour.
    """
    away = effect_of(Trouble.CLUSTER_AWAY, "elasticsearch", Health.UNHEALTHY)
    fail = effect_of(Trouble.CALLS_FAIL, "searches")
    assert shown_effect(fail).level is Health.DEGRADED
    assert shown_effect(fail, [fail, away]).level is Health.UNHEALTHY
    reports = {"store": ServiceReport(Health.UNHEALTHY, 1.0, False, "away")}
    store = effect_of(Trouble.STORE_AWAY, "store")
    assert [one.level for one in shown_services(reports, (), [store])] == [Health.DEGRADED]
    assert [one.level for one in shown_services(reports, (), [away])] == [Health.UNHEALTHY]
    assert [one.level for one in shown_services(reports, ())] == [None]
    assert set(number_classes(Health.HEALTHY).values()) == set(number_classes(None).values()) == {""}
    assert number_classes(Health.DEGRADED)["bad_class"] == "warn"
    assert number_classes(Health.UNHEALTHY)["bad_class"] == "bad"


def test_open_breakers_are_one_row() -> None:
    """What the check of the pools says and what the verdict says of their breakers is shown once, after the cause."""
    reports = {
        "pools": ServiceReport(Health.DEGRADED, 1.0, False, "paused", {"open_breakers": 2}),
        "elasticsearch": ServiceReport(Health.UNHEALTHY, 1.0, True, "away"),
    }
    breakers = [effect_of(Trouble.BREAKER_OPEN, f"pool {name}") for name in ("cache", "logs")]
    effects = [effect_of(Trouble.CLUSTER_AWAY, "elasticsearch", Health.UNHEALTHY), *breakers]
    assert breakers_of(reports, effects) == breakers
    assert [(one.title, one.level, one.since) for one in shown_services(reports, (), effects)] == [
        ("Elasticsearch can't be asked", Health.UNHEALTHY, NOW),
        ("Calls get 503 at once (pool cache, pool logs)", Health.DEGRADED, NOW),
    ]
    assert breakers_of({}, effects) == []


@pytest.mark.parametrize(
    ("trouble", "check", "title", "why"),
    [
        (Trouble.CALLS_REFUSED, "pools", "Connection pools", "searches find no free connection"),
        (Trouble.CLUSTER_SLOW, "elasticsearch", "Elasticsearch", "searches take 3 s"),
    ],
)
def test_a_cause_that_callers_tell_is_not_healthy(trouble: Trouble, check: str, title: str, why: str) -> None:
    """While callers find no connection, or wait, the check isn't shown as healthy, whatever it saw at its moment."""
    reports = {check: ServiceReport(Health.HEALTHY, 1.0, False, None, {"in_use": 3})}
    [shown] = shown_services(reports, (), [replace(effect_of(trouble, "searches"), seconds=3.0)])
    assert (shown.title, shown.level, shown.since) == (title, Health.DEGRADED, NOW)
    assert (shown.report.error, shown.report.facts) == (why, {"in_use": 3})


def test_since_is_said_once() -> None:
    """When trouble began stands below the sentence only if the sentence doesn't say it."""
    verdict = VerdictReport(
        Health.DEGRADED, "Searches fail since 04:00:00 UTC.", NOW, (), None, {}, {}, {}, ToldCalls()
    )
    assert since_unsaid(verdict, NOW) is None
    assert since_unsaid(replace(verdict, sentence="Searches fail."), NOW) == NOW
    assert since_unsaid(replace(verdict, since=None), NOW) is None
