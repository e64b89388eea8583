"""A pass while it runs and afterwards, the scope of a pass, and the answer to those who ask for one."""

from dataclasses import dataclass, field
from datetime import datetime

from cacheapp.reports import FailedIndex, PassOutcome, RefreshReport
from esassistant.clock import Clock

REPORTED_ERRORS = 20


@dataclass(slots=True)
class Pass:
    """A pass while it runs and afterwards; `report()` gives an immutable copy. `started` and `ended` are on `clock`,
    `started_at` is on the wall clock.
    """

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
    names_total: int = 0
    """How many aliases and data streams now stand for other indices, and how many indices were opened, closed, hidden
    or shown.
    """
    requests_total: int = 0
    may_postpone: bool = False
    """Whether another change pass follows soon, so that not everything needs to be read now."""
    postponed_until: float | None = None
    """When the first of the postponed indices is due: they may have changed, but were read so recently that they have
    to wait.
    """
    cluster_uuid: str | None = None
    """The uuid of the cluster, if it is known already; None: the cluster is asked for it."""
    published: bool = False
    error: str | None = None
    operator_error: str | None = None
    """The text of `error` with host and port where these are known, for the log."""
    errors: dict[str, str] = field(default_factory=dict)

    def count_request(self) -> None:
        """Count one more request that was sent to the cluster."""
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
class PassScope:
    """What a pass reads: everything, only what changed, or what matches one of `patterns` (names with `*`).

    `named`: if only changes are read, the indices that are known to have changed.
    """

    changes_only: bool = False
    named: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()


EVERYTHING = PassScope()
CHANGES = PassScope(changes_only=True)


@dataclass(frozen=True, slots=True)
class RefreshAnswer:
    """The answer to who asks for a refresh. If `outcome` is rate-limited or overlap, `retry_after_seconds` is set and
    `id` is None.
    """

    outcome: PassOutcome
    id: str | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ChangesRead:
    """What a change pass of the watch found.

    Attributes:
        changes_total: How many mappings and aliases are new, different or gone.
        failed: The indices that may have changed, but could not be read.
        postponed_seconds: The seconds until the first of the postponed indices is due. Indices are postponed if they
            were read only recently. None: there are none.
    """

    changes_total: int
    failed: frozenset[str] = frozenset()
    postponed_seconds: float | None = None
