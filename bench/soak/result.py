"""What a soak was asked for, and what it found."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.soak.plan import Fault
from bench.soak.resources import Sample, Trend
from bench.soak.tally import Tally


@dataclass(frozen=True)
class Options:
    """`pause_seconds`: how long a user waits between two requests, on average."""

    seconds: float
    instances: int
    users: int
    seed: int
    pause_seconds: float = 0.02


@dataclass(frozen=True)
class Result:
    """What a soak found. `lives`: the samples of each instance, by number and start."""

    options: Options
    plan: tuple[Fault, ...]
    happened: Mapping[str, int]
    changes: Mapping[str, int]
    tally: Tally
    lives: Mapping[tuple[int, int], Sequence[Sample]]
    trends: Mapping[tuple[int, int], Sequence[Trend]]
    settled_seconds: float
    log_levels: Mapping[str, int]

    @property
    def failed(self) -> bool:
        return self.tally.failed

    def as_json(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "failed": self.failed,
            "plan": [dataclasses.asdict(fault) for fault in self.plan],
            "faults": dict(self.happened),
            "changes": dict(self.changes),
            **self.tally.as_json(),
            "settled_seconds": self.settled_seconds,
            "log_levels": dict(self.log_levels),
            "trends": {
                _life(life): [dataclasses.asdict(one) for one in trends] for life, trends in self.trends.items()
            },
            "samples": {_life(life): [dataclasses.asdict(one) for one in some] for life, some in self.lives.items()},
        }


def _life(life: tuple[int, int]) -> str:
    return f"{life[0]}/{life[1]}"
