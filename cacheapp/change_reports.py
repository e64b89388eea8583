"""Reports of what records changes of mappings and of what tells them: frozen, in the shape that the API shows."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from esassistant.metrics import Kind, Metric
from esassistant.resource import ReportHandle


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """Rows that this process wrote; things that it noted but could not write.

    `ignored_rows_total`: rows that somebody edited to what can't be shown, left out since the start; one that is read
    again counts again. `write_error`: why the last write failed; None: it succeeded, or none was made yet.
    `gaps_total`: how often it had to write that something is missing. `name`: of the database's history, by which
    instances know whether theirs is the same; `last_id`: of the last change, when this process wrote last.
    """

    rows_written_total: int
    lost_total: int
    waiting: int
    ignored_rows_total: int = 0
    write_error: str | None = None
    gaps_total: int = 0
    name: str | None = None
    last_id: int | None = None


@dataclass(frozen=True, slots=True)
class FeedReport:
    """Subscribers of the change feed in this process: now, of `limit`.

    Since the start `shed_total` found no place (503), `events_total` were sent to all of them together, `reads_total`
    is how often the history was asked for what is new, and `caught_up_total` how often for one subscriber that was
    further behind. `last_id`: of the last change that is told; None: nobody has followed yet. `read_error`: why the
    last reading failed; None: it did not.
    """

    subscribers: int
    limit: int
    shed_total: int
    events_total: int
    reads_total: int
    caught_up_total: int
    last_id: int | None
    read_error: str | None


class TargetState(enum.Enum):
    """What sending to a target of webhooks does. `standby`: another process sends. `paused`: nothing is sent, as the
    receiver said that it is gone.
    """

    STANDBY = "standby"
    IDLE = "idle"
    SENDING = "sending"
    FAILING = "failing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target of webhooks, as this process knows it.

    `behind`: how many changes of the history it is behind, those that are not for it included; None, as the times: in
    processes that don't send. `failing_seconds` since `failing_since` it takes nothing; 0: the last attempt succeeded,
    or there was none. `outcomes`: what became of attempts since the start. `gaps_total`: how often it was told that
    changes may be missing. `error`: why the last attempt failed.
    """

    host: str
    state: TargetState
    behind: int | None
    failing_since: datetime | None
    failing_seconds: float | None
    retry_in_seconds: float | None
    attempts_total: int
    outcomes: Mapping[str, int]
    gaps_total: int
    last_delivered_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class WebhooksReport:
    """Webhooks. `enabled`: `ESASSISTANT_WEBHOOKS` names a file. `sends`: this process does, and no other. `readable`:
    what the file says now is in force; else `error` says why not.
    """

    enabled: bool
    sends: bool
    readable: bool
    error: str | None
    reads_total: int
    targets: Mapping[str, TargetReport]


HISTORY_REPORT: ReportHandle[HistoryReport] = ReportHandle("history")


FEED_REPORT: ReportHandle[FeedReport] = ReportHandle("feed")


WEBHOOKS_REPORT: ReportHandle[WebhooksReport] = ReportHandle("webhooks")


HISTORY_METRICS = (
    Metric(Kind.COUNTER, "history_lost", "Parts of the history that could not be written.", "lost_total"),
    Metric(Kind.COUNTER, "history_gaps", "Gaps in the history: changes before them may be missing.", "gaps_total"),
    Metric(Kind.COUNTER, "history_ignored_rows", "Edited rows of the history, ignored.", "ignored_rows_total"),
)


FEED_METRICS = (
    Metric(Kind.GAUGE, "feed_subscribers", "Subscribers of the change feed.", "subscribers"),
    Metric(Kind.COUNTER, "feed_shed", "Subscribers refused as all places were taken.", "shed_total"),
    Metric(Kind.COUNTER, "feed_events", "Events sent to subscribers.", "events_total"),
    Metric(Kind.COUNTER, "feed_reads", "Readings of the history for what is new.", "reads_total"),
    Metric(Kind.COUNTER, "feed_caught_up", "Readings of the history for one subscriber.", "caught_up_total"),
)


WEBHOOKS_METRICS = (
    Metric(
        Kind.STATE,
        "webhook_state",
        "What sending to a target of webhooks does.",
        "targets.*.state",
        ("target",),
        states=tuple(state.value for state in TargetState),
    ),
    Metric(
        Kind.COUNTER,
        "webhook_attempts",
        "Attempts to send a change to a target, by outcome.",
        "targets.*.outcomes.*",
        ("target", "outcome"),
    ),
    Metric(
        Kind.COUNTER,
        "webhook_gaps",
        "Gaps that a target was told: changes before them may be missing.",
        "targets.*.gaps_total",
        ("target",),
    ),
    Metric(
        Kind.GAUGE, "webhook_behind", "Changes of the history that a target is behind.", "targets.*.behind", ("target",)
    ),
    Metric(
        Kind.GAUGE,
        "webhook_failing_seconds",
        "How long a target takes nothing; 0 when the last attempt succeeded.",
        "targets.*.failing_seconds",
        ("target",),
    ),
    Metric(
        Kind.GAUGE,
        "webhooks_file_readable",
        "0 while the file of targets can't be used, and what it said before is in force.",
        "readable",
    ),
)
