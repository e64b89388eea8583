"""How reports become metrics: a resource declares its metrics beside its statistics, and whoever exports them reads
both.

A metric is a place in the resource's report as JSON. So there is one source of every number, for the API, the status
page and Prometheus, and an instance's report that came by way of the store is read like one's own.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EVERY = "*"


class Kind(enum.Enum):
    """What the value at a metric's place is. `STATE`: one of a few words; `HISTOGRAM`: a `DurationTotals`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    STATE = "state"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`path`: names separated by dots; each `*` stands for all keys at that place, and gives the value of the label of
    that rank. `name` goes without the project's prefix and without Prometheus' suffixes for counters. `states`: all
    that a `STATE` can have. `scale` makes the value one of `name`'s unit.
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
    """The labels' values and the value of each sample in a report as JSON. What is null or missing has none: nothing is
    known of it.
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
