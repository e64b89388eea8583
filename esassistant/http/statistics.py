"""The statistics of requests: their number by route, status and door, and how long they took."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from esassistant.clock import Clock, monotonic
from esassistant.config.tokens import OTHER
from esassistant.durations import Durations, DurationTotals, LatencyReport, last_minute_of, report_of, totals_of
from esassistant.metrics import Kind, Metric
from esassistant.resource import Handle, ReportHandle
from esassistant.windows import Got, MinuteCounts, Window, WindowReport

UNMATCHED = "unmatched"
"""The route of requests that match no route."""
REFUSED = "refused"
"""The door of requests that were refused unread; their duration says nothing about the service."""
LEAST_ERROR_STATUS = 400
MAX_ROUTES = 200
TOO_MANY = 429
MAX_TOKENS = 100
"""This many tokens are counted by their names, and all others together."""


@dataclass(frozen=True, slots=True)
class RouteReport:
    """Requests that ended since the start. `statuses`: their number by the first digit of the status (`2xx`).
    `aborted_total`: the client left before there was an answer. `doors`: their number by what answered; `hot_percent`
    of `requests_total` were answered by the hot path, without Django.

    `durations` counts how long requests took since the start, and `latency` tells the same of the last minutes. Both
    leave out requests that a limit refused, that failed (5xx), or that waited on purpose. `failed_latency` is that of
    the requests that failed.
    """

    requests_total: int
    statuses: Mapping[str, int]
    aborted_total: int
    doors: Mapping[str, int]
    hot_percent: float | None
    sent_bytes_total: int
    latency: LatencyReport
    durations: DurationTotals
    failed_latency: LatencyReport


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Requests of one token that ended since the start. `statuses`: their number by the first digit of the status
    (`2xx`). `refused_total`: refused because `max_in_flight` was reached.
    """

    requests_total: int
    statuses: Mapping[str, int]
    refused_total: int


@dataclass(frozen=True, slots=True)
class HttpReport:
    """All requests of this process: those under way (`in_flight`), and those that ended, together and by route.
    `last_minute`: how long the requests took that ended in the last whole minute and didn't fail. `tokens`: by the name
    of the caller's token; `api` stands for the tokens of `ESASSISTANT_API_TOKENS`.
    """

    in_flight: int
    last_minute: LatencyReport
    together: RouteReport
    routes: Mapping[str, RouteReport]
    tokens: Mapping[str, TokenReport]


class _Counted:
    """The counts of one route."""

    __slots__ = ("doors", "durations", "failed_durations", "sent_bytes_total", "statuses", "window")

    def __init__(self) -> None:
        self.statuses: defaultdict[int | None, int] = defaultdict(int)
        self.doors: defaultdict[str, int] = defaultdict(int)
        self.sent_bytes_total = 0
        self.durations = Durations()
        self.failed_durations: Durations | None = None
        self.window = Window()


class _TokenCounted:
    """The counts of one token."""

    __slots__ = ("refused_total", "statuses")

    def __init__(self) -> None:
        self.statuses: defaultdict[int | None, int] = defaultdict(int)
        self.refused_total = 0

    def report(self) -> TokenReport:
        return TokenReport(sum(self.statuses.values()), _by_class(self.statuses), self.refused_total)


