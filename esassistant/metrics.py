"""How reports become metrics: a resource declares its metrics beside its report, and whoever exports them reads both.

A metric is a place in the JSON form of a resource's report. So the API, the status page and Prometheus have the same
source for each number, and the report of another instance, read from the store, is exported in the same way.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EVERY = "*"


class Kind(enum.Enum):
    """The kind of value of a metric. `STATE`: one of a few words; `HISTOGRAM`: a `DurationTotals`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    STATE = "state"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A number in a report that is exported as a metric.

    Attributes:
        name: Without the project's prefix, and without Prometheus' suffixes for counters.
        path: The place in the report: names separated by dots. A `*` stands for all keys at its place.
        labels: The names of the labels, one for each `*`; its keys are the values of the label.
        states: All values that a `STATE` can have.
        scale: Multiplies the value, to get the unit of `name`.
    """

    kind: Kind
    name: str
    help: str
    path: str
    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.path.split(".").count(EVERY) != len(self.labels):
            raise ValueError(f"metric {self.name} needs one label for each {EVERY} in {self.path!r}")
        if bool(self.states) != (self.kind is Kind.STATE):
            raise ValueError(f"metric {self.name}: states are for the kind STATE alone, which needs them")


def samples(metric: Metric, report: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of the labels and the value of each sample in a report as JSON.

    Values that are null or missing are left out: nothing is known about them.
    """
    yield from _samples(metric.path.split("."), report, ())


def _samples(path: list[str], found: Any, labels: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if found is None:
        return
    if not path:
        yield labels, found
    elif isinstance(found, Mapping):
        name, rest = path[0], path[1:]
        if name == EVERY:
            for key, value in found.items():
                yield from _samples(rest, value, (*labels, key))
        else:
            yield from _samples(rest, found.get(name), labels)
