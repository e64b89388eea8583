"""What is gathered ahead, and in which order. Pure.

Values are *warm* for six hours after they were gathered, then they are *cold*. Whoever asks for a family with cold
values has them gathered by that, in every mode; the modes differ in what is gathered before anybody asks.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from esassistant.config.model import Predict

WARM_SECONDS = 21_600.0
RULE_SECONDS = 86_400.0
"""The rule gathers ahead what was asked for within this time."""
LEAST_CHANCE = 0.2
"""The model gathers ahead what is so likely to be asked for within an hour, for each call that it costs."""


class Why(enum.Enum):
    """Why values are gathered now."""

    ASKED = "asked"
    """Somebody asked for the family since its values went cold."""
    RULE = "rule"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a family when it is decided about.

    Args:
        asked_seconds: Since it was asked for last.
        age_seconds: Of its values; None: it has none.
        calls: What gathering costs.
        chance: How likely it is asked for within the horizon; None: the model doesn't know it.
    """

    asked_seconds: float
    age_seconds: float | None
    calls: int = 1
    chance: float | None = None


def why_gather(mode: Predict, known: Known) -> Why | None:
    """Return why values are to be gathered now; None: they aren't.

    1. They are warm: nothing is to be done.
    2. The family was asked for since they went cold (or within a day, if there are none): in every mode.
    3. The rule: it was asked for within `RULE_SECONDS`.
    4. The model: it is likely enough that it will be, for what it costs.
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
    """Sort by this, and what is to be gathered first comes first.

    1. What was asked for, of which nothing is known; the newest ask first.
    2. What was asked for, and is cold; likewise.
    3. What the model chose, by chance for each call; what the rule chose, the oldest values first.
    """
    if why is Why.ASKED:
        return (0.0 if known.age_seconds is None else 1.0), known.asked_seconds
    if why is Why.MODEL:
        return 2.0, -(known.chance or 0.0) / known.calls
    return 2.0, -(known.age_seconds or 0.0)


def choose(
    mode: Predict, families: Iterable[str], known: Callable[[str], Known], *, room_for_new: bool
) -> Mapping[str, Why]:
    """Return which families are to be gathered and why, in their order. `room_for_new`: whether values of another
    family may be kept.
    """
    chosen = []
    for family in families:
        what = known(family)
        if (why := why_gather(mode, what)) is not None and (room_for_new or what.age_seconds is not None):
            chosen.append((order_key(why, what), family, why))
    return {family: why for _, family, why in sorted(chosen, key=lambda one: one[:2])}
