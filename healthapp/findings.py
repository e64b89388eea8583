"""Finds what is wrong for callers, from what they got, from how the cluster answers pings, and from
the checks. Pure.
"""

import enum
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from esassistant.durations import BOUNDS
from esassistant.resource import Health
from esassistant.units import as_duration
from esassistant.windows import EndedCall, Got, WindowReport, calls_in_a_row
from healthapp.evidence import ASKERS, PING, Evidence, Service, callers_of
from healthapp.usual import slow_from

LEAST_BAD = 3
LEAST_SHARE = 0.01
"""It takes at least `LEAST_BAD` bad calls in the last minute, and at least this share of all calls, to be trouble.
Fewer may be chance.
"""
OVER_SECONDS = 35.0
"""After this time without a bad call, trouble may be over. It is longer than half a minute, so that trouble that comes
back every half a minute doesn't begin and end each time.
"""
ENOUGH_RECENT = 10
"""If there were at least this many calls in the last 15 s, these are judged; otherwise the last five calls are."""
FEW_CALLS = 5
MINUTE_SECONDS = 60.0
JUDGED_PINGS = 3
LEAST_SLOW_PING_SECONDS = 0.25
"""A shorter ping is never slow, whatever is usual."""
CHANGE_TOLD_SECONDS = 3_600.0


class Trouble(enum.Enum):
    """The subject of a sentence of the verdict."""

    CALLS_FAIL = "calls-fail"
    CLUSTER_AWAY = "cluster-away"
    CLUSTER_RED = "cluster-red"
    BREAKER_OPEN = "breaker-open"
    CLUSTER_SLOW = "cluster-slow"
    CALLS_REFUSED = "calls-refused"
    PARTIAL_ANSWERS = "partial-answers"
    NO_MAPPINGS = "no-mappings"
    MAPPINGS_STALE = "mappings-stale"
    STORE_UNWRITABLE = "store-unwritable"
    STORE_AWAY = "store-away"
    DATABASE_AWAY = "database-away"
    CLUSTER_YELLOW = "cluster-yellow"
    POOL_FULL = "pool-full"
    LOOP_LATE = "loop-late"
    OTHER_CHECK = "other-check"
    HEAVY_CALLS = "heavy-calls"
    NEW_USUAL = "new-usual"

    @property
    def section(self) -> str:
        """The section about it in docs/operations.md."""
        return f"verdict-{self.value}"


ORDER = {trouble: place for place, trouble in enumerate(Trouble)}
"""The order of importance: first what callers notice, then its causes, last what is only worth saying."""
SAID_ONLY = frozenset({Trouble.HEAVY_CALLS, Trouble.NEW_USUAL})
OF_CALLS = SAID_ONLY | {
    *(Trouble.CALLS_FAIL, Trouble.CALLS_REFUSED, Trouble.CLUSTER_SLOW, Trouble.PARTIAL_ANSWERS),
}
"""Troubles that callers notice themselves, so they are no secret."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth saying.

    Attributes:
        callers: Whose calls, or which check or pool, it is about.
        level: How it affects the verdict. Healthy: it is only said.
        since: When it began. For calls: when the first bad call began.
        calls, bad: Calls of the last minute, and how many of them were bad. None if it isn't about calls, or if the
            last minute had none that were bad.
        in_a_row, newest_seconds: If the last minute had no bad calls: how many failed one after the other, and how long
            ago the newest failed.
        seconds, usual_seconds: How long calls take now, and usually; only for slowness.
        why: For operators.
        public_why: The same without what callers must not know.
        is_own: Only this process knows of it.
    """

    trouble: Trouble
    callers: str
    level: Health
    since: datetime | None
    why: str
    public_why: str
    calls: int | None = None
    bad: int | None = None
    seconds: float | None = None
    usual_seconds: float | None = None
    in_a_row: int | None = None
    newest_seconds: float | None = None
    is_own: bool = False

    @property
    def name(self) -> str:
        """The name of the finding. Other processes are told it, and it stays the same while the trouble lasts."""
        return name_of(self.trouble, self.callers)


def name_of(trouble: Trouble, callers: str) -> str:
    """Return the name of the findings of a trouble for a sort of callers."""
    return f"{trouble.value} {callers}"


def find(evidence: Evidence, now: datetime) -> list[Finding]:
    """Return all findings, in the order of importance."""
    found = [
        *_of_calls(evidence, now),
        *_of_breakers(evidence, now),
        *_of_services(evidence, now),
        *_of_store(evidence),
        *_of_usual(evidence, now),
    ]
    return sorted(found, key=_place)


