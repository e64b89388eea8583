"""One pass while it runs and after, and what asking for one gives."""

from dataclasses import dataclass, field
from datetime import datetime

from cacheapp.reports import FailedIndex, PassOutcome, RefreshReport
from esassistant.clock import Clock

REPORTED_ERRORS = 20


@dataclass(slots=True)
class Pass:
    """A pass while it runs and after; `report()` gives an immutable copy."""

    id: str
    trigger: str
    clock: Clock
    started_at: datetime
    started: float
    outcome: PassOutcome = PassOutcome.STARTED
    ended: float | None = None
    indices_total: int | None = None
    read_total: int = 0
    changed_total: int = 0
    removed_total: int = 0
    requests_total: int = 0
    may_postpone: bool = False
    """Whether it will be looked again soon, so that not all need be read now."""
    postponed_total: int = 0
    """Indices that may have changed, but were read so recently that they have to wait."""
    published: bool = False
    error: str | None = None
    errors: dict[str, str] = field(default_factory=dict)

    def sent(self) -> None:
        """One more request was sent to the cluster for it."""
        self.requests_total += 1

    def report(self) -> RefreshReport:
        return RefreshReport(
            id=self.id,
            outcome=PassOutcome.STARTED if self.ended is None else self.outcome,
            trigger=self.trigger,
            started_at=self.started_at,
            duration_seconds=round((self.clock() if self.ended is None else self.ended) - self.started, 4),
            indices_total=self.indices_total,
            read_total=self.read_total,
            changed_total=self.changed_total,
            removed_total=self.removed_total,
            failed_total=len(self.errors),
            requests_total=self.requests_total,
            published=self.published,
            error=self.error,
            errors=tuple(FailedIndex(index, error) for index, error in list(self.errors.items())[:REPORTED_ERRORS]),
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What a pass reads: everything, only what changed, or what matches one of `patterns` (names with `*`)."""

    changes_only: bool = False
    patterns: tuple[str, ...] = ()


EVERYTHING = Scope()
CHANGES = Scope(changes_only=True)


@dataclass(frozen=True, slots=True)
class RefreshAnswer:
    """What asking for a refresh gave. `retry_after_seconds` is set when `outcome` is rate-limited or overlap; `id` is
    None then.
    """

    outcome: PassOutcome
    id: str | None = None
    retry_after_seconds: float | None = None
