"""The verdict: says in a sentence how things are for callers. Pure.

It says what is wrong, with numbers and what is usual; since which time; what still works; and where docs/operations.md
says what to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from esassistant.resource import Health
from esassistant.units import as_duration, clock_time
from healthapp.evidence import ASKERS, SEARCHES, Evidence, ServedMappings, callers_of
from healthapp.findings import SAID_ONLY, Finding, Trouble, find

OPERATIONS = "docs/operations.md"
STARTING = "verdict-starting"
MAX_ALSO = 3
"""At most this many findings are named after the first one; the rest is only counted."""
LEVELS = tuple(Health)

TITLES = {
    Trouble.CALLS_FAIL: "{} fail",
    Trouble.CALLS_REFUSED: "{} are refused",
    Trouble.PARTIAL_ANSWERS: "{} get answers that are not whole",
    Trouble.CLUSTER_SLOW: "{} are slow",
    Trouble.HEAVY_CALLS: "{} take long",
    Trouble.NEW_USUAL: "{} were slow for an hour",
    Trouble.CLUSTER_AWAY: "Elasticsearch can't be asked",
    Trouble.CLUSTER_RED: "Elasticsearch says that it is red",
    Trouble.CLUSTER_YELLOW: "Elasticsearch is not quite well",
    Trouble.BREAKER_OPEN: "calls get 503 at once",
    Trouble.NO_MAPPINGS: "there are no mappings",
    Trouble.MAPPINGS_STALE: "mappings are stale",
    Trouble.STORE_UNWRITABLE: "what one process learns is not shared",
    Trouble.STORE_AWAY: "the store can't be used",
    Trouble.DATABASE_AWAY: "the database can't be used",
    Trouble.POOL_FULL: "the connection pools are busy",
    Trouble.LOOP_LATE: "this process is late",
    Trouble.OTHER_CHECK: "the check {} fails",
}
"""The names of the troubles; `{}` stands for whose trouble it is."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one sort of callers notices, or what causes it, for programs. `calls`, `bad`: calls of the last minute, and
    how many of them were bad; None if it isn't about calls. `seconds`, `usual_seconds`: how long calls take now, and
    usually; None unless it is about slowness. `is_own`: only the process that answers knows of it.
    """

    trouble: Trouble
    callers: str
    level: Health
    since: datetime | None
    calls: int | None
    bad: int | None
    seconds: float | None
    usual_seconds: float | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """How things are for callers.

    Attributes:
        level: None if it can't be told yet.
        public_sentence: The sentence for strangers.
        since: When the first trouble began that makes it less than healthy.
        next_step: Where to read on; None if there is nothing to do.
    """

    level: Health | None
    sentence: str
    public_sentence: str
    since: datetime | None
    effects: tuple[Effect, ...]
    next_step: str | None


NOTHING_KNOWN = Verdict(
    None,
    "Starting: the first health checks are still running.",
    "Starting: the first health checks are still running.",
    None,
    (),
    f"{OPERATIONS}#{STARTING}",
)


def judge(
    evidence: Evidence, now: datetime, lasting: Mapping[str, float] | None = None
) -> tuple[Verdict, dict[str, float]]:
    """Return the verdict, and for how many seconds each of its findings has lasted.

    Args:
        evidence: Everything that the verdict is based on.
        now: The present time.
        lasting: For how many seconds each finding, by its name, had lasted by `now`, as the last verdict of this
            process
            or of another one said. So a finding that goes on keeps its beginning.
    """
    if evidence.services is None:
        return NOTHING_KNOWN, {}
    findings = [_lasting(finding, lasting or {}, now) for finding in find(evidence, now)]
    troubles = [finding for finding in findings if finding.level is not Health.HEALTHY]
    level = worst(finding.level for finding in troubles)
    works = _works(evidence.mappings) + (" Searches get 503." if _are_searches_in_vain(findings, evidence, now) else "")
    verdict = Verdict(
        level,
        _sentence(findings, evidence.mappings, works, now, public=False),
        _sentence(findings, evidence.mappings, works, now, public=True),
        min((finding.since for finding in troubles if finding.since is not None), default=None),
        tuple(map(_effect, findings)),
        f"{OPERATIONS}#{findings[0].trouble.section}" if findings else None,
    )
    lasted = {
        finding.name: max(0.0, (now - finding.since).total_seconds())
        for finding in findings
        if finding.since is not None and not finding.is_own
    }
    return verdict, lasted


def _lasting(finding: Finding, lasting: Mapping[str, float], now: datetime) -> Finding:
    seconds = lasting.get(finding.name)
    known = [] if finding.since is None else [finding.since]
    if seconds is not None:
        known.append(now - timedelta(seconds=seconds))
    # Use whole seconds, so that the same begin is shown as the same time in each verdict.
    return replace(finding, since=_whole_second(min(known))) if known else finding


def _whole_second(at: datetime) -> datetime:
    return (at + timedelta(seconds=0.5)).replace(microsecond=0)


def _effect(finding: Finding) -> Effect:
    return Effect(
        *(finding.trouble, finding.callers, finding.level, finding.since, finding.calls, finding.bad),
        *(finding.seconds, finding.usual_seconds, finding.is_own),
    )


# Words


def _are_searches_in_vain(findings: list[Finding], evidence: Evidence, now: datetime) -> bool:
    """Return True if searches fail although no finding says so: the cluster is away, and no search has been answered
    since.
    """
    away = next((finding for finding in findings if finding.trouble is Trouble.CLUSTER_AWAY), None)
    if away is None or any(one.trouble is Trouble.CALLS_FAIL and one.callers == SEARCHES for one in findings):
        return False
    seconds = 0.0 if away.since is None else (now - away.since).total_seconds()
    searches = (window for kind, window in evidence.kinds.items() if callers_of(kind) == SEARCHES)
    return not any(not call.got.is_bad and call.age_seconds < seconds for window in searches for call in window.last)


def _sentence(findings: list[Finding], mappings: ServedMappings, works: str, now: datetime, *, public: bool) -> str:
    troubles = [finding for finding in findings if finding.trouble not in SAID_ONLY]
    said = [f"{_clause(finding, now, public=public)}." for finding in findings if finding.trouble in SAID_ONLY]
    if not troubles:
        return " ".join([f"{_served(mappings)}.", *said])
    first, rest = troubles[0], _beside(troubles)
    also = [
        # The same reason isn't said again.
        _clause(replace(one, why="") if one.why == first.why else one, now, public=public, is_first=False)
        for one in rest[:MAX_ALSO]
    ]
    if len(rest) > MAX_ALSO:
        also.append(f"{len(rest) - MAX_ALSO} more")
    cause = _earlier_cause(troubles, now)
    parts = [f"{cause}{_clause(first, now, public=public, is_first=not cause)}."]
    if also:
        parts.append(f"Also: {'; '.join(also)}.")
    return " ".join([*parts, *said, works])


def _earlier_cause(troubles: list[Finding], now: datetime) -> str:
    """Return the cause of failing calls, if they are the first finding and the cause began before them; else an empty
    text.
    """
    first = troubles[0]
    if first.trouble is not Trouble.CALLS_FAIL or first.since is None:
        return ""
    for one in troubles[1:]:
        is_cause = one.trouble in (Trouble.CLUSTER_AWAY, Trouble.CLUSTER_RED)
        if is_cause and one.since is not None and one.since < first.since:
            return f"{title_of(one.trouble, one.callers)} since {clock_time(one.since, now)}; "
    return ""


def _beside(troubles: list[Finding]) -> list[Finding]:
    """Return the findings to name besides the first, without those that are its reason, without the pools that are full
    because the cluster is slow, and without missing mappings, which the end of the sentence tells.
    """
    first = troubles[0]
    reasons = {Trouble.CLUSTER_AWAY, Trouble.CLUSTER_RED, Trouble.BREAKER_OPEN}
    is_caused = first.trouble is Trouble.CALLS_FAIL
    return [
        one
        for one in troubles[1:]
        if not (is_caused and one.trouble in reasons)
        and one.trouble is not Trouble.NO_MAPPINGS
        and not (first.trouble in (Trouble.CALLS_REFUSED, Trouble.CLUSTER_SLOW) and one.trouble is Trouble.POOL_FULL)
        and not (first.trouble in (Trouble.CLUSTER_AWAY, Trouble.CLUSTER_RED) and one.trouble is Trouble.BREAKER_OPEN)
    ]


def _clause(finding: Finding, now: datetime, *, public: bool, is_first: bool = True) -> str:
    """Return one finding in words. Only the first finding begins with a capital letter."""
    since = f" since {clock_time(finding.since, now)}" if finding.since is not None else ""
    why = finding.public_why if public else finding.why
    text = _what(finding, since, why, public=public)
    return text[0].upper() + text[1:] if is_first else text


def title_of(trouble: Trouble, callers: str) -> str:
    """Return in a few words what is wrong, in lower case, without when it began and why."""
    return TITLES[trouble].format(callers)


def _what(finding: Finding, since: str, why: str, *, public: bool) -> str:
    title = title_of(finding.trouble, finding.callers)
    match finding.trouble:
        case Trouble.CALLS_FAIL | Trouble.CALLS_REFUSED | Trouble.PARTIAL_ANSWERS:
            return f"{title}{since} ({_counts(finding)})" + (f": {why}" if finding.why else "")
        case Trouble.CLUSTER_SLOW:
            who = "Elasticsearch answers in" if finding.callers in ASKERS else "they take"
            return f"{title}{since}: {who} {_speed(finding)}, and {why}"
        case Trouble.HEAVY_CALLS:
            return f"{title}{since} ({_speed(finding)}), but {why}: these calls are heavy"
        case Trouble.NEW_USUAL:
            return f"{title}, so that{since} {why}"
        case Trouble.BREAKER_OPEN:
            return f"{title}{since}, as the breaker is open: {why}"
        case Trouble.OTHER_CHECK if public:
            return f"a check fails{since}"
        case _:
            return f"{title}{since}: {why}"


def _counts(finding: Finding) -> str:
    if finding.in_a_row is None:
        return f"{finding.bad} of {finding.calls} in the last minute"
    return f"the last {finding.in_a_row}, the newest {as_duration(finding.newest_seconds or 0.0)} ago"


def _speed(finding: Finding) -> str:
    usual = (
        "what is usual is not known yet"
        if finding.usual_seconds is None
        else f"usually {as_duration(finding.usual_seconds)}"
    )
    return f"{as_duration(finding.seconds or 0.0)}, {usual}"


def _served(mappings: ServedMappings) -> str:
    if not mappings.warm:
        return "No mappings yet"
    if not mappings.indices:
        return "The cluster has no indices, so there is nothing to serve"
    if mappings.stale_indices == mappings.indices:
        return f"Serving stale mappings, the oldest confirmed {as_duration(mappings.oldest_age_seconds or 0)} ago"
    if mappings.stale_indices:
        return f"Serving mappings, {mappings.stale_indices} of {mappings.indices} of them stale"
    return "Serving fresh mappings"


def _works(mappings: ServedMappings) -> str:
    """Say what still works while something else doesn't."""
    if not mappings.warm:
        return "No mappings can be answered yet."
    if not mappings.indices:
        return "The cluster has no indices."
    if mappings.stale_indices:
        return f"Mappings up to {as_duration(mappings.oldest_age_seconds or 0)} old are answered from memory."
    return "Mappings are answered from memory."


def worst(levels: Iterable[Health]) -> Health:
    """Return the worst of several levels; healthy if there are none."""
    return max(levels, key=LEVELS.index, default=Health.HEALTHY)