def _place(finding: Finding) -> tuple[int, int, bool, str]:
    """Return the sort key of a finding. Among findings of one trouble, the one with the most bad calls comes first;
    with the same number, the one about calls that Elasticsearch answers.
    """
    return ORDER[finding.trouble], -(finding.bad or 0), finding.callers not in ASKERS, finding.callers


# What callers got


def is_failing(window: WindowReport, ping: WindowReport) -> bool:
    """Return True if calls of a kind fail. The first that applies:

    1. Too few calls of the last minute failed, and the last three calls did not all fail: False.
    2. The newest failed call is some time ago, and a ping has been answered since: False, as the next call will
       probably be answered.
    3. Otherwise True, even for failures up to a quarter of an hour ago, as long as calls are remembered.
    """
    is_row = len(list(itertools.islice(calls_in_a_row(window.last), LEAST_BAD))) == LEAST_BAD
    if not is_row and (window.bad < LEAST_BAD or window.bad < LEAST_SHARE * window.calls):
        return False
    ago = window.newest_bad_seconds or 0.0
    return not (ago >= OVER_SECONDS and _is_answered_since(window, ping))


def _is_answered_since(window: WindowReport, ping: WindowReport) -> bool:
    """Return True if a ping has been answered since the newest call failed."""
    ago = window.newest_bad_seconds or 0.0
    return ping.newest_good_seconds is not None and ping.newest_good_seconds < ago


def is_partial(window: WindowReport) -> bool:
    """Return True if calls of a kind get incomplete answers: enough calls of the last minute, or the last three calls
    if the newest is at most a minute old. Calls without an answer count too.
    """
    newest = window.last[:LEAST_BAD]
    not_whole = window.parts + window.bad
    is_row = len(newest) == LEAST_BAD and all(call.got is not Got.ANSWER for call in newest)
    return (window.parts > 0 and not_whole >= LEAST_BAD and not_whole >= LEAST_SHARE * window.calls) or (
        is_row and any(call.got is Got.PART for call in newest) and newest[0].age_seconds <= MINUTE_SECONDS
    )


def typical_seconds(window: WindowReport) -> float | None:
    """Return how long most calls of a kind take now, or None if there are too few calls.

    It is the median of the last 15 s, or of the last five calls within a minute. Failed calls count as longer than any
    other call.
    """
    answered = sum(window.recent.values())
    calls = answered + window.recent_bad
    if calls >= ENOUGH_RECENT:
        seen = 0
        for place in sorted(window.recent):
            seen += window.recent[place]
            if 2 * seen >= calls:
                return BOUNDS[min(place, len(BOUNDS) - 1)]
        return math.inf
    last = [call for call in window.last if call.age_seconds <= MINUTE_SECONDS]
    return _median(last) if len(last) >= FEW_CALLS else None


def ping_is_slow(evidence: Evidence) -> bool:
    """Return True if the cluster answers most of the last three pings much more slowly than usual, or not at all."""
    last = [call for call in evidence.ping.last[:JUDGED_PINGS] if call.age_seconds <= MINUTE_SECONDS]
    return bool(last) and _median(last) >= slow_from(evidence.usual.get(PING), LEAST_SLOW_PING_SECONDS)


