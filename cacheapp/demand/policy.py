"""Which field values are gathered, and in which order. Pure.

Values are *warm* for six hours after they were gathered; then they are *cold*. In every mode, an ask for a family with
cold values has them gathered. The modes differ in what is gathered before anybody asks.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from esassistant.config.model import Predict

WARM_SECONDS = 21_600.0
RULE_SECONDS = 86_400.0
"""The rule gathers ahead what was asked for within this time."""
LEAST_CHANCE = 0.2
"""The model gathers ahead if a family is at least this likely to be asked for within an hour, for each call that it
takes.
"""


class Why(enum.Enum):
    """Why values are gathered now."""

    ASKED = "asked"
    """Somebody asked for the family after its values went cold."""
    RULE = "rule"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a family when it is decided whether to gather its values.

    Args:
        asked_seconds: How long ago it was asked for last.
        age_seconds: The age of its values; None: it has none.
        calls: How many calls it takes to gather them.
        chance: How likely it is to be asked for within the horizon; None: not known.
    """

    asked_seconds: float
    age_seconds: float | None
    calls: int = 1
    chance: float | None = None


def why_gather(mode: Predict, known: Known) -> Why | None:
    """Return why values are to be gathered now; None if they aren't. The first of these that applies:

    1. They are warm: None.
    2. The family was asked for after they went cold (or within a day, if it has none): `ASKED`, in every mode.
    3. With the rule: it was asked for within `RULE_SECONDS`.
    4. With the model: it is likely enough to be asked for, given the calls that it takes.
    """
    age = known.age_seconds
    if age is not None and age < WARM_SECONDS:
        return None
    if known.asked_seconds <= (RULE_SECONDS if age is None else age - WARM_SECONDS):
        return Why.ASKED
    if mode is Predict.RULE and known.asked_seconds <= RULE_SECONDS:
        return Why.RULE
    if mode is Predict.MODEL and known.chance is not None and known.chance >= LEAST_CHANCE * known.calls:
        return Why.MODEL
    return None


def order_key(why: Why, known: Known) -> tuple[float, float]:
    """Return a key to sort by; what is to be gathered first has the lowest.

    1. Families that were asked for and have no values, the latest ask first.
    2. Families that were asked for and have cold values, the latest ask first.
    3. Families to gather ahead: with the model, those with the highest chance for each call first; with the rule, those
       with the oldest values first.
    """
    if why is Why.ASKED:
        return (0.0 if known.age_seconds is None else 1.0), known.asked_seconds
    if why is Why.MODEL:
        return 2.0, -(known.chance or 0.0) / known.calls
    return 2.0, -(known.age_seconds or 0.0)


def choose(
    mode: Predict, families: Iterable[str], known: Callable[[str], Known], *, room_for_new: bool
) -> Mapping[str, Why]:
    """Return which families are to be gathered and why, in order. `room_for_new`: whether there is room for the values
    of families that have none.
    """
    chosen = []
    for family in families:
        what = known(family)
        if (why := why_gather(mode, what)) is not None and (room_for_new or what.age_seconds is not None):
            chosen.append((order_key(why, what), family, why))
    return {family: why for _, family, why in sorted(chosen, key=lambda one: one[:2])}
