"""What a soak's answers add up to, and what was wrong with them. Filled by many threads."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 50
"""Of each kind of fault that is found, so many are told in full; all are counted."""


@dataclass
class Found:
    """Something that must not be: how often, and the first of them."""

    total: int = 0
    examples: list[str] = field(default_factory=list)


class Tally:
    """Counts. `wrong`: mappings that were answered and not true; `violations`: whatever else must not be, by kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: Counter[tuple[str, str]] = Counter()
        """By what was asked for, and how it was answered: by status, or why not at all."""
        self.checked: Counter[tuple[str, str, str]] = Counter()
        """Answers compared with the truth: by what was asked for, state and source."""
        self.wrong = Found()
        self.violations: dict[str, Found] = {}
        self.outlived: list[float] = []
        """For how many seconds what was answered had surely been over when it was asked for."""

    def answered(self, asked: str, how: str) -> None:
        with self._lock:
            self.statuses[asked, how] += 1

    def compared(self, asked: str, state: str, source: str, wrong: str | None, outlived: float | None = None) -> None:
        """`wrong` None: it was true."""
        with self._lock:
            self.checked[asked, state, source] += 1
            if outlived is not None:
                self.outlived.append(outlived)
            if wrong is not None:
                _note(self.wrong, wrong)

    def violated(self, kind: str, example: str) -> None:
        with self._lock:
            _note(self.violations.setdefault(kind, Found()), example)

    @property
    def failed(self) -> bool:
        return bool(self.wrong.total or self.violations)

    def as_json(self) -> dict[str, Any]:
        return {
            "checked": [
                {"asked": a, "state": s, "source": o, "answers": n} for (a, s, o), n in sorted(self.checked.items())
            ],
            "checked_total": self.checked.total(),
            "wrong_total": self.wrong.total,
            "wrong": self.wrong.examples,
            "statuses": [{"asked": a, "answered": how, "answers": n} for (a, how), n in sorted(self.statuses.items())],
            "violations": {
                kind: {"total": found.total, "examples": found.examples} for kind, found in self.violations.items()
            },
            "outlived_seconds": self.outlived_seconds(),
        }

    def outlived_seconds(self) -> Mapping[str, float]:
        """Of all answers that were compared: of how many the state was over, and for how long at the median of those,
        at p99 of all, and at most.
        """
        over = sorted(seconds for seconds in self.outlived if seconds > 0)
        if not over:
            return {"share": 0.0, "p50": 0.0, "p99": 0.0, "longest": 0.0}
        everything = sorted(self.outlived)
        return {
            "share": len(over) / len(everything),
            "p50": over[len(over) // 2],
            "p99": everything[int(0.99 * (len(everything) - 1))],
            "longest": over[-1],
        }


def _note(found: Found, example: str) -> None:
    found.total += 1
    if len(found.examples) < KEPT:
        found.examples.append(example)
