"""Advice: what a resource's report says of the settings. Rules are pure functions from reports, declared with the
resource.

A rule gets a report of the last ten minutes: what counts since the start counts since then. It is silent when all is
well, says so when it can't tell yet, and otherwise names the number, what it rests on, and the lines to put into the
environment.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`value` of `metric` (of a report, or made of its numbers) is beyond `threshold`; it rests on `sample_size` of
    what `samples` names.

    `setting` is the exact line for the environment, or lines where one alone would do harm; None where no setting
    helps, and `why` says what does. `if_slow`: of one that asks more of the cluster at once, what is said instead of
    `why` and `setting` while the cluster is slower than usual.
    """

    metric: str
    value: float
    threshold: float
    sample_size: int
    samples: str
    why: str
    setting: str | None
    if_slow: str | None = None


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """`metric` can't be judged before there are `needed` of what `samples` names; so far there are `sample_size`."""

    metric: str
    sample_size: int
    needed: int
    samples: str


Advice = Recommendation | NotEnoughData
Rule = Callable[[Any], Iterable[Advice]]
"""From a resource's report."""


def judge(
    metric: str,
    value: float | None,
    threshold: float,
    sample_size: int,
    needed: int,
    samples: str,
    why: str,
    setting: str | None,
    if_slow: str | None = None,
) -> Iterable[Advice]:
    """Advice of the commonest form: speak when `value` is above `threshold`, given enough samples."""
    if sample_size < needed or value is None:
        return (NotEnoughData(metric, sample_size, needed, samples),)
    if value <= threshold:
        return ()
    return (Recommendation(metric, value, threshold, sample_size, samples, why, setting, if_slow),)


def percent(part: float, whole: float) -> float | None:
    """None of nothing."""
    return 100.0 * part / whole if whole else None


def raised(name: str, wanted: float, present: float, largest: int) -> str | None:
    """The line that raises a setting to `wanted`, or as far as it may go; None where it is as high already."""
    value = min(math.ceil(wanted), largest)
    return f"{name}={value}" if value > present else None
