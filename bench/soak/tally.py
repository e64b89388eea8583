"""Count the answers of a soak, and collect what was wrong with them. Filled by many threads."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 50
"""How many examples of each kind of violation are kept; all are counted."""


@dataclass
class Found:
    """Something that must not happen: how often it did, and the first examples."""

    total: int = 0
    examples: list[str] = field(default_factory=list)


class Tally:
    """The counts. `wrong`: mappings that were answered but not true; `violations`: everything else that must not
    happen, by kind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: Counter[tuple[str, str]] = Counter()
        """The number of answers by kind of request and by status; or by the reason why there was no answer."""
        self.checked: Counter[tuple[str, str, str]] = Counter()
        """The number of answers that were compared with the truth, by kind of request, state and source."""
        self.wrong = Found()
        self.violations: dict[str, Found] = {}
        self.outlived: list[float] = []
        """How many seconds before the request each answer had surely become untrue."""

    def answered(self, asked: str, how: str) -> None:
        with self._lock:
            self.statuses[asked, how] += 1

    def compared(self, asked: str, state: str, source: str, wrong: str | None, outlived: float | None = None) -> None:
        """Count an answer that was compared with the truth.

        Args:
            asked: The kind of request.
            state, source: What the answer says of its freshness, and of where it came from.
            wrong: What was wrong with it; None: it was true.
            outlived: How many seconds before the request it had surely become untrue; None: it hadn't.
        """
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
        """Summarize how long answers had been untrue: the share of such answers, their median, the p99 of all compared
        answers, and the longest time.
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