class HttpStatistics:
    """Counts requests. One per process, written on the loop that serves. Its size is bounded, as routes are templates,
    of which there are few.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._routes: dict[str, _Counted] = {}
        self._tokens: dict[str, _TokenCounted] = {}
        self.in_flight = 0

    def ended(
        self,
        route: str | None,
        door: str,
        status: int | None,
        sent_bytes: int,
        seconds: float,
        ended_at: float,
        *,
        is_long_poll: bool = False,
    ) -> None:
        """Count a request that ended.

        Args:
            route: The template of its address; None if it has none.
            status: None if it ended without an answer, as the client left.
            seconds: Its duration.
            ended_at: When it ended, on the monotonic clock.
            is_long_poll: Whether it waited on purpose; then its duration doesn't count as latency.
        """
        counted = self._routes.get(route or UNMATCHED)
        if counted is None:
            name = route if route is not None and len(self._routes) < MAX_ROUTES else UNMATCHED
            counted = self._routes.setdefault(name, _Counted())
        counted.doors[door] += 1
        counted.sent_bytes_total += sent_bytes
        counted.statuses[status] += 1
        if status is None or door == REFUSED:
            return
        if status >= 500:
            if counted.failed_durations is None:
                counted.failed_durations = Durations()
            counted.failed_durations.record(seconds, ended_at)
            counted.window.ended(Got.FAILURE, seconds, ended_at)
        elif not is_long_poll:
            counted.durations.record(seconds, ended_at)
            # A 4xx is the caller's fault. It isn't counted, as quick refusals must make neither failures look rare nor
            # answers look quick.
            if status < LEAST_ERROR_STATUS:
                counted.window.ended(Got.ANSWER, seconds, ended_at)

    def ended_of(self, token: str, door: str, status: int | None) -> None:
        """Count the same request for the caller's token."""
        counted = self._tokens.get(token)
        if counted is None:
            name = token if len(self._tokens) < MAX_TOKENS else OTHER
            counted = self._tokens.setdefault(name, _TokenCounted())
        counted.statuses[status] += 1
        counted.refused_total += door == REFUSED and status == TOO_MANY

    def forget_recent(self) -> None:
        """Forget what callers got lately. Called at each start, as that belongs to an earlier run."""
        for counted in self._routes.values():
            counted.window = Window()

    def windows(self) -> dict[str, WindowReport]:
        """Return what callers got lately, by route. Requests that a limit refused aren't counted."""
        now = self._clock()
        found = ((name, counted.window.report(now)) for name, counted in sorted(self._routes.items()))
        return {name: report for name, report in found if report is not None}

    def whole_minute(self, number: int) -> dict[str, MinuteCounts]:
        """Return what callers got in one minute, by route. `number` is its number on the monotonic clock; it must have
        just ended.
        """
        return {name: counted.window.whole_minute(number) for name, counted in self._routes.items()}

    def report(self) -> HttpReport:
        routes = {name: _report((counted,), self._clock) for name, counted in sorted(self._routes.items())}
        together = _report(tuple(self._routes.values()), self._clock)
        last_minute = last_minute_of((counted.durations for counted in self._routes.values()), self._clock)
        tokens = {name: counted.report() for name, counted in sorted(self._tokens.items())}
        return HttpReport(self.in_flight, last_minute, together, routes, tokens)


def _report(parts: Sequence[_Counted], clock: Clock) -> RouteReport:
    """Return the report of several routes together."""
    by_status: Counter[int | None] = Counter()
    doors: Counter[str] = Counter()
    for part in parts:
        by_status.update(part.statuses)
        doors.update(part.doors)
    requests_total = by_status.total()
    return RouteReport(
        requests_total=requests_total,
        statuses=_by_class(by_status),
        aborted_total=by_status[None],
        doors=dict(sorted(doors.items())),
        hot_percent=100.0 * doors["hot"] / requests_total if requests_total else None,
        sent_bytes_total=sum(part.sent_bytes_total for part in parts),
        latency=report_of((part.durations for part in parts), clock),
        durations=totals_of(part.durations for part in parts),
        failed_latency=report_of((part.failed_durations for part in parts if part.failed_durations is not None), clock),
    )


def _by_class(by_status: Mapping[int | None, int]) -> dict[str, int]:
    """Return the number of answers by the first digit of the status."""
    statuses: Counter[str] = Counter()
    for status, count in by_status.items():
        if status is not None:
            statuses[f"{status // 100}xx"] += count
    return dict(sorted(statuses.items()))


HTTP_METRICS = (
    Metric(Kind.GAUGE, "http_requests_in_flight", "Requests under way.", "in_flight"),
    Metric(
        Kind.COUNTER,
        "http_responses",
        "Requests answered, by the first digit of the status.",
        "routes.*.statuses.*",
        ("route", "status"),
    ),
    Metric(
        Kind.COUNTER,
        "http_requests",
        "Requests that ended, by what answered: hot, direct, stream (without Django), fast, django; or refused.",
        "routes.*.doors.*",
        ("route", "door"),
    ),
    Metric(
        Kind.COUNTER,
        "http_aborted",
        "Requests whose client left before an answer.",
        "routes.*.aborted_total",
        ("route",),
    ),
    Metric(Kind.COUNTER, "http_sent_bytes", "Bytes of bodies sent.", "routes.*.sent_bytes_total", ("route",)),
    Metric(
        Kind.HISTOGRAM,
        "http_request_duration_seconds",
        "Time to the end of the answer, of requests that no limit refused and that did not fail.",
        "routes.*.durations",
        ("route",),
    ),
    Metric(
        Kind.COUNTER,
        "http_token_responses",
        "Requests answered, by the name of the caller's token and the first digit of the status.",
        "tokens.*.statuses.*",
        ("token", "status"),
    ),
    Metric(
        Kind.COUNTER,
        "http_token_refused",
        "Requests refused as the token had max_in_flight under way.",
        "tokens.*.refused_total",
        ("token",),
    ),
)

HTTP: Handle[HttpStatistics] = Handle("http")
HTTP_REPORT: ReportHandle[HttpReport] = ReportHandle("http")

http_statistics = HttpStatistics()
"""The statistics of this process."""
