"""Reports of the history, the change feed and webhooks: frozen, in the shape that the API shows."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from esassistant.metrics import Kind, Metric
from esassistant.resource import ReportHandle


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """The history as this process writes it: how many rows it has written, how many passes and snapshots were lost
    before they were written, and how many are waiting.

    `ignored_rows_total`: rows that somebody edited and that can't be shown, since the start; a row that is read again
    counts again. `write_error`: why the last write failed; None if it succeeded, or if none was made yet. `gaps_total`:
    how often this process recorded that changes may be missing. `name`: the name of the database's history, by which
    instances find out whether they share one. `last_id`: the id of the last change when this process last wrote.
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
    """The subscribers of the change feed in this process, `limit` of them at most.

    Counted since the start: `shed_total`, subscribers that were refused (503) because all places were taken;
    `events_total`, events sent to all of them together; `reads_total`, how often the history was read for new changes;
    `caught_up_total`, how often it was read for one subscriber that was further behind. `last_id`: the id of the last
    change that was read; None: nobody has subscribed yet. `read_error`: why the last reading failed; None if it didn't.
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
    """What this process does for a target of webhooks. `standby`: another process sends. `paused`: nothing is sent,
    because the receiver answered that it is gone.
    """

    STANDBY = "standby"
    IDLE = "idle"
    SENDING = "sending"
    FAILING = "failing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target of webhooks, as this process knows it.

    `behind`: how many changes of the history come after its cursor, whether or not it wants them. `behind` and the
    times are None in processes that don't send. `failing_seconds`: for how long the target has taken no event, since
    `failing_since`; 0: the last attempt succeeded, or there was none. `outcomes`: the results of attempts since the
    start. `gaps_total`: how often it was told that changes may be missing. `error`: why the last attempt failed.
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
    """Webhooks. `enabled`: `ESASSISTANT_WEBHOOKS` names a file. `sends`: this process is the one that sends.
    `readable`: the present content of the file is in force; if not, `error` says why.
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
