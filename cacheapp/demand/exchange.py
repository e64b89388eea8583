"""How the processes of a deployment share one model: each adds what it saw to one value of the store. Pure; called by
`SharedValues.change`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cacheapp.demand.demand import Asks, Demand
from cacheapp.demand.policy import WARM_SECONDS, Known, Why, why_gather
from cacheapp.demand.state import DemandState, UnusableState, decoded, encoded
from cacheapp.demand.warmed import Fate, note_asks, note_gathered, note_time, shadow_asks, shadow_time
from cacheapp.state.clusters import ClusterId
from esassistant.config.model import Predict
from esassistant.shared_values import Values

SHARED = "demand"
"""The name of the shared value."""
ADVANCE_SECONDS = 55.0
"""An exchange advances the model if it last advanced at least this long ago. Before that, an exchange without asks
writes nothing.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process saw since the last exchange.

    Args:
        asks: With ages in seconds instead of times.
        mappings: A hash of the mappings of each family, by name.
        gathered: The ages in seconds of the families' values, by name; without families whose values could not be
            gathered.
        is_gathered: The names of the families whose values are gathered; the others have none.
    """

    cluster: ClusterId
    mode: Predict
    asks: tuple[Asks, ...] = ()
    mappings: Mapping[str, str] | None = None
    gathered: Mapping[str, float] | None = None
    is_gathered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The result of an exchange.

    Args:
        state: All that is known now.
        now: The clock of the store, in seconds since 1970.
        fates: What this exchange found out about the fates of values.
        examples: How many examples the model learnt from.
        refused: Why the shared state could not be used; None if it could.
    """

    state: DemandState
    now: float
    fates: Mapping[Fate, int]
    examples: int = 0
    refused: str | None = None


def exchanged(there: Values, now_ms: int, seen: Seen) -> tuple[Values, Exchanged]:
    """Add what a process saw to the shared state. Return the values to write (none if nothing is due), and the
    result.
    """
    now = now_ms / 1000
    state, refused = _state_in(there, now, seen.cluster)
    is_due = now - state.advanced_at >= ADVANCE_SECONDS
    if not (is_due or seen.asks or refused):
        return {}, Exchanged(state, now, {})
    demand, fates, before = Demand(state), Counter[Fate](), state.examples
    asked = sorted((_moved(asks, now) for asks in seen.asks), key=lambda asks: (asks.first_at, asks.family))
    gathered = sorted((now - age, name) for name, age in (seen.gathered or {}).items())
    for asks in asked:
        while gathered and gathered[0][0] <= asks.first_at:
            _note_gathered(state, *gathered.pop(0), fates)
        family = demand.note(asks)
        if family is not None:
            shadow_asks(state, family, asks)
            if asks.family in seen.is_gathered:
                note_asks(family, asks, fates)
    for at, name in gathered:
        _note_gathered(state, at, name, fates)
    for name, hashed in (seen.mappings or {}).items():
        demand.note_mappings(name, hashed)
    if is_due or refused:
        _advance(demand, now, seen, fates)
    return {SHARED: encoded(state)}, Exchanged(state, now, fates, state.examples - before, refused)


def _advance(demand: Demand, now: float, seen: Seen, fates: Counter[Fate]) -> None:
    demand.advance(now)
    for name, family in demand.state.families.items():
        values_cold = name in seen.is_gathered and (
            family.values is None or family.values.gathered_at + WARM_SECONDS <= now
        )
        if not values_cold and min(family.shadow) > now:
            continue
        chance = demand.chance(name, now)
        shadow_time(demand.state, family, now, chance)
        if values_cold:
            gathered_at = family.values.gathered_at if family.values is not None else 0.0
            age = now - gathered_at if gathered_at else None
            why = why_gather(seen.mode, Known(now - family.asked_at, age, family.calls, chance))
            note_time(family, now, why in (Why.RULE, Why.MODEL), fates)


def _state_in(there: Values, now: float, cluster: ClusterId) -> tuple[DemandState, str | None]:
    """Return the shared state, and None. If it can't be used, return a new state, and why."""
    raw = there.get(SHARED)
    if not raw:
        return DemandState(cluster=cluster), None
    try:
        state = decoded(raw, now)
    except UnusableState as error:
        return DemandState(cluster=cluster), str(error)
    if not state.cluster.is_same_as(cluster):
        return DemandState(cluster=cluster), "another cluster"
    state.cluster = cluster
    return state, None


def _note_gathered(state: DemandState, at: float, name: str, fates: Counter[Fate]) -> None:
    family = state.families.get(name)
    if family is not None:
        note_gathered(family, at, fates)


def _moved(asks: Asks, now: float) -> Asks:
    """Return asks with times instead of ages."""
    first_at, last_at = now - asks.first_at, now - asks.last_at
    return Asks(asks.family, first_at, max(first_at, last_at), asks.count, asks.persons, asks.agents, asks.calls)
