"""Demand models for tests: states that have seen some weeks, and the model of a process over stand-ins."""

from collections.abc import Callable, Mapping
from typing import Any

from cacheapp.demand.demand import Asks, Demand
from cacheapp.demand.learner import DemandLearner
from cacheapp.demand.state import DemandState
from cacheapp.state.clusters import ClusterId
from cacheapp.state.snapshot import IndexEntry, Snapshot, Source
from esassistant.clock import Clock
from esassistant.config.model import Predict
from esassistant.shared_values import SharedValues

HOUR, DAY = 3_600.0, 86_400.0
MONDAY = 1_793_577_600.0
"""2026-11-02, 00:00 UTC."""
CLUSTER = ClusterId("one", "")
SNAPSHOT = Snapshot(
    indices={
        name: IndexEntry("u", f"hash of {name}", 0.0, Source.MEMORY)
        for name in ("orders-1", "orders-2", "logs-2026.11.01", "logs-2026.11.02", "plain", ".system")
    },
    aliases={"orders": ("orders-1", "orders-2")},
)


def demand_learner(
    store: SharedValues,
    clock: Clock,
    mode: Predict = Predict.RULE,
    *,
    ages: Callable[[], Mapping[str, float]] = dict,
    snapshot: Callable[[], Snapshot] = lambda: SNAPSHOT,
    **more: Any,
) -> DemandLearner:
    """Return the model of a process that gathers values of all families."""
    return DemandLearner(
        store, snapshot, lambda: CLUSTER, mode, ages=ages, is_gathered=lambda _: True, clock=clock, **more
    )


def asked_at(demand: Demand, name: str, at: float, **more: Any) -> None:
    """Ask for a name once."""
    demand.note(Asks(name, at, at, **more))


def office_weeks(days: int = 14, name: str = "office") -> Demand:
    """Return a model that has seen a family being asked for: on workdays at 9:10, 9:40 and 15:20, and each day at 2:05.
    It ends at midnight, so many days after a Monday.
    """
    demand = Demand(DemandState())
    for minute in range(0, days * 24 * 60, 5):
        now = MONDAY + minute * 60
        day, hour = divmod(minute / 60, 24)
        if any(abs(hour - wanted) < 0.01 for wanted in (9 + 1 / 6, 9 + 2 / 3, 15 + 1 / 3)) and day % 7 < 5:
            asked_at(demand, name, now, persons=1)
        if abs(hour - 2 - 1 / 12) < 0.01:
            asked_at(demand, "nightly", now, calls=2)
        demand.advance(now)
    return demand
