"""The panels of the mapping cache and of webhooks on the status page."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.template.loader import render_to_string

from cacheapp.change_reports import HistoryReport, TargetReport, TargetState, WebhooksReport
from cacheapp.models import MappingChange, PassRecord
from cacheapp.panels import (
    CACHE_PANEL,
    HISTORY_PANEL,
    SHOWN_ROWS,
    VALIDATION_PANEL,
    WEBHOOKS_PANEL,
    sent_by,
    shown_webhooks,
    warmed_ahead,
)
from cacheapp.reports import InstanceReport, StoreReport, ValidationReport
from cacheapp.webhooks.policy import Outcome
from cacheapp.webhooks.webhooks import NO_WEBHOOKS
from esassistant.config.model import Predict
from esassistant.registry import Registry
from esassistant.resource import Panel
from tests.support.changes import NOW
from tests.support.demand import MONDAY, demand_learner
from tests.support.fakes import A_MAPPING, FakeClock, FakeReader, Instance, MemoryStore


def rendered(panel: Panel, report: object) -> str:
    """The text of a panel, with one space wherever there is some."""
    return " ".join(render_to_string(panel.template, dict(panel.context(report))).split())


def declare(registry: Registry, name: str, report: object) -> None:
    """A resource of that name that gives that report."""

    @asynccontextmanager
    async def factory(_: Registry) -> AsyncIterator[object]:
        yield report

    registry.register(name, factory, stats=lambda value: value)


@pytest.mark.parametrize(
    ("poisoned_total", "told"), [(0, None), (1, "1 foreign value ignored"), (2, "2 foreign values ignored")]
)
async def test_foreign_values_in_redis(poisoned_total: int, told: str | None) -> None:
    """The panel says how many values in Redis were not ours, and nothing where there was none."""
    clock = FakeClock()
    instance = Instance(FakeReader({"a": A_MAPPING}), MemoryStore(clock), clock)
    context = {"cache": instance.cache.report(), "refresh": instance.refresher.report()}
    page = render_to_string("cacheapp/cache_panel.html", {**context, "store": StoreReport("redis", poisoned_total)})
    assert "generation none yet" in page
    assert told is None or told in page
    assert (told is None) == ("foreign" not in page)


async def test_what_belongs_to_the_cache(own_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its panel shows the reports of refresher, watch and store beside its own; one that isn't open is left out."""
    clock = FakeClock()
    instance = Instance(FakeReader({"a": A_MAPPING}), MemoryStore(clock), clock)
    refresh, store = instance.refresher.report(), StoreReport("redis", 1)
    for name, report in (("refresher", refresh), ("watch", "never open"), ("store", store)):
        declare(own_registry, name, report)
    monkeypatch.setattr("cacheapp.panels.registry", own_registry)
    cache = instance.cache.report()
    async with own_registry.open(only=["refresher", "store"]):
        assert CACHE_PANEL.context(cache) == {"cache": cache, "refresh": refresh, "watch": None, "store": store}
        assert '<th scope="row">Watch</th><td>none</td>' in rendered(CACHE_PANEL, cache)


def record_pass(number: int) -> None:
    PassRecord.objects.create(
        refresh_id="x",
        started_at=NOW,
        trigger="schedule",
        outcome="completed",
        duration_seconds=1.5,
        indices_total=1,
        read_total=1000 + number,
        changed_total=0,
        removed_total=0,
        failed_total=0,
        requests_total=3,
        error="",
        instance="i",
    )


def record_change(number: int) -> None:
    nothing: dict[str, Any] = {"added": [], "removed": [], "retyped": [], "altered": []}
    totals = {"added_total": 0, "removed_total": 2, "retyped_total": 0, "altered_total": 0}
    MappingChange.objects.create(
        index=f"shop-{number}", at=NOW, kind="changed", compared=True, instance="i", **nothing, **totals
    )


@pytest.mark.django_db
def test_the_history() -> None:
    """The newest passes and changes, the newest first and no more than fit; and how much of it was lost."""
    assert rendered(HISTORY_PANEL, HistoryReport(0, 0, 0)).count("None yet.") == 2
    for number in range(SHOWN_ROWS + 1):
        record_pass(number)
        record_change(number)
    page = rendered(HISTORY_PANEL, HistoryReport(9, 1, 0))
    newest_first = [str(number) for number in range(SHOWN_ROWS, 0, -1)]
    assert re.findall(r">shop-(\d+)</a>", page) == newest_first
    assert re.findall(r'data-label="Read">100(\d+)<', page) == newest_first
    assert page.count("2 removed") == SHOWN_ROWS
    assert "1 part of it is lost" in page


def test_what_callers_get_wrong() -> None:
    """The most frequent kinds of findings come first, in words; kinds that nobody had aren't shown."""
    report = ValidationReport(1500, 40, {"unknown_field": 2, "no_text": 0, "wrong_type": 38}, {"orders": 40}, 7)
    page = rendered(VALIDATION_PANEL, report)
    assert "40 of 1,500 searches had something wrong" in page
    assert re.findall(r'<th scope="row">(.*?)</th><td class="number">(.*?)</td>', page) == [
        ("wrong type", "38"),
        ("unknown field", "2"),
        ("orders", "40"),
    ]
    many = {f"code_{number}": number for number in range(1, 20)}
    assert rendered(VALIDATION_PANEL, replace(report, codes=many)).count(">code ") == SHOWN_ROWS
    assert "Nothing yet." in rendered(VALIDATION_PANEL, ValidationReport(0, 0, {"no_text": 0}, {}, 0))