def _median(calls: list[EndedCall]) -> float:
    """Return the median duration; of an even number of calls, the lower one of the two in the middle."""
    return sorted(math.inf if call.got.is_bad else call.seconds for call in calls)[(len(calls) - 1) // 2]


def _ago(now: datetime, *seconds: float | None) -> datetime | None:
    known = [each for each in seconds if each is not None]
    return now - timedelta(seconds=max(known)) if known else None


def _of_calls(evidence: Evidence, now: datetime) -> Iterable[Finding]:
    """Return the strongest finding of each trouble for each sort of callers."""
    strongest: dict[str, Finding] = {}
    cluster_is_slow = ping_is_slow(evidence)
    bad_at_pools: dict[str, int] = {}
    for kind, window in evidence.kinds.items():
        callers = callers_of(kind)
        if kind.startswith("pool "):
            bad_at_pools[callers] = bad_at_pools.get(callers, 0) + window.bad
        for finding in _of_kind(kind, window, evidence, now, cluster_is_slow=cluster_is_slow):
            known = strongest.get(finding.name)
            # A request of a route that calls Elasticsearch is counted by its pool too, and the pool knows more about
            # the reason.
            is_known = not kind.startswith("pool ") and 2 * bad_at_pools.get(callers, 0) >= (finding.bad or math.inf)
            if is_known and any(one.callers == callers and one.bad for one in strongest.values()):
                continue
            if known is None or (finding.bad or 0, finding.seconds or 0) > (known.bad or 0, known.seconds or 0):
                strongest[finding.name] = finding
    troubled = {finding.callers for finding in strongest.values() if finding.level is not Health.HEALTHY}
    # Heavy calls aren't worth saying if the same callers have worse trouble.
    return [one for one in strongest.values() if one.level is not Health.HEALTHY or one.callers not in troubled]


def _of_kind(
    kind: str, window: WindowReport, evidence: Evidence, now: datetime, *, cluster_is_slow: bool
) -> Iterable[Finding]:
    callers = callers_of(kind)
    if is_failing(window, evidence.ping):
        row = list(calls_in_a_row(window.last))
        trouble = Trouble.CALLS_REFUSED if 2 * window.refusals > window.bad else Trouble.CALLS_FAIL
        why, public_why = _why_failing(kind, trouble, window, evidence)
        began = _unanswered_since(row, evidence.ping) or [call.began_seconds_ago for call in row]
        over = evidence.over.get(name_of(trouble, callers))
        since = _ago(now, window.first_bad_seconds, *began) if over is None else _ago(now, *_later(began, over))
        if window.bad:
            yield Finding(trouble, callers, Health.DEGRADED, since, why, public_why, window.calls, window.bad)
        else:
            yield Finding(
                *(trouble, callers, Health.DEGRADED, since, why, public_why),
                in_a_row=len(row),
                newest_seconds=row[0].age_seconds,
            )
    if is_partial(window):
        why = "shards failed, or the time of a search ran out"
        since = _ago(now, window.first_part_seconds)
        parts = window.parts or sum(call.got is Got.PART for call in window.last)
        yield Finding(
            Trouble.PARTIAL_ANSWERS, callers, Health.DEGRADED, since, why, why, max(window.calls, parts), parts
        )
    usual = evidence.usual.get(kind)
    typical = typical_seconds(window)
    # Five slow calls beside quick pings may be chance, so this takes more calls.
    is_told = cluster_is_slow or sum(window.recent.values()) + window.recent_bad >= ENOUGH_RECENT
    # Infinity means that most calls fail, which was said already.
    if is_told and typical is not None and slow_from(usual) <= typical < math.inf:
        if cluster_is_slow:
            trouble, level, why = Trouble.CLUSTER_SLOW, Health.DEGRADED, "pings are slow too"
        else:
            trouble, level, why = Trouble.HEAVY_CALLS, Health.HEALTHY, "pings are answered as quickly as usual"
        since = _ago(
            now, window.first_long_seconds, *(call.began_seconds_ago for call in window.last if _is_long(call))
        )
        yield Finding(trouble, callers, level, since, why, why, window.calls, seconds=typical, usual_seconds=usual)


def _later(began: list[float], over: float) -> list[float]:
    """Return how many seconds ago calls began, without those that began before the same trouble was last over, `over`
    seconds ago: its last bad calls may still be in the last minute.
    """
    return [seconds for seconds in began if seconds < over] or [over]


def _is_long(call: EndedCall) -> bool:
    return call.seconds >= LEAST_SLOW_PING_SECONDS * 2 and call.age_seconds <= MINUTE_SECONDS


def _why_failing(kind: str, trouble: Trouble, window: WindowReport, evidence: Evidence) -> tuple[str, str]:
    """Return why calls of a kind fail, for operators and for callers. The first reason that applies."""
    source, pool, *_ = kind.split(" ")
    if trouble is Trouble.CALLS_REFUSED:
        return f"all connections of pool {pool} are in use", "all connections to Elasticsearch are in use"
    cluster = (evidence.services or {}).get("elasticsearch")
    if cluster is not None and cluster.report.status is Health.UNHEALTHY:
        return _plain(cluster.report.error), "Elasticsearch can't be asked, or says that it can't serve"
    if evidence.breakers:
        _, breaker = next(iter(sorted(evidence.breakers.items())))
        return f"Elasticsearch is not asked: {breaker.reason}", "Elasticsearch is not asked, as calls failed"
    if source == "pool" and _is_answered_since(window, evidence.ping):
        why = f"none for {as_duration(window.newest_bad_seconds or 0.0)} now, and Elasticsearch answers pings"
        return why, why
    if source == "pool":
        why = "Elasticsearch answers with errors, or not in time, though it answers pings"
        return why, why
    return "this service answers with errors (5xx); the log has them", "this service answers with errors"


# What the checks say


def _of_breakers(evidence: Evidence, now: datetime) -> Iterable[Finding]:
    for pool, breaker in sorted(evidence.breakers.items()):
        yield Finding(
            Trouble.BREAKER_OPEN,
            f"pool {pool}",
            Health.DEGRADED,
            _ago(now, breaker.seconds),
            breaker.reason,
            "calls to Elasticsearch failed",
        )


def _of_services(evidence: Evidence, now: datetime) -> Iterable[Finding]:
    """Yield a finding for each check that isn't healthy, except where another finding says it better: open breakers,
    and a store that accepts no writes.
    """
    for name, service in (evidence.services or {}).items():
        report = service.report
        if report.status is Health.HEALTHY:
            continue
        if name == "pools" and (evidence.breakers or report.facts.get("open_breakers")):
            continue  # the breaker was open when the check ran, and may be half-open by now
        if name == "store" and evidence.unwritable is not None:
            continue
        if name == "mapping_cache" and evidence.mappings.warm and not evidence.mappings.stale_indices:
            continue  # everything has been read since the check ran
        level = Health.UNHEALTHY if report.critical and report.status is Health.UNHEALTHY else Health.DEGRADED
        trouble = _trouble_of(name, service, evidence)
        since = service.since
        if trouble is Trouble.CLUSTER_AWAY:
            since = min(filter(None, (since, _first_unanswered(evidence, now))), default=None)
        yield Finding(
            trouble,
            name,
            level,
            since,
            _plain(report.error) or report.status.value,
            _public_why(service),
            is_own=trouble is Trouble.LOOP_LATE,
        )


def _trouble_of(name: str, service: Service, evidence: Evidence) -> Trouble:
    if name == "elasticsearch":
        status = service.report.facts.get("status")
        if service.report.status is Health.DEGRADED:
            return Trouble.CLUSTER_YELLOW
        return Trouble.CLUSTER_RED if status == "red" else Trouble.CLUSTER_AWAY
    if name == "mapping_cache":
        return Trouble.MAPPINGS_STALE if evidence.mappings.warm else Trouble.NO_MAPPINGS
    named: Mapping[str, Trouble] = {
        "store": Trouble.STORE_AWAY,
        "database": Trouble.DATABASE_AWAY,
        "pools": Trouble.POOL_FULL,
        "process": Trouble.LOOP_LATE,
    }
    return named.get(name, Trouble.OTHER_CHECK)


PUBLIC = {
    Health.UNHEALTHY: "it can't be asked, or says that it can't serve",
    Health.DEGRADED: "it says that something is wrong",
}
"""What strangers are told about a check; its error is only for those who may read details."""


def _public_why(service: Service) -> str:
    return PUBLIC[service.report.status]


def _plain(text: str | None) -> str:
    return (text or "").rstrip(".")


def _first_unanswered(evidence: Evidence, now: datetime) -> datetime | None:
    """Return when the first call or ping began that was not answered, since a ping was last answered."""
    rows = [calls_in_a_row(window.last) for window in (evidence.ping, *evidence.kinds.values())]
    return _ago(now, *(seconds for row in rows for seconds in _unanswered_since(row, evidence.ping)))


def _unanswered_since(row: Iterable[EndedCall], ping: WindowReport) -> list[float]:
    """Return how many seconds ago the bad calls of `row` began. Only those count that ended after the newest answered
    ping.
    """
    answered = ping.newest_good_seconds
    return [call.began_seconds_ago for call in row if answered is None or call.age_seconds < answered]


def _of_store(evidence: Evidence) -> Iterable[Finding]:
    if evidence.unwritable is not None:
        why = _plain(evidence.unwritable.error)
        yield Finding(
            Trouble.STORE_UNWRITABLE, "store", Health.DEGRADED, evidence.unwritable.since, why, "it takes no writes"
        )


def _of_usual(evidence: Evidence, now: datetime) -> Iterable[Finding]:
    for kind, (at, before) in sorted(evidence.changed.items()):
        seconds = evidence.usual.get(kind)
        if kind != PING and seconds is not None and (now - at).total_seconds() <= CHANGE_TOLD_SECONDS:
            was = "" if before is None else f", instead of {as_duration(before)}"
            why = f"{as_duration(seconds)} counts as usual{was}"
            yield Finding(
                *(Trouble.NEW_USUAL, callers_of(kind), Health.HEALTHY, at, why, why),
                seconds=seconds,
                usual_seconds=before,
            )
