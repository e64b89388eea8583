"""Advice: what the report of a resource says about the settings. Rules are pure functions of reports, declared with the
resource.

A rule gets a report about the last ten minutes: its counters start ten minutes ago. The rule gives nothing if all is
well. If there is too little data, it says so. Otherwise it gives the number, the size of the sample behind it, and the
lines to add to the environment.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Advice to change something, because `value` is beyond `threshold`.

    Attributes:
        metric: The name of a number in the report, or of one computed from the report.
        sample_size: How many samples `value` rests on.
        samples: What the samples are, such as calls.
        why: The reason. Where no setting helps, it also says what does.
        setting: The exact line for the environment, or several lines if one alone would do harm. None if no setting
            helps.
        if_slow: Replaces `why` and `setting` while the cluster is slower than usual. It is set for advice that would
            send the cluster more work at once.
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
    """`metric` can't be judged yet: that takes `needed` samples, and there are `sample_size` so far. `samples` names
    what is counted.
    """

    metric: str
    sample_size: int
    needed: int
    samples: str


Advice = Recommendation | NotEnoughData
Rule = Callable[[Any], Iterable[Advice]]
"""Gives advice from the report of a resource."""


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
    """Return a recommendation if `value` is above `threshold`, nothing if it isn't, and `NotEnoughData` if there are
    too few samples or no value. This is the most common form of a rule.

    Args:
        metric: The name of the number that is judged.
        value: The number. None if it can't be computed yet.
        threshold: The highest value that is fine.
        sample_size: How many samples `value` rests on.
        needed: How many samples are needed to judge it.
        samples: What the samples are, such as calls.
        why: The reason for the advice.
        setting: The line for the environment. None if no setting helps.
        if_slow: Replaces `why` and `setting` while the cluster is slower than usual.
    """
    if sample_size < needed or value is None:
        return (NotEnoughData(metric, sample_size, needed, samples),)
    if value <= threshold:
        return ()
    return (Recommendation(metric, value, threshold, sample_size, samples, why, setting, if_slow),)


def percent(part: float, whole: float) -> float | None:
    """Return `part` as a percentage of `whole`, or None if `whole` is 0."""
    return 100.0 * part / whole if whole else None


def raised(name: str, wanted: float, present: float, largest: int) -> str | None:
    """Return the line that raises a setting to `wanted`, but not above `largest`; None if it is already that high."""
    value = min(math.ceil(wanted), largest)
    return f"{name}={value}" if value > present else None