TARGET = TargetReport(
    host="hooks.example.org",
    state=TargetState.IDLE,
    behind=0,
    failing_since=None,
    failing_seconds=0.0,
    retry_in_seconds=None,
    attempts_total=1200,
    outcomes={outcome.value: 0 for outcome in Outcome} | {"delivered": 1100},
    gaps_total=0,
    last_delivered_at=NOW,
    error=None,
)
FAILING: dict[str, Any] = {"state": TargetState.FAILING, "error": "it answered 500", "failing_seconds": 90.0}


def webhooks(**values: Any) -> str:
    report = WebhooksReport(True, True, True, None, 1, {"registry": replace(TARGET, **values)})
    return render_to_string("cacheapp/webhooks_panel.html", dict(shown_webhooks(report)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ("registry", "hooks.example.org", "idle", "1,100", "1,200", "2026-11-29 10:33:07 UTC", "1 target<")),
        ({"last_delivered_at": None}, ("never",)),
        (
            {**FAILING, "retry_in_seconds": 30.0},
            (
                "1 target, 1 in trouble: registry",
                "It answered 500, for 1 min 30 s; tried again in 30 s.",
            ),
        ),
        ({**FAILING, "retry_in_seconds": 0.0}, ("tried again now.",)),
        (
            {"state": TargetState.PAUSED, "error": "x"},
            (
                "1 in trouble",
                "The receiver is gone (410)",
            ),
        ),
    ],
)
def test_targets_of_webhooks(values: dict[str, Any], told: tuple[str, ...]) -> None:
    """A line for each: how far it is, and what is wrong."""
    page = webhooks(**values)
    assert [part for part in told if part not in page] == []
    assert "No process sends" not in page


def test_webhooks_that_are_off() -> None:
    """Where no file is named there is no panel; without targets, or where nobody sends, that is said."""
    page = render_to_string("cacheapp/webhooks_panel.html", dict(shown_webhooks(NO_WEBHOOKS)))
    assert page.strip() == ""
    nobody = WebhooksReport(True, False, False, "is not TOML", 1, {})
    page = render_to_string("cacheapp/webhooks_panel.html", dict(shown_webhooks(nobody)))
    assert "No process sends at the moment" in page
    assert "it is not TOML." in page
    assert "0 targets; the file of targets can" in page
    assert "has none" in page


def test_what_another_process_says() -> None:
    """The panel shows what the process says that sends; one of another version may say anything."""
    report = WebhooksReport(True, True, True, None, 1, {"registry": TARGET})
    told = msgspec.json.decode(msgspec.json.encode(report))
    assert sent_by(told) == report
    assert sent_by({**told, "sends": False}) is None
    assert [sent_by(one) for one in (None, 5, {}, {**told, "targets": 5})] == [None] * 4


THEIRS = msgspec.to_builtins(WebhooksReport(True, True, True, None, 1, {"theirs": TARGET}))


@pytest.mark.parametrize(
    ("sends", "others", "shown"),
    [
        (True, {"other": {"webhooks": THEIRS}}, "own"),
        (False, {"old": {"webhooks": 5}, "idle": {}, "other": {"webhooks": THEIRS}}, "theirs"),
        (False, {"idle": {}}, "own"),
        (False, None, "own"),
    ],
)
async def test_who_sends(
    own_registry: Registry, monkeypatch: pytest.MonkeyPatch, sends: bool, others: dict[str, Any] | None, shown: str
) -> None:
    """The targets are shown as the process knows them that sends: this one, or another that tells of it; where nobody
    is known to send, as this one knows them.
    """
    own = WebhooksReport(True, sends, True, None, 1, {"own": TARGET})
    declare(own_registry, "instances", others and {name: InstanceReport(1.0, told) for name, told in others.items()})
    monkeypatch.setattr("cacheapp.panels.registry", own_registry)
    async with own_registry.open():
        assert set(WEBHOOKS_PANEL.context(own)["webhooks"].targets) == {shown}


async def test_warmed_ahead() -> None:
    """What is in force, what the model has learnt, each family with what became of its values and why, and what each
    policy would have done; and that there is nothing yet.
    """
    clock = FakeClock(MONDAY)
    learner = demand_learner(MemoryStore(clock), clock)
    empty = render_to_string("cacheapp/demand_panel.html", warmed_ahead(learner.report()))
    assert "No family has been asked for yet" in empty
    assert "None" not in empty
    learner.note("orders")
    await learner.exchange()
    clock.advance(60)
    page = render_to_string("cacheapp/demand_panel.html", warmed_ahead(learner.report()))
    assert "asked for in the last 24 h (<code>MAPPING_CACHE_PREDICT=rule</code>)" in page
    assert "0 useful, 0 in vain, 0 late, 1 missed" in " ".join(page.split())
    assert '<th scope="row">orders</th><td>cold</td>' in page
    assert "Asked for 1 min ago, within the last 24 h." in page
    assert '<th scope="row">rule (in force)</th>' in page
    for mode in (Predict.OFF, Predict.MODEL):
        report = demand_learner(MemoryStore(clock), clock, mode).report()
        assert f"MAPPING_CACHE_PREDICT={mode.value}" in render_to_string(
            "cacheapp/demand_panel.html", warmed_ahead(report)
        )
