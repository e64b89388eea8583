"""Advice about the last ten minutes: given while it holds, over with its end, and never against the verdict."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.urls import include, path
from pytest_django import Settings

from esassistant.advice import Advice, NotEnoughData, Recommendation, judge, percent
from esassistant.resource import Health
from healthapp.advice_watch import AdviceReport, AdviceWatch, RecentAdvice, figures
from healthapp.findings import Trouble
from healthapp.recent import counted_between
from healthapp.verdict import Effect
from tests.support.fakes import FakeClock
from tests.support.fixtures import Figure
from tests.support.verdicts import NOW

urlpatterns = [path("assistant/", include("esassistant.urls"))]


@dataclass(frozen=True)
class Pass:
    counts_since_start: ClassVar[bool] = False
    failed_total: int


@dataclass(frozen=True)
class Report:
    calls_total: int = 0
    refused_total: int = 0
    size: int = 5
    reasons: Mapping[str, int] | None = None
    last: Pass | None = None


SLOW = "More would not help."
WHY = "Too small: see /api/performance."


def rules(reports: Mapping[str, Any]) -> Iterable[Advice]:
    report: Report = reports["pool"]
    share = percent(report.refused_total, report.calls_total)
    return judge("p.refused_percent", share, 1.0, report.calls_total, 100, "calls", WHY, "SIZE=10", SLOW)


class World:
    """A pool that is called, and time that passes in steps of twenty seconds."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.began = self.clock.now
        self.report = Report()
        self.effects: tuple[Effect, ...] = ()
        self.watch = AdviceWatch(
            lambda: {"pool": self.report},
            rules,
            lambda: self.effects,
            clock=self.clock,
            wall_clock=lambda: NOW + timedelta(seconds=self.clock.now - self.began),
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        await asyncio.sleep(0)

    def minutes(self, minutes: float, *, calls: int = 600, refused: int = 0) -> AdviceReport:
        """What is said after so many minutes with so many calls each."""
        for _ in range(int(3 * minutes)):
            self.clock.now += 20
            self.report = replace(
                self.report,
                calls_total=self.report.calls_total + calls // 3,
                refused_total=self.report.refused_total + refused // 3,
            )
            found = self.watch.report()
        return found


@pytest.fixture
def world() -> World:
    return World()


def metrics(found: Iterable[RecentAdvice]) -> list[str]:
    return [advice.metric for advice in found]


def test_it_is_given_while_it_holds(world: World) -> None:
    """With the times that it speaks of, never more than ten minutes, and its numbers in words."""
    [young] = world.minutes(2, refused=60).recommendations
    assert (young.from_at, young.to_at) == (NOW, NOW + timedelta(minutes=2))
    [found] = world.minutes(20, refused=60).recommendations
    assert (found.from_at, found.to_at) == (NOW + timedelta(minutes=12), NOW + timedelta(minutes=22))
    assert (found.setting, found.ended_at) == ("SIZE=10", None)
    assert found.figures == "10 % of 6000 calls; more than 1 % is too much"


def test_what_is_over_was(world: World) -> None:
    """A minute or two after the trouble it is over, with its end, though it happened within ten minutes; and after an
    hour it is forgotten.
    """
    world.minutes(5, refused=60)
    after = world.minutes(2)
    assert after.recommendations == ()
    [over] = after.was
    assert NOW + timedelta(minutes=5) < (over.ended_at or NOW) <= NOW + timedelta(minutes=7)
    assert metrics(world.minutes(8).was) == ["p.refused_percent"]
    assert world.minutes(62).was == ()


def test_addresses_below_a_prefix(world: World, settings: Settings) -> None:
    """Where the service is embedded below a prefix, the addresses that advice names have it."""
    settings.ROOT_URLCONF = __name__
    [found] = world.minutes(2, refused=60).recommendations
    assert found.why == "Too small: see /assistant/api/performance."


def test_it_comes_back(world: World) -> None:
    """What begins again is given again, and stands under what was no longer."""
    world.minutes(5, refused=60)
    world.minutes(5)
    again = world.minutes(2, refused=60)
    assert (metrics(again.recommendations), again.was) == (["p.refused_percent"], ())


def test_few_calls(world: World) -> None:
    """As many calls as ten minutes need are needed; fewer say that they are not enough, and end what was said."""
    assert world.minutes(10, calls=6, refused=3).not_enough_data == (
        NotEnoughData("p.refused_percent", 60, 100, "calls"),
    )
    world.minutes(10, calls=30, refused=3)
    assert metrics(world.watch.report().recommendations) == ["p.refused_percent"]
    silent = world.minutes(2, calls=0)
    assert (silent.recommendations, metrics(silent.was)) == ((), ["p.refused_percent"])


def test_it_never_contradicts_the_verdict(world: World) -> None:
    """While the cluster is slower than usual, and a minute longer, no more is asked of it at once."""
    world.effects = (Effect(Trouble.CLUSTER_SLOW, "searches", Health.DEGRADED, None, 9, None, 3.0, None, False),)
    [found] = world.minutes(3, refused=60).recommendations
    assert (found.setting, found.why) == (None, SLOW)
    world.effects = ()
    assert world.minutes(1, refused=60).recommendations[0].setting is None
    assert world.minutes(1, refused=60).recommendations[0].setting == "SIZE=10"


async def test_it_watches_by_itself(world: World) -> None:
    """The background task takes a snapshot every twenty seconds, and no more than ten minutes of them are kept."""
    task = asyncio.create_task(world.watch.keep_watching())
    while world.clock.now < world.began + 3000:  # noqa: ASYNC110  (nothing is signalled)
        await asyncio.sleep(0)
    task.cancel()
    assert len(world.watch._snapshots) <= 32


@pytest.mark.parametrize(
    ("metric", "value", "threshold", "text"),
    [
        ("a.percent_of_interval", 51.0, 50.0, "51 % of 9 calls; more than 50 % is too much"),
        ("lag.p99_seconds", 0.5, 0.05, "99 % of 9 calls within 0.5 s; advised above 50 ms"),
        ("failing_seconds", 400.0, 300.0, "400 s of 9 calls; more than 300 s is too much"),
        ("lost_total", 3, 0, "3 of 9 calls"),
        ("poisoned_total", 9, 0, "9 calls"),
        ("store_error", 1, 0, ""),
    ],
)
def test_figures(metric: str, value: float, threshold: float, text: str) -> None:
    """Numbers have the unit of what they are."""
    assert figures(Recommendation(metric, value, threshold, 9, "calls", "Why.", None)) == text


def test_counted_between() -> None:
    """Totals and mappings of whole numbers begin anew, also within mappings; all else is as it is now, and so is what
    says of itself that it doesn't count since the start.
    """
    before = Report(10, 1, 5, {"a": 3}, Pass(7))
    now = Report(30, 4, 6, {"a": 5, "b": 1}, Pass(9))
    assert counted_between(before, now) == Report(20, 3, 6, {"a": 2, "b": 1}, Pass(9))
    assert counted_between(before, now, 10) == Report(200, 30, 6, {"a": 20, "b": 10}, Pass(9))
    assert counted_between({"x": before}, {"x": now, "y": now}) == {"x": counted_between(before, now), "y": now}
    assert counted_between(None, now) == now
    assert counted_between("another", now) == now
    assert counted_between(None, {"is": True, "name": "x"}) == {"is": True, "name": "x"}


def test_case_52_eight_minutes_after_trouble(world: World, figure: Figure) -> None:
    """By clocks that are injected: advice of trouble that is over for eight minutes is gone, and was, with its end."""
    assert metrics(world.minutes(5, refused=200).recommendations) == ["p.refused_percent"]
    found = world.minutes(8)
    assert found.recommendations == ()
    [over] = found.was
    assert over.ended_at is not None
    ago = (NOW + timedelta(minutes=13) - over.ended_at).total_seconds()
    assert 6 * 60 <= ago <= 8 * 60
    figure(52, f"gone; under what was with its end, {ago / 60:.0f} min ago")
