"""The panels of the mapping cache and of webhooks on the status page."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.template.loader import render_to_string

from cacheapp.change_reports import TargetReport, TargetState, WebhooksReport
from cacheapp.panels import sent_by, shown_webhooks, warmed_ahead
from cacheapp.reports import StoreReport
from cacheapp.webhooks.policy import Outcome
from cacheapp.webhooks.webhooks import NO_WEBHOOKS
from esassistant.config.model import Predict
from tests.support.changes import NOW
from tests.support.demand import MONDAY, demand_learner
from tests.support.fakes import A_MAPPING, FakeClock, FakeReader, Instance, MemoryStore


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
