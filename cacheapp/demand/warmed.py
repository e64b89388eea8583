"""What became of gathered field values and of asks that found none, and what each policy would have cost and achieved
if it had been in force. Pure.
"""

import enum
from collections import Counter

from cacheapp.demand.demand import Asks
from cacheapp.demand.policy import WARM_SECONDS, Known, why_gather
from cacheapp.demand.state import DemandState, FamilyDemand, ValuesState
from esassistant.config.model import Predict

SHADOW = (Predict.OFF, Predict.RULE, Predict.MODEL)
"""The policies whose figures are kept, in that order."""


class Fate(enum.Enum):
    """What became of field values, or of an ask for them."""

    USEFUL = "useful"
    """The values were gathered ahead, and asked for while they were warm."""
    IN_VAIN = "in_vain"
    """The values were gathered ahead, and not asked for before they went cold."""
    LATE = "late"
    """The family was asked for when its values were due to be gathered ahead, but were not yet."""
    MISSED = "missed"
    """The family was asked for while its values were cold, and this was not expected."""


def note_asks(family: FamilyDemand, asks: Asks, fates: Counter[Fate]) -> None:
    """Note that a family whose values are gathered was asked for.

    1. The values are warm: if they were gathered ahead, and this is the first ask for them, they were useful.
    2. They are cold: the ask is late if they were due to be gathered ahead, otherwise missed. Only the first ask since
       they went cold counts.
    """
    values = family.values = family.values or ValuesState()
    if values.gathered_at and asks.first_at < values.gathered_at + WARM_SECONDS:
        if values.is_ahead and not values.is_used:
            values.useful += 1
            fates[Fate.USEFUL] += 1
        values.is_used = True
    elif not values.is_asked:
        values.is_asked = True
        if values.wanted_at and values.wanted_at <= asks.first_at:
            values.late += 1
            fates[Fate.LATE] += 1
        else:
            values.missed += 1
            fates[Fate.MISSED] += 1


def note_gathered(family: FamilyDemand, at: float, fates: Counter[Fate]) -> None:
    """Note when values were last gathered. A time that is known already changes nothing."""
    values = family.values = family.values or ValuesState()
    if at <= values.gathered_at + 1:
        return
    _end_if_in_vain(values, fates)
    values.gathered_at, values.is_ahead = at, not values.is_asked
    values.is_used = values.is_asked = False
    values.wanted_at = 0.0


def note_time(family: FamilyDemand, now: float, wanted: bool, fates: Counter[Fate]) -> None:
    """Note that time has passed. `wanted`: the family's values are due to be gathered ahead now."""
    values = family.values = family.values or ValuesState()
    if now < values.gathered_at + WARM_SECONDS:
        return
    _end_if_in_vain(values, fates)
    values.wanted_at = (values.wanted_at or now) if wanted else 0.0


def _end_if_in_vain(values: ValuesState, fates: Counter[Fate]) -> None:
    if values.is_ahead and not values.is_used:
        values.in_vain += 1
        fates[Fate.IN_VAIN] += 1
    values.is_ahead = False


def shadow_asks(state: DemandState, family: FamilyDemand, asks: Asks) -> None:
    """Count what asks would have found under each policy. The first one that finds cold values has them gathered."""
    for place, tally in enumerate(state.shadow):
        tally.asks += asks.count
        if asks.first_at < family.shadow[place]:
            tally.warm += asks.count
        else:
            tally.warm += asks.count - 1
            tally.calls += asks.calls
            family.shadow[place] = asks.first_at + WARM_SECONDS


def shadow_time(state: DemandState, family: FamilyDemand, now: float, chance: float) -> None:
    """Count what each policy would gather ahead now. No limit on calls holds any of them back."""
    for place, mode in enumerate(SHADOW):
        warm_until = family.shadow[place]
        if warm_until > now:
            continue
        age = now - warm_until + WARM_SECONDS
        asked_seconds = max(now - family.asked_at, age - WARM_SECONDS + 1)  # a later ask would have had them gathered
        if why_gather(mode, Known(asked_seconds, age, family.calls, chance)) is not None:
            state.shadow[place].calls += family.calls
            family.shadow[place] = now + WARM_SECONDS
